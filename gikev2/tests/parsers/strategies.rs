//! Values of every payload, within what the format can carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gikev2::wire::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn octets(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), length)
}

fn address_range() -> impl Strategy<Value = AddressRange> {
    let v4 = any::<[u32; 2]>().prop_map(|[one, other]| {
        let (start, end) = (one.min(other), one.max(other));
        AddressRange::V4(Ipv4Addr::from(start), Ipv4Addr::from(end))
    });
    prop_oneof![v4, address_range_v6()]
}

fn address_range_v6() -> impl Strategy<Value = AddressRange> {
    any::<[u128; 2]>().prop_map(|[one, other]| {
        let (start, end) = (one.min(other), one.max(other));
        AddressRange::V6(Ipv6Addr::from(start), Ipv6Addr::from(end))
    })
}

fn ports() -> impl Strategy<Value = PortRange> {
    let ordered = any::<[u16; 2]>().prop_map(|[one, other]| PortRange {
        start: one.min(other),
        end: one.max(other),
    });
    prop_oneof![9 => ordered, 1 => Just(PortRange::OPAQUE)]
}

pub(crate) fn traffic_selector() -> impl Strategy<Value = TrafficSelector> {
    (any::<u8>(), ports(), address_range()).prop_map(|(protocol, ports, addresses)| {
        TrafficSelector {
            protocol,
            ports,
            addresses,
        }
    })
}

/// Attributes of types nobody has registered.
fn unknown_attribute() -> impl Strategy<Value = Attribute> {
    let attribute_type = 20_000_u16..0x8000;
    prop_oneof![
        (attribute_type.clone(), any::<u16>()).prop_map(|(attribute_type, value)| {
            Attribute::Short {
                attribute_type,
                value,
            }
        }),
        (attribute_type, octets(0..40)).prop_map(|(attribute_type, value)| Attribute::Long {
            attribute_type,
            value,
        }),
    ]
}

fn transform() -> impl Strategy<Value = Transform> {
    let transform = (any::<u8>(), any::<u16>(), vec(unknown_attribute(), 0..3)).prop_map(
        |(transform_type, id, attributes)| Transform {
            transform_type: TransformType(transform_type),
            id,
            attributes,
        },
    );
    prop_oneof![
        Just(Transform::encryption(EncryptionId::AES_GCM_16, Some(256))),
        octets(0..80).prop_map(|der| Transform::digital_signature(&der)),
        transform,
    ]
}

fn security_association() -> impl Strategy<Value = SecurityAssociation> {
    let proposal = (
        any::<u8>(),
        any::<u8>(),
        octets(0..20),
        vec(transform(), 0..6),
    )
        .prop_map(|(number, protocol, spi, transforms)| Proposal {
            number,
            protocol: ProtocolId(protocol),
            spi,
            transforms,
        });
    vec(proposal, 1..4).prop_map(|proposals| SecurityAssociation { proposals })
}

fn identification() -> impl Strategy<Value = Identification> {
    prop_oneof![
        any::<u32>().prop_map(Identification::group),
        any::<u32>()
            .prop_map(|address| Identification::address(IpAddr::from(Ipv4Addr::from(address)))),
        any::<u128>()
            .prop_map(|address| Identification::address(IpAddr::from(Ipv6Addr::from(address)))),
        octets(0..100).prop_map(|data| Identification::new(IdType::FQDN, &data)),
        octets(0..300).prop_map(|der| Identification::distinguished_name(&der)),
    ]
}

fn delete() -> impl Strategy<Value = Delete> {
    let data = (any::<bool>(), vec(any::<u32>(), 1..20)).prop_map(|(esp, spis)| Delete::Data {
        protocol: if esp { ProtocolId::ESP } else { ProtocolId::AH },
        spis: spis.into_iter().map(Spi).collect(),
    });
    prop_oneof![
        Just(Delete::IkeSa),
        Just(Delete::Everything),
        data,
        vec(any::<[u8; 16]>(), 1..5)
            .prop_map(|spis| Delete::Rekey(spis.into_iter().map(RekeySpi).collect())),
    ]
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), any::<u16>(), octets(0..20), octets(0..70)).prop_map(
        |(protocol, notify_type, spi, data)| Notify {
            protocol: ProtocolId(protocol),
            spi,
            notify_type: NotifyType(notify_type),
            data,
        },
    )
}

