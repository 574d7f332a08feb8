//! Sealing of everything that reaches the disk.
//!
//! Each record is encrypted with AES-256-GCM under its own data key, HMAC-SHA-256 of 32 fresh
//! random octets under the sealing key. A key is used once, so the nonce may be constant, and
//! neither a truncated and rewritten log nor a rolled back volume ever repeats a (key, nonce) pair.
//! The context (table, key of the record, store identity) is authenticated, so records cannot be
//! exchanged for one another.

use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use super::error::StorageError;

const VERSION: u8 = 1;
const SALT: usize = 32;
const TAG: usize = 16;
const DATA_KEY_LABEL: &[u8] = b"getvpn record data key 1";
const KEY_ID_LABEL: &[u8] = b"getvpn sealing key identifier 1";

/// Identifies a sealing key without revealing it.
pub type SealingKeyId = [u8; 8];

/// The key that protects a store; it is kept apart from the volume.
pub struct SealingKey {
    octets: Zeroizing<[u8; 32]>,
}

/// The record's octets do not authenticate: damaged, exchanged, or sealed under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record does not authenticate")]
pub struct OpenError;

impl SealingKey {
    /// A key of 32 uniformly random octets.
    pub fn new(octets: [u8; 32]) -> Self {
        Self {
            octets: Zeroizing::new(octets),
        }
    }

    /// Reads 64 hexadecimal digits, surrounded by white space at most, from `path`.
    ///
    /// # Errors
    /// [`StorageError::SealingKey`], which never shows the file's contents.
    pub fn from_file(path: &Path) -> Result<Self, StorageError> {
        let refuse = |what: String| StorageError::SealingKey {
            path: path.to_owned(),
            what,
        };
        let text = Zeroizing::new(
            std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?,
        );
        let digits = text.trim();
        if digits.len() != 64 {
            return Err(refuse(format!("it has {} characters", digits.len())));
        }
        let mut octets = [0; 32];
        hex::decode_to_slice(digits, &mut octets)
            .map_err(|_| refuse("it holds something else than hexadecimal digits".to_owned()))?;
        if octets == [0; 32] {
            return Err(refuse("all digits are zero".to_owned()));
        }
        Ok(Self::new(octets))
    }

    /// Identifier of this key, safe to show.
    pub fn id(&self) -> SealingKeyId {
        let tag = self.hmac(&[KEY_ID_LABEL]);
        let mut id = [0; 8];
        id.copy_from_slice(tag.as_ref().split_at(8).0);
        id
    }

    /// Encrypts `plain`, bound to `context`. The result is 49 octets longer.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let salt: [u8; SALT] = runtime::entropy::bytes();
        let sealed = self
            .cipher(&salt)
            .encrypt(
                &Nonce::default(),
                Payload {
                    msg: plain,
                    aad: context,
                },
            )
            .expect("AES-GCM accepts every length below 64 GiB");
        let mut out = Vec::with_capacity(1 + SALT + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&sealed);
        out
    }

    /// Decrypts what [`SealingKey::seal`] made with the same `context`.
    ///
    /// # Errors
    /// [`OpenError`] when one bit of either differs.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (version, rest) = sealed.split_first().ok_or(OpenError)?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>().ok_or(OpenError)?;
        if *version != VERSION || sealed.len() < TAG {
            return Err(OpenError);
        }
        self.cipher(salt)
            .decrypt(
                &Nonce::default(),
                Payload {
                    msg: sealed,
                    aad: context,
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| OpenError)
    }

    fn cipher(&self, salt: &[u8; SALT]) -> Aes256Gcm {
        let tag = self.hmac(&[DATA_KEY_LABEL, salt]);
        Aes256Gcm::new_from_slice(tag.as_ref()).expect("HMAC-SHA-256 gives 32 octets")
    }

    fn hmac(&self, parts: &[&[u8]]) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.octets.as_slice());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

/// First 8 octets of SHA-256: tells damage apart from a foreign file in plain headers.
pub(super) fn checksum(octets: &[u8]) -> [u8; 8] {
    let digest = digest::digest(&digest::SHA256, octets);
    let mut out = [0; 8];
    out.copy_from_slice(digest.as_ref().split_at(8).0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SealingKey {
        SealingKey::new([7; 32])
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let sealed = key().seal(b"log 5", b"a command");
        assert_eq!(sealed.len(), 9 + 49);
        assert_eq!(
            key().open(b"log 5", &sealed).expect("authentic").as_slice(),
            b"a command"
        );
    }

    #[test]
    fn the_same_octets_are_never_sealed_under_the_same_data_key() {
        assert_ne!(key().seal(b"c", b"same"), key().seal(b"c", b"same"));
    }

    #[test]
    fn every_single_flipped_bit_is_noticed() {
        let sealed = key().seal(b"log 5", b"a command");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key().open(b"log 5", &damaged), Err(OpenError), "bit {bit}");
        }
    }

    #[test]
    fn a_record_moved_to_another_place_does_not_open() {
        let sealed = key().seal(b"log 5", b"a command");
        assert_eq!(key().open(b"log 6", &sealed), Err(OpenError));
    }

    #[test]
    fn another_key_does_not_open_and_has_another_identifier() {
        let other = SealingKey::new([8; 32]);
        let sealed = key().seal(b"c", b"plain");
        assert_eq!(other.open(b"c", &sealed), Err(OpenError));
        assert_ne!(other.id(), key().id());
    }

    #[test]
    fn truncated_records_are_refused() {
        let sealed = key().seal(b"c", b"plain");
        for length in 0..sealed.len() {
            assert_eq!(key().open(b"c", &sealed[..length]), Err(OpenError));
        }
    }

    #[test]
    fn a_key_file_with_anything_but_64_digits_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("sealing.key");
        for bad in ["", "abcd", &"zz".repeat(32), &"00".repeat(32)] {
            std::fs::write(&path, bad).expect("temporary file");
            let Err(error) = SealingKey::from_file(&path) else {
                panic!("{bad:?} was accepted");
            };
            assert!(error.to_string().contains("sealing.key"));
            assert!(error.to_string().contains("64 hexadecimal digits"));
        }
        std::fs::write(&path, format!("{}\n", "0a".repeat(32))).expect("temporary file");
        assert_eq!(
            SealingKey::from_file(&path).map(|key| key.id()).ok(),
            Some(SealingKey::new([10; 32]).id())
        );
    }
}
