//! The key server's end of registrations (RFC 9838 §2.3): every IKE SA of one key server.
//!
//! It agrees keys, checks who the member is and carries requests and answers. Whether a member may join, and what it
//! gets, is decided by the owner alone: [`Event::Registration`] asks, [`Responder::accept`] and
//! [`Responder::refuse`] answer. No answer leaves before the owner has spoken, so it can commit first.

mod authentication;
mod config;
mod error;
mod event;
mod half_open;
mod ike_sa;
mod inband;
mod informational;
mod intermediate;
mod opening;
mod protected;
mod registration;
#[cfg(test)]
mod rude_inband;
#[cfg(test)]
mod rude_initiator;
#[cfg(test)]
mod rude_key_server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use config::{Config, Credentials, Limits};
pub use error::RejectReason;
pub use event::{
    AnswerError, Event, Grant, GrantKeys, IkeSaHandle, Refusal, RegistrationHandle,
    RegistrationRequest, RekeyKey, RekeyKeyGrant,
};

pub use inband::{InbandError, InbandRekey};

use crate::exchange::cookie::CookieJar;
use crate::exchange::datagram::{with_marker, without_marker};
use crate::wire::header::{HEADER_LENGTH, VERSION};
use crate::wire::{ExchangeType, Header, IkeSpi, Notify, NotifyType};
use crate::{Entropy, Secret, Transmit};

use half_open::HalfOpen;
use ike_sa::IkeSa;

/// Octets of the key that stands in for the pre-shared key of an unknown member.
const DECOY_LENGTH: usize = 32;

/// All IKE SAs of a key server.
pub struct Responder {
    config: Config,
    sas: BTreeMap<u64, IkeSa>,
    by_spi: BTreeMap<IkeSpi, u64>,
    /// IKE SAs by source and SPIi of their IKE_SA_INIT request, while half-open.
    by_opening: BTreeMap<(SocketAddr, IkeSpi), u64>,
    half_open: HalfOpen,
    timers: BTreeSet<(Instant, u64)>,
    next_serial: u64,
    cookies: CookieJar,
    /// Checked in place of an unknown member's key, so that the time taken does not tell who is known.
    decoy: Secret,
    stray_answers: StrayAnswers,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// Bounds the answers to messages of unknown IKE SAs.
struct StrayAnswers {
    second: Instant,
    given: u32,
}

/// What the caller lends for one call.
struct Turn<'a> {
    now: Instant,
    unix_time: u64,
    entropy: &'a mut dyn Entropy,
}

/// The addresses a datagram came with, and its answer goes back to.
#[derive(Clone, Copy)]
struct Arrival {
    local: SocketAddr,
    remote: SocketAddr,
}

/// Whether an IKE SA lives on.
#[derive(PartialEq, Eq)]
enum Fate {
    Keep,
    Remove,
}

