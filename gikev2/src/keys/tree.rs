//! A member's way through the logical key hierarchy: its Working Key Path (RFC 9838 §3.3).

use std::collections::BTreeSet;

use crate::Secret;
use crate::wire::WrappedKey;

use super::wrap;

/// Longest chain of keys that is followed.
const MOST_STEPS: usize = 64;
/// Most wrapped keys of one message that are looked at.
const MOST_KEYS: usize = 4096;

/// Why no key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// No chain of keys leads from the Rekey SA's key to a key we hold: we were excluded.
    #[error("no key path to a key that is held")]
    NoPath,
    /// A chain was found, but a key on it does not unwrap. Uniform on purpose.
    #[error("a key on the path cannot be unwrapped")]
    Unwrap,
    /// There are more wrapped keys than any tree needs.
    #[error("too many wrapped keys")]
    TooMany,
}

struct PathKey {
    key_id: u32,
    key: Secret,
}

/// The keys from just below the Rekey SA's key to our leaf. Empty without a key tree.
#[derive(Default)]
pub struct WorkingKeyPath {
    keys: Vec<PathKey>,
}

/// What [`WorkingKeyPath::follow`] found.
pub struct Found {
    /// The Rekey SA's keying material.
    pub key: Secret,
    /// The path to hold from now on; `None` when the one that is held stays.
    pub path: Option<WorkingKeyPath>,
}

impl WorkingKeyPath {
    /// A path without keys.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The Key IDs, from the one nearest the root to the leaf.
    pub fn key_ids(&self) -> impl Iterator<Item = u32> {
        self.keys.iter().map(|key| key.key_id)
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Finds the Rekey SA's keying material among `sa_keys` and the path that belongs to it afterwards. Nothing
    /// changes here: the caller puts the returned path in place of this one once the whole message is accepted.
    ///
    /// `wrap_keys` are the WRAP_KEYs of the same message, `default` is GSK_w of the SA that carries it.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn follow(
        &self,
        default: &Secret,
        sa_keys: &[WrappedKey],
        wrap_keys: &[WrappedKey],
    ) -> Result<Found, TreeError> {
        if sa_keys.len().saturating_add(wrap_keys.len()) > MOST_KEYS {
            return Err(TreeError::TooMany);
        }
        let mut outcome = TreeError::NoPath;
        for sa_key in sa_keys {
            match self.climb(sa_key, wrap_keys, default) {
                Ok(found) => return Ok(found),
                Err(TreeError::NoPath) => {}
                Err(error) => outcome = error,
            }
        }
        Err(outcome)
    }

    /// Walks from one SA_KEY to a key that is held, then unwraps on the way back.
    fn climb(
        &self,
        sa_key: &WrappedKey,
        wrap_keys: &[WrappedKey],
        default: &Secret,
    ) -> Result<Found, TreeError> {
        let mut chain = vec![sa_key];
        let mut visited = BTreeSet::new();
        let held = self
            .search(&mut chain, &mut visited, wrap_keys)
            .ok_or(TreeError::NoPath)?;

        // Unwrap from the held key upwards; the last one is the Rekey SA's own.
        let mut key = held
            .and_then(|at| self.keys.get(at))
            .map_or(default, |held| &held.key)
            .duplicate();
        let mut new_keys = Vec::with_capacity(chain.len());
        for wrapped in chain.iter().rev() {
            key = wrap::unwrap(&key, &wrapped.encrypted).map_err(|_| TreeError::Unwrap)?;
            new_keys.push(PathKey {
                key_id: wrapped.key_id,
                key: key.duplicate(),
            });
        }
        new_keys.pop();
        new_keys.reverse();

        // RFC 9838 §3.3: a new path that ends at GSK_w replaces everything; one that ends at a held key replaces what
        // was in front of it; no new key changes nothing.
        if new_keys.is_empty() {
            return Ok(Found { key, path: None });
        }
        let kept = held.and_then(|at| self.keys.get(at..)).unwrap_or_default();
        new_keys.extend(kept.iter().map(|kept| PathKey {
            key_id: kept.key_id,
            key: kept.key.duplicate(),
        }));
        Ok(Found {
            key,
            path: Some(Self { keys: new_keys }),
        })
    }

