//! What the key servers are given.

mod support;

use keyserver_api::identity::IdentityKind;
use keyserver_api::policy::{
    Action, AntiReplay, Direction, Encapsulation, EspEncryption, GroupPolicy, RekeyTransport, Rule,
    SignatureAlgorithm,
};
use operator_core::group::validate;
use operator_core::policy::{REKEY_EXEMPTION, build, revision, summary};
use support::{association, group, load, permit};

fn policy(text: &[String]) -> GroupPolicy {
    let manifests = load(&text.concat());
    let validated =
        validate(&manifests.groups[0], &manifests.security_associations).expect("served");
    assert_eq!(validated.rejections, []);
    build(&validated).expect("built")
}

fn rules(policy: &GroupPolicy) -> Vec<(&str, String)> {
    let text = |rule: &Rule| {
        format!(
            "{:?} {:?} {} {:?} -> {} {:?}",
            rule.action,
            rule.protocol,
            rule.source,
            rule.source_ports,
            rule.destination,
            rule.destination_ports
        )
    };
    policy
        .security_associations
        .iter()
        .flat_map(|object| &object.rules)
        .map(|rule| (rule.name.as_str(), text(rule)))
        .collect()
}

#[test]
fn a_rule_whose_ends_differ_brings_the_rule_for_the_way_back() {
    let built = policy(&[
        group("voice", 1, ""),
        association(
            "a",
            "voice",
            1,
            &[
                "name: web, action: Permit, protocol: TCP, source: 10.1.0.0/16, destination: 10.2.0.0/16, destinationPorts: [\"443\"]",
                "name: one-way, action: Permit, source: 10.3.0.0/16, destination: 10.4.0.0/16, mirror: Disabled",
                "name: same, action: Permit, source: 10.5.0.0/16, destination: 10.5.0.0/16",
                "name: rtp, action: Permit, protocol: UDP, source: 10.6.0.0/16, destination: 10.6.0.0/16, destinationPorts: [\"5004-5005\"]",
                "name: stream, action: Permit, source: 10.7.0.0/16, destination: 239.1.0.0/16",
            ],
            "",
        ),
    ]);
    let expected = [
        (
            "web",
            "Permit Some(6) 10.1.0.0/16 [] -> 10.2.0.0/16 [(443, 443)]",
        ),
        (
            "web.mirror",
            "Permit Some(6) 10.2.0.0/16 [(443, 443)] -> 10.1.0.0/16 []",
        ),
        ("one-way", "Permit None 10.3.0.0/16 [] -> 10.4.0.0/16 []"),
        ("same", "Permit None 10.5.0.0/16 [] -> 10.5.0.0/16 []"),
        (
            "rtp",
            "Permit Some(17) 10.6.0.0/16 [] -> 10.6.0.0/16 [(5004, 5005)]",
        ),
        (
            "rtp.mirror",
            "Permit Some(17) 10.6.0.0/16 [(5004, 5005)] -> 10.6.0.0/16 []",
        ),
        ("stream", "Permit None 10.7.0.0/16 [] -> 239.1.0.0/16 []"),
    ];
    assert_eq!(
        rules(&built),
        expected.map(|(name, text)| (name, text.to_owned()))
    );
    let figures = summary(&built);
    assert_eq!(
        (
            figures.permit_rules,
            figures.security_associations,
            figures.implicit_rules
        ),
        (7, 14, 0)
    );
}

#[test]
fn protocols_are_carried_by_number() {
    for (protocol, number) in [
        ("protocol: ICMP", Some(1)),
        ("protocol: TCP", Some(6)),
        ("protocol: UDP", Some(17)),
        ("protocol: GRE", Some(47)),
        ("protocol: ESP", Some(50)),
        ("protocol: OSPF", Some(89)),
        ("protocolNumber: 112", Some(112)),
        ("protocol: Any", None),
    ] {
        let rule = format!(
            "name: a, action: Permit, source: 10.0.0.0/8, destination: 10.0.0.0/8, {protocol}"
        );
        let built = policy(&[
            group("voice", 1, ""),
            association("a", "voice", 1, &[&rule], ""),
        ]);
        assert_eq!(
            built.security_associations[0].rules[0].protocol, number,
            "{protocol}"
        );
    }
    let rule = "name: a, action: Permit, source: fd00::/8, destination: fd00::/8, protocol: ICMPv6";
    let built = policy(&[
        group("voice", 1, ""),
        association("a", "voice", 1, &[rule], ""),
    ]);
    assert_eq!(built.security_associations[0].rules[0].protocol, Some(58));
}

// GET VPN row 99
#[test]
fn the_address_of_multicast_rekeys_stays_in_clear_in_front_of_everything() {
    for (address, source) in [("239.192.0.1", "0.0.0.0/0"), ("ff3e::1", "::/0")] {
        let rekey = format!(
            "  rekey: {{ transport: Multicast, multicast: {{ address: \"{address}\", hopLimit: 7 }} }}\n"
        );
        let built = policy(&[
            group("voice", 1, &rekey),
            association("late", "voice", 20, &[&permit("all", "10.0.0.0/8")], ""),
            association("early", "voice", 10, &[&permit("all", "172.16.0.0/12")], ""),
        ]);
        let first = &built.security_associations[0];
        assert_eq!(first.name, "early");
        assert_eq!(
            (first.rules[0].name.as_str(), first.rules[0].action),
            (REKEY_EXEMPTION, Action::Deny)
        );
        assert_eq!(first.rules[0].source.to_string(), source);
        assert_eq!(first.rules[0].destination.addr().to_string(), address);
        assert_eq!(
            first.rules.len() + built.security_associations[1].rules.len(),
            3
        );
        assert_eq!(summary(&built).implicit_rules, 1);
        let address = address.parse().expect("an address");
        assert_eq!(
            built.rekey.transport,
            RekeyTransport::Multicast {
                address,
                port: 848,
                hop_limit: 7
            }
        );
    }
}

