//! AES key wrap with padding (RFC 5649): how keys travel inside KD payloads (RFC 9838 §4.4.2.1.2, §4.5.4).

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded};
use zeroize::Zeroizing;

use crate::Secret;

/// Most octets of a wrapped key (RFC 9838 §4.4.2.1.2: keys of up to 256 octets).
pub const MOST_WRAPPED: usize = 264;
/// Least octets of a wrapped key.
const LEAST_WRAPPED: usize = 16;

/// A key could not be wrapped or unwrapped. Uniform on purpose: what was wrong must not be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key wrap failed")]
pub struct WrapError;

/// Wraps `key` under `key_wrap_key` of 16 (KW_5649_128) or 32 (KW_5649_256) octets. The result is deterministic.
///
/// # Errors
/// [`WrapError`] when the key wrap key has another length, or the key is empty or longer than 256 octets.
pub fn wrap(key_wrap_key: &Secret, key: &[u8]) -> Result<Vec<u8>, WrapError> {
    if key.is_empty() || key.len() > MOST_WRAPPED - 8 {
        return Err(WrapError);
    }
    let mut output = [0; MOST_WRAPPED + 8];
    let wrapped = match key_wrap_key.len() {
        16 => AesKek::new(&AES_128, key_wrap_key.as_bytes()).and_then(|kek| {
            kek.wrap_with_padding(key, &mut output)
                .map(|octets| octets.to_vec())
        }),
        32 => AesKek::new(&AES_256, key_wrap_key.as_bytes()).and_then(|kek| {
            kek.wrap_with_padding(key, &mut output)
                .map(|octets| octets.to_vec())
        }),
        _ => return Err(WrapError),
    };
    wrapped.map_err(|_| WrapError)
}

/// Unwraps what [`wrap`] made.
///
/// # Errors
/// [`WrapError`], whatever is wrong.
pub fn unwrap(key_wrap_key: &Secret, wrapped: &[u8]) -> Result<Secret, WrapError> {
    if !(LEAST_WRAPPED..=MOST_WRAPPED).contains(&wrapped.len()) || !wrapped.len().is_multiple_of(8)
    {
        return Err(WrapError);
    }
    let mut output = Zeroizing::new([0; MOST_WRAPPED + 8]);
    let key = match key_wrap_key.len() {
        16 => AesKek::new(&AES_128, key_wrap_key.as_bytes()).and_then(|kek| {
            kek.unwrap_with_padding(wrapped, output.as_mut_slice())
                .map(|octets| Secret::from_slice(octets))
        }),
        32 => AesKek::new(&AES_256, key_wrap_key.as_bytes()).and_then(|kek| {
            kek.unwrap_with_padding(wrapped, output.as_mut_slice())
                .map(|octets| Secret::from_slice(octets))
        }),
        _ => return Err(WrapError),
    };
    key.map_err(|_| WrapError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).expect("test vector")
    }

    /// KW_5649_256 in the worked example of the reference: offset 331 of the registration response.
    #[test]
    fn a_data_key_wraps_to_the_known_answer() {
        let kwk = Secret::new(octets(
            "e7f24f3d5f40cdf0fd58326e692238dbd2ef94a023dbaa8bed776b0cb7e51fbb",
        ));
        let key: Vec<u8> = (0x80..=0xa3).collect();
        let wrapped = octets(
            "9739c06d3ed51eae71a067570bb051268a4694a0728e0c63ab7225659d2922127cc2b6c1a5d4ed014660d0bb627d81d1",
        );
        assert_eq!(wrap(&kwk, &key), Ok(wrapped.clone()));
        assert!(unwrap(&kwk, &wrapped).is_ok_and(|found| found.matches(&key)));
    }

    #[test]
    fn every_changed_octet_is_refused_alike() {
        let kwk = Secret::new(vec![7; 32]);
        let wrapped = wrap(&kwk, &[1; 68]).expect("fits");
        for position in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[position] ^= 1;
            assert_eq!(
                unwrap(&kwk, &changed).err(),
                Some(WrapError),
                "octet {position}"
            );
        }
    }

    #[test]
    fn lengths_outside_the_format_are_refused() {
        let kwk = Secret::new(vec![7; 32]);
        assert_eq!(wrap(&kwk, &[]), Err(WrapError));
        assert_eq!(wrap(&kwk, &[0; 257]), Err(WrapError));
        assert!(unwrap(&kwk, &[0; 15]).is_err());
        assert!(unwrap(&kwk, &[0; 272]).is_err());
        assert_eq!(wrap(&Secret::new(vec![7; 24]), &[0; 16]), Err(WrapError));
    }
}
