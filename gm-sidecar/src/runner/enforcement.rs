//! Keeps the kernel in line with the policy: drop rules, routes, multicast memberships.
//!
//! A failure never stops the member: what is in force stays, readiness says what is wrong, and the
//! regular check tries again.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use gm_core::member::TrafficPlan;
use gm_core::spd::Selector;
use runtime::health::Health;

use crate::guard::{Guard, is_drop, is_exposure};
use crate::network::{MulticastMirror, Network};

/// Name of the readiness blocker for drop rules.
const GUARD: &str = "guard";
/// Name of the readiness blocker for routes.
const ROUTES: &str = "routes";

pub(super) struct Enforcement {
    guard: Guard,
    /// The plan whose drop rules are in force.
    guarded: Option<TrafficPlan>,
    /// The plan that should be in force.
    wanted: TrafficPlan,
    interfaces: Vec<u32>,
    multicast: MulticastMirror,
    /// The kernel's listing of the rules in force, to notice when somebody changes them.
    listing: Option<String>,
    /// Whether ports or key servers changed since the rules were made.
    stale: bool,
    /// Packets counted by rules that have been replaced since.
    counted_before: BTreeMap<String, u64>,
    /// Packets counted by the rules in force when they were last looked at.
    counted_now: BTreeMap<String, u64>,
}

impl Enforcement {
    /// Takes over `guard`, which has `plan` in force.
    pub(super) fn new(guard: Guard, plan: TrafficPlan, interfaces: &[u32], tun: u32) -> Self {
        let mut enforcement = Self {
            guard,
            guarded: Some(plan.clone()),
            wanted: plan,
            interfaces: interfaces.to_vec(),
            multicast: MulticastMirror::new(interfaces, tun),
            listing: None,
            stale: false,
            counted_before: BTreeMap::new(),
            counted_now: BTreeMap::new(),
        };
        enforcement.look_at_guard();
        enforcement
    }

    /// Indices of the protected interfaces.
    pub(super) fn interfaces(&self) -> &[u32] {
        &self.interfaces
    }

    /// Whether drop rules are in force, as far as is known.
    pub(super) fn guard_in_force(&self) -> bool {
        self.guarded.is_some()
    }

    /// Packets dropped by the drop rules since start, as of the last look at them.
    pub(super) fn guard_drops(&self) -> BTreeMap<String, u64> {
        let mut counted = self.counted();
        counted.retain(|counter, _| is_drop(counter));
        counted
    }

    /// Packets that may be clear since start, as of the last look.
    pub(super) fn bypassed(&self) -> BTreeMap<String, u64> {
        let mut counted = self.counted();
        counted.retain(|counter, _| !is_drop(counter) && !is_exposure(counter));
        counted
    }

    /// Packets that were clear since start because no policy was known, as of the last look.
    pub(super) fn exposures(&self) -> BTreeMap<String, u64> {
        let mut counted = self.counted();
        counted.retain(|counter, _| is_exposure(counter));
        counted
    }

    fn counted(&self) -> BTreeMap<String, u64> {
        let mut counted = self.counted_before.clone();
        for (rule, count) in &self.counted_now {
            let total = counted.entry(rule.clone()).or_default();
            *total = total.saturating_add(*count);
        }
        counted
    }

    /// Our ports of registration and the key servers, whose answers are let in from the next change of the rules on.
    pub(super) fn set_peers(&mut self, ike_ports: Vec<u16>, key_servers: Vec<SocketAddr>) {
        if self.guard.ike_ports != ike_ports || self.guard.key_servers != key_servers {
            self.guard.ike_ports = ike_ports;
            self.guard.key_servers = key_servers;
            self.stale = true;
        }
    }

    /// Whether flows that are encrypted now may go in clear under `plan`.
    pub(super) fn loosens(&self, plan: &TrafficPlan) -> bool {
        let encrypted = |plan: &TrafficPlan| -> Vec<Selector> {
            let entries = plan.outbound().filter(|(encrypted, _)| *encrypted);
            entries.map(|(_, selector)| selector.clone()).collect()
        };
        let after = encrypted(plan);
        encrypted(&self.wanted)
            .iter()
            .any(|selector| !after.contains(selector))
    }

    /// Whether the rules do not fit ports and key servers.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Looks at the drop rules in the kernel; `false` when they are gone or not those we made.
    pub(super) fn look_at_guard(&mut self) -> bool {
        match self.guard.inspect() {
            Ok(Some(inspection)) => {
                self.counted_now = inspection.counters;
                match &self.listing {
                    Some(known) => *known == inspection.rules,
                    // Somebody may have emptied the table since we filled it: that is not what to compare with later.
                    None if inspection.verdicts != self.guard.verdicts(&self.wanted) => false,
                    None => {
                        self.listing = Some(inspection.rules);
                        true
                    }
                }
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "the drop rules cannot be checked");
                true
            }
        }
    }

    /// Replaces the drop rules when the plan or the rekey groups changed.
    pub(super) fn set_guard(
        &mut self,
        plan: TrafficPlan,
        rekey_groups: &[SocketAddr],
        health: &Health,
    ) {
        let unchanged = self.guarded.as_ref() == Some(&plan);
        self.wanted = plan;
        if unchanged && !self.stale && self.guard.rekey_groups == rekey_groups {
            return;
        }
        self.guard.rekey_groups = rekey_groups.to_vec();
        self.install_guard(health);
    }

    fn install_guard(&mut self, health: &Health) {
        self.look_at_guard();
        match self.guard.install(&self.wanted) {
            Ok(()) => {
                self.counted_before = self.counted();
                self.counted_now.clear();
                self.stale = false;
                self.listing = None;
                self.guarded = Some(self.wanted.clone());
                self.look_at_guard();
                health.unblock(GUARD);
                tracing::info!(closed = self.wanted.closed, "drop rules in force");
            }
            Err(error) => {
                tracing::error!(%error, "the drop rules could not be changed; the old ones stay");
                health.block(GUARD, error.to_string());
            }
        }
    }

    /// Leads the plan's traffic into the device.
    pub(super) async fn set_routes(
        &mut self,
        plan: &TrafficPlan,
        network: &mut Network,
        tun: u32,
        health: &Health,
    ) {
        self.multicast.set_policy(plan);
        match network.apply(plan, tun).await {
            Ok(()) => health.unblock(ROUTES),
            Err(error) => {
                tracing::error!(%error, "routes could not be changed; protected traffic may drop");
                health.block(ROUTES, error.to_string());
            }
        }
        self.update_multicast();
    }

    /// Keeps multicast memberships in step.
    pub(super) fn update_multicast(&mut self) {
        if self.multicast.is_needed() {
            self.multicast.update();
        }
    }

    /// Looks whether somebody removed the drop rules, and adapts the routes to new addresses.
    pub(super) async fn verify(&mut self, network: &mut Network, health: &Health, tun: u32) {
        let missing = !self.look_at_guard();
        if missing {
            tracing::warn!("somebody changed the drop rules; putting them back");
            self.guarded = None;
        }
        if missing || self.guarded.as_ref() != Some(&self.wanted) {
            self.install_guard(health);
        }
        let plan = self.wanted.clone();
        self.set_routes(&plan, network, tun, health).await;
    }
}
