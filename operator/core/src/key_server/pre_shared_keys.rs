//! From the Secret that a group names to the key servers' file of pre-shared keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zeroize::Zeroizing;

/// Entry of the Secret with the key of all pods of the namespace.
pub const PODS: &str = "key";

/// Fewest hexadecimal digits of a key.
const FEWEST_DIGITS: usize = 32;

/// Why the Secret cannot be used. No message shows a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreSharedKeyError {
    /// It has no entries.
    #[error(
        "Secret `{0}` has no entries; put the key of the namespace's pods under `key`, in hexadecimal"
    )]
    Empty(String),
    /// An entry is no key.
    #[error(
        "Secret `{secret}`: `{entry}` is no key; write at least 32 hexadecimal digits, for example from `openssl rand -hex 32`"
    )]
    Malformed {
        /// The Secret.
        secret: String,
        /// The entry.
        entry: String,
    },
}

/// The file in YAML. The entry [`PODS`] is the key of every pod of `namespace` with a sidecar; any other entry is
/// called as the host name of the member, outside the cluster, whose key it is.
///
/// # Errors
/// [`PreSharedKeyError`].
pub fn file(
    secret: &str,
    namespace: &str,
    entries: &BTreeMap<String, Vec<u8>>,
) -> Result<Zeroizing<String>, PreSharedKeyError> {
    if entries.is_empty() {
        return Err(PreSharedKeyError::Empty(secret.to_owned()));
    }
    // Room for all of it: a text that grows would leave copies behind.
    let room = entries
        .iter()
        .map(|(entry, key)| entry.len() + key.len() + 256);
    let mut file = Zeroizing::new(String::with_capacity(room.sum()));
    // Exact names first: they go before the pattern.
    let (pods, named): (Vec<_>, Vec<_>) = entries.iter().partition(|(entry, _)| *entry == PODS);
    for (entry, key) in named.into_iter().chain(pods) {
        let identity = if entry == PODS {
            operator_api::pod::identity("*", namespace)
        } else {
            entry.clone()
        };
        let digits = std::str::from_utf8(key)
            .ok()
            .map(str::trim)
            .filter(|digits| {
                digits.len() >= FEWEST_DIGITS
                    && digits.len().is_multiple_of(2)
                    && digits.bytes().all(|octet| octet.is_ascii_hexdigit())
            })
            .ok_or_else(|| PreSharedKeyError::Malformed {
                secret: secret.to_owned(),
                entry: entry.clone(),
            })?;
        // Names of entries have letters, digits, '-', '_' and '.' only: nothing to escape.
        write!(
            file,
            "- identity: {{ type: FQDN, value: \"{identity}\" }}\n  key: \"{digits}\"\n"
        )
        .expect("a String takes everything");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        let pairs = pairs.iter();
        pairs
            .map(|(entry, key)| ((*entry).to_owned(), key.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn the_key_of_pods_is_a_pattern_and_comes_after_exact_names() {
        let digits = "00112233445566778899aabbccddeeff";
        let file = file(
            "psk",
            "wan",
            &entries(&[
                ("key", &format!("{digits}\n")),
                ("gw-1.example.com", digits),
            ]),
        );
        assert_eq!(
            file.as_ref().map(|file| file.as_str()),
            Ok(
                "- identity: { type: FQDN, value: \"gw-1.example.com\" }\n  key: \"00112233445566778899aabbccddeeff\"\n- identity: { type: FQDN, value: \"*.wan.member.getvpn\" }\n  key: \"00112233445566778899aabbccddeeff\"\n"
            )
        );
    }

    #[test]
    fn what_is_no_key_is_named_and_not_shown() {
        for key in [
            "",
            "0011",
            "secret passphrase that is long enough to be one",
        ] {
            let error = file("psk", "wan", &entries(&[("key", key)])).expect_err("no key");
            let text = error.to_string();
            assert!(text.contains("`psk`") && text.contains("`key`"), "{text}");
            assert!(key.is_empty() || !text.contains(key), "{text}");
        }
        let empty = file("psk", "wan", &BTreeMap::new());
        assert_eq!(empty, Err(PreSharedKeyError::Empty("psk".to_owned())));
    }
}
