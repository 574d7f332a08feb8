//! Packet ciphers: ring and aws-lc-rs behind one trait, the faster one on this processor chosen at start.

use std::time::{Duration, Instant};

use gm_core::esp::{AeadProvider, KeyFingerprint, PacketAead};
use gm_core::sad::{Algorithm, KeyMaterial};

/// How long each library may work in the comparison.
const TRIAL: Duration = Duration::from_millis(2);
/// Octets of the packet it works on: a full one on an Ethernet path.
const TRIAL_LENGTH: usize = 1400;

/// A cryptographic library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Ring,
    AwsLc,
}

impl Backend {
    /// The name shown in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::AwsLc => "aws-lc-rs",
        }
    }

    /// The library that seals more AES-256-GCM in the same time, right now on this processor.
    pub(super) fn fastest() -> Self {
        if trial(Self::AwsLc) > trial(Self::Ring) {
            Self::AwsLc
        } else {
            Self::Ring
        }
    }

    fn key(self, key: &KeyMaterial) -> Box<dyn PacketAead> {
        match self {
            Self::Ring => with_ring::key(key),
            Self::AwsLc => with_aws_lc::key(key),
        }
    }
}

/// Packets sealed within [`TRIAL`]. The key is thrown away, so nonces do not matter.
fn trial(backend: Backend) -> u64 {
    let Ok(material) = KeyMaterial::new(Algorithm::Aes256Gcm, &[0x5a; 36]) else {
        return 0;
    };
    let key = backend.key(&material);
    let mut packet = [0; TRIAL_LENGTH];
    let start = Instant::now();
    let mut sealed: u64 = 0;
    while start.elapsed() < TRIAL {
        for _ in 0..16 {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&sealed.to_be_bytes());
            key.seal(&nonce, &[0; 8], &mut packet);
            sealed += 1;
        }
    }
    sealed
}

/// The chosen library, with a key of this process for fingerprints.
pub struct Provider {
    backend: Backend,
    fingerprints: ring::hmac::Key,
}

impl Provider {
    /// Compares the libraries and takes the faster one.
    #[must_use]
    pub fn choose() -> Self {
        let seed: [u8; 32] = runtime::entropy::bytes();
        Self {
            backend: Backend::fastest(),
            fingerprints: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &seed),
        }
    }

    pub(super) fn backend(&self) -> Backend {
        self.backend
    }
}

impl AeadProvider for Provider {
    fn expand(&self, key: &KeyMaterial) -> Box<dyn PacketAead> {
        self.backend.key(key)
    }

    fn fingerprint(&self, key: &KeyMaterial) -> KeyFingerprint {
        let mut context = ring::hmac::Context::with_key(&self.fingerprints);
        context.update(&[key.algorithm() as u8]);
        context.update(key.key());
        context.update(&key.salt());
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&context.sign().as_ref()[..16]);
        KeyFingerprint(fingerprint)
    }
}

/// Both libraries have the same interface; each gets a module of its own from this one text.
macro_rules! backend {
    ($module:ident, $library:ident) => {
        mod $module {
            use gm_core::esp::aead::ICV;
            use gm_core::esp::{AuthenticationFailed, PacketAead};
            use gm_core::sad::{Algorithm, KeyMaterial};
            use $library::aead;

            struct Key(aead::LessSafeKey);

            pub(super) fn key(key: &KeyMaterial) -> Box<dyn PacketAead> {
                let algorithm = match key.algorithm() {
                    Algorithm::Aes128Gcm => &aead::AES_128_GCM,
                    Algorithm::Aes256Gcm => &aead::AES_256_GCM,
                    Algorithm::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
                };
                let key = aead::UnboundKey::new(algorithm, key.key())
                    .expect("key material has the length of its algorithm");
                Box::new(Key(aead::LessSafeKey::new(key)))
            }

            impl PacketAead for Key {
                fn seal(
                    &self,
                    nonce: &[u8; 12],
                    associated: &[u8; 8],
                    text: &mut [u8],
                ) -> [u8; ICV] {
                    let nonce = aead::Nonce::assume_unique_for_key(*nonce);
                    let tag = self
                        .0
                        .seal_in_place_separate_tag(nonce, aead::Aad::from(*associated), text)
                        .expect("a packet is far shorter than the cipher's limit");
                    let mut icv = [0; ICV];
                    icv.copy_from_slice(tag.as_ref());
                    icv
                }

                fn open(
                    &self,
                    nonce: &[u8; 12],
                    associated: &[u8; 8],
                    text_and_icv: &mut [u8],
                ) -> Result<(), AuthenticationFailed> {
                    let nonce = aead::Nonce::assume_unique_for_key(*nonce);
                    self.0
                        .open_in_place(nonce, aead::Aad::from(*associated), text_and_icv)
                        .map(drop)
                        .map_err(|_| AuthenticationFailed)
                }
            }
        }
    };
}

