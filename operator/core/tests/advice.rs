//! What is allowed and yet deserves a look, and what a policy costs.

mod support;

use keyserver_api::policy::{AntiReplay, Encapsulation, EspEncryption, GroupPolicy};
use operator_core::association::{ACCEPTED, Outcome, status};
use operator_core::conditions::{find, time_from_millis};
use operator_core::group::validate;
use operator_core::policy::{build, revision, summary};
use support::{association, group, load, member, permit};

/// Warnings about the only object of a group with these rules.
fn warnings(rules: &[&str]) -> Vec<String> {
    let text = [
        group("voice", 1, ""),
        association("own", "voice", 1, rules, ""),
    ];
    let manifests = load(&text.concat());
    let validated =
        validate(&manifests.groups[0], &manifests.security_associations).expect("served");
    let messages = validated.warnings.iter();
    messages.map(|(_, message)| message.clone()).collect()
}

fn policy(text: &[String]) -> GroupPolicy {
    let manifests = load(&text.concat());
    let validated =
        validate(&manifests.groups[0], &manifests.security_associations).expect("served");
    assert_eq!(validated.rejections, []);
    build(&validated).expect("built")
}

fn of_rules(rules: &[&str]) -> GroupPolicy {
    policy(&[
        group("voice", 1, ""),
        association("own", "voice", 1, rules, ""),
    ])
}

// GET VPN row 8
#[test]
fn rules_for_public_addresses_raise_a_warning_that_names_the_exposure() {
    for private in [
        "10.0.0.0/8",
        "172.20.0.0/16",
        "192.168.1.0/24",
        "100.64.0.0/10",
        "fd00::/8",
    ] {
        assert_eq!(warnings(&[&permit("a", private)]), Vec::<String>::new());
    }
    for public in ["8.8.8.0/24", "0.0.0.0/0", "172.0.0.0/8", "2a00::/12"] {
        let found = warnings(&[&permit("web", public)]);
        assert_eq!(
            found,
            [format!(
                "rule `web` covers public addresses (`{public}`): encrypted packets show the addresses of hosts, so send them over a private network only"
            )]
        );
    }
    // It stands in the object's condition.
    let text = [
        group("voice", 1, ""),
        association("own", "voice", 1, &[&permit("web", "8.8.8.0/24")], ""),
    ];
    let manifests = load(&text.concat());
    let validated =
        validate(&manifests.groups[0], &manifests.security_associations).expect("served");
    let policy = build(&validated).expect("built");
    let outcome = Outcome::Accepted {
        policy: &policy,
        warnings: validated
            .warnings
            .iter()
            .map(|(_, text)| text.clone())
            .collect(),
    };
    let now = time_from_millis(0).expect("a time");
    let status = status(&manifests.security_associations[0], &outcome, &now);
    let condition = find(&status.conditions, ACCEPTED).expect("a condition");
    assert!(
        condition
            .message
            .contains("public addresses (`8.8.8.0/24`)")
    );
}

// GET VPN row 109
#[test]
fn a_rule_without_its_mirror_raises_a_warning_that_names_the_flipped_one() {
    let one_way = "name: web, action: Permit, protocol: TCP, source: 10.1.0.0/16, destination: 10.2.0.0/16, destinationPorts: [\"443\"], mirror: Disabled";
    assert_eq!(
        warnings(&[one_way]),
        [
            "MissingMirror: no rule encrypts what answers rule `web`: from 10.2.0.0/16 port 443 to 10.1.0.0/16"
        ]
    );
    let back = "name: back, action: Permit, protocol: TCP, source: 10.2.0.0/16, destination: 10.1.0.0/16, sourcePorts: [\"443\"], mirror: Disabled";
    assert_eq!(warnings(&[one_way, back]), Vec::<String>::new());
    let by_itself = one_way.replace(", mirror: Disabled", "");
    assert_eq!(warnings(&[&by_itself]), Vec::<String>::new());
    // Nobody answers from a multicast address.
    let stream = "name: stream, action: Permit, source: 10.1.0.0/16, destination: 239.1.0.0/16";
    assert_eq!(warnings(&[stream]), Vec::<String>::new());
}

