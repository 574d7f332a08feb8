//! The TEKs of one group over time: current, staged, and retired ones that receivers still accept.
//!
//! RFC 9838 §2.4.1.4, §4.4.3.1.1: a new SA is accepted at once and used for sending from its
//! activation on; the one before it is no longer used for sending then, and is accepted for the
//! deactivation delay more. Without a successor an SA is used to the end of its lifetime; after
//! that there is none, and what should be encrypted is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gikev2::wire::{DataSaPolicy, Encapsulation as WireEncapsulation, EncryptionId, TransformType};
use gikev2::{Entropy, Secret};

use super::jitter;
use crate::data_plane::{AntiReplay, Encapsulation, Family, SecurityAssociation};
use crate::sad::{Algorithm, KeyMaterial, SenderId, Spi};

/// End of an SA whose policy states no lifetime.
const UNLIMITED: Duration = Duration::from_secs(366 * 24 * 3600);

/// A successor is missed this long before the end at the latest.
const SOFT_MARGIN: Duration = Duration::from_secs(90);

/// SPIs remembered after their keys are gone.
const PAST_SPIS: usize = 256;

/// Less time than this is not worth a registration.
const SHORTEST_SOFT_MARGIN: Duration = Duration::from_millis(200);

/// Why a data policy cannot be used by this member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusablePolicy {
    /// The cipher is not one of ours.
    #[error("SA {spi}: cipher {cipher} is not supported")]
    Cipher {
        /// The SA.
        spi: Spi,
        /// Transform ID and key length.
        cipher: String,
    },
    /// A policy came without its key, or with one of the wrong length.
    #[error("SA {spi}: its key is missing or of the wrong length")]
    Key {
        /// The SA.
        spi: Spi,
    },
    /// An SPI that is in use came with another key.
    #[error("SA {spi}: the SPI is in use with another key")]
    SpiInUse {
        /// The SA.
        spi: Spi,
    },
    /// The Sender-ID does not fit into the bits the group has for it.
    #[error("Sender-ID {sender_id} does not fit into {bits} bits")]
    SenderId {
        /// The Sender-ID granted.
        sender_id: u32,
        /// Bits of the group.
        bits: u8,
    },
}

/// One TEK with its policy and times.
struct TrafficKey {
    spi: Spi,
    association: u16,
    family: Family,
    algorithm: Algorithm,
    secret: Secret,
    anti_replay: AntiReplay,
    encapsulation: Encapsulation,
    activate_at: Instant,
    /// End of its lifetime.
    expires: Instant,
    /// When to register again if no successor came by then.
    soft: Option<Instant>,
    /// An explicit deletion.
    deleted: Option<Instant>,
    /// No longer used for sending, whatever comes next.
    retired: Option<Instant>,
    stop_sending_at: Instant,
    delete_at: Instant,
}

/// What a message says about one SA, checked but not installed.
pub(super) struct Candidate(TrafficKey);

/// A TEK as status shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyTimes {
    /// The SPI.
    pub spi: Spi,
    /// The association it belongs to.
    pub association: u16,
    /// IP version.
    pub family: Family,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Which packets are refused as repeated or late.
    pub anti_replay: AntiReplay,
    /// Senders use it from here on.
    pub activate_at: Instant,
    /// Senders do not use it any more from here on.
    pub stop_sending_at: Instant,
    /// Nobody accepts it any more from here on.
    pub delete_at: Instant,
}

/// All TEKs of one group.
#[derive(Default)]
pub(super) struct TrafficKeys {
    keys: Vec<TrafficKey>,
    /// SPIs that were ours, the oldest first.
    past: VecDeque<Spi>,
}

impl TrafficKey {
    /// Whether the key lives when its activation comes.
    fn will_be_used(&self) -> bool {
        self.retired.is_none() && self.deleted.is_none_or(|at| self.activate_at < at)
    }
}

/// Delays of a group's keys.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Delays {
    /// From receipt to first use, where the key's own policy does not say.
    pub(super) activation: Duration,
    /// How long before a key's end the others have gone over to the next one.
    pub(super) deactivation: Duration,
}

