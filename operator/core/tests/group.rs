//! A group and its SecurityAssociations, judged together.

mod support;

use crds::Manifests;
use operator_core::group::{Reason, ValidatedGroup, validate};
use support::{association, group, load, permit};

fn judge(manifests: &Manifests) -> ValidatedGroup<'_> {
    validate(&manifests.groups[0], &manifests.security_associations).expect("the group is served")
}

fn accepted(validated: &ValidatedGroup<'_>) -> Vec<String> {
    validated
        .associations
        .iter()
        .filter_map(|object| object.metadata.name.clone())
        .collect()
}

fn refused(validated: &ValidatedGroup<'_>) -> Vec<(String, &'static str, String)> {
    validated
        .rejections
        .iter()
        .map(|rejection| {
            (
                rejection.name.clone(),
                rejection.reason.as_str(),
                rejection.message.clone(),
            )
        })
        .collect()
}

#[test]
fn accepted_objects_come_by_order_whatever_the_order_of_the_file() {
    let text = [
        group("voice", 1, ""),
        association("second", "voice", 20, &[&permit("a", "10.2.0.0/16")], ""),
        association("other", "data", 1, &[&permit("a", "10.9.0.0/16")], ""),
        association("first", "voice", 10, &[&permit("a", "10.1.0.0/16")], ""),
    ];
    let manifests = load(&text.concat());
    let validated = judge(&manifests);
    assert_eq!(accepted(&validated), ["first", "second"]);
    assert_eq!(refused(&validated), []);
    assert_eq!(validated.warnings, []);
}

#[test]
fn of_two_objects_with_one_order_the_older_is_accepted() {
    let text = [
        group("voice", 1, ""),
        association("a", "voice", 10, &[&permit("a", "10.1.0.0/16")], ""),
        association("b", "voice", 10, &[&permit("a", "10.2.0.0/16")], ""),
    ];
    let mut manifests = load(&text.concat());
    assert_eq!(
        accepted(&judge(&manifests)),
        ["a"],
        "in a file the first counts as older"
    );
    for (object, created) in manifests
        .security_associations
        .iter_mut()
        .zip(["2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"])
    {
        let time = serde_json::from_value(serde_json::json!(created)).expect("a time");
        object.metadata.creation_timestamp = Some(time);
    }
    let validated = judge(&manifests);
    assert_eq!(accepted(&validated), ["b"]);
    assert_eq!(
        refused(&validated),
        [(
            "a".to_owned(),
            "OrderConflict",
            "10 is the order of `b` already; each SecurityAssociation of a group needs its own"
                .to_owned()
        )]
    );
}

#[test]
fn a_group_without_any_accepted_object_is_not_served() {
    let manifests = load(&group("voice", 1, ""));
    let rejections = validate(&manifests.groups[0], &manifests.security_associations)
        .expect_err("nothing to protect");
    assert_eq!(rejections.len(), 1);
    assert_eq!(rejections[0].reason, Reason::NoSecurityAssociations);
}

/// `count` rules that encrypt between different prefixes, and so are mirrored.
fn mirrored(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("name: r{index}, action: Permit, source: 10.1.{index}.0/24, destination: 10.2.{index}.0/24"))
        .collect()
}

fn symmetric(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| permit(&format!("s{index}"), &format!("10.3.{index}.0/24")))
        .collect()
}

fn refs(rules: &[String]) -> Vec<&str> {
    rules.iter().map(String::as_str).collect()
}

// GET VPN row 119
#[test]
fn a_group_has_at_most_100_permit_rules_and_200_security_associations() {
    let full = [
        group("voice", 1, ""),
        association("a", "voice", 1, &refs(&symmetric(60)), ""),
        association("b", "voice", 2, &refs(&mirrored(20)), ""),
    ];
    assert_eq!(accepted(&judge(&load(&full.concat()))), ["a", "b"]);

    let one_permit_more = [
        full.concat(),
        association("c", "voice", 3, &[&permit("x", "10.9.0.0/16")], ""),
    ];
    let manifests = load(&one_permit_more.concat());
    let validated = judge(&manifests);
    assert_eq!(accepted(&validated), ["a", "b"]);
    assert_eq!(
        refused(&validated),
        [(
            "c".to_owned(),
            "LimitExceeded",
            "with this object there would be 202 SAs in the group, at most 200 are allowed; a permit rule takes two, or four when its ends differ; summarise prefixes".to_owned()
        )]
    );

    let permits = [
        group("voice", 1, ""),
        association("a", "voice", 1, &refs(&symmetric(60)), ""),
        association("b", "voice", 2, &refs(&symmetric(41)), ""),
    ];
    let manifests = load(&permits.concat());
    let validated = judge(&manifests);
    assert_eq!(validated.rejections[0].reason, Reason::LimitExceeded);
    assert!(
        validated.rejections[0]
            .message
            .contains("101 permit rules in the group, at most 100"),
        "{:?}",
        validated.rejections
    );
}

