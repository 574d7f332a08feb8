//! One change to a GroupMember, and what it does to all the pods it chooses and to no others.

mod support;

use std::net::IpAddr;

use crds::Manifests;
use operator_api::enrolment::WatchAnswer;
use operator_api::services::Services;
use operator_core::key_server::inputs::{Defaults, Inputs};
use operator_core::member::Surroundings;
use operator_core::member_configuration::{KeyServer, Membership, PodIdentity, configuration};
use serde_json::{Value, json};
use support::{group, load, member};

/// The configuration of a pod that belongs to the GroupMember with this place among the objects.
fn of_pod(objects: &Manifests, place: usize, pod: usize) -> WatchAnswer {
    let key_servers: Vec<KeyServer> = (0..3)
        .map(|ordinal| KeyServer {
            ordinal,
            addresses: vec![IpAddr::from([10, 244, 0, 10 + ordinal as u8])],
        })
        .collect();
    let register = [IpAddr::from([10, 96, 0, 20])];
    let membership = Membership {
        member: &objects.members[place],
        group: &objects.groups[0],
        host: &objects.groups[0],
        key_servers: &key_servers,
        register: &register,
        receivers: &[],
    };
    let name = format!("web-{pod}");
    let identity = PodIdentity {
        name: &name,
        namespace: "wan",
        addresses: &[IpAddr::from([10, 244, 1, 9])],
    };
    let surroundings = Surroundings::default();
    configuration(identity, &[membership], &surroundings, &Services::default())
        .expect("everything is there")
}

fn objects(of_first: &str) -> Manifests {
    let text = [
        group("voice", 7, ""),
        member("phones", "voice", of_first),
        member("desks", "voice", ""),
    ];
    load(&text.concat())
}

/// The document without the order of key servers, and the order.
fn split(answer: &WatchAnswer) -> (Value, Vec<Value>) {
    let mut document = answer.configuration.clone();
    let order = document["groups"][0]["keyServers"].take();
    (document, order.as_array().cloned().expect("a list"))
}

// GET VPN row 148
#[test]
fn another_order_of_key_servers_reaches_every_pod_and_changes_nothing_else() {
    let (before, after) = (objects(""), objects("  keyServerOrder: [2, 0]\n"));
    for pod in 0..50 {
        let (rest, order) = split(&of_pod(&before, 0, pod));
        let (same, reordered) = split(&of_pod(&after, 0, pod));
        assert_eq!(rest, same);
        assert_eq!(order[0], "10.244.0.10:848");
        assert_eq!(
            reordered[..3],
            [
                json!("10.244.0.12:848"),
                json!("10.244.0.10:848"),
                json!("10.244.0.11:848")
            ]
        );
    }
}

// GET VPN row 149
#[test]
fn passive_mode_switches_all_pods_that_are_chosen_and_no_others() {
    let (before, after) = (objects(""), objects("  direction: InboundOnly\n"));
    for pod in 0..50 {
        let direction = |objects| {
            let answer = of_pod(objects, 0, pod);
            answer.configuration["groups"][0]["direction"].clone()
        };
        assert_eq!(direction(&before), "Inherit");
        assert_eq!(direction(&after), "InboundOnly");
        let (others_before, others_after) = (of_pod(&before, 1, pod), of_pod(&after, 1, pod));
        assert_eq!(others_before, others_after);
    }
}

// GET VPN row 55
#[test]
fn key_servers_without_a_priority_have_100_95_90_and_so_on() {
    let defaults = Defaults {
        image: "keyserver".to_owned(),
        operator_namespace: "getvpn-system".to_owned(),
    };
    let priorities = |key_servers: &str| {
        let text = group("voice", 7, "").replace("keyServers: {}", key_servers);
        let objects = load(&text);
        let inputs = Inputs::new(&objects.groups[0], &[], &defaults).expect("sound");
        let file = operator_core::key_server::build::config::text(&inputs);
        let read: Value = serde_saphyr::from_str(&file).expect("YAML");
        let members = read["cooperative"]["initialMembers"].as_array().cloned();
        let members = members.expect("a list");
        members
            .iter()
            .map(|member| member["priority"].as_i64().expect("a number"))
            .collect::<Vec<_>>()
    };
    assert_eq!(priorities("keyServers: { replicas: 4 }"), [100, 95, 90, 85]);
    assert_eq!(
        priorities("keyServers: { replicas: 4, priorities: [{ ordinal: 2, priority: 7 }] }"),
        [100, 95, 7, 85]
    );
}

// GET VPN row 31
#[test]
fn with_selection_spread_the_pods_begin_evenly_with_all_key_servers() {
    let of = |selection: &str| {
        let text = [
            group("voice", 7, "").replace(
                "keyServers: {}",
                &format!("keyServers: {{ registration: {{ selection: {selection} }} }}"),
            ),
            member("phones", "voice", ""),
        ];
        let objects = load(&text.concat());
        let mut first = std::collections::BTreeMap::new();
        for pod in 0..300 {
            let (_, order) = split(&of_pod(&objects, 0, pod));
            assert_eq!(
                order.len(),
                4,
                "the others come behind, and the Service last"
            );
            assert_eq!(order[3], "10.96.0.20:848");
            let same = split(&of_pod(&objects, 0, pod)).1;
            assert_eq!(order, same, "a pod begins with the same one each time");
            *first.entry(order[0].to_string()).or_insert(0) += 1;
        }
        first
    };
    assert_eq!(of("InOrder").len(), 1);
    let spread = of("Spread");
    assert_eq!(spread.len(), 3);
    // A quarter to 42 in a hundred each.
    assert!(
        spread.values().all(|count| (75..=126).contains(count)),
        "{spread:?}"
    );
}
