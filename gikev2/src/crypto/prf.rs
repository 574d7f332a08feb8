//! Pseudorandom functions (RFC 4868) and prf+ (RFC 7296 §2.13).

use aws_lc_rs::hmac;

use crate::wire::registry::PrfId;

use super::secret::Secret;

/// A pseudorandom function. Preferred key length and output length are the same for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prf {
    /// PRF_HMAC_SHA2_256.
    HmacSha256,
    /// PRF_HMAC_SHA2_384.
    HmacSha384,
    /// PRF_HMAC_SHA2_512.
    HmacSha512,
}

/// prf+ was asked for more than 255 blocks, which RFC 7296 §2.13 does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("prf+ cannot produce {length} octets")]
pub struct TooLong {
    /// Octets wanted.
    pub length: usize,
}

impl Prf {
    /// The function of a transform ID; `None` for those we do not have.
    pub fn from_id(id: PrfId) -> Option<Self> {
        match id {
            PrfId::HMAC_SHA2_256 => Some(Self::HmacSha256),
            PrfId::HMAC_SHA2_384 => Some(Self::HmacSha384),
            PrfId::HMAC_SHA2_512 => Some(Self::HmacSha512),
            _ => None,
        }
    }

    /// The transform ID.
    pub fn id(self) -> PrfId {
        match self {
            Self::HmacSha256 => PrfId::HMAC_SHA2_256,
            Self::HmacSha384 => PrfId::HMAC_SHA2_384,
            Self::HmacSha512 => PrfId::HMAC_SHA2_512,
        }
    }

    /// Octets of key and of output.
    pub fn length(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }

    /// `prf(key, parts in order)`.
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        compute_with(&hmac::Key::new(self.algorithm(), key), parts)
    }

    /// Whether `tag` is `prf(key, parts in order)`, compared in constant time.
    pub fn verify(self, key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
        self.compute(key, parts).matches(tag)
    }

    /// The first `length` octets of `prf+(key, seed parts in order)`.
    ///
    /// # Errors
    /// [`TooLong`] beyond 255 blocks.
    pub fn plus(self, key: &[u8], seed: &[&[u8]], length: usize) -> Result<Secret, TooLong> {
        let key = hmac::Key::new(self.algorithm(), key);
        let mut octets = Vec::with_capacity(length.saturating_add(self.length()));
        let mut previous = Secret::new(Vec::new());
        let mut counter: u8 = 0;
        while octets.len() < length {
            counter = counter.checked_add(1).ok_or(TooLong { length })?;
            let counter_octet = [counter];
            let mut parts = Vec::with_capacity(seed.len() + 2);
            parts.push(previous.as_bytes());
            parts.extend_from_slice(seed);
            parts.push(&counter_octet);
            let block = compute_with(&key, &parts);
            octets.extend_from_slice(block.as_bytes());
            previous = block;
        }
        octets.truncate(length);
        Ok(Secret::new(octets))
    }
}

fn compute_with(key: &hmac::Key, parts: &[&[u8]]) -> Secret {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    Secret::from_slice(context.sign().as_ref())
}
