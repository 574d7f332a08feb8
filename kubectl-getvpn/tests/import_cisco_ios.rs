//! The import of Cisco IOS configurations: hand-written ones, and whatever else a file may hold.

use std::path::{Path, PathBuf};

use crds::Manifests;
use crds::v1alpha1::{
    Action, AntiReplayMode, AuthorizationMode, Direction, Encryption, FailureMode, LocalBypass,
    MemberDirection, Mirror, Protocol, RekeyTransport,
};
use kubectl_getvpn::import::cisco_ios::{self, Import, Source, Weight};
use operator_core::group::Reason;
use operator_core::{namespace, policy};
use proptest::prelude::*;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cisco_ios")
}

fn read(name: &str) -> String {
    let path = directory().join("configurations").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Imports these configurations together.
fn import(names: &[&str]) -> Import {
    let texts: Vec<String> = names.iter().map(|name| read(name)).collect();
    let sources: Vec<Source<'_>> = names
        .iter()
        .zip(&texts)
        .map(|(name, text)| Source { name, text })
        .collect();
    cisco_ios::convert(&sources)
}

fn load(import: &Import) -> Manifests {
    let yaml = import.yaml();
    crds::load("result", &yaml).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"))
}

/// Everything the API server and the operator check, with the policy the key servers would get.
fn accepted(import: &Import) -> Manifests {
    let manifests = load(import);
    let judgement = namespace::validate(
        &manifests.groups,
        &manifests.security_associations,
        &manifests.members,
    );
    let refused: Vec<String> = judgement
        .rejections()
        // The group of a member may be in the configuration of its key server.
        .filter(|rejection| {
            rejection.reason != Reason::GroupNotFound || !manifests.groups.is_empty()
        })
        .map(ToString::to_string)
        .collect();
    assert!(refused.is_empty(), "{refused:#?}\n{}", import.yaml());
    for judged in &judgement.groups {
        let validated = judged.outcome.as_ref().expect("judged above");
        policy::build(validated).unwrap_or_else(|error| panic!("{error}\n{}", import.yaml()));
    }
    manifests
}

/// Whether a note of this weight about a line that begins like this says something with these words.
fn noted(import: &Import, line: &str, weight: Weight, words: &str) -> bool {
    import.notes.iter().any(|note| {
        let text = read(&note.source);
        let written = note
            .line
            .checked_sub(1)
            .and_then(|index| text.lines().nth(index))
            .unwrap_or_default();
        written.trim().starts_with(line) && note.weight == weight && note.message.contains(words)
    })
}

macro_rules! assert_noted {
    ($import:expr, $line:expr, $weight:ident, $words:expr) => {
        assert!(
            noted(&$import, $line, Weight::$weight, $words),
            "no {:?} about {:?} with {:?} in {:#?}",
            Weight::$weight,
            $line,
            $words,
            $import.notes
        )
    };
}

const CASES: [&[&str]; 16] = [
    &["01-key-server-unicast.cfg"],
    &["02-key-server-multicast.cfg"],
    &["01-key-server-unicast.cfg", "03-member-fail-close.cfg"],
    &[
        "04-group-a.cfg",
        "04-group-b.cfg",
        "04-group-member-1.cfg",
        "04-group-member-2.cfg",
    ],
    &["05-gikev2-ipv6.cfg"],
    &["06-two-groups.cfg"],
    &["07-object-groups.cfg"],
    &["08-short-times.cfg"],
    &["09-migration.cfg"],
    &["10-pasted-flat.cfg"],
    &["11-legacy.cfg"],
    &["12-member-many.cfg"],
    &["13-large-list.cfg"],
    &["14-authorization-holes.cfg"],
    &["15-inverted-lists.cfg"],
    &["16-conditions.cfg"],
];

#[test]
fn every_configuration_becomes_resources_that_api_server_and_operator_accept() {
    for names in CASES {
        // A device that is key server of one group and member of another.
        if names == ["09-migration.cfg"] {
            load(&import(names));
            continue;
        }
        assert!(!accepted(&import(names)).is_empty(), "{names:?}");
    }
}

/// Set `UPDATE_EXPECTED` to write the files anew; then read what changed.
#[test]
fn every_configuration_becomes_the_yaml_that_was_reviewed() {
    for names in CASES {
        let yaml = import(names).yaml();
        assert_eq!(
            yaml,
            import(names).yaml(),
            "the same input gives the same output"
        );
        let stem = names.last().expect("a name").trim_end_matches(".cfg");
        let path = directory().join("expected").join(format!("{stem}.yaml"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&path, &yaml).expect("the file can be written");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(yaml == expected, "{}: is now\n{yaml}", path.display());
    }
}

#[test]
fn no_key_of_a_configuration_is_in_the_result() {
    for names in CASES {
        let text = import(names).yaml();
        for secret in ["n0tInTheResult", "s3cr3t", "30820242"] {
            assert!(!text.contains(secret), "{names:?}: {text}");
        }
    }
}

#[test]
fn a_key_server_becomes_a_group_with_its_times_peers_and_rules_in_order() {
    let import = import(&["01-key-server-unicast.cfg"]);
    let manifests = accepted(&import);
    let group = &manifests.groups[0].spec;
    assert_eq!(group.group_id, 1234);
    let key_servers = group.key_servers.as_ref().expect("key servers");
    assert_eq!(key_servers.replicas, 3);
    assert_eq!(key_servers.priorities[0].priority, 100);
    assert_eq!(key_servers.dead_peer_detection.period_seconds, 15);
    assert_eq!(key_servers.dead_peer_detection.retry_period_seconds, 3);
    assert_eq!(group.registration.key_server_lifetime_seconds, 28_800);
    assert_eq!(group.rekey.transport, RekeyTransport::Unicast);
    let association = &manifests.security_associations[0].spec;
    assert_eq!(association.order, 1_000);
    assert_eq!(association.lifetime_seconds, Some(7_200));
    assert_eq!(association.transform.encryption, Encryption::Aes256Gcm);
    assert_eq!(association.anti_replay.window_seconds, Some(5));
    let rules: Vec<(&str, Action, Protocol)> = association
        .rules
        .iter()
        .map(|rule| (rule.name.as_str(), rule.action, rule.protocol))
        .collect();
    // The two lines about SSH are one rule and its way back.
    assert_eq!(
        rules,
        [
            ("getvpn-policy-10", Action::Deny, Protocol::Ospf),
            ("getvpn-policy-20", Action::Deny, Protocol::Tcp),
            ("getvpn-policy-40", Action::Deny, Protocol::Udp),
            ("getvpn-policy-50", Action::Permit, Protocol::Any),
        ]
    );
    assert!(
        association
            .rules
            .iter()
            .all(|rule| rule.mirror == Mirror::Auto)
    );
    assert_noted!(
        import,
        "crypto isakmp key",
        Lost,
        "pre-shared keys are not taken over"
    );
    assert_noted!(
        import,
        "crypto ipsec transform-set",
        Changed,
        "CBC and a hash become GCM"
    );
    assert_noted!(
        import,
        "rekey authentication",
        Hint,
        "kubectl getvpn signing-key import getvpn-group"
    );
}

#[test]
fn a_multicast_group_with_certificates_keeps_address_port_and_subjects() {
    let import = import(&["02-key-server-multicast.cfg"]);
    let manifests = accepted(&import);
    let group = &manifests.groups[0].spec;
    let multicast = group.rekey.multicast.as_ref().expect("multicast");
    assert_eq!(
        (multicast.address.as_str(), multicast.port),
        ("239.0.1.2", 848)
    );
    assert_eq!(group.rekey.retransmit.attempts, 3);
    assert_eq!(group.rekey.retransmit.period_seconds, 15);
    assert_eq!(group.authorization.mode, AuthorizationMode::Certificate);
    let matches = |subject: &str| {
        group.authorization.subjects.iter().any(|pattern| {
            keyserver_api::identity::IdentityPattern {
                kind: keyserver_api::identity::IdentityKind::DistinguishedName,
                value: pattern.clone(),
            }
            .matches(
                keyserver_api::identity::IdentityKind::DistinguishedName,
                subject,
            )
        })
    };
    assert!(matches("CN=r1,OU=GETVPN,O=Example") && matches("OU=GETVPN"));
    assert!(!matches("CN=r1,OU=GETVPN2,O=Example") && !matches("CN=r1,O=Example"));
    let rules = &manifests.security_associations[0].spec.rules;
    assert_eq!(rules.len(), 4, "the mirrored pair is one rule");
    assert_eq!(
        manifests.security_associations[0]
            .spec
            .anti_replay
            .window_milliseconds,
        Some(1_500)
    );
}

// GET VPN row 163
#[test]
fn in_the_lists_of_a_member_deny_lets_go_in_clear_and_permit_does_not() {
    let import = import(&["01-key-server-unicast.cfg", "03-member-fail-close.cfg"]);
    let manifests = accepted(&import);
    let member = &manifests.members[0].spec;
    assert_eq!(
        manifests.members[0].metadata.name.as_deref(),
        Some("branch-7")
    );
    assert_eq!(member.failure_mode, FailureMode::FailClosed);
    let bypass: Vec<_> = member
        .bypass
        .iter()
        .map(|flow| flow.protocol_number)
        .collect();
    assert_eq!(bypass, [None, Some(88)]);
    let fail_closed = member.fail_closed.as_ref().expect("fail-close");
    // The flows of SSH are one: a flow stands for both ways. The `permit ip any any` is no flow.
    let allowed: Vec<Protocol> = fail_closed
        .allow_clear
        .iter()
        .map(|flow| flow.protocol)
        .collect();
    assert_eq!(allowed, [Protocol::Tcp, Protocol::Ospf, Protocol::Tcp]);
    assert_eq!(
        fail_closed.local_bypass,
        LocalBypass::Exclude,
        "as IOS has it"
    );
    let order: Vec<i32> = member
        .key_server_order
        .iter()
        .map(|ordinal| ordinal.0)
        .collect();
    assert_eq!(order, [1, 0]);
    assert_noted!(import, "permit ip any any", Hint, "not needed");
}

// GET VPN row 163
#[test]
fn a_permit_in_front_of_a_deny_never_lets_more_go_in_clear() {
    let import = import(&["15-inverted-lists.cfg"]);
    let manifests = accepted(&import);
    let member = &manifests.members[0].spec;
    let allowed = &member.fail_closed.as_ref().expect("fail-close").allow_clear;
    // ICMP is cut into, SSH as well; only NTP is left.
    assert_eq!(allowed.len(), 1, "{allowed:#?}");
    assert_eq!(allowed[0].destination_ports[0].0, "123");
    assert_noted!(import, "deny   icmp any any", Lost, "holds part of it back");
    assert_noted!(import, "deny   icmp any host", Hint, "never matches");
    assert_noted!(
        import,
        "permit tcp any any established",
        Changed,
        "holds back all packets"
    );
    assert_noted!(
        import,
        "deny   tcp any any eq 22",
        Lost,
        "holds part of it back"
    );
    assert_noted!(
        import,
        "deny   udp any any eq 123 dscp ef",
        Lost,
        "condition `dscp ef`"
    );
    // The same list as the member's own: what it permits IOS would drop.
    assert_noted!(
        import,
        "permit icmp any host 10.1.1.1",
        Lost,
        "IOS drops what a member's own list permits"
    );
}

#[test]
fn key_servers_and_members_of_several_configurations_find_each_other() {
    let import = import(CASES[3]);
    let manifests = accepted(&import);
    assert_eq!(manifests.groups.len(), 1, "one group, described twice");
    let key_servers = manifests.groups[0]
        .spec
        .key_servers
        .as_ref()
        .expect("key servers");
    let priorities: Vec<(i32, i32)> = key_servers
        .priorities
        .iter()
        .map(|entry| (entry.ordinal.0, entry.priority))
        .collect();
    assert_eq!(priorities, [(0, 75), (1, 90)]);
    // A member may not keep its association longer than two key servers do.
    assert_eq!(
        manifests.groups[0]
            .spec
            .registration
            .member_lifetime_seconds,
        600
    );
    assert_eq!(manifests.members.len(), 2);
    assert_eq!(manifests.members[0].spec.key_server_order.len(), 2);
    assert!(manifests.members[1].spec.key_server_order.is_empty());
    assert_eq!(
        manifests.members[1].spec.local_interface.as_deref(),
        Some("eth0")
    );
    assert!(
        import
            .notes
            .iter()
            .any(|note| note.source == "04-group-member-2.cfg"
                && note.message.contains("10.0.0.9 is no key server"))
    );
    assert_noted!(
        import,
        "client registration",
        Changed,
        "interface Loopback0 is not protected"
    );
}

#[test]
fn times_that_do_not_fit_each_other_are_made_to_fit_with_a_note() {
    let import = import(&["08-short-times.cfg"]);
    let manifests = accepted(&import);
    let group = &manifests.groups[0].spec;
    assert_eq!(
        group.group_id,
        i32::try_from(0xC000_024D_u32 & 0x7fff_ffff).expect("31 bits")
    );
    assert_eq!(group.rekey.kek_lifetime_seconds, 300);
    assert_eq!(group.rekey.retransmit.attempts, 1);
    assert_noted!(
        import,
        "crypto gdoi group",
        Changed,
        "identity 192.0.2.77 becomes the number"
    );
    assert_noted!(
        import,
        "rekey lifetime",
        Changed,
        "a lifetime of the key encryption key of 200 becomes 300"
    );
    assert_noted!(
        import,
        "rekey retransmit",
        Changed,
        "repeated 1 times instead of 10"
    );
    assert_noted!(import, "local priority", Lost, "priority 0 is not possible");
}

#[test]
fn receive_only_and_passive_come_along() {
    let import = import(&["09-migration.cfg"]);
    let manifests = load(&import);
    assert_eq!(manifests.groups[0].spec.direction, Direction::ReceiveOnly);
    let member = &manifests.members[0].spec;
    assert_eq!(member.direction, MemberDirection::InboundOnly);
    assert_eq!(member.failure_mode, FailureMode::FailOpen);
    assert_noted!(import, "crypto map M 10", Hint, "no fail-close");
}

#[test]
fn a_pasted_session_without_indentation_is_read_like_a_running_configuration() {
    let manifests = accepted(&import(&["10-pasted-flat.cfg"]));
    let group = &manifests.groups[0].spec;
    assert_eq!(group.group_id, 4321);
    assert_eq!(group.key_servers.as_ref().expect("key servers").replicas, 2);
    let association = &manifests.security_associations[0].spec;
    assert_eq!(association.anti_replay.window_seconds, Some(3));
    assert_eq!(association.rules[0].source.0, "172.16.0.0/12");
}

#[test]
fn old_algorithms_become_new_ones_and_each_is_named() {
    let import = import(&["11-legacy.cfg"]);
    let manifests = accepted(&import);
    assert_eq!(manifests.groups.len(), 1, "a banner is no configuration");
    let association = &manifests.security_associations[0].spec;
    assert_eq!(association.transform.encryption, Encryption::Aes256Gcm);
    assert_eq!(association.anti_replay.mode, AntiReplayMode::Counter);
    assert_noted!(
        import,
        "crypto isakmp policy",
        Changed,
        "Diffie-Hellman group 2 is not offered"
    );
    assert_noted!(
        import,
        "crypto ipsec transform-set",
        Changed,
        "the cipher is not offered"
    );
    assert_noted!(
        import,
        "rekey algorithm",
        Changed,
        "always encrypted with AES-256-GCM"
    );
    assert_noted!(import, "rekey lifetime", Changed, "of 604800 becomes 86400");
    assert_noted!(
        import,
        "server local",
        Changed,
        "there is no `rekey address`"
    );
}

// GET VPN rows 16, 17
#[test]
fn what_is_not_offered_is_refused_by_name() {
    let import = import(&["12-member-many.cfg"]);
    let manifests = accepted(&import);
    let names: Vec<_> = manifests
        .members
        .iter()
        .map(|member| member.metadata.name.clone())
        .collect();
    assert_eq!(names, [Some("dual".to_owned()), Some("dual-2".to_owned())]);
    assert_eq!(
        manifests.members[1].spec.local_interface.as_deref(),
        Some("eth1")
    );
    assert_noted!(
        import,
        "vrf forwarding",
        Lost,
        "VRF-aware GET VPN is not offered"
    );
    assert_noted!(
        import,
        "tunnel protection",
        Lost,
        "GET VPN over DMVPN is not offered"
    );
    assert_noted!(
        import,
        "crypto map WAN 30",
        Lost,
        "only group members are imported"
    );
    assert_noted!(
        import,
        "crypto gdoi group UNUSED",
        Lost,
        "no crypto map joins it"
    );
    // A permitted flow inside it would be dropped by IOS, so the wider flow is not let through.
    assert_noted!(
        import,
        "access-list 120 deny   udp",
        Lost,
        "holds part of it back"
    );
    assert_eq!(manifests.members[0].spec.bypass.len(), 1);
}

#[test]
fn a_list_that_is_too_long_for_one_object_becomes_several() {
    let import = import(&["13-large-list.cfg"]);
    let manifests = accepted(&import);
    let orders: Vec<i32> = manifests
        .security_associations
        .iter()
        .map(|association| association.spec.order)
        .collect();
    assert_eq!(orders, [300, 301]);
    let rules: usize = manifests
        .security_associations
        .iter()
        .map(|association| association.spec.rules.len())
        .sum();
    assert_eq!(rules, 45);
    assert_noted!(
        import,
        "sa ipsec 3",
        Changed,
        "more rules than one object may hold"
    );
}

#[test]
fn an_address_that_is_denied_first_may_not_join() {
    let manifests = accepted(&import(&["14-authorization-holes.cfg"]));
    let addresses: Vec<&str> = manifests.groups[0]
        .spec
        .authorization
        .addresses
        .iter()
        .map(|cidr| cidr.0.as_str())
        .collect();
    assert_eq!(addresses, ["10.1.1.0/32", "10.1.1.2/31", "10.2.2.2/32"]);
}

#[test]
fn conditions_that_rules_do_not_have_never_make_more_go_in_clear() {
    let import = import(&["16-conditions.cfg"]);
    let manifests = accepted(&import);
    let rules = &manifests.security_associations[0].spec.rules;
    assert!(rules.iter().all(|rule| rule.action == Action::Permit));
    let udp = rules
        .iter()
        .find(|rule| rule.protocol == Protocol::Udp)
        .expect("kept, wider");
    assert_eq!(udp.mirror, Mirror::Disabled);
    assert!(rules.iter().any(|rule| rule.protocol_number == Some(97)));
    assert_noted!(
        import,
        "deny   tcp any any established",
        Lost,
        "condition `established`"
    );
    assert_noted!(import, "deny   icmp any any echo", Lost, "condition `echo`");
    assert_noted!(
        import,
        "permit udp 10.1.0.0",
        Changed,
        "all packets are encrypted that fit the rest"
    );
    assert_noted!(
        import,
        "permit udp 10.1.0.0",
        Hint,
        "no entry for the way back"
    );
    assert_noted!(
        import,
        "permit ip 10.0.0.0 0.255.0.255",
        Lost,
        "too many separate prefixes"
    );
    assert_noted!(
        import,
        "permit frob",
        Lost,
        "the protocol is not understood"
    );
    assert_noted!(
        import,
        "crypto ipsec transform-set",
        Changed,
        "only authenticated"
    );
}

/// Words that lead deep into the reader.
fn vocabulary() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => prop::sample::select(vec![
            "crypto gdoi group G", "crypto gkm group ipv6 G", "identity number 1", "identity address ipv4 1.2.3.4",
            "server local", "server address ipv4 10.0.0.1", "rekey transport unicast", "rekey address ipv4 101",
            "rekey lifetime seconds 300", "rekey retransmit 60 number 10", "authorization address ipv4 5",
            "authorization identity I", "sa ipsec 1", "sa ipsec 0", "sa receive-only", "profile P",
            "match address ipv4 101", "match address ipv4 L", "replay time window-size 5", "no replay", "redundancy",
            "local priority 10", "peer address ipv4 10.0.0.2", "address ipv4 10.0.0.1", "passive",
            "crypto isakmp policy 1", "authentication pre-share", "authentication rsa-sig", "group 19", "hash sha256", "lifetime 61",
            "crypto isakmp identity dn", "crypto isakmp identity hostname", "crypto isakmp keepalive 10 2 periodic",
            "crypto ipsec transform-set T esp-gcm 128", "crypto ipsec profile P", "set transform-set T",
            "set security-association lifetime seconds 120", "crypto ipsec security-association lifetime seconds 86400",
            "crypto identity I", "dn ou=A,o=B", "fqdn a.b", "hostname r1",
            "crypto map M 10 gdoi", "crypto map M gdoi fail-close", "set group G", "match address L", "activate",
            "interface Gi0/0", "crypto map M", "ip access-list extended L", "access-list 101", "access-list 5",
            "permit", "deny", "permit ip any any", "deny ip any any", "permit tcp any eq 22 any",
            "permit udp any host 239.1.1.1 eq 848", "permit ip 10.0.0.0 0.255.255.255 10.0.0.0 0.255.255.255",
            "deny tcp host 10.1.1.1 any eq 80 443", "object-group network O", "group-object O", "range 1.1.1.1 2.2.2.2",
            "permit ip object-group O any",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ];
    let line = (0_usize..4, prop::collection::vec(word, 1..3), any::<bool>());
    prop::collection::vec(line, 0..40).prop_map(|lines| {
        lines
            .into_iter()
            .map(|(indent, words, _)| format!("{}{}\n", " ".repeat(indent), words.join(" ")))
            .collect()
    })
}

/// Whatever is read, what is written passes the checks of the API server, and the same input gives the same output.
fn always_holds(text: &str) {
    let source = [Source { name: "x", text }, Source { name: "y", text }];
    for sources in [&source[..1], &source[..]] {
        let import = cisco_ios::convert(sources);
        if import.is_empty() {
            assert!(import.yaml().is_empty());
        } else {
            load(&import);
        }
        assert_eq!(import.yaml(), cisco_ios::convert(sources).yaml());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn arbitrary_text_never_panics_and_never_gives_refused_resources(text in "\\PC{0,400}|[\\x00-\\x7f\n ]{0,400}") {
        always_holds(&text);
    }

    #[test]
    fn any_mixture_of_commands_gives_resources_that_are_accepted(text in vocabulary()) {
        always_holds(&text);
    }

    #[test]
    fn a_configuration_with_lines_removed_or_repeated_gives_resources_that_are_accepted(
        case in 0_usize..CASES.len(),
        picks in prop::collection::vec(0_usize..80, 0..90),
    ) {
        let text: String = CASES[case].iter().map(|name| read(name)).collect();
        let lines: Vec<&str> = text.lines().collect();
        let text: String = picks
            .into_iter()
            .scan(0, |at, step| {
                // Mostly forward, so that modes stay open.
                *at = if step < 70 { (*at + 1 + step % 3) % lines.len() } else { step % lines.len() };
                lines.get(*at).map(|line| format!("{line}\n"))
            })
            .collect();
        always_holds(&text);
    }
}
