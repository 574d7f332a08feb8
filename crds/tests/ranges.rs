//! Ranges and defaults of settings, and where each page of an older manager's policy is.

mod support;

use crds::Kind;
use serde_json::{Value, json};
use support::{group, member, security_association, with};

/// What the schema says about a new object.
fn create(object: &Value) -> Vec<String> {
    let kind = Kind::from_name(object["kind"].as_str().expect("a kind")).expect("our kind");
    let violations = crds::check::create(kind, object).err();
    let violations = violations.into_iter().flatten();
    violations.map(|violation| violation.to_string()).collect()
}

/// What is said about a group with this value.
fn group_with(pointer: &str, value: i64) -> Vec<String> {
    let parent = pointer.rsplit_once('/').expect("a pointer").0;
    let mut object = group();
    if parent == "/spec/registration" {
        object = with(&object, parent, json!({}));
    }
    if parent == "/spec/keyServers/deadPeerDetection" {
        object = with(&object, parent, json!({}));
    }
    create(&with(&object, pointer, json!(value)))
}

fn assert_range(pointer: &str, accepted: &[i64], refused: &[i64]) {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    for value in accepted {
        assert_eq!(
            group_with(pointer, *value),
            Vec::<String>::new(),
            "{field} {value}"
        );
    }
    for value in refused {
        let says = group_with(pointer, *value);
        assert!(
            says.iter()
                .any(|words| words.starts_with(&format!("{field}: "))),
            "{field} {value}: {says:?}"
        );
    }
}

fn default_of(pointer: &str) -> Value {
    let mut schema = Kind::GetVpnGroup.schema();
    for part in pointer.trim_start_matches('/').split('/') {
        schema = &schema["properties"][part];
    }
    schema["default"].clone()
}

// GET VPN row 53
#[test]
fn priorities_are_from_1_to_100() {
    let priorities = |priority: i64| {
        create(&with(
            &group(),
            "/spec/keyServers/priorities",
            json!([{ "ordinal": 0, "priority": priority }]),
        ))
    };
    for accepted in [1, 100] {
        assert_eq!(priorities(accepted), Vec::<String>::new());
    }
    for refused in [0, 101] {
        let says = priorities(refused);
        assert!(
            says[0].starts_with("spec.keyServers.priorities[0].priority: "),
            "{says:?}"
        );
    }
}

// GET VPN rows 211, 212
#[test]
fn lifetimes_of_the_registration_exchange_have_their_range_and_defaults() {
    for field in ["keyServerLifetimeSeconds", "memberLifetimeSeconds"] {
        let pointer = format!("/spec/registration/{field}");
        assert_range(&pointer, &[3_600], &[0, 86_401]);
    }
    assert_range(
        "/spec/registration/keyServerLifetimeSeconds",
        &[86_400],
        &[86_401],
    );
    assert_eq!(
        default_of("/spec/registration/keyServerLifetimeSeconds"),
        json!(86_400)
    );
}

// GET VPN row 218
#[test]
fn the_pause_before_a_question_is_repeated_has_its_range_and_default() {
    let pointer = "/spec/keyServers/deadPeerDetection/retryPeriodSeconds";
    assert_range(pointer, &[2, 60], &[1, 61]);
    assert_eq!(default_of(pointer), json!(2));
    assert_range(
        "/spec/keyServers/deadPeerDetection/periodSeconds",
        &[10, 3_600],
        &[9, 3_601],
    );
}

#[test]
fn a_group_has_one_to_eight_key_servers() {
    assert_range(
        "/spec/keyServers/replicas",
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 9],
    );
}

// GET VPN row 20
#[test]
fn every_page_of_a_policy_has_its_fields() {
    let pages = [
        (
            "global settings",
            Kind::GetVpnGroup,
            "registration/requestLimit",
        ),
        (
            "global settings",
            Kind::GetVpnGroup,
            "keyServers/deadPeerDetection",
        ),
        ("global settings", Kind::GetVpnGroup, "identity"),
        ("IKE proposal", Kind::GetVpnGroup, "registration/proposals"),
        ("group encryption", Kind::GetVpnGroup, "rekey"),
        ("group encryption", Kind::GetVpnGroup, "traffic"),
        ("group encryption", Kind::GetVpnGroup, "direction"),
        ("security associations", Kind::SecurityAssociation, "rules"),
        (
            "security associations",
            Kind::SecurityAssociation,
            "transform",
        ),
        (
            "pre-shared key",
            Kind::GetVpnGroup,
            "authentication/preSharedKeySecretRef",
        ),
        ("PKI", Kind::GetVpnGroup, "authentication/certificate"),
        ("key servers", Kind::GetVpnGroup, "keyServers"),
        ("group members", Kind::GroupMember, "bypass"),
        ("group members", Kind::GroupMember, "interfaces"),
    ];
    for (page, kind, path) in pages {
        let mut schema = kind.schema()["properties"]["spec"].clone();
        for part in path.split('/') {
            schema = schema["properties"][part].clone();
        }
        assert!(schema.is_object(), "{page}: {kind} has no {path}");
    }
}

// GET VPN row 146
#[test]
fn the_list_of_members_has_the_columns_of_the_table() {
    let manifest = crds::manifest(Kind::GroupMember);
    let columns: Vec<(String, String)> =
        manifest["spec"]["versions"][0]["additionalPrinterColumns"]
            .as_array()
            .expect("columns")
            .iter()
            .map(|column| {
                let text = |key: &str| column[key].as_str().expect("text").to_owned();
                (text("name"), text("jsonPath"))
            })
            .collect();
    // The device is the object's own name, which every list has.
    for (name, path) in [
        ("Interfaces", ".spec.interfaces"),
        ("Local-Interface", ".spec.localInterface"),
        ("Bypass", ".spec.bypass[*].name"),
    ] {
        assert!(
            columns.contains(&(name.to_owned(), path.to_owned())),
            "{columns:?}"
        );
    }
}

#[test]
fn an_association_needs_its_rules() {
    let says = create(&with(&security_association(), "/spec/rules", Value::Null));
    assert_eq!(says, ["spec.rules: is required"]);
}

// GET VPN row 16
#[test]
fn a_routing_instance_or_second_network_of_a_member_is_refused_by_name() {
    for field in ["vrf", "vrfName", "secondaryNetwork"] {
        let pointer = format!("/spec/{field}");
        let says = create(&with(&member(), &pointer, json!("branch")));
        assert_eq!(says.len(), 1, "{says:?}");
        assert!(
            says[0].starts_with(&format!("spec.{field}: unknown field")),
            "{says:?}"
        );
    }
}

// GET VPN row 73
#[test]
fn a_question_to_members_whether_they_are_there_is_refused_by_name() {
    let fields = ["keepalive", "deadPeerDetection", "memberKeepaliveSeconds"];
    for object in [group(), member()] {
        for field in fields {
            let says = create(&with(&object, &format!("/spec/{field}"), json!({})));
            assert_eq!(says.len(), 1, "{says:?}");
            let wanted = format!("spec.{field}: unknown field");
            assert!(says[0].starts_with(&wanted), "{says:?}");
        }
    }
    let says = create(&with(
        &group(),
        "/spec/registration",
        json!({ "keepaliveSeconds": 10 }),
    ));
    assert!(
        says[0].starts_with("spec.registration.keepaliveSeconds: unknown field"),
        "{says:?}"
    );
}
