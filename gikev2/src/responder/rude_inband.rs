//! Tests with inband rekeys that verify and break a rule: a member must not use them.

use crate::Secret;
use crate::initiator;
use crate::keys::wrap;
use crate::wire::{
    AddressRange, Authentication, DataKeyBag, EncryptionId, ExchangeType, GroupSecurityAssociation,
    GroupWidePolicy, KeyBag, KeyDownload, KeyWrapId, MemberKeyBag, Notify, NotifyType, Payload,
    ProtocolId, RekeyKeyBag, RekeySaPolicy, RekeySpi, SaPolicy, Spi, TrafficSelector, Transform,
    WrappedKey,
};

use super::rude_key_server::{Rude, SPI, data_policy, gsa};

const REKEY_SPI: RekeySpi = RekeySpi(*b"REKEYSA1REKEYSA2");

impl Rude {
    /// Sends a GSA_INBAND_REKEY with these payloads; the event at the member, which must have answered with nothing.
    fn inband(&mut self, payloads: &[Payload]) -> Option<initiator::Event> {
        let (_, datagrams) = self
            .sa()
            .request(ExchangeType::GSA_INBAND_REKEY, payloads)
            .expect("a request");
        self.said.clear();
        for datagram in datagrams {
            self.tell(&datagram);
        }
        self.carry();
        match self.said.as_slice() {
            [(ExchangeType::GSA_INBAND_REKEY, answer)] => {
                assert!(answer.notifies.is_empty() && answer.policy.is_none());
            }
            other => panic!("{} messages", other.len()),
        }
        self.member.poll_event()
    }
}

/// A GSA with a Rekey SA in front.
fn with_rekey_sa() -> GroupSecurityAssociation {
    let any = TrafficSelector::addresses(AddressRange::ANY_V4);
    let mut gsa = gsa();
    let rekey = RekeySaPolicy {
        spi: REKEY_SPI,
        source: any,
        destination: any,
        transforms: vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Transform::key_wrap(KeyWrapId::KW_5649_256),
        ],
        lifetime_seconds: None,
        initial_message_id: None,
        next_spis: Vec::new(),
        unknown: Vec::new(),
    };
    gsa.policies.insert(0, SaPolicy::Rekey(rekey));
    gsa
}

fn rekey_policy(gsa: &mut GroupSecurityAssociation) -> &mut RekeySaPolicy {
    match gsa.policies.first_mut() {
        Some(SaPolicy::Rekey(policy)) => policy,
        other => panic!("{other:?}"),
    }
}

/// What one case changes: policy, keys, and what else is in the message.
type Change = fn(&mut GroupSecurityAssociation, &mut KeyDownload, &mut Vec<Payload>);

fn member_bag(bag: MemberKeyBag) -> KeyBag {
    KeyBag::Member(bag)
}