fn authentication() -> impl Strategy<Value = Authentication> {
    prop_oneof![
        octets(0..70).prop_map(Authentication::SharedKey),
        (octets(0..256), octets(0..400)).prop_map(|(algorithm_identifier, signature)| {
            Authentication::Signature {
                algorithm_identifier,
                signature,
            }
        }),
        octets(0..70).prop_map(|data| Authentication::Other {
            method: AuthenticationMethod::NULL,
            data,
        }),
    ]
}

fn access_list() -> impl Strategy<Value = AccessList> {
    let entry = (
        option::of(any::<u16>()),
        any::<u8>(),
        any::<bool>(),
        address_range(),
        address_range(),
        ports(),
        ports(),
    )
        .prop_map(
            |(permit, protocol, alike, source, destination, source_ports, destination_ports)| {
                AccessEntry {
                    action: permit.map_or(AccessAction::Deny, |association| AccessAction::Permit {
                        association,
                    }),
                    protocol,
                    source,
                    destination: if alike || source.is_ipv4() != destination.is_ipv4() {
                        source
                    } else {
                        destination
                    },
                    source_ports,
                    destination_ports,
                }
            },
        );
    vec(entry, 0..20).prop_map(|entries| AccessList { entries })
}

fn rekey_policy() -> impl Strategy<Value = RekeySaPolicy> {
    (
        any::<[u8; 16]>(),
        [traffic_selector(), traffic_selector()],
        vec(transform(), 1..5),
        (option::of(any::<u32>()), option::of(any::<u32>())),
        vec(any::<[u8; 16]>(), 0..3),
        vec(unknown_attribute(), 0..3),
    )
        .prop_map(
            |(spi, [source, destination], transforms, (lifetime, first), next_spis, unknown)| {
                RekeySaPolicy {
                    spi: RekeySpi(spi),
                    source,
                    destination,
                    transforms,
                    lifetime_seconds: lifetime,
                    initial_message_id: first,
                    next_spis: next_spis.into_iter().map(RekeySpi).collect(),
                    unknown,
                }
            },
        )
}

fn data_policy() -> impl Strategy<Value = DataSaPolicy> {
    let encapsulation = prop_oneof![Just(Encapsulation::Raw), Just(Encapsulation::Udp)];
    (
        (any::<bool>(), any::<u32>()),
        [traffic_selector(), traffic_selector()],
        vec(transform(), 1..5),
        vec(any::<u32>(), 0..3),
        (
            option::of(any::<u32>()),
            option::of(any::<u32>()),
            option::of(any::<u16>()),
            option::of(any::<u32>()),
            option::of(encapsulation),
            option::of(any::<u64>()),
        ),
        vec(unknown_attribute(), 0..3),
    )
        .prop_map(
            |((esp, spi), [source, destination], transforms, next_spis, values, unknown)| {
                DataSaPolicy {
                    protocol: if esp { ProtocolId::ESP } else { ProtocolId::AH },
                    spi: Spi(spi),
                    source,
                    destination,
                    transforms,
                    lifetime_seconds: values.0,
                    next_spis: next_spis.into_iter().map(Spi).collect(),
                    activation_delay_ms: values.1,
                    association: values.2,
                    pseudotime_window_ms: values.3,
                    encapsulation: values.4,
                    lifetime_kilobytes: values.5,
                    unknown,
                }
            },
        )
}

fn group_wide() -> impl Strategy<Value = GroupWidePolicy> {
    let direction = prop_oneof![Just(Direction::Both), Just(Direction::ReceiveOnly)];
    (
        any::<[Option<u16>; 3]>(),
        any::<[Option<u64>; 2]>(),
        option::of(access_list()),
        option::of(direction),
        vec(unknown_attribute(), 0..3),
    )
        .prop_map(
            |(seconds, [pseudotime_ms, policy_revision], access_list, direction, unknown)| {
                GroupWidePolicy {
                    activation_delay_seconds: seconds[0],
                    deactivation_delay_seconds: seconds[1],
                    sender_id_bits: seconds[2],
                    pseudotime_ms,
                    access_list,
                    direction,
                    policy_revision,
                    unknown,
                }
            },
        )
}