impl Responder {
    /// A responder without any IKE SA. `entropy` gives the first cookie secret.
    pub fn new(config: Config, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let cookies = CookieJar::new(now, config.limits.cookie_secret_lifetime, entropy);
        Self {
            config,
            sas: BTreeMap::new(),
            by_spi: BTreeMap::new(),
            by_opening: BTreeMap::new(),
            half_open: HalfOpen::default(),
            timers: BTreeSet::new(),
            next_serial: 1,
            cookies,
            decoy: Secret::random(DECOY_LENGTH, entropy),
            stray_answers: StrayAnswers {
                second: now,
                given: 0,
            },
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Replaces our credentials: every authentication from now on uses them. Authenticated IKE SAs go on.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.config.set_credentials(credentials);
    }

    /// Takes a datagram in that arrived at our address `local` from `remote`. `unix_time` (seconds) decides whether
    /// certificates are valid.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_time: u64,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        entropy: &mut dyn Entropy,
    ) {
        let Some(message) = without_marker(local, remote, datagram) else {
            return;
        };
        let arrival = Arrival { local, remote };
        let mut turn = Turn {
            now,
            unix_time,
            entropy,
        };
        let header = match Header::parse(message) {
            Ok(header) => header,
            Err(_) => return self.handle_foreign_version(now, arrival, message),
        };
        // The peer is always the original initiator.
        if !header.flags.is_initiator() {
            return;
        }
        if header.responder_spi.is_zero() {
            if header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.is_response() {
                self.handle_opening(&mut turn, arrival, message);
            }
            return;
        }
        let belongs = |serial: &u64| {
            self.sas
                .get(serial)
                .is_some_and(|sa| sa.initiator_spi == header.initiator_spi)
        };
        let serial = self
            .by_spi
            .get(&header.responder_spi)
            .copied()
            .filter(belongs);
        match serial.and_then(|serial| self.sas.remove(&serial)) {
            Some(mut sa) => {
                let fate = self.handle_protected(&mut turn, &mut sa, arrival, message);
                self.settle(sa, fate);
            }
            None => self.handle_stray(now, arrival, &header),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.cookies.rotate(now, entropy);
        while let Some(&(due, serial)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            if let Some(mut sa) = self.sas.remove(&serial) {
                sa.timer = None;
                let fate = self.handle_ike_sa_timeout(
                    &mut Turn {
                        now,
                        unix_time: 0,
                        entropy,
                    },
                    &mut sa,
                );
                self.settle(sa, fate);
            }
        }
    }

    /// Deletes an IKE SA, telling the peer. [`Event::Closed`] follows when the peer has confirmed or was given up.
    pub fn delete_ike_sa(&mut self, now: Instant, ike_sa: IkeSaHandle, entropy: &mut dyn Entropy) {
        if let Some(mut sa) = self.sas.remove(&ike_sa.0) {
            let fate = self.close(
                &mut Turn {
                    now,
                    unix_time: 0,
                    entropy,
                },
                &mut sa,
            );
            self.settle(sa, fate);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.first().map(|(due, _)| (*due, "IKE SA"))
    }

    /// How many IKE SAs there are, and how many of them are half-open.
    pub fn ike_sa_counts(&self) -> (usize, usize) {
        (self.sas.len(), self.half_open.total())
    }

    fn transmit(&mut self, arrival: Arrival, messages: Vec<Vec<u8>>) {
        let Arrival { local, remote } = arrival;
        for message in messages {
            let payload = with_marker(local, remote, message);
            self.transmits.push_back(Transmit {
                local,
                remote,
                payload,
            });
        }
    }

    /// Puts an IKE SA back after a step, or forgets it.
    fn settle(&mut self, sa: IkeSa, fate: Fate) {
        if !sa.state.is_half_open() || fate == Fate::Remove {
            self.half_open.remove(sa.source.ip(), sa.serial);
            let opening = (sa.source, sa.initiator_spi);
            if self.by_opening.get(&opening) == Some(&sa.serial) {
                self.by_opening.remove(&opening);
            }
        }
        match fate {
            Fate::Keep => self.put(sa),
            Fate::Remove => self.bury(sa),
        }
    }

    /// Puts an IKE SA into the table with its timer.
    fn put(&mut self, mut sa: IkeSa) {
        let due = sa.next_timeout();
        if sa.timer != Some(due) {
            if let Some(old) = sa.timer.replace(due) {
                self.timers.remove(&(old, sa.serial));
            }
            self.timers.insert((due, sa.serial));
        }
        self.sas.insert(sa.serial, sa);
    }

    /// Forgets an IKE SA that is out of the table; its keys are erased here.
    fn bury(&mut self, sa: IkeSa) {
        if let Some(timer) = sa.timer {
            self.timers.remove(&(timer, sa.serial));
        }
        self.by_spi.remove(&sa.responder_spi);
        if let Some(identity) = sa.identity {
            self.events.push_back(Event::Closed {
                ike_sa: IkeSaHandle(sa.serial),
                identity,
            });
        }
    }

    /// Forgets an IKE SA that is in the table.
    fn forget(&mut self, serial: u64) {
        if let Some(sa) = self.sas.remove(&serial) {
            self.settle(sa, Fate::Remove);
        }
    }

    /// A request with a higher major version is told ours (RFC 7296 §2.5); everything else unreadable is ignored.
    fn handle_foreign_version(&mut self, now: Instant, arrival: Arrival, message: &[u8]) {
        let Some(octets) = message.first_chunk::<HEADER_LENGTH>() else {
            return;
        };
        let mut readable = *octets;
        if readable[17] >> 4 <= 2 {
            return;
        }
        readable[17] = VERSION;
        readable[24..28].copy_from_slice(&[0, 0, 0, HEADER_LENGTH as u8]);
        let Ok(header) = Header::parse(&readable) else {
            return;
        };
        if !header.flags.is_response() && self.stray_answers.allow(now, &self.config.limits) {
            self.answer_in_clear(
                arrival,
                &header,
                Notify::empty(NotifyType::INVALID_MAJOR_VERSION),
            );
            let reason = RejectReason::MajorVersion;
            self.events.push_back(Event::Rejected {
                remote: arrival.remote,
                identity: None,
                reason,
            });
        }
    }

    /// A request for an IKE SA we do not have is told so, at a bounded rate (RFC 7296 §2.21.4).
    fn handle_stray(&mut self, now: Instant, arrival: Arrival, header: &Header) {
        let exchange = header.exchange;
        let ike = (ExchangeType::IKE_AUTH..=ExchangeType::INFORMATIONAL).contains(&exchange)
            || (ExchangeType::GSA_AUTH..=ExchangeType::GSA_REGISTRATION).contains(&exchange)
            || exchange == ExchangeType::IKE_INTERMEDIATE;
        if ike && !header.flags.is_response() && self.stray_answers.allow(now, &self.config.limits)
        {
            self.answer_in_clear(arrival, header, Notify::empty(NotifyType::INVALID_IKE_SPI));
        }
    }
}

impl StrayAnswers {
    fn allow(&mut self, now: Instant, limits: &Limits) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self {
                second: now,
                given: 0,
            };
        }
        let allowed = self.given < limits.invalid_ike_spi_per_second;
        self.given += u32::from(allowed);
        allowed
    }
}