fn first_key(keys: &mut KeyDownload) -> &mut RekeyKeyBag {
    match keys.bags.first_mut() {
        Some(KeyBag::Rekey(bag)) => bag,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_uses_nothing_of_an_inband_rekey_with_something_that_has_no_place_there() {
    const REGISTRATION: &str = "WRAP_KEY, AUTH_KEY and GM_SENDER_ID are not for GSA_INBAND_REKEY";
    const MULTICAST: &str = "attributes of multicast rekeys are not for GSA_INBAND_REKEY";
    let cases: [(&str, Change); 13] = [
        (REGISTRATION, |_, keys, _| {
            let mut wrap_key = first_key(keys).sa_keys[0].clone();
            wrap_key.key_id = 7;
            keys.bags.push(member_bag(MemberKeyBag {
                wrap_keys: vec![wrap_key],
                ..MemberKeyBag::default()
            }));
        }),
        (REGISTRATION, |_, keys, _| {
            keys.bags.push(member_bag(MemberKeyBag {
                auth_key: Some(vec![1; 44]),
                ..MemberKeyBag::default()
            }));
        }),
        (REGISTRATION, |_, keys, _| {
            keys.bags.push(member_bag(MemberKeyBag {
                sender_ids: vec![9],
                ..MemberKeyBag::default()
            }));
        }),
        (
            "GWP_SENDER_ID_BITS is only for registration",
            |gsa, _, _| {
                gsa.group_wide = Some(GroupWidePolicy {
                    sender_id_bits: Some(24),
                    ..GroupWidePolicy::default()
                });
            },
        ),
        (
            "GCAUTH belongs into registrations and nowhere else",
            |gsa, _, _| {
                let implicit = Transform::implicit_authentication();
                rekey_policy(gsa).transforms.push(implicit);
            },
        ),
        (MULTICAST, |gsa, _, _| {
            rekey_policy(gsa).initial_message_id = Some(3);
        }),
        (MULTICAST, |gsa, _, _| {
            rekey_policy(gsa).next_spis = vec![RekeySpi([9; 16])];
        }),
        (MULTICAST, |gsa, _, _| {
            data_policy(gsa).next_spis = vec![Spi(0x9999)]
        }),
        (
            "the IKE SA proves who sends a GSA_INBAND_REKEY: it has no AUTH",
            |_, _, others| {
                let proof = Authentication::SharedKey(vec![0; 32]);
                others.push(Payload::Authentication(proof));
            },
        ),
        (
            "the data SAs are in transport mode, and only tunnel mode is supported",
            |_, _, others| {
                let notify = Notify::empty(NotifyType::USE_TRANSPORT_MODE);
                others.push(Payload::Notify(notify));
            },
        ),
        (
            "a registration has exactly one key for the Rekey SA",
            |_, keys, _| {
                let again = first_key(keys).sa_keys[0].clone();
                first_key(keys).sa_keys.push(again);
            },
        ),
        ("the Rekey SA's key cannot be unwrapped", |_, keys, _| {
            // Wrapped with a key of a tree, as if this were multicast.
            first_key(keys).sa_keys[0].kwk_id = 7;
        }),
        ("a data SA's key cannot be unwrapped", |_, keys, _| {
            let other = Secret::new(vec![9; 32]);
            if let Some(KeyBag::Data(bag)) = keys.bags.last_mut() {
                bag.sa_key.encrypted = wrap::wrap(&other, &[5; 36]).expect("a wrapped key");
            }
        }),
    ];
    let mut rude = Rude::registered();
    let message = |rude: &mut Rude, change: Change| {
        let default = rude.sa().schedule.key_wrap_key().expect("GSK_w");
        let wrapped = |key: &[u8]| WrappedKey {
            key_id: 0,
            kwk_id: 0,
            encrypted: wrap::wrap(&default, key).expect("a wrapped key"),
        };
        let (mut gsa, mut others) = (with_rekey_sa(), Vec::new());
        let mut keys = KeyDownload {
            bags: vec![
                KeyBag::Rekey(RekeyKeyBag {
                    spi: REKEY_SPI,
                    sa_keys: vec![wrapped(&[6; 68])],
                    unknown: Vec::new(),
                }),
                KeyBag::Data(DataKeyBag {
                    protocol: ProtocolId::ESP,
                    spi: SPI,
                    sa_key: wrapped(&[5; 36]),
                    unknown: Vec::new(),
                }),
            ],
        };
        change(&mut gsa, &mut keys, &mut others);
        let mut payloads = vec![
            Payload::GroupSecurityAssociation(gsa),
            Payload::KeyDownload(keys),
        ];
        payloads.append(&mut others);
        payloads
    };
    for (expected, change) in cases {
        let payloads = message(&mut rude, change);
        match rude.inband(&payloads) {
            Some(initiator::Event::RekeyUnusable(rule)) => assert_eq!(rule, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let half = message(&mut rude, |_, _, _| {});
    assert!(matches!(
        rude.inband(&half[..1]),
        Some(initiator::Event::RekeyUnusable(
            "policy and keys must come together"
        ))
    ));
    assert!(matches!(
        rude.inband(&[]),
        Some(initiator::Event::RekeyUnusable(
            "neither policy nor deletion"
        ))
    ));
    // Nothing of that hurt the IKE SA, and without it the message is taken.
    match rude.inband(&half) {
        Some(initiator::Event::Rekeyed(rekey)) => {
            assert!(rekey.data == [(SPI, Secret::new(vec![5; 36]))]);
            assert!(rekey.rekey == Some((REKEY_SPI, Secret::new(vec![6; 68]))));
        }
        other => panic!("{other:?}"),
    }
}
