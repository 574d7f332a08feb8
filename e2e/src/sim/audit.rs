//! The rules, and a judge who sees everything: what is committed, what is on the wire, what members install.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use gikev2::crypto::digest::sha256;
use gm_core::DataPlane;
use keyserver_core::command::{Action, Command, Rekey, RekeyReason};
use keyserver_core::outcome::Outcome;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One key and nonce, one ciphertext: of packets, of rekeys, of IKE SAs.
    NonceOnce,
    /// One Sender-ID under one key, one life of one member.
    SenderIdOnce,
    /// One Message ID of a Rekey SA, one message.
    MessageIdOnce,
    /// A rekey on the wire is a committed one, octet by octet.
    CommitBeforeWire,
    /// A key that a member holds was committed.
    KeyCommitted,
    /// Every key server comes to the same outcome of a command.
    OneOutcome,
    /// Nothing that the policy protects leaves in clear.
    NothingInClear,
    /// No packet is sealed with a key that has ended.
    KeyInItsTime,
    /// A member that was evicted holds no key that came afterwards.
    EvictedHoldsNothingNew,
    /// After all faults every member sends with the same key.
    Converges,
    /// After all faults no packet is lost.
    NothingLost,
}

/// A rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The seed of the world.
    pub seed: u64,
    /// The rule.
    pub rule: Rule,
    /// When, since the start of the world.
    pub at: Duration,
    /// How.
    pub how: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            rule,
            at,
            how,
        } = self;
        write!(
            formatter,
            "seed {seed}, {:.3} s: {rule:?}: {how}",
            at.as_secs_f64()
        )
    }
}

impl std::error::Error for Violation {}

/// What the judge reports: the world adds seed and time.
pub(super) type Broken = (Rule, String);

/// Tolerance of [`Rule::KeyInItsTime`]: a member counts a key's life from when the message reached it.
const LATE: Duration = Duration::from_secs(8);

/// Octets of an IKE header.
const IKE_HEADER: usize = 28;
/// Payload types: encrypted, encrypted fragment (RFC 7296 §3.14, RFC 7383 §2.5).
const SK: u8 = 46;
const SKF: u8 = 53;
/// The exchange type of GSA_REKEY (RFC 9838 §6).
pub(super) const GSA_REKEY: u8 = 41;

type Digest = [u8; 32];

/// Who may hold a Sender-ID: a site in one of its lives.
type Life = (usize, u32);

#[derive(Default)]
pub(super) struct Audit {
    packets: HashMap<(u32, u64), Digest>,
    messages: HashMap<([u8; 16], u8, u64), Digest>,
    senders: HashMap<(u32, u32), Life>,
    rekeys: BTreeMap<([u8; 16], u32), BTreeSet<Digest>>,
    /// By SPI: where in the log it came from, and when it ends.
    keys: HashMap<u32, (usize, Instant)>,
    evicted: HashMap<usize, usize>,
    outcomes: Vec<Outcome>,
}

impl Audit {
    /// A key server applied the entry at `index`; `life_left` says how long from now a time of the log is away.
    pub(super) fn applied(
        &mut self,
        index: usize,
        command: &Command,
        outcome: &Outcome,
        now: Instant,
        life_left: impl Fn(keyserver_core::log_time::LogTime) -> Instant,
    ) -> Result<(), Broken> {
        if let Some(known) = self.outcomes.get(index) {
            if known != outcome {
                let how =
                    format!("entry {index}: {known:?} at one key server, {outcome:?} at another");
                return Err((Rule::OneOutcome, how));
            }
            return Ok(());
        }
        self.outcomes.push(outcome.clone());
        if let (Action::Rekey(rekey), Outcome::Rekeyed { .. }) = (&command.action, outcome) {
            self.rekeyed(index, rekey, now, life_left)?;
        }
        Ok(())
    }

    fn rekeyed(
        &mut self,
        index: usize,
        rekey: &Rekey,
        now: Instant,
        life_left: impl Fn(keyserver_core::log_time::LogTime) -> Instant,
    ) -> Result<(), Broken> {
        for key in &rekey.traffic_keys {
            let end = life_left(key.ends).max(now);
            self.keys.entry(key.spi.0).or_insert((index, end)).1 = end;
        }
        for key in &rekey.rescheduled {
            let end = life_left(key.ends).max(now);
            if let Some(known) = self.keys.get_mut(&key.spi.0) {
                known.1 = known.1.max(end);
            }
        }
        let Some(message) = &rekey.message else {
            return Ok(());
        };
        let digests: BTreeSet<Digest> = message
            .datagrams
            .iter()
            .map(|datagram| sha256(&[datagram]))
            .collect();
        let name = (message.spi.0, message.message_id);
        match self.rekeys.insert(name, digests.clone()) {
            Some(known) if known != digests => Err((
                Rule::MessageIdOnce,
                format!(
                    "entry {index}: Message ID {} was used before",
                    message.message_id
                ),
            )),
            _ => Ok(()),
        }
    }