backend!(with_ring, ring);
backend!(with_aws_lc, aws_lc_rs);

#[cfg(test)]
mod tests {
    use aes_gcm::aead::{AeadInOut, KeyInit};

    use gm_core::esp::AuthenticationFailed;

    use super::*;

    /// RustCrypto's AES-GCM shares no code with either library.
    #[test]
    fn both_libraries_agree_with_an_independent_one() {
        let material: Vec<u8> = (0..36).collect();
        let key = KeyMaterial::new(Algorithm::Aes256Gcm, &material).expect("36 octets");
        let (nonce, associated) = ([7; 12], [9; 8]);
        let mut expected = vec![0x5a; 333];
        let cipher = aes_gcm::Aes256Gcm::new_from_slice(key.key()).expect("32 octets");
        let tag = cipher
            .encrypt_inout_detached(&nonce.into(), &associated, expected.as_mut_slice().into())
            .expect("short");
        for backend in [Backend::Ring, Backend::AwsLc] {
            let aead = backend.key(&key);
            let mut text = vec![0x5a; 333];
            let icv = aead.seal(&nonce, &associated, &mut text);
            assert_eq!(text, expected, "{}", backend.name());
            assert_eq!(icv.as_slice(), tag.as_slice(), "{}", backend.name());
            text.extend_from_slice(&icv);
            assert_eq!(aead.open(&nonce, &associated, &mut text.clone()), Ok(()));
            text[0] ^= 1;
            assert_eq!(
                aead.open(&nonce, &associated, &mut text),
                Err(AuthenticationFailed)
            );
        }
    }

    /// RFC 7634 appendix A.
    #[test]
    fn chacha20_poly1305_seals_the_example_of_its_rfc() {
        let material: Vec<u8> = (0x80..=0x9f).chain(0xa0..=0xa3).collect();
        let key = KeyMaterial::new(Algorithm::ChaCha20Poly1305, &material).expect("36 octets");
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&key.salt());
        nonce[4..].copy_from_slice(&[0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17]);
        let associated = [1, 2, 3, 4, 0, 0, 0, 5];
        let plain = hex::decode(
            "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10\
             0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223\
             2425262728292a2b2c2d2e2f303132333435363701020204",
        )
        .expect("hex");
        for backend in [Backend::Ring, Backend::AwsLc] {
            let mut text = plain.clone();
            let icv = backend.key(&key).seal(&nonce, &associated, &mut text);
            assert_eq!(
                hex::encode(text),
                "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6\
                 14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3\
                 cbec163fac469b502773f6fb94e664da9165b82829f641e0"
            );
            assert_eq!(hex::encode(icv), "76aaa8266b7fb0f7b11b369907e1ad43");
        }
    }

    #[test]
    fn fingerprints_tell_keys_apart_and_recognise_them() {
        let provider = Provider::choose();
        let key =
            |octet: u8| KeyMaterial::new(Algorithm::Aes128Gcm, &[octet; 20]).expect("20 octets");
        assert_eq!(provider.fingerprint(&key(1)), provider.fingerprint(&key(1)));
        assert_ne!(provider.fingerprint(&key(1)), provider.fingerprint(&key(2)));
    }
}
