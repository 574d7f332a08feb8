//! Tests with a key server that has good keys and bad manners: what it says verifies, and a member must not use it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::crypto::digest::sha256;
use crate::exchange::authentication::{Credentials, PreSharedKeys};
use crate::exchange::identity::IdentityPattern;
use crate::exchange::payloads::Payloads;
use crate::exchange::proposal::KeyExchangeChoice;
use crate::exchange::protect::Opened;
use crate::exchange::reassembly::Reassembly;
use crate::initiator::{self, Initiator, Purpose, RegistrationParameters};
use crate::wire::private::PrivateUse;
use crate::wire::{
    AddressRange, Attribute, DataSaPolicy, EncryptionId, ExchangeType, GroupSecurityAssociation,
    GroupWidePolicy, IdType, Identification, Message, Notify, NotifyType, Payload, SaPolicy,
    SequenceNumbersId, Spi, TrafficSelector, Transform,
};
use crate::{Entropy, Secret};

use super::ike_sa::IkeSa;
use super::{Config, Event, Grant, GrantKeys, RegistrationHandle, Responder};

pub(super) const SPI: Spi = Spi(0x1234);

struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&sha256(&[&self.0.to_be_bytes()])[..chunk.len()]);
        }
    }
}

struct One(Secret);

impl PreSharedKeys for One {
    fn key(&self, _: &Identification) -> Option<&Secret> {
        Some(&self.0)
    }
}

/// A key server in the hands of a test, and its member.
pub(super) struct Rude {
    pub(super) now: Instant,
    responder: Responder,
    pub(super) member: Initiator,
    entropy: Counter,
    /// What the member sent inside its protection, by exchange.
    pub(super) said: Vec<(ExchangeType, Payloads)>,
}

fn local() -> SocketAddr {
    SocketAddr::from(([172, 20, 0, 2], 848))
}

fn remote() -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 2], 848))
}

impl Rude {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let (now, mut entropy) = (Instant::now(), Counter(0));
        let key = || Secret::new(vec![7; 32]);
        let mut config = Config::new(Identification::fqdn("ks-0.keyserver.getvpn"));
        config.pre_shared_keys = Some(Box::new(One(key())));
        change(&mut config);
        let responder = Responder::new(config, now, &mut entropy);
        let mut config = initiator::Config::new(
            Identification::fqdn("m-1.member.getvpn"),
            Credentials::PreSharedKey(key()),
            vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")],
            Purpose::Registration(RegistrationParameters {
                group: Identification::group(1234),
                capabilities: Vec::new(),
                sender_ids: Some(1),
                acknowledges: true,
            }),
        );
        config.key_exchanges = vec![KeyExchangeChoice::X25519];
        let member = Initiator::new(config, remote(), local(), now, &mut entropy);
        Self {
            now,
            responder,
            member,
            entropy,
            said: Vec::new(),
        }
    }

    pub(super) fn sa(&mut self) -> &mut IkeSa {
        self.responder
            .sas
            .values_mut()
            .next()
            .expect("the one IKE SA")
    }

    /// Carries datagrams until both ends are quiet.
    pub(super) fn carry(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(sent) = self.member.poll_transmit() {
                quiet = false;
                self.listen(&sent.payload);
                self.responder.handle_datagram(
                    self.now,
                    0,
                    local(),
                    remote(),
                    &sent.payload,
                    &mut self.entropy,
                );
            }
            while let Some(sent) = self.responder.poll_transmit() {
                quiet = false;
                self.tell(&sent.payload);
            }
            if quiet {
                return;
            }
        }
    }

    pub(super) fn tell(&mut self, datagram: &[u8]) {
        self.member
            .handle_datagram(self.now, 0, remote(), local(), datagram, &mut self.entropy);
    }

    /// Notes what a datagram of the member says inside its protection.
    fn listen(&mut self, datagram: &[u8]) {
        let message = Message::parse(datagram).expect("parses");
        if message.protected.is_none() {
            return;
        }
        let now = self.now;
        let opened = self
            .sa()
            .schedule
            .open(now, &message, &mut Reassembly::default());
        let Opened::Complete(chain, _) = opened else {
            panic!("does not verify");
        };
        let payloads = Payloads::sort(chain.parse().expect("parses")).expect("sorted");
        self.said.push((message.header.exchange, payloads));
    }

    fn asked(&mut self) -> RegistrationHandle {
        self.carry();
        match self.responder.poll_event() {
            Some(Event::Registration { handle, .. }) => handle,
            other => panic!("{other:?}"),
        }
    }

    fn accept(&mut self, handle: RegistrationHandle, grant: Grant) -> Option<initiator::Event> {
        self.responder
            .accept(self.now, handle, grant, &mut self.entropy)
            .expect("an open request");
        self.carry();
        self.member.poll_event()
    }

    /// A member of a group with one data SA.
    pub(super) fn registered() -> Self {
        let mut rude = Self::new(|_| {});
        let handle = rude.asked();
        let event = rude.accept(handle, grant());
        assert!(matches!(event, Some(initiator::Event::Registered(_))));
        rude
    }
}

