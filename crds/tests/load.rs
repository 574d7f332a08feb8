//! Reading files: what users write comes out with its defaults, and every mistake is told with its place.

mod support;

use crds::load;
use crds::v1alpha1::{Direction, Encryption, FailureMode};

const GROUP: &str = "\
apiVersion: getvpn.dev/v1alpha1
kind: GetVpnGroup
metadata:
  name: voice
spec:
  groupID: 1
  keyServers: {}
";

const ASSOCIATION: &str = "\
apiVersion: getvpn.dev/v1alpha1
kind: SecurityAssociation
metadata:
  name: rtp
spec:
  groupRef: { name: voice }
  order: 100
  rules:
    - name: all
      action: Permit
      source: 10.0.0.0/8
      destination: 10.0.0.0/8
";

fn messages(text: &str) -> Vec<String> {
    load("vpn.yaml", text)
        .expect_err("the file is wrong")
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn documents_come_out_with_their_defaults() {
    let manifests = load(
        "vpn.yaml",
        &format!("# a comment\n---\n{GROUP}---\n{ASSOCIATION}---\n"),
    )
    .expect("a sound file");
    assert_eq!((manifests.len(), manifests.is_empty()), (2, false));
    let group = &manifests.groups[0].spec;
    assert_eq!(
        group
            .key_servers
            .as_ref()
            .map(|key_servers| key_servers.replicas),
        Some(3)
    );
    assert_eq!(group.direction, Direction::Bidirectional);
    assert_eq!(
        (group.traffic.sender_id_bits, group.traffic.prestaged_keys),
        (24, 1)
    );
    assert_eq!(group.registration.proposals.len(), 3);
    assert_eq!(
        manifests.security_associations[0].spec.transform.encryption,
        Encryption::Aes256Gcm
    );
}

#[test]
fn a_default_is_the_same_in_the_schema_and_in_the_type() {
    let manifests = load("vpn.yaml", &format!("{GROUP}---\n{ASSOCIATION}")).expect("a sound file");
    let typed = serde_json::from_value(support::group()).expect("a group");
    assert_eq!(
        manifests.groups[0],
        crds::v1alpha1::GetVpnGroup {
            status: manifests.groups[0].status.clone(),
            ..typed
        }
    );
    let member =
        serde_json::from_value::<crds::v1alpha1::GroupMember>(support::member()).expect("a member");
    assert_eq!(member.spec.failure_mode, FailureMode::FailClosed);
    assert_eq!(member.spec.interfaces, ["eth0"]);
}

#[test]
fn malformed_yaml_is_told_with_its_line() {
    let found = messages("apiVersion: getvpn.dev/v1alpha1\nkind: [GetVpnGroup\nmetadata: {}\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("vpn.yaml:"), "{found:?}");
    assert!(found[0].contains("malformed YAML"), "{found:?}");
    let twice = messages(&GROUP.replace("  groupID: 1\n", "  groupID: 1\n  groupID: 2\n"));
    assert!(
        twice[0].starts_with("vpn.yaml:7: malformed YAML"),
        "{twice:?}"
    );
}

#[test]
fn an_unknown_field_is_told_with_the_one_that_was_meant() {
    assert_eq!(
        messages(&GROUP.replace("groupID: 1", "groupId: 1")),
        [
            "vpn.yaml:5: document 1 (GetVpnGroup voice): spec.groupID: is required",
            "vpn.yaml:6: document 1 (GetVpnGroup voice): spec.groupId: unknown field; did you mean `groupID`?",
        ]
    );
    assert_eq!(
        messages(&GROUP.replace("  name: voice", "  name: voice\n  label: {}")),
        [
            "vpn.yaml:5: document 1 (GetVpnGroup voice): metadata.label: unknown field; did you mean `labels`?"
        ]
    );
    assert_eq!(
        messages(&ASSOCIATION.replace(
            "      action: Permit",
            "      action: Permit\n      colour: red"
        )),
        ["vpn.yaml:11: document 1 (SecurityAssociation rtp): spec.rules[0].colour: unknown field"]
    );
}

#[test]
fn an_unknown_kind_or_version_is_told_with_what_there_is() {
    assert_eq!(
        messages(&GROUP.replace("kind: GetVpnGroup", "kind: Secret")),
        [
            "vpn.yaml:2: document 1 (Secret voice): kind: 'Secret' is not supported; must be one of 'GetVpnGroup', 'SecurityAssociation', 'GroupMember'"
        ]
    );
    assert_eq!(
        messages(&GROUP.replace("v1alpha1", "v1")),
        [
            "vpn.yaml:1: document 1 (GetVpnGroup voice): apiVersion: 'getvpn.dev/v1' is not supported; must be 'getvpn.dev/v1alpha1'"
        ]
    );
    assert_eq!(
        messages("kind: GetVpnGroup\n"),
        ["vpn.yaml:1: document 1 (GetVpnGroup): apiVersion: is required"]
    );
}

#[test]
fn types_ranges_and_lists_are_checked_before_meaning() {
    for (from, to, says) in [
        (
            "groupID: 1",
            "groupID: \"1\"",
            "vpn.yaml:6: document 1 (GetVpnGroup voice): spec.groupID: must be an integer, not a string",
        ),
        (
            "groupID: 1",
            "groupID: -1",
            "vpn.yaml:6: document 1 (GetVpnGroup voice): spec.groupID: must be between 0 and 2147483647, not -1",
        ),
        (
            "groupID: 1",
            "groupID: 1\n  direction: Both",
            "vpn.yaml:7: document 1 (GetVpnGroup voice): spec.direction: 'Both' is not supported; must be one of 'Bidirectional', 'ReceiveOnly'",
        ),
        (
            "keyServers: {}",
            "keyServers: { replicas: 9 }",
            "vpn.yaml:7: document 1 (GetVpnGroup voice): spec.keyServers.replicas: must be between 1 and 8, not 9",
        ),
        (
            "keyServers: {}",
            "keyServers:\n    priorities:\n      - { ordinal: 0, priority: 1 }\n      - { ordinal: 0, priority: 2 }",
            "vpn.yaml:10: document 1 (GetVpnGroup voice): spec.keyServers.priorities[1]: is in the list twice",
        ),
        (
            "keyServers: {}",
            "keyServers: {}\n  traffic: { senderIDBits: 9 }",
            "vpn.yaml:8: document 1 (GetVpnGroup voice): spec.traffic.senderIDBits: 9 is not supported; must be one of 8, 12, 16, 24, 32",
        ),
        (
            "  name: voice",
            "  name: voice\n  annotations: { lab.getvpn.dev/members: 4 }",
            "vpn.yaml:5: document 1 (GetVpnGroup voice): metadata.annotations[lab.getvpn.dev/members]: must be a string, not a number; put it in quotes",
        ),
        (
            "  name: voice",
            "  labels: {}",
            "vpn.yaml:3: document 1 (GetVpnGroup): metadata.name: is required",
        ),
    ] {
        assert_eq!(messages(&GROUP.replace(from, to)), [says]);
    }
}

#[test]
fn a_broken_rule_is_told_with_its_line() {
    assert_eq!(
        messages(&format!(
            "{GROUP}---\n{}",
            ASSOCIATION.replace("source: 10.0.0.0/8", "source: 10.0.0.1/8")
        )),
        [
            "vpn.yaml:19: document 2 (SecurityAssociation rtp): spec.rules[0].source: must be a CIDR without host bits, for example '10.0.0.0/8'"
        ]
    );
    assert_eq!(
        messages(&GROUP.replace("  keyServers: {}\n", "")),
        [
            "vpn.yaml:5: document 1 (GetVpnGroup voice): spec: exactly one of `keyServers` or `keyServersFrom` must be set"
        ]
    );
}

#[test]
fn mistakes_of_all_documents_are_told_at_once() {
    let found = messages(&format!(
        "{}---\n{}",
        GROUP.replace("groupID: 1", "groupID: -1"),
        ASSOCIATION.replace("order: 100", "order: 0")
    ));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("document 1") && found[1].contains("document 2"),
        "{found:?}"
    );
}

#[test]
fn the_same_object_twice_and_an_empty_file_are_refused() {
    assert_eq!(
        messages(&format!("{GROUP}---\n{GROUP}")),
        [
            "vpn.yaml:12: document 2 (GetVpnGroup voice): metadata.name: document 1 has the same kind and name"
        ]
    );
    for empty in ["", "# nothing\n", "---\n---\n"] {
        assert_eq!(
            messages(empty),
            [
                "vpn.yaml: contains no document; must contain at least one 'GetVpnGroup', 'SecurityAssociation', 'GroupMember'"
            ]
        );
    }
    assert_eq!(
        messages("- a\n- b\n"),
        [
            "vpn.yaml:1: document 1: must be an object with `apiVersion`, `kind`, `metadata` and `spec`"
        ]
    );
}
