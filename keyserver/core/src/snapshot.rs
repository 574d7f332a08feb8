//! Octets of commands, outcomes and whole states: a version octet, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CodecError;

/// Writes `value` behind the version octet `format`.
pub(crate) fn encode<T: Serialize>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    postcard::to_extend(value, vec![format]).map_err(CodecError::Encode)
}

/// Reads a value written by [`encode`] with the same version, to the last octet.
pub(crate) fn decode<T: DeserializeOwned>(format: u8, octets: &[u8]) -> Result<T, CodecError> {
    let (&found, rest) = octets.split_first().ok_or(CodecError::Empty)?;
    if found != format {
        return Err(CodecError::Version {
            expected: format,
            found,
        });
    }
    let (value, rest) = postcard::take_from_bytes(rest).map_err(CodecError::Decode)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::Trailing(rest.len()))
    }
}
