//! A member's side of GSA_REKEY (RFC 9838 §2.4.1): authenticate, then read, then change state, in that order and
//! all at once or not at all.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::Secret;
use crate::initiator::{InbandRekey, Registration};
use crate::keys::tree::WorkingKeyPath;
use crate::wire::private::PrivateUse;
use crate::wire::{ExchangeType, GroupSecurityAssociation, Header, Message, Notify, RekeySpi, Spi};

use super::acknowledgement;
use super::content::{self, Content};
use super::error::RekeyError;
use super::rekey_sa::{Authentic, RekeySa, Step};

/// Rekey SAs held at a time: the one in force, its successor, and those just replaced.
const MOST_REKEY_SAS: usize = 4;

/// Announced successors remembered.
const MOST_ANNOUNCED: usize = 16;

/// How long after its end a Rekey SA still recognises copies of its last message, to acknowledge them again.
const RECOGNITION: Duration = Duration::from_secs(60);

/// The Rekey SAs of one group, as a member holds them.
pub struct Receiver {
    /// Oldest first.
    sas: Vec<RekeySa>,
    working_key_path: WorkingKeyPath,
    acknowledgement: Option<(u64, Secret)>,
    announced: BTreeSet<RekeySpi>,
    /// DTD as last announced.
    deactivation_delay: Duration,
    /// What the key server's private-use numbers mean.
    private: PrivateUse,
}

/// What a datagram was.
#[derive(Debug)]
pub enum Received {
    /// A new, authentic message: apply it.
    Accepted(Box<Accepted>),
    /// An exact copy of the last accepted message of its Rekey SA: nothing changes.
    Duplicate {
        /// The acknowledgement to send once more, to the address the copy came from. Without non-ESP marker.
        acknowledgement: Option<Vec<u8>>,
    },
    /// A fragment of a message that is not complete yet.
    Incomplete,
}

/// An authentic GSA_REKEY message, completely validated, keys unwrapped.
pub struct Accepted {
    /// The Rekey SA it came over.
    pub spi: RekeySpi,
    /// Its Message ID.
    pub message_id: u32,
    /// New policy; `None` in a message that only deletes.
    pub gsa: Option<GroupSecurityAssociation>,
    /// Keying material of each new data SA.
    pub data: Vec<(Spi, Secret)>,
    /// The new Rekey SA, already installed in the [`Receiver`].
    pub new_rekey: Option<RekeySpi>,
    /// What to delete.
    pub deletes: Deletes,
    /// Notifications.
    pub notifies: Vec<Notify>,
    /// The acknowledgement to send to the address the message came from, once it is applied. Without non-ESP marker.
    pub acknowledgement: Option<Vec<u8>>,
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Accepted")
            .field("spi", &self.spi)
            .field("message_id", &self.message_id)
            .field("gsa", &self.gsa)
            .field("new_rekey", &self.new_rekey)
            .field("deletes", &self.deletes)
            .finish_non_exhaustive()
    }
}

/// SAs named in Delete payloads (RFC 9838 §2.4.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletes {
    /// Data SAs to delete after the deactivation delay.
    pub data: Vec<Spi>,
    /// Whether all data SAs are to be deleted.
    pub all_data: bool,
    /// Whether this member is out of the group. To stay it must register again, after a random delay.
    pub excluded: bool,
}

impl Receiver {
    /// The receiver of the group that `registration` joined; takes the working key path and a copy of the keys out
    /// of it. `None` when the group has no Rekey SA.
    ///
    /// # Errors
    ///
    /// [`RekeyError::Setup`] when policy, keys and AUTH_KEY do not fit together.
    pub fn from_registration(
        now: Instant,
        registration: &mut Registration,
    ) -> Result<Option<Self>, RekeyError> {
        let Some(sa) = content::registered_rekey_sa(now, registration)? else {
            return Ok(None);
        };
        let mut receiver = Self {
            sas: Vec::new(),
            working_key_path: WorkingKeyPath::default(),
            acknowledgement: None,
            announced: BTreeSet::new(),
            deactivation_delay: Duration::ZERO,
            private: registration.private,
        };
        receiver.adopt(now, sa, registration);
        Ok(Some(receiver))
    }

