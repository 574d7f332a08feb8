//! A group member as its key server sees it: the real protocol ends, and a table of keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::identity::IdentityPattern;
use gikev2::initiator::{self, Initiator, Purpose, Refusal, Registration, RegistrationParameters};
use gikev2::rekey::receiver::{Accepted, Received, Receiver};
use gikev2::wire::{
    AccessAction, AccessList, GroupSecurityAssociation, IdType, Identification, Proposal, SaPolicy,
    Spi,
};
use gikev2::{Secret, Transmit};

use super::{GROUP_ID, Seeded, UNIX_MS, shared_key};

/// A traffic key a member holds.
pub(crate) struct HeldKey {
    pub(crate) association: u16,
    pub(crate) material: Vec<u8>,
    pub(crate) window_ms: Option<u32>,
    pub(crate) activates: Instant,
    pub(crate) ends: Instant,
}

/// A member.
pub(crate) struct Member {
    pub(crate) name: String,
    /// What it names itself by.
    pub(crate) identity: Identification,
    /// The group it asks for.
    pub(crate) group: u32,
    pub(crate) address: SocketAddr,
    pub(crate) sender: bool,
    pub(crate) acknowledges: bool,
    /// Whether it negotiates IKE fragmentation.
    pub(crate) fragmentation: bool,
    pub(crate) capabilities: Vec<Proposal>,
    pub(crate) online: bool,
    pub(crate) initiator: Option<Initiator>,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) keys: BTreeMap<Spi, HeldKey>,
    pub(crate) access_list: AccessList,
    pub(crate) deactivation_delay: Duration,
    pub(crate) sender_ids: Vec<u32>,
    pub(crate) registration_id: Option<u64>,
    /// GWP_SENDER_ID_BITS of the last registration.
    pub(crate) sender_id_bits: Option<u16>,
    /// Rekey SAs that the last registration brought.
    pub(crate) rekey_sas: usize,
    /// The group's pseudotime as the last message said it, and when.
    pub(crate) pseudotime: Option<(u64, Instant)>,
    /// Whether the key server closed the IKE SA of the last registration.
    pub(crate) ike_sa_closed: bool,
    pub(crate) registrations: u32,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) excluded: bool,
    pub(crate) rekeys: Vec<u32>,
    pub(crate) failures: Vec<initiator::InitiatorError>,
}

impl Member {
    pub(crate) fn new(number: u8) -> Self {
        Self::numbered(u16::from(number))
    }

