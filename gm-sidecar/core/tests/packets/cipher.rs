//! RustCrypto's ciphers for the packet path: they share no code with those the product uses.

use aes_gcm::aead::{AeadInOut, KeyInit, Nonce, Tag, consts::U12, consts::U16};
use gm_core::esp::{AeadProvider, AuthenticationFailed, KeyFingerprint, PacketAead};
use gm_core::sad::{Algorithm, KeyMaterial};

struct Cipher<C>(C);

impl<C> PacketAead for Cipher<C>
where
    C: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync,
{
    fn seal(&self, nonce: &[u8; 12], associated: &[u8; 8], text: &mut [u8]) -> [u8; 16] {
        let nonce: &Nonce<C> = nonce.into();
        self.0
            .encrypt_inout_detached(nonce, associated, text.into())
            .expect("short")
            .into()
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        associated: &[u8; 8],
        text_and_icv: &mut [u8],
    ) -> Result<(), AuthenticationFailed> {
        let nonce: &Nonce<C> = nonce.into();
        let (text, icv) = text_and_icv
            .split_last_chunk_mut::<16>()
            .ok_or(AuthenticationFailed)?;
        let icv: &Tag<C> = (&*icv).into();
        self.0
            .decrypt_inout_detached(nonce, associated, text.into(), icv)
            .map_err(|_| AuthenticationFailed)
    }
}

/// The provider; its fingerprints are the first octets of the key, which is fine for tests.
pub(crate) struct RustCrypto;

impl AeadProvider for RustCrypto {
    fn expand(&self, key: &KeyMaterial) -> Box<dyn PacketAead> {
        match key.algorithm() {
            Algorithm::Aes128Gcm => Box::new(Cipher(
                aes_gcm::Aes128Gcm::new_from_slice(key.key()).expect("16 octets"),
            )),
            Algorithm::Aes256Gcm => Box::new(Cipher(
                aes_gcm::Aes256Gcm::new_from_slice(key.key()).expect("32 octets"),
            )),
            Algorithm::ChaCha20Poly1305 => unreachable!("tested with the libraries that have it"),
        }
    }

    fn fingerprint(&self, key: &KeyMaterial) -> KeyFingerprint {
        KeyFingerprint(*key.key().first_chunk().expect("16 octets at least"))
    }
}