    /// Takes over a newer registration of the same group. A Rekey SA that is already known keeps the Message ID it
    /// has reached: a registration that raced with a rekey cannot turn it back (RFC 9838 §2.4.1.4).
    ///
    /// # Errors
    ///
    /// [`RekeyError::Setup`]; the receiver is unchanged.
    pub fn handle_registration(
        &mut self,
        now: Instant,
        registration: &mut Registration,
    ) -> Result<(), RekeyError> {
        let sa = content::registered_rekey_sa(now, registration)?
            .ok_or(RekeyError::Setup("the registration has no Rekey SA"))?;
        self.adopt(now, sa, registration);
        Ok(())
    }

    /// Takes over the Rekey SA part of a GSA_INBAND_REKEY, which the IKE SA has authenticated: a new Rekey SA, whose
    /// messages the same AUTH_KEY verifies, and deletions. Answers the new Rekey SA.
    ///
    /// # Errors
    ///
    /// [`RekeyError::Setup`]; the receiver is unchanged.
    pub fn handle_inband(
        &mut self,
        now: Instant,
        rekey: &InbandRekey,
    ) -> Result<Option<RekeySpi>, RekeyError> {
        let new = content::inband_rekey_sa(now, self.sas.last(), rekey)?;
        if let Some(gsa) = &rekey.gsa {
            self.note_announcements(gsa);
        }
        let spi = new.as_ref().map(|sa| sa.spi);
        if let Some(new) = new {
            self.install(now, new);
        }
        self.retire(now, &rekey.deletes, &rekey.deleted_rekey_sas);
        Ok(spi)
    }

    fn adopt(&mut self, now: Instant, mut sa: RekeySa, registration: &mut Registration) {
        if let Some(index) = self.sas.iter().position(|known| known.spi == sa.spi) {
            let known = self.sas.remove(index);
            sa.continue_from(known);
        }
        self.private = registration.private;
        self.note_announcements(&registration.gsa);
        self.working_key_path = std::mem::take(&mut registration.working_key_path);
        self.acknowledgement = registration.registration_id.map(|registration_id| {
            (
                registration_id,
                registration.acknowledgement_key.duplicate(),
            )
        });
        self.install(now, sa);
    }

    /// Puts a new Rekey SA in force; the others retire after the deactivation delay.
    fn install(&mut self, now: Instant, sa: RekeySa) {
        let retires = now + self.deactivation_delay;
        for old in &mut self.sas {
            old.retires = Some(old.retires.map_or(retires, |earlier| earlier.min(retires)));
        }
        if self.sas.len() >= MOST_REKEY_SAS {
            self.sas.remove(0);
        }
        self.announced.remove(&sa.spi);
        self.sas.push(sa);
    }

    fn note_announcements(&mut self, gsa: &GroupSecurityAssociation) {
        if let Some(policy) = gsa.rekey() {
            for spi in policy.next_spis.iter().take(MOST_ANNOUNCED) {
                if self.announced.len() < MOST_ANNOUNCED {
                    self.announced.insert(*spi);
                }
            }
        }
        if let Some(group_wide) = &gsa.group_wide {
            let delay = group_wide
                .deactivation_delay_seconds
                .map(|seconds| Duration::from_secs(seconds.into()));
            self.deactivation_delay = delay.unwrap_or(self.deactivation_delay);
        }
    }

    /// Whether an IKE message (without non-ESP marker) names one of our Rekey SAs; for routing among groups.
    pub fn owns(&self, message: &[u8]) -> bool {
        Header::parse(message).is_ok_and(|header| {
            let spi = RekeySpi::from_header(&header);
            self.sas.iter().any(|sa| sa.spi == spi) || self.announced.contains(&spi)
        })
    }

