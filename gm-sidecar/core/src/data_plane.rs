//! What the packet path needs to know, as one immutable value that is swapped whole.
//!
//! The member's state machine builds a [`DataPlane`] after every registration, rekey and
//! deletion; the packet threads never see half of a change. Whatever must outlive a swap (the
//! IV counters, the replay windows, the counters per SA) is kept by the packet path, by SPI and key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sad::{KeyMaterial, SenderId, Spi};
use crate::spd::{Rule, Selector};

/// Everything the packet path enforces from the moment it is installed.
#[derive(Debug, Default, Clone)]
pub struct DataPlane {
    /// The member's own exclusions; they come before the rules of every group.
    pub local_bypass: Vec<Selector>,
    /// The groups, in order of precedence; a [`SecurityAssociation`] names its group by index.
    pub groups: Vec<Group>,
    /// The Data-Security SAs, current and staged, of all groups, in any order.
    pub associations: Vec<Arc<SecurityAssociation>>,
    /// Octets of the largest outer packet; `None` for the link MTU given at start.
    pub link_mtu: Option<u16>,
}

/// Policy of one group.
#[derive(Debug, Clone)]
pub struct Group {
    /// The group's number, for status only.
    pub group_id: u32,
    /// Whether this member may send.
    pub direction: Direction,
    /// The group's access list; the first matching rule decides.
    pub rules: Vec<Rule>,
    /// The group's pseudotime; required by SAs with a time window.
    pub pseudotime: Option<Pseudotime>,
}

/// Which way a group's SAs are used by this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Sends and receives.
    #[default]
    Both,
    /// Opens what others seal, never seals.
    ReceiveOnly,
}

/// A group's pseudotime, in milliseconds, as known at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pseudotime {
    /// When `milliseconds` was true.
    pub at: Instant,
    /// The pseudotime at that instant.
    pub milliseconds: u64,
}

impl Pseudotime {
    /// The pseudotime at `now`, in milliseconds; before `at` it runs backwards to no less than 0.
    pub fn milliseconds_at(&self, now: Instant) -> u64 {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        match now.checked_duration_since(self.at) {
            Some(later) => self.milliseconds.saturating_add(millis(later)),
            None => self
                .milliseconds
                .saturating_sub(millis(self.at.saturating_duration_since(now))),
        }
    }
}

/// One Data-Security SA: one TEK, one SPI, one address family (RFC 9838 §2.4.1.3).
#[derive(Debug)]
pub struct SecurityAssociation {
    /// The SPI on the wire.
    pub spi: Spi,
    /// Index into [`DataPlane::groups`].
    pub group: usize,
    /// The number by which rules name the SA ([`crate::spd::Action::Protect`]).
    pub association: u16,
    /// IP version of the packets it carries.
    pub family: Family,
    /// Algorithm, key and salt.
    pub key: KeyMaterial,
    /// Bits of the Sender-ID at the top of the IV: 8, 12, 16, 24 or 32.
    pub sender_id_bits: u8,
    /// Our Sender-ID; `None` when we may not seal with this SA.
    pub sender_id: Option<SenderId>,
    /// From here on senders use it.
    pub activate_at: Instant,
    /// From here on senders do not use it.
    pub stop_sending_at: Instant,
    /// From here on receivers refuse it.
    pub delete_at: Instant,
    /// Which packets are refused as repeated or late.
    pub anti_replay: AntiReplay,
    /// The form on the wire.
    pub encapsulation: Encapsulation,
}

/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Replay protection of one SA; both may be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AntiReplay {
    /// Accept a packet only if its pseudotime differs from ours by no more than this; when set,
    /// every packet of the SA carries an IP-D3P header. Whole milliseconds.
    pub time_window: Option<Duration>,
    /// Keep a sliding bitmap per Sender-ID on the authenticated IV counter.
    pub sender_window: bool,
}

impl AntiReplay {
    /// No protection.
    pub const NONE: Self = Self {
        time_window: None,
        sender_window: false,
    };

    /// Pseudotime window, and a bitmap per sender inside it.
    pub const fn time(window: Duration) -> Self {
        Self {
            time_window: Some(window),
            sender_window: true,
        }
    }

    /// A bitmap per sender only.
    pub const COUNTER: Self = Self {
        time_window: None,
        sender_window: true,
    };
}

/// How ESP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Encapsulation {
    /// In UDP to port 4500 (RFC 3948), outer addresses those of the inner packet.
    #[default]
    Udp,
    /// IP protocol 50.
    Raw,
}
