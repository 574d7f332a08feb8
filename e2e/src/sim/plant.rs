//! Defects put into a world on purpose: each is a mistake that a product like this could make.

use super::audit::Rule;

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A member goes on from a copy of itself (a resumed virtual machine, a restored container): its counters run again.
    RestoredMember,
    /// Two members are given the same Sender-ID.
    SharedSenderId,
    /// A key server sends a rekey before it is committed.
    WireBeforeCommit,
    /// A key server that was deposed goes on alone, with a log of its own.
    TwoPrimaries,
    /// A key server comes back with an old disk, is believed, and leads.
    RolledBackDisk,
    /// A member opens before it has keys.
    OpenMember,
    /// The packet path of a member does not see time pass.
    StoppedClock,
    /// A member hears nothing of the control plane any more, and does not notice.
    DeafMember,
    /// A member that was evicted gets the keys that come afterwards.
    EvictedKeepsKeys,
    /// A member drops packets although it holds their key.
    LosingMember,
    /// Two different rekeys have the same Message ID.
    RepeatedMessageId,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::RestoredMember,
        Self::SharedSenderId,
        Self::WireBeforeCommit,
        Self::TwoPrimaries,
        Self::RolledBackDisk,
        Self::OpenMember,
        Self::StoppedClock,
        Self::DeafMember,
        Self::EvictedKeepsKeys,
        Self::LosingMember,
        Self::RepeatedMessageId,
    ];

    /// The rules that may find it.
    #[must_use]
    pub fn found_by(self) -> &'static [Rule] {
        match self {
            Self::RestoredMember => &[Rule::NonceOnce],
            Self::SharedSenderId => &[Rule::SenderIdOnce],
            Self::WireBeforeCommit | Self::TwoPrimaries => &[Rule::CommitBeforeWire],
            Self::RolledBackDisk => &[
                Rule::SenderIdOnce,
                Rule::MessageIdOnce,
                Rule::CommitBeforeWire,
                Rule::KeyCommitted,
                Rule::OneOutcome,
            ],
            Self::OpenMember => &[Rule::NothingInClear],
            Self::StoppedClock => &[Rule::KeyInItsTime],
            Self::DeafMember => &[Rule::Converges],
            Self::EvictedKeepsKeys => &[Rule::EvictedHoldsNothingNew],
            Self::LosingMember => &[Rule::NothingLost, Rule::Converges],
            Self::RepeatedMessageId => &[Rule::MessageIdOnce],
        }
    }
}