    /// Takes in an IKE message (without non-ESP marker) with exchange type GSA_REKEY.
    ///
    /// # Errors
    ///
    /// [`RekeyError`] says why the message was not accepted. Unless the variant says otherwise nothing has changed.
    pub fn handle(&mut self, now: Instant, message: &[u8]) -> Result<Received, RekeyError> {
        let header = Header::parse(message).map_err(|_| RekeyError::Header)?;
        if header.exchange != ExchangeType::GSA_REKEY || header.flags.is_response() {
            return Err(RekeyError::Header);
        }
        let spi = RekeySpi::from_header(&header);
        let announced = self.announced.contains(&spi);
        let index = self
            .sas
            .iter()
            .position(|sa| sa.spi == spi)
            .ok_or(RekeyError::UnknownSpi { announced })?;
        let parsed = Message::parse(message).map_err(RekeyError::Malformed)?;
        if !parsed.clear.is_empty() {
            return Err(RekeyError::Header);
        }
        let sa = self
            .sas
            .get_mut(index)
            .ok_or(RekeyError::UnknownSpi { announced })?;
        if sa.expires <= now {
            return Err(RekeyError::UnknownSpi { announced });
        }
        match sa.authenticate(now, &parsed, message)? {
            Step::Incomplete => Ok(Received::Incomplete),
            Step::Duplicate {
                message_id,
                acknowledge,
            } => Ok(Received::Duplicate {
                acknowledgement: acknowledge
                    .then(|| self.acknowledge(spi, message_id))
                    .flatten(),
            }),
            Step::Authentic(authentic) => self.apply(now, index, authentic),
        }
    }

    /// Reads an authentic message, and only when all of it is acceptable changes anything.
    fn apply(
        &mut self,
        now: Instant,
        index: usize,
        authentic: Authentic,
    ) -> Result<Received, RekeyError> {
        let sa = self.sas.get(index).ok_or(RekeyError::Header)?;
        let (spi, message_id) = (sa.spi, authentic.message_id);
        let Content {
            gsa,
            data,
            new_rekey_sa,
            new_path,
            auth_key,
            deletes,
            deleted_rekey_sas,
            notifies,
        } = content::read(
            now,
            sa,
            &self.working_key_path,
            &authentic.chain,
            self.private,
        )?;

        if let Some(gsa) = &gsa {
            self.note_announcements(gsa);
        }
        if let Some(path) = new_path {
            self.working_key_path = path;
        }
        if let Some(auth_key) = auth_key {
            for sa in &mut self.sas {
                sa.auth_key = auth_key.clone();
            }
        }
        let new_rekey = new_rekey_sa.as_ref().map(|sa| sa.spi);
        if let Some(new) = new_rekey_sa {
            self.install(now, new);
        }
        self.retire(now, &deletes, &deleted_rekey_sas);
        let acknowledgement = self.acknowledge(spi, message_id);
        Ok(Received::Accepted(Box::new(Accepted {
            spi,
            message_id,
            gsa,
            data,
            new_rekey,
            deletes,
            notifies,
            acknowledgement,
        })))
    }

    /// Deleted Rekey SAs take no new messages.
    fn retire(&mut self, now: Instant, deletes: &Deletes, named: &[RekeySpi]) {
        for sa in &mut self.sas {
            if deletes.excluded || named.contains(&sa.spi) {
                sa.retires = Some(now);
            }
        }
    }

    fn acknowledge(&self, spi: RekeySpi, message_id: u32) -> Option<Vec<u8>> {
        let (registration_id, key) = self.acknowledgement.as_ref()?;
        acknowledgement::build(spi, message_id, *registration_id, key).ok()
    }

    /// Forgets Rekey SAs whose lifetime or deactivation delay is over, and incomplete fragment sets.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.sas.retain(|sa| forgotten(sa) > now);
        for sa in &mut self.sas {
            sa.handle_timeout(now);
        }
    }

    /// When [`Self::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let end = self
            .sas
            .iter()
            .map(forgotten)
            .min()
            .map(|end| (end, "end of a Rekey SA"));
        let reassembly = self
            .sas
            .iter()
            .filter_map(RekeySa::reassembly_deadline)
            .min();
        [end, reassembly.map(|deadline| (deadline, "reassembly"))]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the newest Rekey SA in force ends; the member must have registered again by then. `None` when no Rekey
    /// SA takes new messages any more.
    pub fn expires(&self) -> Option<Instant> {
        self.sas
            .iter()
            .rev()
            .find(|sa| sa.retires.is_none())
            .map(|sa| sa.expires)
    }

    /// The newest Rekey SA in force.
    pub fn current(&self) -> Option<RekeySpi> {
        self.sas
            .iter()
            .rev()
            .find(|sa| sa.retires.is_none())
            .map(|sa| sa.spi)
    }
}

/// When nothing of a Rekey SA is needed any more.
fn forgotten(sa: &RekeySa) -> Instant {
    match sa.retires {
        Some(retires) => sa.expires.min(retires + RECOGNITION),
        None => sa.expires,
    }
}