fn group_security_association() -> impl Strategy<Value = GroupSecurityAssociation> {
    (
        option::of(rekey_policy()),
        vec(data_policy(), 0..4),
        option::of(group_wide()),
    )
        .prop_map(|(rekey, data, group_wide)| GroupSecurityAssociation {
            policies: rekey
                .map(SaPolicy::Rekey)
                .into_iter()
                .chain(data.into_iter().map(SaPolicy::Data))
                .collect(),
            group_wide,
        })
}

fn wrapped_key(key_id: impl Strategy<Value = u32>) -> impl Strategy<Value = WrappedKey> {
    let encrypted = (2_usize..=33).prop_flat_map(|blocks| vec(any::<u8>(), blocks * 8));
    (key_id, any::<u32>(), encrypted).prop_map(|(key_id, kwk_id, encrypted)| WrappedKey {
        key_id,
        kwk_id,
        encrypted,
    })
}

fn key_download() -> impl Strategy<Value = KeyDownload> {
    let rekey = (
        any::<[u8; 16]>(),
        vec(wrapped_key(Just(0)), 1..4),
        vec(unknown_attribute(), 0..2),
    )
        .prop_map(|(spi, sa_keys, unknown)| {
            KeyBag::Rekey(RekeyKeyBag {
                spi: RekeySpi(spi),
                sa_keys,
                unknown,
            })
        });
    let data = (
        any::<bool>(),
        any::<u32>(),
        wrapped_key(Just(0)),
        vec(unknown_attribute(), 0..2),
    )
        .prop_map(|(esp, spi, sa_key, unknown)| {
            KeyBag::Data(DataKeyBag {
                protocol: if esp { ProtocolId::ESP } else { ProtocolId::AH },
                spi: Spi(spi),
                sa_key,
                unknown,
            })
        });
    let member = (
        vec(wrapped_key(1..=u32::MAX), 0..8),
        option::of(octets(0..600)),
        vec(any::<u32>(), 0..4),
        vec(unknown_attribute(), 0..2),
    )
        .prop_map(|(wrap_keys, auth_key, sender_ids, unknown)| {
            KeyBag::Member(MemberKeyBag {
                wrap_keys,
                auth_key,
                sender_ids,
                unknown,
            })
        });
    (option::of(rekey), vec(data, 0..4), option::of(member)).prop_map(|(rekey, data, member)| {
        KeyDownload {
            bags: rekey.into_iter().chain(data).chain(member).collect(),
        }
    })
}

/// Any payload.
pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    let selectors = || vec(traffic_selector(), 0..5);
    prop_oneof![
        security_association().prop_map(Payload::SecurityAssociation),
        (any::<u16>(), octets(1..200)).prop_map(|(method, data)| Payload::KeyExchange(
            KeyExchange {
                method: KeyExchangeMethod(method),
                data,
            }
        )),
        identification().prop_map(Payload::IdentificationInitiator),
        identification().prop_map(Payload::IdentificationResponder),
        identification().prop_map(Payload::GroupIdentification),
        octets(0..300).prop_map(|der| Payload::Certificate(Certificate::x509(&der))),
        octets(0..60).prop_map(
            |authorities| Payload::CertificateRequest(CertificateRequest {
                encoding: CertificateEncoding::X509_SIGNATURE,
                authorities,
            })
        ),
        authentication().prop_map(Payload::Authentication),
        octets(16..257).prop_map(|nonce| Payload::Nonce(Nonce(nonce))),
        notify().prop_map(Payload::Notify),
        delete().prop_map(Payload::Delete),
        octets(0..40).prop_map(|data| Payload::VendorId(VendorId(data))),
        selectors().prop_map(Payload::TrafficSelectorsInitiator),
        selectors().prop_map(Payload::TrafficSelectorsResponder),
        group_security_association().prop_map(Payload::GroupSecurityAssociation),
        key_download().prop_map(Payload::KeyDownload),
    ]
}
