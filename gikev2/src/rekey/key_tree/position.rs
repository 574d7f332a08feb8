//! Places in the key tree: which node is above which.

/// Children of a node.
pub const DEGREE: u32 = 4;

/// Levels below the root; leaves are at this level.
pub const DEPTH: u8 = 7;

/// Leaves of a full tree: the most members a group with a key tree can have.
pub const LEAVES: u32 = DEGREE.pow(DEPTH as u32);

/// Where a node is. Level 1 is just below the root; a node of index *i* has the children 4*i* to 4*i* + 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// 1 to [`DEPTH`].
    pub level: u8,
    /// From zero, within the level.
    pub index: u32,
}

impl Position {
    /// The position of a leaf.
    pub fn leaf(leaf: u32) -> Self {
        Self {
            level: DEPTH,
            index: leaf,
        }
    }

    pub(super) fn parent(self) -> Option<Self> {
        (self.level > 1).then(|| Self {
            level: self.level - 1,
            index: self.index / DEGREE,
        })
    }

    pub(super) fn children(self) -> impl Iterator<Item = Self> {
        let level = self.level + 1;
        (0..DEGREE).map(move |child| Self {
            level,
            index: self.index * DEGREE + child,
        })
    }

    /// From the node itself to level 1.
    pub(super) fn path(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |position| position.parent())
    }

    pub(super) fn is_valid(self) -> bool {
        (1..=DEPTH).contains(&self.level) && self.index < DEGREE.pow(u32::from(self.level))
    }
}
