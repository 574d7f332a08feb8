//! GSA_REKEY messages: what an authentic one changes, and what to do about the others.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::exchange::datagram::{with_marker, without_marker};
use gikev2::initiator::InbandRekey;
use gikev2::rekey::RekeyError;
use gikev2::rekey::receiver::{Accepted, Deletes, Received};
use gikev2::wire::GroupSecurityAssociation;
use gikev2::{Entropy, Secret, Transmit};

use super::{LastRekey, Membership};
use crate::data_plane::Direction;
use crate::member::event::{MemberEventKind, RegistrationReason};
use crate::member::jitter;
use crate::member::policy::data_policies;
use crate::member::traffic_keys::{Candidate, Delays, UnusablePolicy, soft_limit};
use crate::sad::Spi;

/// Within this time a new SA takes over from the ones that the same message deletes: the longest activation delay a
/// group may have. One that begins later follows them on schedule.
const LONGEST_TAKEOVER: Duration = Duration::from_secs(60);

/// What an authentic, completely validated message changes, however it came.
struct Update {
    message_id: u32,
    gsa: Option<GroupSecurityAssociation>,
    data: Vec<(gikev2::wire::Spi, Secret)>,
    new_rekey_sa: bool,
    deletes: Deletes,
}

impl Membership {
    /// Whether the GSA_REKEY message in `datagram` names one of our Rekey SAs.
    pub fn owns_rekey(&self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) -> bool {
        match (&self.receiver, without_marker(local, remote, datagram)) {
            (Some(receiver), Some(message)) => receiver.owns(message),
            _ => false,
        }
    }

    /// Takes in a datagram with a GSA_REKEY message that arrived at `local` from `remote`.
    ///
    /// New SAs are accepted at once, used for sending from their activation on, and the ones they
    /// replace stay until the deactivation delay is over (RFC 9838 §2.4.1.4).
    pub fn handle_rekey(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        entropy: &mut dyn Entropy,
    ) {
        let Some(message) = without_marker(local, remote, datagram) else {
            return;
        };
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        let acknowledgement = match receiver.handle(now, message) {
            Ok(Received::Accepted(accepted)) => {
                let Accepted {
                    message_id,
                    gsa,
                    data,
                    new_rekey,
                    deletes,
                    acknowledgement,
                    ..
                } = *accepted;
                let update = Update {
                    message_id,
                    gsa,
                    data,
                    new_rekey_sa: new_rekey.is_some(),
                    deletes,
                };
                self.apply(now, update, entropy);
                acknowledgement
            }
            Ok(Received::Duplicate { acknowledgement }) => {
                self.statistics.rekeys_repeated = self.statistics.rekeys_repeated.saturating_add(1);
                self.events.push_back(MemberEventKind::RekeyRepeated);
                acknowledgement
            }
            Ok(Received::Incomplete) => None,
            Err(error) => {
                self.handle_refused_rekey(now, &error, entropy);
                None
            }
        };
        if let Some(message) = acknowledgement {
            self.transmits.push_back(Transmit {
                local,
                remote,
                payload: with_marker(local, remote, message),
            });
        }
    }

    /// Takes in new keys or deletions that the key server sent over the IKE SA (RFC 9838 §2.4.2). They take effect as
    /// those of a GSA_REKEY do.
    pub(super) fn handle_inband(
        &mut self,
        now: Instant,
        rekey: InbandRekey,
        entropy: &mut dyn Entropy,
    ) {
        let new_rekey_sa = match (&mut self.receiver, &rekey.rekey) {
            (Some(receiver), _) => receiver.handle_inband(now, &rekey),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(RekeyError::Content("nothing tells who signs rekeys")),
        };
        match new_rekey_sa {
            Ok(new_rekey_sa) => {
                let update = Update {
                    message_id: rekey.message_id,
                    gsa: rekey.gsa,
                    data: rekey.data,
                    new_rekey_sa: new_rekey_sa.is_some(),
                    deletes: rekey.deletes,
                };
                self.apply(now, update, entropy);
            }
            Err(error) => self.handle_unusable_inband(now, &error, entropy),
        }
    }

    /// The key server sent something over the IKE SA that cannot be used: nothing changed.
    pub(super) fn handle_unusable_inband(
        &mut self,
        now: Instant,
        error: &RekeyError,
        entropy: &mut dyn Entropy,
    ) {
        let error = match error {
            RekeyError::Setup(rule) => &RekeyError::Content(rule),
            other => other,
        };
        self.handle_refused_rekey(now, error, entropy);
    }

