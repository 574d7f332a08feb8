//! The membership of one group, from the first registration to leaving.
//!
//! It decides when to register and where, what a registration or rekey changes, and when keys are
//! used and forgotten. It never sends or receives by itself, and never removes policy because a
//! registration failed: a member that was registered once keeps protecting (and, without keys,
//! drops) what the group protects.
//!
//! RFC 9838 §2.3 (registration), §2.4 (rekey), §2.4.1.4 (roll-over), §2.4.3 (deletion).

mod keep_alive;
mod reconfiguring;
mod registration;
mod rekeying;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::Entropy;
use gikev2::Transmit;
use gikev2::initiator::Initiator;
use gikev2::rekey::receiver::Receiver;
use gikev2::wire::{GroupSecurityAssociation, Identification};

use keep_alive::KeepAlive;

use super::event::{FailureKind, MemberEvent, MemberEventKind, RegistrationReason};
use super::jitter::{self, BackOff};
use super::key_servers::KeyServerList;
use super::policy::GroupPolicy;
use super::pseudotime::Estimate;
use super::settings::{FailureMode, GroupSettings};
use super::traffic_keys::TrafficKeys;
use crate::data_plane;
use crate::sad::{SenderId, Spi};

/// One group's membership.
pub struct Membership {
    settings: GroupSettings,
    servers: KeyServerList,
    back_off: BackOff,
    session: Option<Session>,
    /// A key server to which our local address is wanted before an attempt can begin.
    wanted: Option<SocketAddr>,
    /// The next attempt, and why.
    next_attempt: Option<(Instant, RegistrationReason)>,
    reason: RegistrationReason,
    unknown_spi: UnknownSpiGate,
    policy: GroupPolicy,
    keys: TrafficKeys,
    receiver: Option<Receiver>,
    /// When to register again because the KEK nears its end.
    rekey_soft: Option<Instant>,
    rekey_group: Option<SocketAddr>,
    keep_alive: Option<KeepAlive>,
    pseudotime: Estimate,
    sender_ids: VecDeque<u32>,
    registered: Option<Registered>,
    /// Added to a member whose traffic was flowing: it is not held back for this group's policy.
    added_later: bool,
    could_send: bool,
    changed: bool,
    statistics: Statistics,
    transmits: VecDeque<Transmit>,
    events: VecDeque<MemberEventKind>,
}

/// An IKE SA and its key server.
struct Session {
    initiator: Initiator,
    key_server: SocketAddr,
    local: SocketAddr,
    /// Whether an answer to a registration is awaited.
    registering: bool,
    /// Whether the registration runs over the IKE SA of an earlier one.
    reused: bool,
}

/// Facts about the last successful registration.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) key_server: SocketAddr,
    pub(super) identity: Identification,
    pub(super) at: Instant,
}

/// The last accepted rekey.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastRekey {
    pub(super) message_id: u32,
    pub(super) at: Instant,
}

/// Totals since start.
#[derive(Debug, Clone, Default)]
pub(super) struct Statistics {
    pub(super) registrations: u64,
    pub(super) failed_attempts: u64,
    pub(super) rekeys_accepted: u64,
    pub(super) rekeys_repeated: u64,
    pub(super) rekeys_refused: BTreeMap<&'static str, u64>,
    pub(super) last_rekey: Option<LastRekey>,
    pub(super) last_error: Option<String>,
    pub(super) last_failure: Option<FailureKind>,
}

/// Limits registrations caused by packets that anyone can forge.
#[derive(Debug)]
struct UnknownSpiGate {
    interval: Duration,
    not_before: Option<Instant>,
}

impl Membership {
    /// A membership that registers at once.
    pub fn new(settings: GroupSettings, now: Instant) -> Self {
        let timing = settings.timing;
        Self {
            servers: KeyServerList::new(settings.key_servers.clone()),
            back_off: BackOff::new(timing.retry_first, timing.retry_most),
            session: None,
            wanted: None,
            next_attempt: Some((now, RegistrationReason::First)),
            reason: RegistrationReason::First,
            unknown_spi: UnknownSpiGate {
                interval: timing.unknown_spi_interval,
                not_before: None,
            },
            policy: GroupPolicy::default(),
            keys: TrafficKeys::default(),
            receiver: None,
            rekey_soft: None,
            rekey_group: None,
            keep_alive: None,
            pseudotime: Estimate::default(),
            sender_ids: VecDeque::new(),
            registered: None,
            added_later: false,
            could_send: false,
            changed: true,
            statistics: Statistics::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            settings,
        }
    }

