use super::*;

fn policy() -> GroupPolicy {
    serde_json::from_str(
        r#"{
            "name": "branch-voice", "groupId": 1234,
            "securityAssociations": [{
                "name": "voice", "order": 100,
                "rules": [{"name": "all", "action": "Permit", "source": "10.0.0.0/8", "destination": "10.0.0.0/8"}]
            }]
        }"#,
    )
    .expect("a policy")
}

/// The complaint about a changed policy; there must be exactly one.
fn complaint(change: impl FnOnce(&mut GroupPolicy)) -> String {
    let mut policy = policy();
    change(&mut policy);
    let errors = policy.validate().expect_err("a broken rule");
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].to_string()
}

#[test]
fn a_policy_needs_little_and_its_defaults_are_valid() {
    assert_eq!(policy().validate(), Ok(()));
    assert_eq!(policy().prestaged_keys, 1);
    assert_eq!(policy().sender_id_bits, 24);
}

#[test]
fn each_broken_rule_names_field_value_rule_and_remedy() {
    assert_eq!(
        complaint(|policy| policy.name = "Branch".to_owned()),
        "name is Branch: it must start with a letter and hold at most 49 lower-case letters, digits and '-'; \
         rename the group"
    );
    assert_eq!(
        complaint(|policy| policy.group_id = u32::MAX),
        "groupId is 4294967295: it must be between 0 and 2147483647; set it in that range"
    );
    assert_eq!(
        complaint(|policy| policy.sender_id_bits = 20),
        "senderIdBits is 20: it must be 8, 12, 16, 24 or 32; use 24 unless members of another make need fewer"
    );
    assert_eq!(
        complaint(|policy| policy.deactivation_delay_ms = 1_000),
        "deactivationDelayMs is 1000: old keys may not be removed before new ones are used \
         (activationDelayMs 5000); raise it above activationDelayMs"
    );
    assert_eq!(
        complaint(|policy| policy.rekey.kek_lifetime_seconds = 3_000),
        "rekey.kekLifetimeSeconds is 3000: the key encryption key must live at least as long as the longest \
         traffic key (3600000 ms); raise it, or lower the lifetimes of the security associations"
    );
    assert_eq!(
        complaint(|policy| policy.security_associations[0].rules[0].source =
            "10.0.0.1/8".parse().expect("CIDR")),
        "securityAssociations[0].rules[0].source is 10.0.0.1/8: it must be a CIDR without host bits; \
         write 10.0.0.0/8"
    );
    assert_eq!(
        complaint(
            |policy| policy.security_associations[0].rules[0].destination_ports = vec![(80, 90)]
        ),
        "securityAssociations[0].rules[0].destinationPorts is 1 ranges: ports may be set only when protocol is \
         6 (TCP) or 17 (UDP); set the protocol or remove the ports"
    );
    assert_eq!(
        complaint(|policy| policy.security_associations.clear()),
        "securityAssociations is 0 entries: a group has 1 to 100 security associations; add one"
    );
}

#[test]
fn families_ports_names_and_multicast_addresses_are_checked() {
    let rule = |change: fn(&mut crate::policy::Rule)| {
        complaint(|policy| change(&mut policy.security_associations[0].rules[0]))
    };
    assert!(
        rule(|rule| rule.destination = "fd00::/16".parse().expect("CIDR"))
            .contains("same IP family")
    );
    let swapped = rule(|rule| {
        rule.protocol = Some(17);
        rule.source_ports = vec![(9, 1)];
    });
    assert!(swapped.contains("9-1"), "{swapped}");
    let twice = complaint(|policy| {
        let mut second = policy.security_associations[0].clone();
        second.order = 200;
        policy.security_associations.push(second);
    });
    assert!(twice.contains("names must be unique"), "{twice}");
    for address in ["10.0.0.1", "224.0.0.5", "fd00::1"] {
        let address = address.parse().expect("an address");
        let transport = RekeyTransport::Multicast {
            address,
            port: 848,
            hop_limit: 8,
        };
        assert!(
            complaint(|policy| policy.rekey.transport = transport)
                .contains("routable multicast address")
        );
    }
    let clear = complaint(|policy| {
        policy.security_associations[0].rules[0].action = crate::policy::Action::Deny
    });
    assert!(
        clear.contains("at least one rule must be Permit"),
        "{clear}"
    );
}

#[test]
fn unknown_fields_are_refused() {
    let text = r#"{"name": "a", "groupId": 1, "securityAssociations": [], "lifetime": 3}"#;
    let error = serde_json::from_str::<GroupPolicy>(text).expect_err("an unknown field");
    assert!(
        error.to_string().contains("unknown field `lifetime`"),
        "{error}"
    );
}

#[test]
fn a_policy_survives_json() {
    let mut policy = policy();
    policy.rekey.transport = RekeyTransport::Multicast {
        address: "239.1.2.3".parse().expect("an address"),
        port: 848,
        hop_limit: 8,
    };
    policy.security_associations[0].anti_replay =
        crate::policy::AntiReplay::TimeBased { window_ms: 5_000 };
    let text = serde_json::to_string(&policy).expect("JSON");
    assert!(
        text.contains(r#""antiReplay":{"TimeBased":{"windowMs":5000}}"#),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<GroupPolicy>(&text).expect("a policy"),
        policy
    );
}
