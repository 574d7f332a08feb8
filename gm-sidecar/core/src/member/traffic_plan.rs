//! What the kernel must do with packets of the protected interfaces, as plain data.
//!
//! The guard (kernel drop rules) and the routing are two readings of one [`TrafficPlan`], so they
//! can never disagree about a flow. The plan holds no key and says nothing about how a packet is
//! encrypted.

use crate::spd::Selector;

/// What an entry of the merged list asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The flow travels in clear (the group's Deny, or a local bypass).
    Clear,
    /// The flow is the group's: it must never be seen in clear.
    Protect {
        /// Packets we send are encrypted; a clear one is dropped. False when the group or the
        /// member only receives (migration): then the flow is sent in clear.
        outbound: bool,
        /// A packet that arrives in clear is dropped. False when clear is still accepted.
        inbound: bool,
    },
}

/// Where an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The member's own bypass list, written from the member's point of view: an arriving packet
    /// is compared with source and destination exchanged.
    Local,
    /// The access list of the group with this group identification number.
    Group(u32),
}

/// One entry of the merged list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEntry {
    /// Local or the group's.
    pub origin: Origin,
    /// Clear or protected.
    pub treatment: Treatment,
    /// The packets meant.
    pub selector: Selector,
}

/// The merged policy of all groups of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficPlan {
    /// Everything not explicitly allowed is dropped, because at least one group has never been
    /// registered and the member fails closed.
    pub closed: bool,
    /// What no entry decides goes in clear although a group may protect it, because at least one group has never been
    /// registered and the member fails open.
    pub exposed: bool,
    /// Flows that go in clear while `closed`, from the member's point of view.
    pub allow_clear: Vec<Selector>,
    /// The list: local bypass first, then each group's access list; first match wins.
    pub entries: Vec<PlanEntry>,
}

impl TrafficPlan {
    /// The plan before any registration.
    ///
    /// With `closed`, everything but `allow_clear` is dropped; otherwise nothing is.
    pub fn before_registration(closed: bool, allow_clear: Vec<Selector>) -> Self {
        Self {
            closed,
            exposed: !closed,
            allow_clear,
            entries: Vec::new(),
        }
    }

    /// Entries that send packets into the data path or past it, in order: what routing needs.
    ///
    /// A flow that is only received encrypted is sent in clear, so here it counts as clear.
    pub fn outbound(&self) -> impl Iterator<Item = (bool, &Selector)> {
        self.entries.iter().map(|entry| {
            let protect = match entry.treatment {
                Treatment::Clear => false,
                Treatment::Protect { outbound, .. } => outbound,
            };
            (protect, &entry.selector)
        })
    }

    /// Selectors of protected flows, whether sent or received.
    pub fn protected(&self) -> impl Iterator<Item = &Selector> {
        self.entries
            .iter()
            .filter(|entry| matches!(entry.treatment, Treatment::Protect { .. }))
            .map(|entry| &entry.selector)
    }
}