impl Candidate {
    /// Checks `policy` with its key. `receipt` is the instant its relative times count from.
    pub(super) fn new(
        association: u16,
        policy: &DataSaPolicy,
        secret: Option<&Secret>,
        receipt: Instant,
        delays: Delays,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, UnusablePolicy> {
        let spi = Spi(policy.spi.0);
        let algorithm = algorithm(policy, spi)?;
        let secret = secret
            .filter(|secret| secret.len() == algorithm.keying_material_length())
            .ok_or(UnusablePolicy::Key { spi })?;
        let delay = policy
            .activation_delay_ms
            .map_or(delays.activation, |delay| {
                Duration::from_millis(delay.into())
            });
        let lifetime = policy
            .lifetime_seconds
            .map_or(UNLIMITED, |seconds| Duration::from_secs(seconds.into()));
        let expires = receipt + lifetime;
        let window = policy.pseudotime_window_ms.filter(|window| *window != 0);
        Ok(Self(TrafficKey {
            spi,
            association,
            family: if policy.source.addresses.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            },
            algorithm,
            secret: secret.duplicate(),
            anti_replay: window.map_or(AntiReplay::COUNTER, |window| {
                AntiReplay::time(Duration::from_millis(window.into()))
            }),
            encapsulation: match policy.encapsulation {
                Some(WireEncapsulation::Raw) => Encapsulation::Raw,
                Some(WireEncapsulation::Udp) | None => Encapsulation::Udp,
            },
            activate_at: receipt + delay,
            expires,
            soft: soft_limit(receipt, expires, delays.deactivation, entropy),
            deleted: None,
            retired: None,
            stop_sending_at: expires,
            delete_at: expires,
        }))
    }

    pub(super) fn spi(&self) -> Spi {
        self.0.spi
    }

    pub(super) fn activate_at(&self) -> Instant {
        self.0.activate_at
    }
}

/// When to act, before `expires`, if nothing has replaced what began at `start`: at nine tenths of
/// the time or [`SOFT_MARGIN`] before the end, spread so that members do not act together. In any case before the others
/// go over to what replaced it, which they do `handover` before the end.
pub(super) fn soft_limit(
    start: Instant,
    expires: Instant,
    handover: Duration,
    entropy: &mut dyn Entropy,
) -> Option<Instant> {
    let margin = (expires.saturating_duration_since(start) / 10).min(SOFT_MARGIN);
    if margin < SHORTEST_SOFT_MARGIN {
        return None;
    }
    let usual = expires.checked_sub(margin - jitter::up_to(margin / 2, entropy))?;
    let early = expires.checked_sub(handover + margin / 4 + jitter::up_to(margin / 4, entropy));
    Some(
        early
            .filter(|early| *early > start)
            .map_or(usual, |early| early.min(usual)),
    )
}

impl TrafficKeys {
    /// Whether the SA is known with another key.
    pub(super) fn contradicts(&self, candidate: &Candidate) -> bool {
        self.keys
            .iter()
            .any(|key| key.spi == candidate.0.spi && key.secret != candidate.0.secret)
    }

    /// Whether an SA has this SPI.
    pub(super) fn contains(&self, spi: Spi) -> bool {
        self.keys.iter().any(|key| key.spi == spi)
    }

    /// Installs an SA, or takes over new times of one that is known.
    pub(super) fn install(&mut self, candidate: Candidate, now: Instant) {
        let Candidate(mut new) = candidate;
        match self.keys.iter_mut().find(|key| key.spi == new.spi) {
            Some(known) => {
                // What is in use stays in use; what is staged may be called earlier or later.
                if known.activate_at <= now {
                    new.activate_at = known.activate_at;
                }
                *known = new;
            }
            None => self.keys.push(new),
        }
    }

