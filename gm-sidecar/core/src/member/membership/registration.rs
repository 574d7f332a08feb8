//! Attempts to register: one key server after the other, and what success brings.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::Entropy;
use gikev2::exchange::retransmit::RetransmissionPolicy;
use gikev2::initiator::{
    Config, Event, Initiator, InitiatorError, Purpose, Refusal, Registration,
    RegistrationParameters,
};
use gikev2::rekey::RekeyError;
use gikev2::rekey::receiver::Receiver;
use gikev2::wire::Identification;

use super::{Membership, Registered, Session};
use crate::member::capabilities;
use crate::member::event::{FailureKind, MemberEventKind, RegistrationReason};
use crate::member::policy::{GroupPolicy, data_policies};
use crate::member::traffic_keys::{Candidate, Delays, UnusablePolicy, soft_limit};
use crate::sad::Spi;

/// How patiently a key server is asked in the first round: about 1.2 s, so that a dead one costs a
/// starting member little. Later rounds are more patient, since a key server may only be slow.
const PATIENCE: RetransmissionPolicy = RetransmissionPolicy {
    initial: Duration::from_millis(250),
    maximum: Duration::from_secs(4),
    repetitions: 2,
};

/// Repetitions that each round in vain adds, and the most.
const MORE_PATIENCE: u32 = 2;
const MOST_REPETITIONS: u32 = 8;

/// A registration that was checked completely and can be installed without failing.
struct Accepted {
    policy: GroupPolicy,
    candidates: Vec<Candidate>,
}

impl Membership {
    /// The key server to which our local address is wanted; answer with
    /// [`Membership::handle_connect`] or [`Membership::handle_unreachable`].
    pub fn poll_connect(&self) -> Option<SocketAddr> {
        self.wanted
    }

    /// Begins an attempt: `local` is our address and port towards the key server `remote`.
    pub fn handle_connect(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        entropy: &mut dyn Entropy,
    ) {
        if self.wanted != Some(remote) {
            return;
        }
        self.wanted = None;
        let config = self.initiator_config();
        let initiator = Initiator::new(config, local, remote, now, entropy);
        self.session = Some(Session {
            initiator,
            key_server: remote,
            local,
            registering: true,
            reused: false,
        });
        self.announce_attempt(remote);
        self.handle_session(now, entropy);
    }

    /// The key server `remote` cannot be reached at all, for example for want of a route.
    pub fn handle_unreachable(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        cause: &str,
        entropy: &mut dyn Entropy,
    ) {
        if self.wanted == Some(remote) {
            self.wanted = None;
            let kind = FailureKind::KeyServerUnreachable;
            self.fail_attempt(now, remote, kind, cause.to_owned(), entropy);
        }
    }

