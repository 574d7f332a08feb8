//! The key server's logical key hierarchy (RFC 9838 §3.2, Appendix A): a sparse tree of degree four.
//!
//! Leaves are keys of single members, inner nodes are keys shared by everybody below. The root is not stored: it is
//! the Rekey SA's keying material itself. Inner nodes exist only above leaves in use, so a small group costs little
//! and exclusion wraps keys only for subtrees with somebody in them.
//!
//! The tree never draws randomness on its own and never changes behind the owner's back: `plan_*` says which nodes
//! to create and remove, and [`KeyTree::apply`] does it, so that a replicated state machine can agree on the plan
//! first. Every replaced key gets a new Key ID; Key IDs are never reused.

mod position;

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::wrap::{self, WrapError};
use crate::wire::WrappedKey;
use crate::{Entropy, Secret};

pub use position::{DEGREE, DEPTH, LEAVES, Position};

/// Octets of every tree key: the key size of KW_5649_256.
pub const KEY_LENGTH: usize = 32;

/// A node with its key, as exported and as planned.
pub struct TreeNode {
    /// Where it is.
    pub position: Position,
    /// The key's identifier within the group; never zero.
    pub key_id: u32,
    /// The key.
    pub key: Secret,
}

/// A change to the tree: remove first, then create.
pub struct TreeChange {
    /// The next Key ID of the tree the change was planned for; [`KeyTree::apply`] checks it.
    pub planned_from: u32,
    /// The next Key ID afterwards.
    pub next_key_id: u32,
    /// Nodes that disappear.
    pub removed: Vec<Position>,
    /// Nodes that appear, or get a new key.
    pub created: Vec<TreeNode>,
}

/// What a member gets when it registers: a Key Path from the Rekey SA's key down to its own leaf.
pub struct RegistrationKeys {
    /// The Rekey SA's keying material under the member's level 1 key.
    pub sa_key: WrappedKey,
    /// The inner keys, each under the one below it.
    pub wrap_keys: Vec<WrappedKey>,
    /// The member's own key, to be wrapped with GSK_w of its IKE SA.
    pub leaf_key_id: u32,
    /// See `leaf_key_id`.
    pub leaf_key: Secret,
}

/// What an exclusion sends to those who stay.
pub struct ExclusionKeys {
    /// The new Rekey SA's keying material, once for each subtree below the root.
    pub sa_keys: Vec<WrappedKey>,
    /// The replaced inner keys, once for each child.
    pub wrap_keys: Vec<WrappedKey>,
}

/// Why the tree refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyTreeError {
    /// The leaf is outside the tree.
    #[error("leaf {0} is outside the tree")]
    NoSuchLeaf(u32),
    /// The leaf is in use already.
    #[error("leaf {0} is in use")]
    LeafInUse(u32),
    /// The leaf is not in use.
    #[error("leaf {0} is not in use")]
    LeafFree(u32),
    /// The change was planned for another state of the tree.
    #[error("the change was planned for another state of the tree")]
    Stale,
    /// Key IDs are used up; a new group epoch is needed.
    #[error("key IDs are used up")]
    KeyIdsExhausted,
    /// Imported nodes do not form a tree.
    #[error("the nodes do not form a tree")]
    Malformed,
    /// A key could not be wrapped.
    #[error("a key could not be wrapped")]
    Wrap,
}

impl From<WrapError> for KeyTreeError {
    fn from(_: WrapError) -> Self {
        Self::Wrap
    }
}

struct Node {
    key_id: u32,
    key: Secret,
}

/// The tree of one group.
pub struct KeyTree {
    nodes: BTreeMap<Position, Node>,
    next_key_id: u32,
}