    fn apply(&mut self, now: Instant, accepted: Update, entropy: &mut dyn Entropy) {
        let mut age = Duration::ZERO;
        let mut installed = Vec::new();
        let mut replaced_after = self.policy.deactivation_delay.unwrap_or_default();
        let mut taken_over: Option<Duration> = None;
        let mut lacks_sender_id = false;
        if let Some(gsa) = &accepted.gsa {
            let group_wide = gsa.group_wide.as_ref();
            if let Some(milliseconds) = group_wide.and_then(|policy| policy.pseudotime_ms) {
                let advance = self.pseudotime.advance(now, milliseconds);
                age = advance.age;
                self.keys.postpone(advance.early, now);
            }
            self.policy.update(gsa);
            self.note_rekey_group(gsa);
            replaced_after = self.policy.deactivation_delay.unwrap_or_default();
            let receipt = now.checked_sub(age).unwrap_or(now);
            let must_send = self.policy.direction(self.settings.direction) == Direction::Both;
            for (association, data) in data_policies(gsa) {
                if must_send && self.sender_ids.is_empty() {
                    // All our ciphers are counter-mode: with one, a sender that has no Sender-ID to send with must
                    // leave the SA alone and register for one (RFC 9838 §2.4.1.4).
                    lacks_sender_id = true;
                    continue;
                }
                let secret = accepted.data.iter().find(|(spi, _)| *spi == data.spi);
                let candidate = Candidate::new(
                    association,
                    data,
                    secret.map(|(_, secret)| secret),
                    receipt,
                    Delays {
                        activation: self.policy.activation_delay,
                        deactivation: self.policy.deactivation_delay.unwrap_or_default(),
                    },
                    entropy,
                );
                match candidate {
                    Ok(candidate) if !self.keys.contradicts(&candidate) => {
                        let active = candidate.activate_at().saturating_duration_since(receipt);
                        taken_over = Some(taken_over.map_or(active, |first| first.min(active)));
                        installed.push(candidate.spi());
                        self.keys.install(candidate, now);
                    }
                    Ok(candidate) => {
                        let spi = candidate.spi();
                        self.reject_policy(now, &UnusablePolicy::SpiInUse { spi }, entropy);
                    }
                    Err(error) => self.reject_policy(now, &error, entropy),
                }
            }
        }
        // An old SA must not go before every sender has changed to the first new one. Those staged behind it do not count:
        // an old SA that was staged as well would come into use in between.
        if let Some(active) = taken_over.filter(|active| *active <= LONGEST_TAKEOVER) {
            replaced_after = replaced_after.max(active);
        }
        let gone = now.checked_sub(age).unwrap_or(now) + replaced_after;
        if accepted.deletes.all_data {
            let kept: Vec<Spi> = installed.clone();
            self.keys.delete_others(&kept, gone);
        }
        for spi in &accepted.deletes.data {
            self.keys.delete(Spi(spi.0), gone);
        }
        if accepted.new_rekey_sa {
            self.rekey_soft = self
                .receiver_expires()
                .and_then(|expires| soft_limit(now, expires, Duration::ZERO, entropy));
        }
        if lacks_sender_id {
            self.request_registration(now, RegistrationReason::UnusableRekey, Duration::ZERO);
        }
        if accepted.deletes.excluded {
            self.handle_exclusion(now, entropy);
        }
        self.settle(now);
        self.unknown_spi.interval = self.settings.timing.unknown_spi_interval;
        self.statistics.rekeys_accepted = self.statistics.rekeys_accepted.saturating_add(1);
        self.statistics.last_rekey = Some(LastRekey {
            message_id: accepted.message_id,
            at: now,
        });
        self.events.push_back(MemberEventKind::RekeyAccepted {
            message_id: accepted.message_id,
            traffic_keys: installed,
            new_rekey_sa: accepted.new_rekey_sa,
            age,
        });
    }

    fn handle_refused_rekey(
        &mut self,
        now: Instant,
        error: &RekeyError,
        entropy: &mut dyn Entropy,
    ) {
        let label = error.label();
        let count = self.statistics.rekeys_refused.entry(label).or_default();
        *count = count.saturating_add(1);
        self.events.push_back(MemberEventKind::RekeyRefused {
            label,
            cause: error.to_string(),
        });
        match error {
            RekeyError::Excluded(_) => self.handle_exclusion(now, entropy),
            RekeyError::UnknownSpi { announced: true } => self.handle_unknown_spi(now, entropy),
            RekeyError::Content(_) => {
                let delay = jitter::up_to(self.settings.timing.jitter, entropy);
                self.request_registration(now, RegistrationReason::UnusableRekey, delay);
            }
            RekeyError::UnknownSpi { announced: false }
            | RekeyError::Header
            | RekeyError::Malformed(_)
            | RekeyError::Replayed { .. }
            | RekeyError::Fragment
            | RekeyError::Integrity
            | RekeyError::Signature(_)
            | RekeyError::Setup(_) => {}
        }
    }

    /// To stay in the group we must register again, not all at once (RFC 9838 §2.4.3).
    fn handle_exclusion(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.events.push_back(MemberEventKind::Excluded);
        let delay = jitter::up_to(self.settings.timing.jitter, entropy);
        self.request_registration(now, RegistrationReason::Excluded, delay);
    }

    fn reject_policy(&mut self, now: Instant, error: &UnusablePolicy, entropy: &mut dyn Entropy) {
        self.events.push_back(MemberEventKind::PolicyUnusable {
            cause: error.to_string(),
        });
        let delay = jitter::up_to(self.settings.timing.jitter, entropy);
        self.request_registration(now, RegistrationReason::UnusableRekey, delay);
    }
}
