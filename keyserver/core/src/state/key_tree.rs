//! The logical key hierarchy of a group as replicated state (RFC 9838 §3.2).
//!
//! The tree itself is the protocol library's; here it becomes part of commands and snapshots.

use gikev2::Entropy;
use gikev2::rekey::key_tree::{
    DEPTH, KEY_LENGTH, KeyTree, KeyTreeError, LEAVES, Position, TreeChange, TreeNode,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::SecretBytes;

/// Octets of randomness that any registration can need: a key for each level.
pub const JOIN_ENTROPY_OCTETS: usize = DEPTH as usize * KEY_LENGTH;

/// A node of the tree in octets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredNode {
    level: u8,
    index: u32,
    key_id: u32,
    key: SecretBytes,
}

impl StoredNode {
    fn of(node: &TreeNode) -> Self {
        let Position { level, index } = node.position;
        Self {
            level,
            index,
            key_id: node.key_id,
            key: SecretBytes::from(&node.key),
        }
    }

    fn to_node(&self) -> TreeNode {
        TreeNode {
            position: Position {
                level: self.level,
                index: self.index,
            },
            key_id: self.key_id,
            key: self.key.to_secret(),
        }
    }
}

/// A change of the tree in octets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeUpdate {
    planned_from: u32,
    next_key_id: u32,
    removed: Vec<(u8, u32)>,
    created: Vec<StoredNode>,
}

impl TreeUpdate {
    /// Leaves the change takes away.
    pub fn removed_leaves(&self) -> impl Iterator<Item = u32> + '_ {
        self.removed
            .iter()
            .filter(|(level, _)| *level == DEPTH)
            .map(|(_, index)| *index)
    }

    /// The change for the protocol library's tree.
    pub(crate) fn to_change(&self) -> TreeChange {
        TreeChange {
            planned_from: self.planned_from,
            next_key_id: self.next_key_id,
            removed: self
                .removed
                .iter()
                .map(|&(level, index)| Position { level, index })
                .collect(),
            created: self.created.iter().map(StoredNode::to_node).collect(),
        }
    }
}

impl From<&TreeChange> for TreeUpdate {
    fn from(change: &TreeChange) -> Self {
        Self {
            planned_from: change.planned_from,
            next_key_id: change.next_key_id,
            removed: change
                .removed
                .iter()
                .map(|position| (position.level, position.index))
                .collect(),
            created: change.created.iter().map(StoredNode::of).collect(),
        }
    }
}

/// The tree of one group.
#[derive(Default)]
pub struct GroupTree {
    tree: KeyTree,
    /// Every leaf below this one is in use. Only saves looking; the lowest free leaf is the same whatever it is.
    used_below: u32,
}

impl GroupTree {
    /// The tree.
    pub fn tree(&self) -> &KeyTree {
        &self.tree
    }

    /// A second tree of the same content, to plan on.
    ///
    /// # Errors
    /// None in practice: what was exported can be imported.
    pub fn duplicate(&self) -> Result<KeyTree, KeyTreeError> {
        let nodes = self.tree.export().map(|(position, key_id, key)| TreeNode {
            position,
            key_id,
            key: key.duplicate(),
        });
        KeyTree::import(nodes, self.tree.next_key_id())
    }

    /// Puts a member on a free leaf with keys made from `entropy`; the leaf, or `None` when the tree is full.
    pub(crate) fn join(&mut self, entropy: &SecretBytes) -> Option<u32> {
        let leaf = (self.used_below..LEAVES).find(|leaf| !self.tree.contains(*leaf))?;
        self.used_below = leaf;
        let change = self
            .tree
            .plan_join(leaf, &mut Supplied::new(entropy)?)
            .ok()?;
        self.tree.apply(&change).ok()?;
        Some(leaf)
    }

    /// Gives the member on `leaf` a new leaf key made from `entropy`. Its inner keys stay: it knew them before.
    pub(crate) fn rejoin(&mut self, leaf: u32, entropy: &SecretBytes) -> Option<()> {
        let position = Position::leaf(leaf);
        if !self.tree.contains(leaf) {
            return None;
        }
        let key_id = self.tree.next_key_id();
        let mut key = vec![0; KEY_LENGTH];
        Supplied::new(entropy)?.fill(&mut key);
        let change = TreeChange {
            planned_from: key_id,
            next_key_id: key_id.checked_add(1)?,
            removed: vec![position],
            created: vec![TreeNode {
                position,
                key_id,
                key: gikev2::Secret::new(key),
            }],
        };
        self.tree.apply(&change).ok()
    }

    /// Carries out a planned change.
    pub(crate) fn apply(&mut self, update: &TreeUpdate) -> Result<(), KeyTreeError> {
        self.tree.apply(&update.to_change())?;
        self.used_below = update.removed_leaves().fold(self.used_below, u32::min);
        Ok(())
    }
}

impl Clone for GroupTree {
    fn clone(&self) -> Self {
        Self {
            tree: self.duplicate().expect("an exported tree can be imported"),
            used_below: self.used_below,
        }
    }
}

impl std::fmt::Debug for GroupTree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "GroupTree({} leaves)",
            self.tree.leaves().count()
        )
    }
}

impl PartialEq for GroupTree {
    fn eq(&self, other: &Self) -> bool {
        self.tree.next_key_id() == other.tree.next_key_id()
            && self.tree.export().eq(other.tree.export())
    }
}

impl Serialize for GroupTree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes: Vec<_> = self
            .tree
            .export()
            .map(|(position, key_id, key)| StoredNode {
                level: position.level,
                index: position.index,
                key_id,
                key: SecretBytes::from(key),
            })
            .collect();
        (self.tree.next_key_id(), nodes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GroupTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (next_key_id, nodes) = <(u32, Vec<StoredNode>)>::deserialize(deserializer)?;
        KeyTree::import(nodes.iter().map(StoredNode::to_node), next_key_id)
            .map(|tree| Self {
                tree,
                used_below: 0,
            })
            .map_err(serde::de::Error::custom)
    }
}

/// Randomness that came with a command. It has as many octets as a registration can need at most.
struct Supplied<'a>(&'a [u8]);

impl<'a> Supplied<'a> {
    fn new(octets: &'a SecretBytes) -> Option<Self> {
        (octets.as_bytes().len() == JOIN_ENTROPY_OCTETS).then_some(Self(octets.as_bytes()))
    }
}

impl Entropy for Supplied<'_> {
    fn fill(&mut self, out: &mut [u8]) {
        let (taken, rest) = self.0.split_at(out.len());
        out.copy_from_slice(taken);
        self.0 = rest;
    }
}