    /// One of more members than an octet counts.
    pub(crate) fn numbered(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        let name = format!("m-{number}.member.getvpn");
        Self {
            identity: Identification::fqdn(&name),
            group: GROUP_ID,
            name,
            address: SocketAddr::from(([10, 1 + high, low, 2], 848)),
            sender: true,
            acknowledges: true,
            fragmentation: true,
            capabilities: Vec::new(),
            online: true,
            initiator: None,
            receiver: None,
            keys: BTreeMap::new(),
            access_list: AccessList::default(),
            deactivation_delay: Duration::ZERO,
            sender_ids: Vec::new(),
            registration_id: None,
            sender_id_bits: None,
            rekey_sas: 0,
            pseudotime: None,
            ike_sa_closed: false,
            registrations: 0,
            refusal: None,
            excluded: false,
            rekeys: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Starts a registration with the key server at `remote`.
    pub(crate) fn register(&mut self, now: Instant, remote: SocketAddr, entropy: &mut Seeded) {
        let parameters = RegistrationParameters {
            group: Identification::group(self.group),
            capabilities: self.capabilities.clone(),
            sender_ids: self.sender.then_some(1),
            acknowledges: self.acknowledges,
        };
        let mut config = initiator::Config::new(
            self.identity.clone(),
            Credentials::PreSharedKey(shared_key()),
            vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")],
            Purpose::Registration(parameters),
        );
        config.fragmentation = self.fragmentation;
        self.refusal = None;
        self.ike_sa_closed = false;
        self.initiator = Some(Initiator::new(config, self.address, remote, now, entropy));
    }

    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &Transmit,
        entropy: &mut Seeded,
    ) -> Vec<Transmit> {
        let octets = &datagram.payload;
        if let Some(receiver) = self
            .receiver
            .as_mut()
            .filter(|receiver| receiver.owns(octets))
        {
            let acknowledgement = match receiver.handle(now, octets) {
                Ok(Received::Accepted(mut accepted)) => {
                    let acknowledgement = accepted.acknowledgement.take();
                    self.accept(now, &accepted);
                    acknowledgement
                }
                Ok(Received::Duplicate { acknowledgement }) => acknowledgement,
                Ok(Received::Incomplete) => None,
                Err(gikev2::rekey::RekeyError::Excluded(_)) => {
                    self.excluded = true;
                    None
                }
                Err(_) => None,
            };
            let answer = |payload| Transmit {
                local: self.address,
                remote: datagram.local,
                payload,
            };
            return acknowledgement.map(answer).into_iter().collect();
        }
        if let Some(initiator) = &mut self.initiator {
            initiator.handle_datagram(
                now,
                UNIX_MS / 1_000,
                datagram.remote,
                datagram.local,
                octets,
                entropy,
            );
        }
        self.handle_events(now);
        Vec::new()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, entropy: &mut Seeded) {
        if let Some(initiator) = &mut self.initiator {
            initiator.handle_timeout(now, entropy);
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now);
        }
        self.keys.retain(|_, key| key.ends > now);
        self.handle_events(now);
    }

    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let boundaries = self
            .keys
            .values()
            .flat_map(|key| [key.activates, key.ends])
            .filter(|at| *at > now);
        let initiator = self
            .initiator
            .as_ref()
            .and_then(|it| it.poll_timeout())
            .map(|(due, _)| due);
        let receiver = self
            .receiver
            .as_ref()
            .and_then(|it| it.poll_timeout())
            .map(|(due, _)| due);
        boundaries.chain(initiator).chain(receiver).min()
    }

    fn handle_events(&mut self, now: Instant) {
        while let Some(event) = self.initiator.as_mut().and_then(Initiator::poll_event) {
            match event {
                initiator::Event::Registered(registration) => self.install(now, *registration),
                initiator::Event::Refused(refusal) => self.refusal = Some(refusal),
                initiator::Event::Unusable(rule) => {
                    self.failures.push(initiator::InitiatorError::Keys(rule));
                }
                initiator::Event::Failed(error) => self.failures.push(error),
                initiator::Event::Deleted => self.ike_sa_closed = true,
                initiator::Event::Authenticated { .. }
                | initiator::Event::Rekeyed(_)
                | initiator::Event::RekeyUnusable(_)
                | initiator::Event::Left => {}
            }
        }
    }

    fn install(&mut self, now: Instant, mut registration: Registration) {
        self.registrations += 1;
        self.excluded = false;
        self.keys.clear();
        self.sender_ids = registration.sender_ids.clone();
        self.registration_id = registration.registration_id;
        let gsa = registration.gsa.clone();
        let group_wide = gsa.group_wide.as_ref();
        self.sender_id_bits = group_wide.and_then(|policy| policy.sender_id_bits);
        let is_rekey_sa = |policy: &&SaPolicy| matches!(policy, SaPolicy::Rekey(_));
        self.rekey_sas = gsa.policies.iter().filter(is_rekey_sa).count();
        let data = std::mem::take(&mut registration.data);
        self.receiver =
            Receiver::from_registration(now, &mut registration).expect("a usable Rekey SA");
        self.take_policy(now, &gsa, &data);
    }

    fn accept(&mut self, now: Instant, accepted: &Accepted) {
        self.rekeys.push(accepted.message_id);
        if let Some(gsa) = &accepted.gsa {
            self.take_policy(now, gsa, &accepted.data);
        }
        let end = now + self.deactivation_delay;
        for (spi, key) in &mut self.keys {
            if accepted.deletes.all_data || accepted.deletes.data.contains(spi) {
                key.ends = key.ends.min(end);
            }
        }
        if accepted.deletes.excluded {
            self.excluded = true;
            self.receiver = None;
        }
    }

    fn take_policy(
        &mut self,
        now: Instant,
        gsa: &GroupSecurityAssociation,
        data: &[(Spi, Secret)],
    ) {
        for policy in &gsa.policies {
            let SaPolicy::Data(policy) = policy else {
                continue;
            };
            let material = data
                .iter()
                .find(|(spi, _)| *spi == policy.spi)
                .expect("a key for each policy");
            let delay = u64::from(policy.activation_delay_ms.expect("an activation delay"));
            let lifetime = u64::from(policy.lifetime_seconds.expect("a lifetime"));
            let key = HeldKey {
                association: policy.association.expect("an association"),
                material: material.1.as_bytes().to_vec(),
                window_ms: policy.pseudotime_window_ms,
                activates: now + Duration::from_millis(delay),
                ends: now + Duration::from_secs(lifetime),
            };
            if let Some(held) = self.keys.insert(policy.spi, key) {
                assert_eq!(
                    held.material,
                    material.1.as_bytes(),
                    "an SPI never changes its key"
                );
            }
        }
        if let Some(group_wide) = &gsa.group_wide {
            if let Some(milliseconds) = group_wide.pseudotime_ms {
                self.pseudotime = Some((milliseconds, now));
            }
            if let Some(seconds) = group_wide.deactivation_delay_seconds {
                self.deactivation_delay = Duration::from_secs(u64::from(seconds));
            }
            if let Some(list) = &group_wide.access_list {
                self.access_list = list.clone();
            }
        }
    }

    /// Numbers of the associations this member encrypts with.
    pub(crate) fn associations(&self) -> Vec<u16> {
        let mut numbers: Vec<u16> = self
            .access_list
            .entries
            .iter()
            .filter_map(|entry| match entry.action {
                AccessAction::Permit { association } => Some(association),
                AccessAction::Deny => None,
            })
            .collect();
        numbers.dedup();
        numbers
    }

    /// The key this member sends with: the newest active one.
    pub(crate) fn outbound(&self, now: Instant, association: u16) -> Option<Spi> {
        self.keys
            .iter()
            .filter(|(_, key)| {
                key.association == association && key.activates <= now && key.ends > now
            })
            .max_by_key(|(_, key)| key.activates)
            .map(|(spi, _)| *spi)
    }

    /// Whether this member can open packets of an SA.
    pub(crate) fn opens(&self, now: Instant, spi: Spi) -> bool {
        self.keys.get(&spi).is_some_and(|key| key.ends > now)
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}
