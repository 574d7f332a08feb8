//! Rules about a SecurityAssociation.

use serde_json::{Value, json};

use crate::support::{create, security_association, with};
use crate::{case, run};

#[test]
fn rules_of_a_security_association_say_what_can_be_enforced() {
    let base = security_association();
    let rules = |rule: Value| {
        (
            "/spec/rules",
            json!([{ "name": "all", "action": "Permit", "source": "10.0.0.0/8", "destination": "10.0.0.0/8" }, rule]),
        )
    };
    let rule = |more: Value| {
        let mut rule = json!({ "name": "more", "action": "Deny", "source": "10.0.0.0/8", "destination": "10.0.0.0/8" });
        for (key, value) in more.as_object().expect("an object") {
            rule[key] = value.clone();
        }
        rules(rule)
    };
    let cidr = "spec.rules[1].source: must be a CIDR without host bits, for example '10.0.0.0/8'";
    let mut cases = vec![
        case(
            "C16",
            &base,
            &[rule(
                json!({ "source": "fd00::/8", "destination": "fd00::/8" }),
            )],
            &[rule(json!({ "destination": "fd00::/8" }))],
            &[
                "spec.rules[1].destination: `source` and `destination` must be of the same IP family",
            ],
        ),
        case(
            "C17",
            &base,
            &[rule(
                json!({ "protocol": "UDP", "destinationPorts": ["16384-32767"] }),
            )],
            &[rule(
                json!({ "protocol": "OSPF", "destinationPorts": ["16384-32767"] }),
            )],
            &[
                "spec.rules[1].destinationPorts: `destinationPorts` may be set only when `protocol` is 'TCP' or 'UDP'",
            ],
        ),
        case(
            "C17, source",
            &base,
            &[rule(json!({ "protocol": "TCP", "sourcePorts": ["22"] }))],
            &[rule(json!({ "sourcePorts": ["22"] }))],
            &[
                "spec.rules[1].sourcePorts: `sourcePorts` may be set only when `protocol` is 'TCP' or 'UDP'",
            ],
        ),
        case(
            "C18",
            &base,
            &[],
            &[(
                "/spec/rules",
                json!([{ "name": "a", "action": "Deny", "source": "10.0.0.0/8", "destination": "10.0.0.0/8" }]),
            )],
            &["spec.rules: must contain at least one rule with `action` 'Permit'"],
        ),
        case(
            "C19",
            &base,
            &[rule(json!({}))],
            &[rule(json!({ "name": "all" }))],
            &["spec.rules: rule names must be unique"],
        ),
        case(
            "C34",
            &base,
            &[rule(json!({ "protocolNumber": 112 }))],
            &[rule(json!({ "protocol": "TCP", "protocolNumber": 112 }))],
            &[
                "spec.rules[1].protocolNumber: `protocolNumber` may be set only when `protocol` is 'Any'",
            ],
        ),
        case(
            "C42",
            &base,
            &[rule(
                json!({ "protocol": "ICMPv6", "source": "fd00::/8", "destination": "fd00::/8" }),
            )],
            &[rule(json!({ "protocol": "ICMPv6" }))],
            &["spec.rules[1].protocol: `protocol` must be 'ICMP' for IPv4 and 'ICMPv6' for IPv6"],
        ),
        case(
            "C51",
            &base,
            &[rule(json!({ "name": "rtp-2" }))],
            &[rule(json!({ "name": "RTP" }))],
            &[
                "spec.rules[1].name: must contain only lower-case letters, digits and '-', and start and end with a letter or digit",
            ],
        ),
    ];
    for refused in ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "any"] {
        cases.push(case(
            "C15",
            &base,
            &[rule(json!({ "source": "10.1.0.0/16" }))],
            &[rule(json!({ "source": refused }))],
            &[],
        ));
    }
    for case in &mut cases {
        if case.rule == "C15" {
            assert_eq!(
                create(&case.refused),
                [cidr],
                "C15 refuses {}",
                case.refused
            );
            case.refused = case.accepted.clone();
        }
    }
    run(cases);
}

#[test]
fn ports_are_numbers_or_ascending_ranges() {
    let ports = |text: &str| {
        with(
            &security_association(),
            "/spec/rules",
            json!([{ "name": "a", "action": "Permit", "source": "10.0.0.0/8", "destination": "10.0.0.0/8", "protocol": "TCP", "destinationPorts": [text] }]),
        )
    };
    for accepted in ["0", "22", "0-65535", "80-80"] {
        assert_eq!(
            create(&ports(accepted)),
            Vec::<String>::new(),
            "C33 {accepted}"
        );
    }
    for refused in ["65536", "80-79", "http", "1-2-3", "-1", "1-70000"] {
        assert_eq!(
            create(&ports(refused)),
            [
                "spec.rules[0].destinationPorts[0]: must be a port or an ascending range of ports in 0-65535, for example '22' or '16384-32767'"
            ],
            "C33 {refused}"
        );
    }
}

#[test]
fn only_ciphers_that_authenticate_are_accepted() {
    let cipher = |name: &str| {
        with(
            &security_association(),
            "/spec/transform",
            json!({ "encryption": name }),
        )
    };
    for accepted in ["AES256GCM", "AES128GCM", "ChaCha20Poly1305"] {
        assert_eq!(
            create(&cipher(accepted)),
            Vec::<String>::new(),
            "C20 {accepted}"
        );
    }
    for refused in ["AES256CBC", "AES192CBC", "AES128CBC"] {
        assert_eq!(
            create(&cipher(refused)),
            [
                "spec.transform.encryption: may not be a CBC cipher; must be 'AES256GCM', 'AES128GCM' or 'ChaCha20Poly1305', which encrypt and authenticate"
            ],
            "C20 {refused}"
        );
    }
}

#[test]
fn anti_replay_windows_fit_their_mode() {
    let base = security_association();
    run(vec![
        case(
            "C21",
            &base,
            &[(
                "/spec/antiReplay",
                json!({ "mode": "TimeBased", "windowSeconds": 5 }),
            )],
            &[(
                "/spec/antiReplay",
                json!({ "mode": "Counter", "windowSeconds": 5 }),
            )],
            &[
                "spec.antiReplay.windowSeconds: `windowSeconds` may be set only when `mode` is 'TimeBased'",
            ],
        ),
        case(
            "C21, milliseconds",
            &base,
            &[("/spec/antiReplay", json!({ "windowMilliseconds": 1500 }))],
            &[(
                "/spec/antiReplay",
                json!({ "mode": "Disabled", "windowMilliseconds": 1500 }),
            )],
            &[
                "spec.antiReplay.windowMilliseconds: `windowMilliseconds` may be set only when `mode` is 'TimeBased'",
            ],
        ),
        case(
            "C41",
            &base,
            &[("/spec/antiReplay", json!({ "mode": "Counter" }))],
            &[(
                "/spec/antiReplay",
                json!({ "windowSeconds": 5, "windowMilliseconds": 1500 }),
            )],
            &[
                "spec.antiReplay.windowMilliseconds: only one of `windowSeconds` and `windowMilliseconds` may be set",
            ],
        ),
    ]);
}