    /// A key server that goes on alone takes an entry of its own for committed.
    pub(super) fn forked(
        &mut self,
        index: usize,
        command: &Command,
        outcome: &Outcome,
        now: Instant,
    ) -> Result<(), Broken> {
        match (&command.action, outcome) {
            (Action::Rekey(rekey), Outcome::Rekeyed { .. }) => {
                self.rekeyed(index, rekey, now, |_| now + Duration::from_secs(3600))
            }
            _ => Ok(()),
        }
    }

    /// An administrator's eviction of a site was committed by the entry at `index`.
    pub(super) fn evicted(&mut self, site: usize, index: usize) {
        self.evicted.entry(site).or_insert(index);
    }

    /// Whether the eviction of a site is committed.
    pub(super) fn is_evicted(&self, site: usize) -> bool {
        self.evicted.contains_key(&site)
    }

    /// Whether a key came after the eviction of a site.
    pub(super) fn is_newer(&self, site: usize, spi: u32) -> bool {
        let (key, evicted) = (self.keys.get(&spi), self.evicted.get(&site));
        key.zip(evicted)
            .is_some_and(|((introduced, _), evicted)| introduced > evicted)
    }

    /// A datagram of the control plane leaves a host.
    pub(super) fn message(&mut self, octets: &[u8]) -> Result<(), Broken> {
        let Some((header, rest)) = octets.split_at_checked(IKE_HEADER) else {
            return Ok(());
        };
        let (Some(spis), Some(&first), Some(&exchange), Some(&flags)) = (
            header.first_chunk::<16>(),
            header.get(16),
            header.get(18),
            header.get(19),
        ) else {
            return Ok(());
        };
        if exchange == GSA_REKEY {
            let number = header.get(20..24).and_then(|octets| octets.try_into().ok());
            let number = number.map_or(0, u32::from_be_bytes);
            let committed = self
                .rekeys
                .get(&(*spis, number))
                .is_some_and(|digests| digests.contains(&sha256(&[octets])));
            if !committed {
                let how = format!("rekey {number} is on the wire and was not committed so");
                return Err((Rule::CommitBeforeWire, how));
            }
        }
        let place = match first {
            SK => 4,
            SKF => 8,
            _ => return Ok(()),
        };
        let Some(iv) = rest
            .get(place..place + 8)
            .and_then(|octets| octets.try_into().ok())
        else {
            return Ok(());
        };
        let nonce = (*spis, flags & 0b0000_1000, u64::from_be_bytes(iv));
        let digest = sha256(&[octets]);
        match self.messages.insert(nonce, digest) {
            Some(known) if known != digest => Err((
                Rule::NonceOnce,
                format!(
                    "IKE message of exchange {exchange}: nonce {:016x} again",
                    nonce.2
                ),
            )),
            _ => Ok(()),
        }
    }

    /// A sealed packet leaves a site.
    pub(super) fn sealed(&mut self, packet: &[u8], now: Instant) -> Result<u32, Broken> {
        let spi = word(packet, 0);
        let iv = u64::from(word(packet, 8)) << 32 | u64::from(word(packet, 12));
        let digest = sha256(&[packet]);
        if let Some(known) = self.packets.insert((spi, iv), digest)
            && known != digest
        {
            let how = format!("SPI {spi:08x}: nonce {iv:016x} for two packets");
            return Err((Rule::NonceOnce, how));
        }
        match self.keys.get(&spi) {
            None => Err((
                Rule::KeyCommitted,
                format!("SPI {spi:08x} was never committed"),
            )),
            Some((_, end)) if now > *end + LATE => {
                let late = now.saturating_duration_since(*end).as_secs_f64();
                let how = format!("SPI {spi:08x} seals {late:.1} s after its end");
                Err((Rule::KeyInItsTime, how))
            }
            Some(_) => Ok(spi),
        }
    }

    /// A site installs keys.
    pub(super) fn installed(
        &mut self,
        site: usize,
        life: u32,
        plane: &DataPlane,
    ) -> Result<(), Broken> {
        for association in &plane.associations {
            let spi = association.spi.0;
            let Some((introduced, _)) = self.keys.get(&spi) else {
                let how = format!("site {site} holds SPI {spi:08x}, which was never committed");
                return Err((Rule::KeyCommitted, how));
            };
            if self
                .evicted
                .get(&site)
                .is_some_and(|evicted| introduced > evicted)
            {
                let how =
                    format!("site {site} was evicted and holds SPI {spi:08x}, which is newer");
                return Err((Rule::EvictedHoldsNothingNew, how));
            }
            if let Some(sender) = association.sender_id {
                let holder = *self.senders.entry((spi, sender.0)).or_insert((site, life));
                if holder != (site, life) {
                    let how = format!(
                        "Sender-ID {} under SPI {spi:08x}: life {life} of site {site}, and life {} of site {}",
                        sender.0, holder.1, holder.0
                    );
                    return Err((Rule::SenderIdOnce, how));
                }
            }
        }
        Ok(())
    }
}

/// Whether a rekey puts members out.
pub(super) fn evicts(command: &Command, outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rekeyed { .. })
        && matches!(&command.action, Action::Rekey(rekey) if rekey.reason == RekeyReason::Eviction)
}

fn word(packet: &[u8], at: usize) -> u32 {
    packet
        .get(at..at + 4)
        .and_then(|octets| octets.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}
