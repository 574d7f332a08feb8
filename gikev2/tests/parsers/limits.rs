//! Limits: what is too much is refused, by readers before they copy and by writers before they truncate.

use gikev2::wire::id::LONGEST_IDENTIFICATION;
use gikev2::wire::payload::MOST_PAYLOADS;
use gikev2::wire::sa::{MOST_PROPOSALS, MOST_TRANSFORMS};
use gikev2::wire::*;

fn too_long(payload: Payload) -> bool {
    matches!(Chain::write(&[payload]), Err(WriteError::TooLong { .. }))
}

fn wrapped_key(key_id: u32) -> WrappedKey {
    WrappedKey {
        key_id,
        kwk_id: 1,
        encrypted: vec![0; 40],
    }
}

#[test]
fn a_length_that_does_not_fit_its_field_is_an_error_and_never_cut() {
    let octets = vec![0; 70_000];
    assert!(too_long(Payload::VendorId(VendorId(octets.clone()))));
    assert!(too_long(Payload::Certificate(Certificate::x509(&octets))));
    assert!(too_long(Payload::GroupIdentification(
        Identification::key_id(&octets[..=LONGEST_IDENTIFICATION])
    )));
    assert!(too_long(Payload::Authentication(
        Authentication::Signature {
            algorithm_identifier: vec![0; 256],
            signature: Vec::new(),
        }
    )));
    assert!(too_long(Payload::Notify(Notify {
        spi: vec![0; 256],
        ..Notify::empty(NotifyType::COOKIE)
    })));
    assert!(too_long(Payload::Delete(Delete::Data {
        protocol: ProtocolId::ESP,
        spis: vec![Spi(256); 70_000],
    })));
    let proposal = Proposal::new(1, ProtocolId::ESP, vec![Transform::prf(PrfId(5)); 256]);
    assert!(too_long(Payload::SecurityAssociation(
        SecurityAssociation {
            proposals: vec![proposal],
        }
    )));
    // 52 octets each: 1300 keys are more than one bag can say.
    let bag = MemberKeyBag {
        wrap_keys: (1..=1300).map(wrapped_key).collect(),
        ..MemberKeyBag::default()
    };
    assert!(too_long(Payload::KeyDownload(KeyDownload {
        bags: vec![KeyBag::Member(bag)],
    })));
    let list = AccessList {
        entries: vec![
            AccessEntry {
                action: AccessAction::Deny,
                protocol: 0,
                source: AddressRange::ANY_V6,
                destination: AddressRange::ANY_V6,
                source_ports: PortRange::ANY,
                destination_ports: PortRange::ANY,
            };
            1000
        ],
    };
    assert!(too_long(Payload::GroupSecurityAssociation(
        GroupSecurityAssociation {
            group_wide: Some(GroupWidePolicy {
                access_list: Some(list),
                ..GroupWidePolicy::default()
            }),
            ..GroupSecurityAssociation::default()
        }
    )));
}

#[test]
fn what_the_format_cannot_say_is_not_written() {
    let invalid = |payload| matches!(Chain::write(&[payload]), Err(WriteError::Invalid { .. }));
    assert!(invalid(Payload::Nonce(Nonce(vec![0; 15]))));
    assert!(invalid(Payload::SecurityAssociation(SecurityAssociation {
        proposals: Vec::new(),
    })));
    assert!(invalid(Payload::Delete(Delete::Rekey(Vec::new()))));
    assert!(invalid(Payload::KeyDownload(KeyDownload {
        bags: vec![KeyBag::Rekey(RekeyKeyBag {
            spi: RekeySpi([1; 16]),
            sa_keys: Vec::new(),
            unknown: Vec::new(),
        })],
    })));
    let mut policy = DataSaPolicy::esp(
        Spi(256),
        TrafficSelector::addresses(AddressRange::ANY_V4),
        TrafficSelector::addresses(AddressRange::ANY_V4),
        Vec::new(),
    );
    let gsa = |policy: &DataSaPolicy| {
        Payload::GroupSecurityAssociation(GroupSecurityAssociation {
            policies: vec![SaPolicy::Data(policy.clone())],
            group_wide: None,
        })
    };
    assert!(invalid(gsa(&policy)), "no transforms");
    policy.transforms = vec![Transform::prf(PrfId(5))];
    policy.unknown = vec![Attribute::Short {
        attribute_type: 0x8001,
        value: 0,
    }];
    assert!(invalid(gsa(&policy)), "an attribute type with the form bit");
    let mixed = AccessList {
        entries: vec![AccessEntry {
            action: AccessAction::Permit { association: 1 },
            protocol: 0,
            source: AddressRange::ANY_V4,
            destination: AddressRange::ANY_V6,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
        }],
    };
    assert!(invalid(Payload::GroupSecurityAssociation(
        GroupSecurityAssociation {
            group_wide: Some(GroupWidePolicy {
                access_list: Some(mixed),
                ..GroupWidePolicy::default()
            }),
            ..GroupSecurityAssociation::default()
        }
    )));
}

#[test]
fn readers_stop_at_their_limits() {
    let too_many = |chain: &Chain, limit: usize| matches!(chain.parse(), Err(ParseError::TooMany { limit: found, .. }) if found == limit);
    let notify = Payload::Notify(Notify::empty(NotifyType::INITIAL_CONTACT));
    let most = vec![notify.clone(); MOST_PAYLOADS];
    let mut chain = Chain::write(&most).expect("fits");
    assert_eq!(chain.parse(), Ok(most));
    // One more in front, by hand.
    let mut octets = vec![PayloadType::NOTIFY.0, 0, 0, 8, 0, 0, 0x40, 0];
    octets.extend_from_slice(&chain.octets);
    chain.octets = octets.into();
    assert!(too_many(&chain, MOST_PAYLOADS));
    assert!(Chain::write(&vec![notify; MOST_PAYLOADS + 1]).is_err());

    let proposals = |proposals: usize, transforms: usize| {
        let transforms = vec![Transform::prf(PrfId(5)); transforms];
        Chain::write(&[Payload::SecurityAssociation(SecurityAssociation {
            proposals: vec![Proposal::new(1, ProtocolId::IKE, transforms); proposals],
        })])
        .expect("fits")
    };
    assert!(proposals(MOST_PROPOSALS, MOST_TRANSFORMS).parse().is_ok());
    assert!(too_many(&proposals(MOST_PROPOSALS + 1, 1), MOST_PROPOSALS));
    assert!(too_many(
        &proposals(1, MOST_TRANSFORMS + 1),
        MOST_TRANSFORMS
    ));
}

/// The largest tree update that fits: what every member of a full group has to read.
#[test]
fn a_bag_full_of_tree_keys_is_read() {
    let bag = MemberKeyBag {
        wrap_keys: (1..=1250).map(wrapped_key).collect(),
        ..MemberKeyBag::default()
    };
    let payload = Payload::KeyDownload(KeyDownload {
        bags: vec![KeyBag::Member(bag)],
    });
    let chain = Chain::write(std::slice::from_ref(&payload)).expect("fits");
    assert_eq!(chain.parse(), Ok(vec![payload]));
}