#[test]
fn rules_for_the_way_back_and_implicit_ones_count_for_the_limit_of_an_object() {
    let unicast = [
        group("voice", 1, ""),
        association("a", "voice", 1, &refs(&mirrored(32)), ""),
    ]
    .concat();
    assert_eq!(accepted(&judge(&load(&unicast))), ["a"]);
    let multicast = "  rekey: { transport: Multicast, multicast: { address: 239.192.0.1 } }\n";
    let text = [
        group("voice", 1, multicast),
        association("a", "voice", 1, &refs(&mirrored(32)), ""),
    ]
    .concat();
    let manifests = load(&text);
    let rejections =
        validate(&manifests.groups[0], &manifests.security_associations).expect_err("65 rules");
    assert!(
        rejections[1]
            .message
            .contains("there would be 65 rules here"),
        "{rejections:?}"
    );
}

#[test]
fn lifetimes_of_keys_fit_the_group() {
    for (group_has, object_has, says) in [
        (
            "  traffic: { activationDelaySeconds: 60, deactivationDelaySeconds: 120 }\n",
            120,
            "a lifetime of 120 must be greater than `traffic.activationDelaySeconds` plus `traffic.deactivationDelaySeconds` of the group (180)",
        ),
        (
            "  traffic: { prestagedKeys: 0 }\n",
            140,
            "a lifetime of 140 must be greater than `traffic.activationDelaySeconds` plus `traffic.deactivationDelaySeconds` plus, as there are no pre-staged keys, `rekey.leadTimeSeconds` of the group (140)",
        ),
        (
            "  rekey: { kekLifetimeSeconds: 3600 }\n",
            3601,
            "a lifetime of 3601 must be less than or equal to `rekey.kekLifetimeSeconds` of the group (3600)",
        ),
    ] {
        let text = [
            group("voice", 1, group_has),
            association(
                "long",
                "voice",
                1,
                &[&permit("a", "10.1.0.0/16")],
                "  lifetimeSeconds: 600\n",
            ),
            association(
                "wrong",
                "voice",
                2,
                &[&permit("a", "10.2.0.0/16")],
                &format!("  lifetimeSeconds: {object_has}\n"),
            ),
        ];
        let manifests = load(&text.concat());
        let validated = judge(&manifests);
        assert_eq!(accepted(&validated), ["long"]);
        assert_eq!(
            refused(&validated),
            [("wrong".to_owned(), "LifetimeConflict", says.to_owned())]
        );
    }
}

// GET VPN row 118
#[test]
fn an_object_whose_permits_are_all_hidden_is_refused() {
    let text = [
        group("voice", 1, ""),
        association(
            "first",
            "voice",
            1,
            &[
                "name: clear, action: Deny, source: 10.0.0.0/8, destination: 10.0.0.0/8",
                &permit("ten", "172.16.0.0/12"),
            ],
            "",
        ),
        association("hidden", "voice", 2, &[&permit("web", "10.1.0.0/16")], ""),
        association(
            "half",
            "voice",
            3,
            &[
                &permit("web", "10.1.0.0/16"),
                &permit("lab", "192.168.0.0/16"),
            ],
            "",
        ),
    ];
    let manifests = load(&text.concat());
    let validated = judge(&manifests);
    assert_eq!(accepted(&validated), ["first", "half"]);
    assert_eq!(
        refused(&validated),
        [(
            "hidden".to_owned(),
            "Shadowed",
            "no rule with `action` 'Permit' can match: rule `web` never matches: `clear` in `first` comes first".to_owned()
        )]
    );
    assert_eq!(
        validated.warnings,
        [(
            "half".to_owned(),
            "rule `web` never matches: `clear` in `first` comes first".to_owned()
        )]
    );
}

#[test]
fn a_rule_is_hidden_only_by_one_that_fits_all_of_its_packets() {
    for (deny, hides) in [
        ("source: 10.0.0.0/8, destination: 10.0.0.0/8", true),
        (
            "source: 10.0.0.0/8, destination: 10.0.0.0/8, protocol: UDP",
            true,
        ),
        (
            "source: 10.0.0.0/8, destination: 10.0.0.0/8, protocol: TCP",
            false,
        ),
        (
            "source: 10.0.0.0/8, destination: 10.0.0.0/8, protocol: UDP, destinationPorts: [\"1-1023\", \"5000-6000\"]",
            true,
        ),
        (
            "source: 10.0.0.0/8, destination: 10.0.0.0/8, protocol: UDP, destinationPorts: [\"5001-6000\"], mirror: Disabled",
            false,
        ),
        (
            "source: 10.1.0.0/17, destination: 10.0.0.0/8, mirror: Disabled",
            false,
        ),
    ] {
        let text = [
            group("voice", 1, ""),
            association(
                "a",
                "voice",
                1,
                &[
                    &format!("name: deny, action: Deny, {deny}"),
                    "name: rtp, action: Permit, protocol: UDP, source: 10.1.0.0/16, destination: 10.1.0.0/16, destinationPorts: [\"5000\"], mirror: Disabled",
                    &permit("rest", "172.16.0.0/12"),
                ],
                "",
            ),
        ];
        let manifests = load(&text.concat());
        let warnings = judge(&manifests).warnings;
        let hidden = warnings
            .iter()
            .filter(|(_, message)| message.contains("never matches"));
        assert_eq!(hidden.count(), usize::from(hides), "{deny}");
    }
}
