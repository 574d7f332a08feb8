//! One member of several groups: its memberships, and what they amount to together.
//!
//! The merged list is the member's own bypass list, then the list of each group in the order in
//! which the groups were named; the first entry that matches decides.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use gikev2::exchange::datagram::without_marker;
use gikev2::wire::ExchangeType;
use gikev2::{Entropy, Transmit};

use super::event::MemberEvent;
use super::membership::Membership;
use super::settings::{FailureMode, GroupSettings};
use super::skew::SkewWatch;
use super::status::MembershipStatus;
use super::traffic_plan::{Origin, PlanEntry, TrafficPlan, Treatment};
use crate::data_plane::DataPlane;
use crate::sad::Spi;
use crate::spd::Selector;

/// Octet of an IKE header that holds the exchange type (RFC 7296 §3.1).
const EXCHANGE_TYPE: usize = 18;

/// A member of one or more groups.
pub struct GroupMember {
    memberships: Vec<Membership>,
    failure_mode: FailureMode,
    allow_clear: Vec<Selector>,
    /// Goodbyes of memberships that were given up.
    farewells: VecDeque<Transmit>,
    /// Whether the list of groups or what goes in clear changed.
    changed: bool,
    skew: SkewWatch,
}

/// What new settings changed, by group identification number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// Groups that are new; each registers at once.
    pub added: Vec<u32>,
    /// Groups that were left; their keys are gone.
    pub removed: Vec<u32>,
    /// Groups that were there before and register again.
    pub registering: Vec<u32>,
}

impl GroupMember {
    /// A member of `groups`, which registers with each at once. `allow_clear` goes in clear before
    /// the first registration.
    pub fn new(
        groups: Vec<GroupSettings>,
        failure_mode: FailureMode,
        allow_clear: Vec<Selector>,
        now: Instant,
    ) -> Self {
        Self {
            memberships: groups
                .into_iter()
                .map(|settings| Membership::new(settings, now))
                .collect(),
            failure_mode,
            allow_clear,
            farewells: VecDeque::new(),
            changed: false,
            skew: SkewWatch::default(),
        }
    }

    /// Takes over new settings while traffic flows.
    ///
    /// Groups that are named as before keep keys, policy and registration: see [`Membership`] for what makes one
    /// register again. A group that is new registers; until its policy is known the other groups' traffic goes on. A
    /// group that is not named any more is left, and its keys are forgotten.
    pub fn reconfigure(
        &mut self,
        groups: Vec<GroupSettings>,
        failure_mode: FailureMode,
        allow_clear: Vec<Selector>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Reconfigured {
        let open = !self.is_closed();
        let order: Vec<u32> = self.memberships.iter().map(Membership::group_id).collect();
        let mut result = Reconfigured::default();
        let mut old = std::mem::take(&mut self.memberships);
        for settings in groups {
            let group_id = settings.group_id;
            let known = old
                .iter()
                .position(|membership| membership.group_id() == group_id);
            let membership = match known.map(|index| old.remove(index)) {
                Some(mut membership) => {
                    if membership.reconfigure(now, settings, entropy) {
                        result.registering.push(group_id);
                    }
                    membership
                }
                None => {
                    result.added.push(group_id);
                    if open {
                        Membership::added_later(settings, now)
                    } else {
                        Membership::new(settings, now)
                    }
                }
            };
            self.memberships.push(membership);
        }
        for mut membership in old {
            membership.leave(now, entropy);
            self.farewells
                .extend(std::iter::from_fn(|| membership.poll_transmit()));
            result.removed.push(membership.group_id());
        }
        let reordered = !self.memberships.iter().map(Membership::group_id).eq(order);
        self.changed |=
            reordered || failure_mode != self.failure_mode || allow_clear != self.allow_clear;
        self.failure_mode = failure_mode;
        self.allow_clear = allow_clear;
        result
    }

    /// The memberships, in order of precedence.
    pub fn memberships(&self) -> &[Membership] {
        &self.memberships
    }

    /// The memberships, to act on one of them.
    pub fn memberships_mut(&mut self) -> &mut [Membership] {
        &mut self.memberships
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        for membership in &mut self.memberships {
            membership.handle_timeout(now, entropy);
        }
    }

    /// When [`GroupMember::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.memberships
            .iter()
            .filter_map(Membership::poll_timeout)
            .min_by_key(|(at, _)| *at)
    }

