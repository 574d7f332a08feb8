//! Why a packet is encrypted, or is not.

mod support;

use keyserver_api::policy::GroupPolicy;
use operator_core::explain::{Answer, Flow, explain};
use operator_core::group::validate;
use operator_core::policy::build;
use support::{association, group, load};

fn policy() -> GroupPolicy {
    let text = [
        group("voice", 1, ""),
        association(
            "late",
            "voice",
            20,
            &["name: all, action: Permit, source: 10.5.0.0/16, destination: 10.5.0.0/16"],
            "",
        ),
        association(
            "early",
            "voice",
            10,
            &[
                "name: ssh, action: Deny, protocol: TCP, source: 10.0.0.0/8, destination: 10.0.0.0/8, destinationPorts: [\"22\"]",
                "name: web, action: Permit, protocol: TCP, source: 10.1.0.0/16, destination: 10.2.0.0/16, destinationPorts: [\"443\"], mirror: Disabled",
            ],
            "",
        ),
    ];
    let manifests = load(&text.concat());
    let validated =
        validate(&manifests.groups[0], &manifests.security_associations).expect("served");
    build(&validated).expect("built")
}

fn tcp(source: &str, destination: &str, ports: (u16, u16)) -> Flow {
    Flow {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        protocol: 6,
        ports: Some(ports),
    }
}

// GET VPN row 226
#[test]
fn the_rule_that_fits_a_packet_is_named_or_the_mirror_that_is_missing() {
    let policy = policy();
    let says = |flow: &Flow| explain(&policy, flow).to_string();
    assert_eq!(
        says(&tcp("10.1.0.1", "10.2.0.1", (50_000, 443))),
        "rule `web` of `early` encrypts it"
    );
    assert_eq!(
        says(&tcp("10.5.0.1", "10.5.0.2", (1, 2))),
        "rule `all` of `late` encrypts it"
    );
    // The first rule decides, by the order of the objects.
    assert_eq!(
        says(&tcp("10.5.0.1", "10.5.0.2", (50_000, 22))),
        "rule `ssh` of `early` leaves it in clear"
    );
    assert_eq!(
        says(&tcp("10.2.0.1", "10.1.0.1", (443, 50_000))),
        "no rule fits it, so it goes in clear; rule `web` of `early` encrypts the other way only: a rule from 10.2.0.0/16 to 10.1.0.0/16 is missing"
    );
    assert_eq!(
        explain(&policy, &tcp("192.0.2.1", "10.1.0.1", (1, 2))),
        Answer::NoRule
    );
}