fn grant() -> Grant {
    Grant {
        gsa: gsa(),
        keys: GrantKeys {
            data: vec![(SPI, Secret::new(vec![5; 36]))],
            ..GrantKeys::default()
        },
        registration_id: 77,
    }
}

pub(super) fn gsa() -> GroupSecurityAssociation {
    let any = TrafficSelector::addresses(AddressRange::ANY_V4);
    let transforms = vec![
        Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
        Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
    ];
    let mut policy = DataSaPolicy::esp(SPI, any, any, transforms);
    policy.lifetime_seconds = Some(60);
    GroupSecurityAssociation {
        policies: vec![SaPolicy::Data(policy)],
        group_wide: None,
    }
}

pub(super) fn data_policy(gsa: &mut GroupSecurityAssociation) -> &mut DataSaPolicy {
    match gsa.policies.last_mut() {
        Some(SaPolicy::Data(policy)) => policy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_joins_no_group_in_transport_mode_and_says_so() {
    for transport in [true, false] {
        let mut rude = Rude::new(|_| {});
        let handle = rude.asked();
        if let super::ike_sa::State::Deciding(deciding) = &mut rude.sa().state
            && transport
        {
            let notify = Notify::empty(NotifyType::USE_TRANSPORT_MODE);
            deciding.proof.push(Payload::Notify(notify));
        }
        rude.said.clear();
        let event = rude.accept(handle, grant());
        if !transport {
            // Nobody said anything of a mode: tunnel mode.
            assert!(matches!(event, Some(initiator::Event::Registered(_))));
            assert!(rude.said.is_empty());
            continue;
        }
        match event {
            Some(initiator::Event::Unusable(rule)) => assert_eq!(
                rule,
                "the data SAs are in transport mode, and only tunnel mode is supported"
            ),
            other => panic!("{other:?}"),
        }
        let (exchange, said) = rude.said.last().expect("an objection");
        assert_eq!(*exchange, ExchangeType::GSA_REGISTRATION);
        assert_eq!(said.group, Some(Identification::group(1234)));
        assert!(said.has_notify(NotifyType::NO_PROPOSAL_CHOSEN));
    }
}

/// Every private attribute we know, and one of ours in a form that is not ours.
fn with_private_values() -> GroupSecurityAssociation {
    let mut gsa = gsa();
    let policy = data_policy(&mut gsa);
    policy.activation_delay_ms = Some(5);
    policy.association = Some(3);
    policy.pseudotime_window_ms = Some(100);
    policy.lifetime_kilobytes = Some(9);
    policy.unknown = vec![Attribute::Short {
        attribute_type: 16387,
        value: 1,
    }];
    gsa.group_wide = Some(GroupWidePolicy {
        pseudotime_ms: Some(1),
        policy_revision: Some(2),
        unknown: vec![Attribute::Long {
            attribute_type: 16386,
            value: vec![1, 2, 3],
        }],
        ..GroupWidePolicy::default()
    });
    gsa
}

#[test]
fn to_a_key_server_without_the_vendor_id_nothing_private_is_said_and_nothing_is_taken_from_it() {
    let mut rude = Rude::new(|config| config.private_extensions = false);
    let handle = rude.asked();
    let (exchange, request) = rude.said.last().expect("GSA_AUTH");
    assert_eq!(*exchange, ExchangeType::GSA_AUTH);
    assert!(request.notifies.iter().all(|it| it.notify_type.0 < 40960));
    assert!(request.has_notify(NotifyType::GROUP_SENDER));
    // It means something else by our numbers, and says it to everybody.
    rude.sa().peer.ours = true;
    if let super::ike_sa::State::Deciding(deciding) = &mut rude.sa().state {
        deciding.acknowledges = true;
    }
    let grant = Grant {
        gsa: with_private_values(),
        ..grant()
    };
    let registration = match rude.accept(handle, grant) {
        Some(initiator::Event::Registered(registration)) => registration,
        other => panic!("{other:?}"),
    };
    assert_eq!(registration.registration_id, None);
    assert_eq!(registration.private, PrivateUse::Foreign);
    let mut taken = registration.gsa.clone();
    assert!(!data_policy(&mut taken).unknown.is_empty(), "it was said");
    assert_eq!(taken.without_private_attributes().policies, gsa().policies);
    let mut taken = registration.gsa;
    let policy = data_policy(&mut taken);
    assert_eq!(
        (policy.activation_delay_ms, policy.association),
        (None, None)
    );
    assert_eq!(
        (policy.pseudotime_window_ms, policy.lifetime_kilobytes),
        (None, None)
    );
    let group_wide = taken.group_wide.expect("a GW policy");
    assert_eq!(
        (group_wide.pseudotime_ms, group_wide.policy_revision),
        (None, None)
    );
}