// GET VPN row 131
#[test]
fn every_setting_of_the_group_arrives() {
    let built = policy(&[
        group(
            "voice",
            77,
            "  direction: ReceiveOnly
  identity: Hostname
  authentication: { mode: PreSharedKey, preSharedKeySecretRef: { name: psk } }
  authorization: { mode: PreSharedKey, hostnames: [\"*.example\"], addresses: [10.1.0.0/16] }
  traffic: { lifetimeSeconds: 1200, lifetimeKilobytes: 5000, prestagedKeys: 2, activationDelaySeconds: 3, deactivationDelaySeconds: 9, senderIDBits: 16 }
  rekey:
    kekLifetimeSeconds: 7200
    leadTimeSeconds: 60
    retransmit: { attempts: 4, periodSeconds: 11 }
    unicast: { batchSize: 12, acknowledgementTimeoutSeconds: 6, evictionThreshold: 2 }
    signature: Ed25519
",
        ),
        association("own", "voice", 7, &[&permit("a", "10.0.0.0/8")], "  lifetimeSeconds: 600\n  lifetimeKilobytes: 2560\n  transform: { encryption: ChaCha20Poly1305, encapsulation: ESP }\n  antiReplay: { mode: Counter }\n"),
        association("inherited", "voice", 8, &[&permit("a", "172.16.0.0/12")], "  antiReplay: { windowMilliseconds: 250 }\n"),
        association("plain", "voice", 9, &[&permit("a", "192.168.0.0/16")], "  antiReplay: { mode: Disabled }\n  transform: { encryption: AES128GCM }\n"),
    ]);
    assert_eq!(
        (built.name.as_str(), built.group_id, built.direction),
        ("voice", 77, Direction::ReceiveOnly)
    );
    assert_eq!((built.sender_id_bits, built.prestaged_keys), (16, 2));
    assert_eq!(
        (built.activation_delay_ms, built.deactivation_delay_ms),
        (3_000, 9_000)
    );
    let authorization = &built.authorization;
    assert_eq!(
        (
            authorization.identities[0].kind,
            authorization.identities[0].value.as_str()
        ),
        (IdentityKind::Fqdn, "*.example")
    );
    assert_eq!(authorization.addresses[0].to_string(), "10.1.0.0/16");
    let rekey = &built.rekey;
    assert_eq!(rekey.transport, RekeyTransport::Unicast);
    assert_eq!(
        (rekey.kek_lifetime_seconds, rekey.lead_time_seconds),
        (7_200, 60)
    );
    assert_eq!(
        (rekey.retransmit_attempts, rekey.retransmit_period_ms),
        (4, 11_000)
    );
    assert_eq!(
        (
            rekey.batch_size,
            rekey.acknowledgement_timeout_ms,
            rekey.eviction_threshold
        ),
        (12, 6_000, 2)
    );
    assert_eq!(rekey.signature, SignatureAlgorithm::Ed25519);
    let [own, inherited, plain] = &built.security_associations[..] else {
        panic!("three objects")
    };
    assert_eq!(
        (
            own.name.as_str(),
            own.order,
            own.lifetime_ms,
            own.lifetime_kilobytes
        ),
        ("own", 7, 600_000, 2_560)
    );
    assert_eq!(
        (own.encryption, own.encapsulation, own.anti_replay),
        (
            EspEncryption::ChaCha20Poly1305,
            Encapsulation::Raw,
            AntiReplay::Counter
        )
    );
    assert_eq!(
        (inherited.lifetime_ms, inherited.lifetime_kilobytes),
        (1_200_000, 5_000)
    );
    assert_eq!(
        inherited.anti_replay,
        AntiReplay::TimeBased { window_ms: 250 }
    );
    assert_eq!(
        (inherited.encryption, inherited.encapsulation),
        (EspEncryption::Aes256Gcm, Encapsulation::Udp)
    );
    assert_eq!(
        (plain.encryption, plain.anti_replay),
        (EspEncryption::Aes128Gcm, AntiReplay::Disabled)
    );
}

// GET VPN row 42
#[test]
fn certificates_are_authorized_by_their_subjects() {
    let more = "  identity: DistinguishedName\n  authorization: { mode: Certificate, subjects: [\"CN=*,O=Example\"] }\n";
    let built = policy(&[
        group("voice", 1, more),
        association("a", "voice", 1, &[&permit("a", "10.0.0.0/8")], ""),
    ]);
    let pattern = &built.authorization.identities[0];
    assert_eq!(
        (pattern.kind, pattern.value.as_str()),
        (IdentityKind::DistinguishedName, "CN=*,O=Example")
    );
    assert_eq!(
        built.security_associations[0].anti_replay,
        AntiReplay::TimeBased { window_ms: 5_000 },
        "the default window"
    );
}

// GET VPN row 19
#[test]
fn the_revision_changes_with_the_policy_and_with_nothing_else() {
    let object = |name, order| {
        association(
            name,
            "voice",
            order,
            &[&permit("a", &format!("10.{order}.0.0/16"))],
            "",
        )
    };
    let first = policy(&[group("voice", 1, ""), object("a", 1), object("b", 2)]);
    let moved = policy(&[
        object("b", 2),
        group("voice", 1, "  description: the same\n"),
        object("a", 1),
    ]);
    let changed = policy(&[group("voice", 1, ""), object("a", 1), object("b", 3)]);
    assert_eq!(revision(&first), revision(&moved));
    assert_ne!(revision(&first), revision(&changed));
    assert_eq!(revision(&first).len(), 16);
}