    /// Takes in a datagram that arrived at `local` from `remote`, with its non-ESP marker if it
    /// came to port 4500. `unix_time` is in seconds.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_time: u64,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        entropy: &mut dyn Entropy,
    ) {
        let message = without_marker(local, remote, datagram);
        let exchange = message.and_then(|message| message.get(EXCHANGE_TYPE));
        if exchange == Some(&ExchangeType::GSA_REKEY.0) {
            let owner = self
                .memberships
                .iter()
                .position(|membership| membership.owns_rekey(local, remote, datagram));
            match owner.and_then(|owner| self.memberships.get_mut(owner)) {
                Some(membership) => {
                    membership.handle_rekey(now, local, remote, datagram, entropy);
                }
                // Nobody's: perhaps the announced successor of somebody's.
                None => self.memberships.iter_mut().for_each(|membership| {
                    membership.handle_rekey(now, local, remote, datagram, entropy);
                }),
            }
            return;
        }
        for membership in &mut self.memberships {
            membership.handle_datagram(now, unix_time, local.port(), remote, datagram, entropy);
        }
    }

    /// Takes note of an ESP packet of an unknown SA: a group whose rules cover its addresses may
    /// have missed a rekey.
    pub fn handle_unknown_spi(
        &mut self,
        now: Instant,
        spi: Spi,
        source: IpAddr,
        destination: IpAddr,
        entropy: &mut dyn Entropy,
    ) {
        if self
            .memberships
            .iter()
            .any(|membership| membership.knew(spi))
        {
            return;
        }
        for membership in &mut self.memberships {
            let covers = membership.data_plane_group().rules.iter().any(|rule| {
                rule.selector.source.contains(source)
                    && rule.selector.destination.contains(destination)
            });
            if covers {
                membership.handle_unknown_spi(now, entropy);
            }
        }
    }

    /// Takes in, once a second, how many packets were refused for their pseudotime and how many were accepted since
    /// start. When most are refused, a registration sets our pseudotime right.
    pub fn observe_packets(
        &mut self,
        now: Instant,
        refused: u64,
        accepted: u64,
        entropy: &mut dyn Entropy,
    ) {
        if self.skew.look(refused, accepted) {
            for membership in &mut self.memberships {
                membership.handle_time_skew(now, entropy);
            }
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.farewells.pop_front().or_else(|| {
            self.memberships
                .iter_mut()
                .find_map(Membership::poll_transmit)
        })
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<MemberEvent> {
        self.memberships.iter_mut().find_map(Membership::poll_event)
    }

    /// A membership (by index) that wants our local address towards a key server.
    pub fn poll_connect(&self) -> Option<(usize, SocketAddr)> {
        self.memberships
            .iter()
            .enumerate()
            .find_map(|(index, membership)| Some((index, membership.poll_connect()?)))
    }

    /// Whether keys or policy of any group changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        let before = std::mem::take(&mut self.changed);
        self.memberships
            .iter_mut()
            .fold(before, |changed, membership| {
                membership.take_changed() | changed
            })
    }

    /// Whether everything must be dropped because some group's policy is not known yet.
    pub fn is_closed(&self) -> bool {
        self.memberships
            .iter()
            .any(|membership| membership.is_closed(self.failure_mode))
    }

    /// Whether protected traffic may go in clear because some group's policy is not known yet.
    pub fn is_exposed(&self) -> bool {
        self.memberships
            .iter()
            .any(|membership| membership.is_exposed(self.failure_mode))
    }

    /// Multicast addresses and ports on which rekeys arrive.
    pub fn rekey_groups(&self) -> Vec<SocketAddr> {
        let mut groups: Vec<SocketAddr> = self
            .memberships
            .iter()
            .filter_map(Membership::rekey_group)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// What the kernel must do with packets.
    pub fn traffic_plan(&self) -> TrafficPlan {
        let mut entries: Vec<PlanEntry> = self
            .memberships
            .iter()
            .flat_map(|membership| &membership.settings().bypass)
            .map(|selector| PlanEntry {
                origin: Origin::Local,
                treatment: Treatment::Clear,
                selector: selector.clone(),
            })
            .collect();
        for membership in &self.memberships {
            let direction = membership.settings().direction;
            entries.extend(membership.policy().plan(membership.group_id(), direction));
        }
        TrafficPlan {
            closed: self.is_closed(),
            exposed: self.is_exposed(),
            allow_clear: self.allow_clear.clone(),
            entries,
        }
    }

    /// What the packet path must do with packets. `link_mtu` overrides the interface's, in octets.
    pub fn data_plane(&self, link_mtu: Option<u16>) -> DataPlane {
        let mut associations = Vec::new();
        for (group, membership) in self.memberships.iter().enumerate() {
            associations.extend(membership.keys().associations(
                group,
                membership.sender_id(),
                membership.policy().sender_id_bits,
            ));
        }
        DataPlane {
            local_bypass: self
                .memberships
                .iter()
                .flat_map(|membership| membership.settings().bypass.clone())
                .collect(),
            groups: self
                .memberships
                .iter()
                .map(Membership::data_plane_group)
                .collect(),
            associations,
            link_mtu,
        }
    }

    /// State of every membership.
    pub fn status(&self, now: Instant) -> Vec<MembershipStatus> {
        self.memberships
            .iter()
            .map(|membership| membership.status(now))
            .collect()
    }
}