    /// Depth-first: several WRAP_KEYs may carry the same key for different subtrees. Answers the position of the held
    /// key the chain ends at; `Some(None)` is GSK_w.
    fn search<'m>(
        &self,
        chain: &mut Vec<&'m WrappedKey>,
        visited: &mut BTreeSet<u32>,
        wrap_keys: &'m [WrappedKey],
    ) -> Option<Option<usize>> {
        let wanted = chain.last()?.kwk_id;
        if wanted == 0 {
            return Some(None);
        }
        if let Some(at) = self.keys.iter().position(|held| held.key_id == wanted) {
            return Some(Some(at));
        }
        if chain.len() >= MOST_STEPS || !visited.insert(wanted) {
            return None;
        }
        for candidate in wrap_keys
            .iter()
            .filter(|candidate| candidate.key_id == wanted)
        {
            chain.push(candidate);
            if let Some(found) = self.search(chain, visited, wrap_keys) {
                return Some(found);
            }
            chain.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(octet: u8) -> Secret {
        Secret::new(vec![octet; 32])
    }

    fn wrapped(key_id: u32, kwk_id: u32, under: &Secret, content: &[u8]) -> WrappedKey {
        WrappedKey {
            key_id,
            kwk_id,
            encrypted: wrap::wrap(under, content).expect("fits"),
        }
    }

    /// RFC 9838 Appendix A.2: GM A's registration.
    fn registered() -> Found {
        let sa_keys = [wrapped(0, 1, &key(1), &[0xa1; 68])];
        let wrap_keys = [
            wrapped(1, 3, &key(3), &[1; 32]),
            wrapped(3, 7, &key(7), &[3; 32]),
            wrapped(7, 0, &key(200), &[7; 32]),
        ];
        WorkingKeyPath::empty()
            .follow(&key(200), &sa_keys, &wrap_keys)
            .unwrap_or_else(|error| panic!("a path to GSK_w: {error}"))
    }

    #[test]
    fn a_registration_stores_the_path_from_root_to_leaf() {
        let found = registered();
        assert!(found.key.matches(&[0xa1; 68]));
        let path = found.path.expect("new keys");
        assert_eq!(path.key_ids().collect::<Vec<_>>(), [1, 3, 7]);
    }

    #[test]
    fn a_rekey_without_membership_change_keeps_the_path() {
        let path = registered().path.expect("new keys");
        let found = path
            .follow(&key(50), &[wrapped(0, 0, &key(50), &[0xa2; 68])], &[])
            .unwrap_or_else(|error| panic!("wrapped with GSK_w: {error}"));
        assert!(found.key.matches(&[0xa2; 68]));
        assert!(found.path.is_none());
    }

    /// RFC 9838 Appendix A.4 seen by E, whose parent 5 and grandparent 2 are replaced by 16 and 15.
    #[test]
    fn keys_above_the_held_one_are_replaced() {
        let path = WorkingKeyPath {
            keys: [(2, 2), (5, 5), (11, 11)]
                .map(|(key_id, octet)| PathKey {
                    key_id,
                    key: key(octet),
                })
                .into(),
        };
        let sa_keys = [
            wrapped(0, 1, &key(1), &[0xa3; 68]),
            wrapped(0, 15, &key(15), &[0xa3; 68]),
        ];
        let wrap_keys = [
            wrapped(15, 6, &key(6), &[15; 32]),
            wrapped(15, 16, &key(16), &[15; 32]),
            wrapped(16, 11, &key(11), &[16; 32]),
        ];
        let found = path
            .follow(&key(99), &sa_keys, &wrap_keys)
            .unwrap_or_else(|error| panic!("E stays: {error}"));
        assert!(found.key.matches(&[0xa3; 68]));
        let path = found.path.expect("new keys");
        assert_eq!(path.key_ids().collect::<Vec<_>>(), [15, 16, 11]);
    }

    #[test]
    fn the_excluded_member_finds_no_path() {
        let path = WorkingKeyPath {
            keys: [(2, 2), (5, 5), (12, 12)]
                .map(|(key_id, octet)| PathKey {
                    key_id,
                    key: key(octet),
                })
                .into(),
        };
        let sa_keys = [
            wrapped(0, 1, &key(1), &[0xa3; 68]),
            wrapped(0, 15, &key(15), &[0xa3; 68]),
        ];
        let wrap_keys = [
            wrapped(15, 16, &key(16), &[15; 32]),
            wrapped(16, 11, &key(11), &[16; 32]),
        ];
        assert_eq!(
            path.follow(&key(99), &sa_keys, &wrap_keys).err(),
            Some(TreeError::NoPath)
        );
    }

    #[test]
    fn a_circle_of_keys_ends() {
        let sa_keys = [wrapped(0, 1, &key(1), &[0; 68])];
        let wrap_keys = [
            wrapped(1, 2, &key(2), &[1; 32]),
            wrapped(2, 1, &key(1), &[2; 32]),
        ];
        assert_eq!(
            WorkingKeyPath::empty()
                .follow(&key(9), &sa_keys, &wrap_keys)
                .err(),
            Some(TreeError::NoPath)
        );
    }
}
