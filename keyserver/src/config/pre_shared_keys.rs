//! The file with one key per member.

use std::path::Path;

use keyserver_api::identity::IdentityPattern;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{ConfigError, parse, read};

/// One pre-shared key.
pub struct PreSharedKey {
    /// The member.
    pub identity: IdentityPattern,
    /// At least 16 octets.
    pub key: Zeroizing<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PreSharedKeyFile {
    identity: IdentityPattern,
    key: String,
}

/// Reads the pre-shared keys in `path`.
///
/// # Errors
/// [`ConfigError`], which never shows a key.
pub fn pre_shared_keys(path: &Path) -> Result<Vec<PreSharedKey>, ConfigError> {
    let text = Zeroizing::new(read(path)?);
    let entries: Vec<PreSharedKeyFile> = parse(&text, path)?;
    let mut keys = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let digits = Zeroizing::new(entry.key);
        let refuse = |what: &str| ConfigError::Field {
            path: path.to_owned(),
            field: format!("[{index}].key of {}", entry.identity),
            what: what.to_owned(),
        };
        let key = Zeroizing::new(hex::decode(digits.trim()).map_err(|_| {
            refuse("is not hexadecimal; write an even number of digits 0-9 and a-f")
        })?);
        if key.len() < 16 {
            return Err(refuse(
                "has fewer than 32 hexadecimal digits; use at least 16 random octets, for example from `openssl rand -hex 32`",
            ));
        }
        keys.push(PreSharedKey {
            identity: entry.identity,
            key,
        });
    }
    Ok(keys)
}