    /// Deletes one SA at `at`, unless it ends before.
    pub(super) fn delete(&mut self, spi: Spi, at: Instant) {
        for key in self.keys.iter_mut().filter(|key| key.spi == spi) {
            key.deleted = Some(key.deleted.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Deletes every SA but those in `kept` at `at`.
    pub(super) fn delete_others(&mut self, kept: &[Spi], at: Instant) {
        for key in self.keys.iter_mut().filter(|key| !kept.contains(&key.spi)) {
            key.deleted = Some(key.deleted.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Keeps only the SAs in `named` for sending; the others are accepted until `at`.
    pub(super) fn retire_others(&mut self, named: &[Spi], now: Instant, at: Instant) {
        for key in self.keys.iter_mut().filter(|key| !named.contains(&key.spi)) {
            key.retired = Some(now);
        }
        self.delete_others(named, at);
    }

    /// Forgets every key at once.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
    }

    /// Works out who follows whom. Call after every change.
    pub(super) fn settle(&mut self, deactivation_delay: Option<Duration>) {
        self.keys
            .sort_by_key(|key| (key.association, key.family, key.activate_at, key.spi));
        for index in 0..self.keys.len() {
            let (head, tail) = self.keys.split_at_mut(index + 1);
            let Some(key) = head.last_mut() else { continue };
            let successor = tail
                .iter()
                .take_while(|next| next.association == key.association && next.family == key.family)
                .find(|next| next.will_be_used())
                .map(|next| next.activate_at);
            let mut stop = key.expires;
            let mut delete = key.expires;
            if let Some(at) = successor {
                stop = stop.min(at);
                if let Some(delay) = deactivation_delay {
                    delete = delete.min(at + delay);
                }
            }
            if let Some(at) = key.deleted {
                delete = delete.min(at);
            }
            if let Some(at) = key.retired {
                stop = stop.min(at);
            }
            key.stop_sending_at = stop.min(delete);
            key.delete_at = delete;
        }
    }

    /// Moves what is still to come by `later`: it was counted from an estimate of the group's time that was early.
    pub(super) fn postpone(&mut self, later: Duration, now: Instant) {
        if later.is_zero() {
            return;
        }
        let move_on = |at: &mut Instant| {
            if *at > now {
                *at += later;
            }
        };
        for key in &mut self.keys {
            move_on(&mut key.activate_at);
            move_on(&mut key.expires);
            key.soft.iter_mut().for_each(move_on);
        }
    }

    /// Whether any key is used with a time window.
    pub(super) fn uses_time(&self) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|key| key.anti_replay.time_window.is_some())
    }

    /// Drops and wipes keys whose time is over; `true` when there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let over = self.keys.extract_if(.., |key| now >= key.delete_at);
        let before = self.past.len();
        self.past.extend(over.map(|key| key.spi));
        let expired = self.past.len() != before;
        while self.past.len() > PAST_SPIS {
            self.past.pop_front();
        }
        expired
    }

    /// Whether an SA of the past had this SPI: whoever still uses it missed something, not we.
    pub(super) fn remembers(&self, spi: Spi) -> bool {
        self.past.contains(&spi)
    }

    /// When [`TrafficKeys::expire`] has something to do.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.keys.iter().map(|key| key.delete_at).min()
    }

    /// When a registration is due because some association's last key has no successor.
    pub(super) fn soft_expiry(&self) -> Option<Instant> {
        let is_last = |key: &&TrafficKey| {
            !self.keys.iter().any(|other| {
                other.association == key.association
                    && other.family == key.family
                    && other.expires > key.expires
            })
        };
        self.keys
            .iter()
            .filter(is_last)
            .filter_map(|key| key.soft)
            .min()
    }

    /// Whether a key can be used for sending at `now`.
    pub(super) fn has_active(&self, now: Instant) -> bool {
        self.keys
            .iter()
            .any(|key| key.activate_at <= now && now < key.stop_sending_at)
    }

    /// Whether there is no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Times of every key, for status.
    pub(super) fn times(&self) -> Vec<KeyTimes> {
        self.keys
            .iter()
            .map(|key| KeyTimes {
                spi: key.spi,
                association: key.association,
                family: key.family,
                algorithm: key.algorithm,
                anti_replay: key.anti_replay,
                activate_at: key.activate_at,
                stop_sending_at: key.stop_sending_at,
                delete_at: key.delete_at,
            })
            .collect()
    }

    /// The SAs as the packet path wants them. Without `sender_id_bits` senders cannot be told
    /// apart, and the window per sender is off.
    pub(super) fn associations(
        &self,
        group: usize,
        sender_id: Option<SenderId>,
        sender_id_bits: Option<u8>,
    ) -> Vec<Arc<SecurityAssociation>> {
        self.keys
            .iter()
            .filter_map(|key| {
                let material = KeyMaterial::new(key.algorithm, key.secret.as_bytes()).ok()?;
                let mut anti_replay = key.anti_replay;
                anti_replay.sender_window &= sender_id_bits.is_some();
                Some(Arc::new(SecurityAssociation {
                    spi: key.spi,
                    group,
                    association: key.association,
                    family: key.family,
                    key: material,
                    sender_id_bits: sender_id_bits.unwrap_or(8),
                    sender_id: sender_id.filter(|_| sender_id_bits.is_some()),
                    activate_at: key.activate_at,
                    stop_sending_at: key.stop_sending_at,
                    delete_at: key.delete_at,
                    anti_replay,
                    encapsulation: key.encapsulation,
                }))
            })
            .collect()
    }
}

fn algorithm(policy: &DataSaPolicy, spi: Spi) -> Result<Algorithm, UnusablePolicy> {
    let transform = policy.transform(TransformType::ENCRYPTION);
    let id = transform.map_or(0, |transform| transform.id);
    let bits = transform.and_then(|transform| transform.key_length());
    match (EncryptionId(id), bits) {
        (EncryptionId::AES_GCM_16, Some(128)) => Ok(Algorithm::Aes128Gcm),
        (EncryptionId::AES_GCM_16, Some(256)) => Ok(Algorithm::Aes256Gcm),
        (EncryptionId::CHACHA20_POLY1305, None) => Ok(Algorithm::ChaCha20Poly1305),
        _ => Err(UnusablePolicy::Cipher {
            spi,
            cipher: match bits {
                Some(bits) => format!("{id} with {bits} bits"),
                None => id.to_string(),
            },
        }),
    }
}