    /// The group.
    pub fn group_id(&self) -> u32 {
        self.settings.group_id
    }

    /// What the membership was told.
    pub fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Whether a key server has admitted us since start, or since the last fresh start.
    pub fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    /// Whether keys are held, so that the group's traffic can be received.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether an SA of the group has this SPI.
    pub fn knows(&self, spi: Spi) -> bool {
        self.keys.contains(spi)
    }

    /// Whether an SA of the group has this SPI or had it not long ago.
    pub fn knew(&self, spi: Spi) -> bool {
        self.keys.contains(spi) || self.keys.remembers(spi)
    }

    /// Whether everything must be dropped because the group's policy is not known.
    pub fn is_closed(&self, mode: FailureMode) -> bool {
        mode == FailureMode::Closed && self.registered.is_none() && !self.added_later
    }

    /// Whether the group's traffic may go in clear because its policy is not known yet.
    pub fn is_exposed(&self, mode: FailureMode) -> bool {
        mode == FailureMode::Open && self.registered.is_none() && !self.added_later
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if let Some(session) = &mut self.session {
            session.initiator.handle_timeout(now, entropy);
        }
        self.handle_session(now, entropy);
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now);
        }
        if self.keys.expire(now) {
            self.settle(now);
        }
        self.notice_lost_keys(now);
        self.keep_path_open(now);
        if !self.is_registering() {
            self.check_soft_limits(now);
            if self.next_attempt.is_some_and(|(at, _)| at <= now) {
                self.start_attempt(now, entropy);
            }
        }
    }

    /// When [`Membership::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let mut earliest: Option<(Instant, &'static str)> = None;
        let mut consider = |candidate: Option<(Instant, &'static str)>| {
            if let Some((at, reason)) = candidate
                && earliest.is_none_or(|(known, _)| at < known)
            {
                earliest = Some((at, reason));
            }
        };
        let session = self.session.as_ref();
        consider(session.and_then(|session| session.initiator.poll_timeout()));
        consider(self.receiver.as_ref().and_then(Receiver::poll_timeout));
        let keep_alive = self.keep_alive.as_ref();
        consider(keep_alive.map(|path| (path.due, "keep-alive")));
        consider(self.keys.next_end().map(|at| (at, "end of a traffic key")));
        if !self.is_registering() {
            consider(self.next_attempt.map(|(at, reason)| (at, reason.label())));
            if self.next_attempt.is_none() {
                consider(
                    self.keys
                        .soft_expiry()
                        .map(|at| (at, "traffic key without successor")),
                );
                consider(
                    self.rekey_soft
                        .map(|at| (at, "rekey key without successor")),
                );
            }
        }
        earliest
    }

    /// The next datagram to send; its local port says from which socket.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event for logs and metrics.
    pub fn poll_event(&mut self) -> Option<MemberEvent> {
        let kind = self.events.pop_front()?;
        Some(MemberEvent {
            group_id: self.settings.group_id,
            kind,
        })
    }

    /// Whether keys or policy changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Asks for a registration, because an administrator wants one.
    ///
    /// With `fresh`, policy and keys are forgotten first: the member is as it was before its first
    /// registration, and fails closed if it is set to.
    pub fn register_again(&mut self, now: Instant, fresh: bool) {
        if fresh {
            self.keys.clear();
            self.policy = GroupPolicy::default();
            self.receiver = None;
            self.rekey_soft = None;
            self.sender_ids.clear();
            self.registered = None;
            self.added_later = false;
            self.session = None;
            self.wanted = None;
            self.settle(now);
        }
        self.servers.restart();
        self.back_off.reset();
        self.request_registration(now, RegistrationReason::Administrator, Duration::ZERO);
    }

    /// Takes note that ESP packets with an SPI of no SA arrive for addresses of this group.
    ///
    /// They are not authentic, so registrations they cause are rare, and rarer while they bring
    /// nothing.
    pub fn handle_unknown_spi(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.register_when_due(now, RegistrationReason::UnknownSpi, entropy);
    }

    /// Takes note that most packets of the group are refused for their pseudotime.
    pub(super) fn handle_time_skew(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.pseudotime.get().is_some() && self.keys.uses_time() {
            self.register_when_due(now, RegistrationReason::TimeSkew, entropy);
        }
    }

    /// Registers again for a reason that others can cause: not soon after the last time, and ever less often.
    fn register_when_due(
        &mut self,
        now: Instant,
        reason: RegistrationReason,
        entropy: &mut dyn Entropy,
    ) {
        let gate = &mut self.unknown_spi;
        let recent = self
            .registered
            .as_ref()
            .is_none_or(|last| now.saturating_duration_since(last.at) < gate.interval);
        if recent || gate.not_before.is_some_and(|at| now < at) {
            return;
        }
        gate.not_before = Some(now + gate.interval);
        gate.interval = gate
            .interval
            .saturating_mul(2)
            .min(Duration::from_secs(600));
        let delay = jitter::up_to(self.settings.timing.jitter, entropy);
        self.request_registration(now, reason, delay);
    }

    /// Takes note that our Sender-ID has few IVs left under some key: goes on with the next one we
    /// were granted, or registers for another.
    pub fn handle_sender_id_exhausted(&mut self, now: Instant) {
        if self.sender_ids.len() > 1 {
            self.sender_ids.pop_front();
            self.changed = true;
            return;
        }
        self.request_registration(now, RegistrationReason::SenderIdExhausted, Duration::ZERO);
    }

    /// Leaves the group, if the IKE SA to a key server is still up; `false` when it is not.
    pub fn leave(&mut self, now: Instant, entropy: &mut dyn Entropy) -> bool {
        let group = self.group_identification();
        let asked = self
            .session
            .as_mut()
            .is_some_and(|session| session.initiator.leave(now, &group, false, entropy));
        self.handle_session(now, entropy);
        asked
    }

    /// The multicast address and port on which rekeys arrive; `None` when they are unicast.
    pub fn rekey_group(&self) -> Option<SocketAddr> {
        self.rekey_group
    }

    /// The group as the packet path sees it.
    pub fn data_plane_group(&self) -> data_plane::Group {
        data_plane::Group {
            group_id: self.settings.group_id,
            direction: self.policy.direction(self.settings.direction),
            rules: self.policy.rules.clone(),
            pseudotime: self.pseudotime.get(),
        }
    }

    pub(super) fn keys(&self) -> &TrafficKeys {
        &self.keys
    }

    pub(super) fn policy(&self) -> &GroupPolicy {
        &self.policy
    }

    pub(super) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(super) fn registered(&self) -> Option<&Registered> {
        self.registered.as_ref()
    }

    pub(super) fn receiver_expires(&self) -> Option<Instant> {
        self.receiver.as_ref().and_then(Receiver::expires)
    }

    pub(super) fn next_registration(&self) -> Option<Instant> {
        self.next_attempt
            .map(|(at, _)| at)
            .into_iter()
            .chain(self.keys.soft_expiry())
            .chain(self.rekey_soft)
            .min()
    }

    /// The Sender-ID in use.
    pub(super) fn sender_id(&self) -> Option<SenderId> {
        self.sender_ids.front().copied().map(SenderId)
    }

    /// Takes over where the Rekey SA of `gsa` says that rekeys arrive.
    fn note_rekey_group(&mut self, gsa: &GroupSecurityAssociation) {
        let Some(policy) = gsa.rekey() else { return };
        let destination = &policy.destination;
        let address = destination.addresses.start();
        let single = address == destination.addresses.end();
        self.rekey_group = (single && address.is_multicast())
            .then(|| SocketAddr::new(address, destination.ports.start));
    }

    fn is_registering(&self) -> bool {
        self.wanted.is_some()
            || self
                .session
                .as_ref()
                .is_some_and(|session| session.registering)
    }

    fn request_registration(&mut self, now: Instant, reason: RegistrationReason, delay: Duration) {
        if self.is_registering() {
            return;
        }
        let at = now + delay;
        if self.next_attempt.is_some_and(|(known, _)| known <= at) {
            return;
        }
        self.next_attempt = Some((at, reason));
        self.events
            .push_back(MemberEventKind::RegistrationDue { reason, delay });
    }

    fn check_soft_limits(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.keys.soft_expiry()) {
            self.request_registration(now, RegistrationReason::TrafficKeyExpiry, Duration::ZERO);
        } else if due(self.rekey_soft) {
            self.request_registration(now, RegistrationReason::RekeyKeyExpiry, Duration::ZERO);
        }
    }

    /// Works out the keys' times anew after a change.
    fn settle(&mut self, now: Instant) {
        self.keys.settle(self.policy.deactivation_delay);
        self.keys.expire(now);
        self.changed = true;
    }

    fn notice_lost_keys(&mut self, now: Instant) {
        let can_send = self.keys.has_active(now);
        if self.could_send && !can_send {
            self.events.push_back(MemberEventKind::KeysExpired);
        }
        self.could_send = can_send;
    }
}