impl Default for KeyTree {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyTree {
    /// A tree without members.
    pub fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            next_key_id: 1,
        }
    }

    /// A tree from exported nodes.
    ///
    /// # Errors
    ///
    /// [`KeyTreeError::Malformed`] when a position, Key ID or key size is impossible, a Key ID occurs twice, or a
    /// node lacks its parent.
    pub fn import(
        nodes: impl IntoIterator<Item = TreeNode>,
        next_key_id: u32,
    ) -> Result<Self, KeyTreeError> {
        let mut tree = Self {
            nodes: BTreeMap::new(),
            next_key_id,
        };
        let mut key_ids = BTreeSet::new();
        for node in nodes {
            let acceptable = node.position.is_valid()
                && node.key_id != 0
                && node.key_id < next_key_id
                && node.key.as_bytes().len() == KEY_LENGTH
                && key_ids.insert(node.key_id);
            let node_entry = Node {
                key_id: node.key_id,
                key: node.key,
            };
            if !acceptable || tree.nodes.insert(node.position, node_entry).is_some() {
                return Err(KeyTreeError::Malformed);
            }
        }
        let complete = tree.nodes.keys().all(|position| {
            position
                .parent()
                .is_none_or(|parent| tree.nodes.contains_key(&parent))
        });
        if complete {
            Ok(tree)
        } else {
            Err(KeyTreeError::Malformed)
        }
    }

    /// Every node, in order of position.
    pub fn export(&self) -> impl Iterator<Item = (Position, u32, &Secret)> {
        self.nodes
            .iter()
            .map(|(position, node)| (*position, node.key_id, &node.key))
    }

    /// The next Key ID.
    pub fn next_key_id(&self) -> u32 {
        self.next_key_id
    }

    /// Whether a leaf is in use.
    pub fn contains(&self, leaf: u32) -> bool {
        self.nodes.contains_key(&Position::leaf(leaf))
    }

    /// Leaves in use, in order.
    pub fn leaves(&self) -> impl Iterator<Item = u32> {
        let first = Position::leaf(0);
        self.nodes
            .range(first..)
            .map(|(position, _)| position.index)
    }

    /// The lowest free leaf; `None` when the group is full.
    pub fn free_leaf(&self) -> Option<u32> {
        let mut free = 0;
        for used in self.leaves() {
            if used != free {
                break;
            }
            free += 1;
        }
        (free < LEAVES).then_some(free)
    }

    /// Plans a new member at `leaf`: its own key and whatever inner nodes are missing above it.
    ///
    /// # Errors
    ///
    /// [`KeyTreeError::NoSuchLeaf`], [`KeyTreeError::LeafInUse`], [`KeyTreeError::KeyIdsExhausted`].
    pub fn plan_join(
        &self,
        leaf: u32,
        entropy: &mut dyn Entropy,
    ) -> Result<TreeChange, KeyTreeError> {
        if leaf >= LEAVES {
            return Err(KeyTreeError::NoSuchLeaf(leaf));
        }
        if self.contains(leaf) {
            return Err(KeyTreeError::LeafInUse(leaf));
        }
        let missing = Position::leaf(leaf)
            .path()
            .filter(|position| !self.nodes.contains_key(position));
        self.plan(Vec::new(), missing, entropy)
    }

    /// Plans the exclusion of members: their leaves go, every key they knew is replaced, and inner nodes nobody is
    /// left under go as well.
    ///
    /// # Errors
    ///
    /// [`KeyTreeError::LeafFree`], [`KeyTreeError::KeyIdsExhausted`].
    pub fn plan_exclusion(
        &self,
        leaves: &[u32],
        entropy: &mut dyn Entropy,
    ) -> Result<TreeChange, KeyTreeError> {
        let mut removed = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for &leaf in leaves {
            if !self.contains(leaf) {
                return Err(KeyTreeError::LeafFree(leaf));
            }
            removed.insert(Position::leaf(leaf));
            touched.extend(Position::leaf(leaf).path().skip(1));
        }
        // Ordered by level, so from the back children are settled before their parents.
        for &position in touched.iter().rev() {
            let occupied = position
                .children()
                .any(|child| self.nodes.contains_key(&child) && !removed.contains(&child));
            if !occupied {
                removed.insert(position);
            }
        }
        touched.retain(|position| !removed.contains(position));
        self.plan(removed.into_iter().collect(), touched.into_iter(), entropy)
    }

    fn plan(
        &self,
        removed: Vec<Position>,
        created: impl Iterator<Item = Position>,
        entropy: &mut dyn Entropy,
    ) -> Result<TreeChange, KeyTreeError> {
        let mut next_key_id = self.next_key_id;
        let mut nodes = Vec::new();
        for position in created {
            let key_id = next_key_id;
            next_key_id = next_key_id
                .checked_add(1)
                .ok_or(KeyTreeError::KeyIdsExhausted)?;
            nodes.push(TreeNode {
                position,
                key_id,
                key: Secret::random(KEY_LENGTH, entropy),
            });
        }
        Ok(TreeChange {
            planned_from: self.next_key_id,
            next_key_id,
            removed,
            created: nodes,
        })
    }

    /// Carries out a plan.
    ///
    /// # Errors
    ///
    /// [`KeyTreeError::Stale`] when the plan was made for another state; the tree is unchanged.
    pub fn apply(&mut self, change: &TreeChange) -> Result<(), KeyTreeError> {
        let removable = change
            .removed
            .iter()
            .all(|position| self.nodes.contains_key(position));
        let creatable = change.created.iter().all(|node| node.position.is_valid());
        if change.planned_from != self.next_key_id || !removable || !creatable {
            return Err(KeyTreeError::Stale);
        }
        for position in &change.removed {
            self.nodes.remove(position);
        }
        for node in &change.created {
            self.nodes.insert(
                node.position,
                Node {
                    key_id: node.key_id,
                    key: node.key.duplicate(),
                },
            );
        }
        self.next_key_id = change.next_key_id;
        Ok(())
    }

    /// The Key Path of a member for its registration (RFC 9838 Appendix A.2).
    ///
    /// # Errors
    ///
    /// [`KeyTreeError::LeafFree`] when nobody has the leaf.
    pub fn registration_keys(
        &self,
        leaf: u32,
        rekey_sa_key: &Secret,
    ) -> Result<RegistrationKeys, KeyTreeError> {
        let own = self
            .nodes
            .get(&Position::leaf(leaf))
            .ok_or(KeyTreeError::LeafFree(leaf))?;
        let mut wrap_keys = Vec::new();
        let mut below = own;
        for position in Position::leaf(leaf).path().skip(1) {
            let node = self.nodes.get(&position).ok_or(KeyTreeError::Malformed)?;
            wrap_keys.push(wrapped(node.key_id, &node.key, below)?);
            below = node;
        }
        wrap_keys.reverse();
        Ok(RegistrationKeys {
            sa_key: wrapped(0, rekey_sa_key, below)?,
            wrap_keys,
            leaf_key_id: own.key_id,
            leaf_key: own.key.duplicate(),
        })
    }

    /// The keys that let everybody but the excluded follow `change`, which was applied already, to a new Rekey SA
    /// (RFC 9838 Appendix A.4). Nothing is wrapped with a key the excluded knew.
    ///
    /// # Errors
    ///
    /// [`KeyTreeError::Malformed`] when `change` is not what was applied last.
    pub fn exclusion_keys(
        &self,
        change: &TreeChange,
        new_rekey_sa_key: &Secret,
    ) -> Result<ExclusionKeys, KeyTreeError> {
        let mut wrap_keys = Vec::new();
        for created in &change.created {
            let node = self
                .nodes
                .get(&created.position)
                .ok_or(KeyTreeError::Malformed)?;
            if node.key_id != created.key_id || created.position.level == DEPTH {
                return Err(KeyTreeError::Malformed);
            }
            for child in created.position.children() {
                if let Some(child) = self.nodes.get(&child) {
                    wrap_keys.push(wrapped(node.key_id, &node.key, child)?);
                }
            }
        }
        let mut sa_keys = Vec::new();
        for index in 0..DEGREE {
            if let Some(node) = self.nodes.get(&Position { level: 1, index }) {
                sa_keys.push(wrapped(0, new_rekey_sa_key, node)?);
            }
        }
        Ok(ExclusionKeys { sa_keys, wrap_keys })
    }
}

/// `key` under the key of `under`.
fn wrapped(key_id: u32, key: &Secret, under: &Node) -> Result<WrappedKey, KeyTreeError> {
    Ok(WrappedKey {
        key_id,
        kwk_id: under.key_id,
        encrypted: wrap::wrap(&under.key, key.as_bytes())?,
    })
}