// GET VPN row 121
#[test]
fn many_rules_for_adjacent_networks_bring_the_hint_to_summarise() {
    let rules: Vec<String> = (0..40)
        .map(|index| permit(&format!("r{index}"), &format!("10.3.{index}.0/24")))
        .collect();
    let refs: Vec<&str> = rules.iter().map(String::as_str).collect();
    assert_eq!(
        warnings(&refs),
        [
            "40 permit rules are for adjacent networks that 2 would cover (10.3.0.0/19, 10.3.32.0/21); fewer, wider rules take fewer SAs"
        ]
    );
    let apart: Vec<String> = (0..40)
        .map(|index| permit(&format!("r{index}"), &format!("10.{index}.7.0/24")))
        .collect();
    let refs: Vec<&str> = apart.iter().map(String::as_str).collect();
    assert_eq!(warnings(&refs), Vec::<String>::new());
}

// GET VPN rows 108, 110, 111
#[test]
fn a_symmetric_rule_costs_two_sas_an_asymmetric_pair_four_and_a_deny_none() {
    let same = permit("same", "10.0.0.0/8");
    assert_eq!(summary(&of_rules(&[&same])).security_associations, 2);
    let pair = "name: pair, action: Permit, source: 10.1.0.0/16, destination: 10.2.0.0/16";
    assert_eq!(summary(&of_rules(&[pair])).security_associations, 4);
    let denies: Vec<String> = (0..10)
        .map(|index| {
            format!("name: d{index}, action: Deny, source: 10.9.{index}.0/24, destination: 10.9.{index}.0/24")
        })
        .collect();
    let mut rules: Vec<&str> = denies.iter().map(String::as_str).collect();
    rules.push(&same);
    assert_eq!(summary(&of_rules(&rules)).security_associations, 2);
}

// GET VPN row 120
#[test]
fn a_hundred_permits_make_two_hundred_sas() {
    let permits = |first: u8| -> Vec<String> {
        (first..first + 50)
            .map(|index| permit(&format!("r{index}"), &format!("10.3.{index}.0/24")))
            .collect()
    };
    let (low, high) = (permits(0), permits(100));
    let refs = |rules: &[String]| -> Vec<String> { rules.to_vec() };
    let object = |name: &str, order, rules: &[String]| {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        association(name, "voice", order, &rules, "")
    };
    let built = policy(&[
        group("voice", 1, ""),
        object("low", 1, &refs(&low)),
        object("high", 2, &refs(&high)),
    ]);
    let figures = summary(&built);
    assert_eq!(
        (figures.permit_rules, figures.security_associations),
        (100, 200)
    );
}

// GET VPN row 122
#[test]
fn a_flow_that_one_member_keeps_in_clear_changes_nothing_for_the_others() {
    let base = [
        group("voice", 1, ""),
        association("own", "voice", 1, &[&permit("all", "10.0.0.0/8")], ""),
        member("others", "voice", ""),
    ];
    let routing = member(
        "branch",
        "voice",
        "  bypass: [{ name: ospf, protocol: OSPF }]\n",
    );
    let with_routing = [base.to_vec(), vec![routing]].concat();
    assert_eq!(revision(&policy(&base)), revision(&policy(&with_routing)));
    let settings = |text: &[String]| {
        let manifests = load(&text.concat());
        let surroundings = operator_core::member::Surroundings::default();
        operator_core::member::settings(&manifests.members[0], &surroundings)
    };
    assert_eq!(settings(&base), settings(&with_routing));
}

// GET VPN rows 125, 127, 128, 130
#[test]
fn what_an_association_leaves_out_has_its_default_in_force() {
    let built = of_rules(&[&permit("all", "10.0.0.0/8")]);
    let own = &built.security_associations[0];
    assert_eq!(own.lifetime_ms, 3_600_000);
    assert_eq!(own.lifetime_kilobytes, 4_608_000);
    assert_eq!(own.encryption, EspEncryption::Aes256Gcm);
    assert_eq!(own.encapsulation, Encapsulation::Udp);
    assert_eq!(own.anti_replay, AntiReplay::TimeBased { window_ms: 5_000 });
    // The list has no default.
    let text = [
        group("voice", 1, ""),
        "---\napiVersion: getvpn.dev/v1alpha1\nkind: SecurityAssociation\nmetadata: { name: own }\nspec:\n  groupRef: { name: voice }\n  order: 1\n".to_owned(),
    ];
    let errors = crds::load("test.yaml", &text.concat()).expect_err("no rules");
    assert!(errors.to_string().contains("spec.rules"), "{errors}");
}