    /// Takes in a datagram that is not a GSA_REKEY. `local` is where it arrived; `unix_time` in
    /// seconds decides whether certificates are valid. What is not ours changes nothing.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_time: u64,
        local_port: u16,
        remote: SocketAddr,
        datagram: &[u8],
        entropy: &mut dyn Entropy,
    ) {
        let Some(session) = &mut self.session else {
            return;
        };
        if session.key_server.ip() != remote.ip() {
            return;
        }
        let local = SocketAddr::new(session.local.ip(), local_port);
        session
            .initiator
            .handle_datagram(now, unix_time, local, remote, datagram, entropy);
        self.handle_session(now, entropy);
    }

    /// Starts registering: over the IKE SA that is up, or with the preferred key server.
    pub(super) fn start_attempt(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let Some((_, reason)) = self.next_attempt.take() else {
            return;
        };
        self.reason = reason;
        if reason != RegistrationReason::Retry {
            self.servers.restart();
        }
        let parameters = self.registration_parameters();
        if let Some(session) = &mut self.session
            && !session.initiator.is_closed()
            && session.initiator.register(now, parameters, entropy)
        {
            session.registering = true;
            session.reused = true;
            let key_server = session.key_server;
            self.announce_attempt(key_server);
            self.handle_session(now, entropy);
            return;
        }
        self.session = None;
        self.wanted = self.servers.current();
    }

    /// Collects what the initiator has to send and to say.
    pub(super) fn handle_session(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some(session) = &mut self.session {
            while let Some(transmit) = session.initiator.poll_transmit() {
                self.transmits.push_back(transmit);
            }
            let Some(event) = session.initiator.poll_event() else {
                if session.initiator.is_closed() && !session.registering {
                    self.session = None;
                }
                return;
            };
            let key_server = session.key_server;
            match event {
                Event::Registered(registration) => {
                    session.registering = false;
                    let (local, _) = session.initiator.addresses();
                    self.note_path(now, local);
                    self.handle_registered(now, key_server, *registration, entropy);
                }
                Event::Refused(refusal) => {
                    self.session = None;
                    self.handle_refused(now, key_server, refusal, entropy);
                }
                Event::Unusable(rule) => {
                    // Every key server would answer the same. This one has been told.
                    session.registering = false;
                    self.give_up_for_now(now, key_server, describe(&InitiatorError::Keys(rule)));
                }
                Event::Failed(error) => {
                    let awaited = session.registering;
                    let reused = session.reused;
                    self.session = None;
                    if awaited && reused {
                        // The key server may be gone together with its IKE SA: start over.
                        self.wanted = self.servers.current();
                    } else if awaited {
                        self.fail_attempt(now, key_server, kind(&error), describe(&error), entropy);
                    }
                }
                Event::Deleted => {
                    let awaited = session.registering;
                    self.session = None;
                    if awaited {
                        let cause = "the key server ended the IKE SA".to_owned();
                        let kind = FailureKind::KeyServerNotReady;
                        self.fail_attempt(now, key_server, kind, cause, entropy);
                    } else if self.registered.is_some() && self.receiver.is_none() {
                        let delay = self.settings.timing.retry_first;
                        self.request_registration(now, RegistrationReason::NoRekeySa, delay);
                    }
                }
                Event::Rekeyed(rekey) => self.handle_inband(now, *rekey, entropy),
                Event::RekeyUnusable(rule) => {
                    self.handle_unusable_inband(now, &RekeyError::Content(rule), entropy);
                }
                Event::Left => self.events.push_back(MemberEventKind::Left),
                Event::Authenticated { .. } => {}
            }
        }
    }

    fn handle_registered(
        &mut self,
        now: Instant,
        key_server: SocketAddr,
        mut registration: Registration,
        entropy: &mut dyn Entropy,
    ) {
        let accepted = match self.check_registration(now, &registration, entropy) {
            Ok(accepted) => accepted,
            Err(error) => return self.refuse_policy(now, key_server, error.to_string(), entropy),
        };
        let received = match &mut self.receiver {
            Some(receiver) => receiver.handle_registration(now, &mut registration),
            None => Receiver::from_registration(now, &mut registration)
                .map(|receiver| self.receiver = receiver),
        };
        if let Err(error) = received {
            return self.refuse_policy(now, key_server, error.to_string(), entropy);
        }
        let named: Vec<Spi> = accepted.candidates.iter().map(Candidate::spi).collect();
        self.policy = accepted.policy;
        let grace = self.policy.deactivation_delay.unwrap_or_default();
        self.keys.retire_others(&named, now, now + grace);
        for candidate in accepted.candidates {
            self.keys.install(candidate, now);
        }
        let group_wide = registration.gsa.group_wide.as_ref();
        if let Some(milliseconds) = group_wide.and_then(|policy| policy.pseudotime_ms) {
            self.pseudotime.set(now, milliseconds);
        }
        self.note_rekey_group(&registration.gsa);
        self.sender_ids = registration.sender_ids.iter().copied().collect();
        self.rekey_soft = self
            .receiver_expires()
            .and_then(|expires| soft_limit(now, expires, Duration::ZERO, entropy));
        self.registered = Some(Registered {
            key_server,
            identity: registration.peer.clone(),
            at: now,
        });
        self.servers.restart();
        self.back_off.reset();
        if self.reason != RegistrationReason::UnknownSpi {
            self.unknown_spi.interval = self.settings.timing.unknown_spi_interval;
        }
        self.next_attempt = None;
        self.statistics.registrations = self.statistics.registrations.saturating_add(1);
        self.statistics.last_error = None;
        self.statistics.last_failure = None;
        self.settle(now);
        self.events.push_back(MemberEventKind::Registered {
            key_server,
            identity: registration.peer.to_string(),
            sender_id: registration.sender_ids.first().copied(),
            policy_revision: self.policy.revision,
            traffic_keys: named.len(),
        });
    }

    fn check_registration(
        &self,
        now: Instant,
        registration: &Registration,
        entropy: &mut dyn Entropy,
    ) -> Result<Accepted, UnusablePolicy> {
        let mut policy = GroupPolicy::default();
        policy.update(&registration.gsa);
        if let Some(bits) = policy.sender_id_bits {
            let too_big = |id: &&u32| bits < 32 && u64::from(**id) >= 1_u64 << bits;
            if let Some(&sender_id) = registration.sender_ids.iter().find(too_big) {
                return Err(UnusablePolicy::SenderId { sender_id, bits });
            }
        }
        let mut candidates = Vec::new();
        for (association, data) in data_policies(&registration.gsa) {
            let secret = registration.data.iter().find(|(spi, _)| *spi == data.spi);
            let secret = secret.map(|(_, secret)| secret);
            let delays = Delays {
                // Without a stated delay the SAs of a registration are those in use.
                activation: Duration::ZERO,
                deactivation: policy.deactivation_delay.unwrap_or_default(),
            };
            let candidate = Candidate::new(association, data, secret, now, delays, entropy)?;
            if self.keys.contradicts(&candidate) {
                return Err(UnusablePolicy::SpiInUse {
                    spi: candidate.spi(),
                });
            }
            candidates.push(candidate);
        }
        Ok(Accepted { policy, candidates })
    }

    /// Tells the key server that its policy cannot be used here (RFC 9838 §2.3.2) and tries again
    /// much later.
    fn refuse_policy(
        &mut self,
        now: Instant,
        key_server: SocketAddr,
        cause: String,
        entropy: &mut dyn Entropy,
    ) {
        let group = self.group_identification();
        if let Some(session) = &mut self.session {
            session.initiator.leave(now, &group, true, entropy);
            while let Some(transmit) = session.initiator.poll_transmit() {
                self.transmits.push_back(transmit);
            }
        }
        self.give_up_for_now(now, key_server, cause);
    }

    fn give_up_for_now(&mut self, now: Instant, key_server: SocketAddr, cause: String) {
        self.events.push_back(MemberEventKind::PolicyUnusable {
            cause: cause.clone(),
        });
        self.note_failure(key_server, FailureKind::PolicyUnusable, cause);
        self.wait_before_retry(now, self.settings.timing.retry_unauthorized);
    }

    fn handle_refused(
        &mut self,
        now: Instant,
        key_server: SocketAddr,
        refusal: Refusal,
        entropy: &mut dyn Entropy,
    ) {
        let (cause, kind, final_word) = match refusal {
            Refusal::InvalidGroupId => (
                "the key server does not know this group",
                FailureKind::UnknownGroup,
                // A group that was just made reaches its key servers soon.
                false,
            ),
            Refusal::AuthorizationFailed => (
                "we are not authorised for this group",
                FailureKind::NotAuthorized,
                true,
            ),
            Refusal::RegistrationFailed => (
                "the key server cannot register us now",
                FailureKind::KeyServerNotReady,
                false,
            ),
            Refusal::NoProposalChosen => (
                "the group needs algorithms that we lack",
                FailureKind::NoCommonAlgorithms,
                true,
            ),
        };
        if final_word {
            // All key servers hold the same policy; asking the next one would not help.
            self.note_failure(key_server, kind, cause.to_owned());
            self.servers.restart();
            self.wait_before_retry(now, self.settings.timing.retry_unauthorized);
        } else {
            self.fail_attempt(now, key_server, kind, cause.to_owned(), entropy);
        }
    }

    /// Goes on with the next key server, or waits when all were tried.
    pub(super) fn fail_attempt(
        &mut self,
        now: Instant,
        key_server: SocketAddr,
        kind: FailureKind,
        cause: String,
        entropy: &mut dyn Entropy,
    ) {
        self.note_failure(key_server, kind, cause);
        if self.servers.advance() {
            self.wanted = self.servers.current();
        } else {
            let wait = self.back_off.wait(entropy);
            self.wait_before_retry(now, wait);
        }
    }

    fn wait_before_retry(&mut self, now: Instant, wait: Duration) {
        self.next_attempt = Some((now + wait, RegistrationReason::Retry));
        self.events.push_back(MemberEventKind::Waiting { wait });
    }

    fn note_failure(&mut self, key_server: SocketAddr, kind: FailureKind, cause: String) {
        self.statistics.last_failure = Some(kind);
        self.statistics.failed_attempts = self.statistics.failed_attempts.saturating_add(1);
        self.statistics.last_error = Some(format!("{key_server}: {cause}"));
        self.events
            .push_back(MemberEventKind::RegistrationFailed { key_server, cause });
    }

    fn announce_attempt(&mut self, key_server: SocketAddr) {
        self.events.push_back(MemberEventKind::RegistrationStarted {
            key_server,
            reason: self.reason,
        });
    }

    pub(super) fn group_identification(&self) -> Identification {
        Identification::group(self.settings.group_id)
    }

    fn registration_parameters(&self) -> RegistrationParameters {
        RegistrationParameters {
            group: self.group_identification(),
            capabilities: capabilities::proposals(),
            // Also a member that only receives asks: without the number of Sender-ID bits it could
            // not tell senders apart.
            sender_ids: Some(1),
            acknowledges: true,
        }
    }

    fn initiator_config(&self) -> Config {
        let mut config = Config::new(
            self.settings.identity.clone(),
            self.settings.duplicate_credentials(),
            self.settings.key_server_identities.clone(),
            Purpose::Registration(self.registration_parameters()),
        );
        config.retransmission = RetransmissionPolicy {
            repetitions: self
                .servers
                .rounds()
                .saturating_mul(MORE_PATIENCE)
                .saturating_add(PATIENCE.repetitions)
                .min(MOST_REPETITIONS),
            ..PATIENCE
        };
        config
    }
}

/// What kind of failure an error is.
fn kind(error: &InitiatorError) -> FailureKind {
    match error {
        InitiatorError::NoAnswer { .. } => FailureKind::KeyServerUnreachable,
        InitiatorError::NoProposalChosen => FailureKind::NoCommonAlgorithms,
        InitiatorError::RefusedByPeer | InitiatorError::Authentication(_) => {
            FailureKind::AuthenticationFailed
        }
        InitiatorError::Keys(_) => FailureKind::PolicyUnusable,
        InitiatorError::TooManyRetries
        | InitiatorError::Notified(_)
        | InitiatorError::Malformed(_)
        | InitiatorError::PayloadSet(_)
        | InitiatorError::Configuration(_) => FailureKind::ProtocolError,
    }
}

/// An error with its causes on one line.
fn describe(error: &InitiatorError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
