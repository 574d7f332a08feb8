//! Keys of an IKE SA (RFC 7296 §2.14, RFC 9370 §2.2.2) and what is derived from them for groups (RFC 9838 §3.1.1).

use crate::Secret;
use crate::crypto::aead::{AeadAlgorithm, AeadKey};
use crate::crypto::prf::Prf;

/// Label of the default key wrap key, without terminator.
pub const KEY_WRAP_LABEL: &[u8] = b"Key Wrap for G-IKEv2";
/// Octets of the default key wrap key with KW_5649_256.
pub const KEY_WRAP_KEY_LENGTH: usize = 32;

/// Keys could not be derived. With the algorithms of this library it does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keys of the IKE SA cannot be derived")]
pub struct DerivationError;

/// What enters every derivation besides the shared secret. Nonces are payload contents.
#[derive(Debug, Clone, Copy)]
pub struct KeySeed<'a> {
    /// SPIi, 8 octets.
    pub initiator_spi: &'a [u8],
    /// SPIr, 8 octets.
    pub responder_spi: &'a [u8],
    /// Ni.
    pub initiator_nonce: &'a [u8],
    /// Nr.
    pub responder_nonce: &'a [u8],
}

/// SK_d, SK_ei, SK_er, SK_pi, SK_pr. With an AEAD cipher SK_ai and SK_ar are empty.
pub struct IkeSaKeys {
    prf: Prf,
    aead: AeadAlgorithm,
    derivation: Secret,
    /// SK_ei, with its salt.
    pub initiator_encryption: AeadKey,
    /// SK_er, with its salt.
    pub responder_encryption: AeadKey,
    /// SK_pi.
    pub initiator_proof: Secret,
    /// SK_pr.
    pub responder_proof: Secret,
    #[cfg(debug_assertions)]
    dissection: [Secret; 2],
}

impl IkeSaKeys {
    /// `SKEYSEED = prf(Ni | Nr, g^ir)`, then all keys.
    ///
    /// # Errors
    /// [`DerivationError`].
    pub fn initial(
        prf: Prf,
        aead: AeadAlgorithm,
        seed: &KeySeed<'_>,
        shared: &Secret,
    ) -> Result<Self, DerivationError> {
        let nonces = Secret::new([seed.initiator_nonce, seed.responder_nonce].concat());
        let skeyseed = prf.compute(nonces.as_bytes(), &[shared.as_bytes()]);
        Self::expand(prf, aead, seed, &skeyseed)
    }

    /// The keys after an additional key exchange: `SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)`.
    ///
    /// # Errors
    /// [`DerivationError`].
    pub fn mixed(&self, seed: &KeySeed<'_>, shared: &Secret) -> Result<Self, DerivationError> {
        let skeyseed = self.prf.compute(
            self.derivation.as_bytes(),
            &[
                shared.as_bytes(),
                seed.initiator_nonce,
                seed.responder_nonce,
            ],
        );
        Self::expand(self.prf, self.aead, seed, &skeyseed)
    }

    /// GSK_w: `prf+(SK_d, "Key Wrap for G-IKEv2")`.
    ///
    /// # Errors
    /// [`DerivationError`].
    pub fn key_wrap_key(&self) -> Result<Secret, DerivationError> {
        self.from_derivation_key(KEY_WRAP_LABEL, KEY_WRAP_KEY_LENGTH)
    }

    /// `prf+(SK_d, label)`, `length` octets of it.
    ///
    /// # Errors
    /// [`DerivationError`] when more is asked for than prf+ can give.
    pub fn from_derivation_key(
        &self,
        label: &[u8],
        length: usize,
    ) -> Result<Secret, DerivationError> {
        self.prf
            .plus(self.derivation.as_bytes(), &[label], length)
            .map_err(|_| DerivationError)
    }

    /// SK_d, and SK_ei and SK_er each with its salt, for a dissector. Release builds neither have this nor keep the octets.
    #[cfg(debug_assertions)]
    pub(crate) fn dissection(&self) -> [Secret; 3] {
        let [initiator, responder] = &self.dissection;
        [
            self.derivation.duplicate(),
            initiator.duplicate(),
            responder.duplicate(),
        ]
    }

    fn expand(
        prf: Prf,
        aead: AeadAlgorithm,
        seed: &KeySeed<'_>,
        skeyseed: &Secret,
    ) -> Result<Self, DerivationError> {
        let lengths = [
            prf.length(),
            aead.keying_material_length(),
            aead.keying_material_length(),
            prf.length(),
            prf.length(),
        ];
        let material = prf
            .plus(
                skeyseed.as_bytes(),
                &[
                    seed.initiator_nonce,
                    seed.responder_nonce,
                    seed.initiator_spi,
                    seed.responder_spi,
                ],
                lengths.iter().sum(),
            )
            .map_err(|_| DerivationError)?;
        let mut rest = material.as_bytes();
        let [
            derivation,
            initiator,
            responder,
            initiator_proof,
            responder_proof,
        ] = lengths.map(|length| {
            // The material has exactly the sum of the lengths.
            let (key, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            key
        });
        Ok(Self {
            prf,
            aead,
            derivation: Secret::from_slice(derivation),
            initiator_encryption: AeadKey::new(aead, initiator).map_err(|_| DerivationError)?,
            responder_encryption: AeadKey::new(aead, responder).map_err(|_| DerivationError)?,
            initiator_proof: Secret::from_slice(initiator_proof),
            responder_proof: Secret::from_slice(responder_proof),
            #[cfg(debug_assertions)]
            dissection: [initiator, responder].map(Secret::from_slice),
        })
    }
}
