//! Patches as they are, octet by octet.
//!
//! After a wanted change: `GETVPN_BLESS=1 cargo test -p operator-core --test injection golden`, then look at the diff:
//! it shows what restarts of pods will bring.

use serde_json::{Value, json};

use crate::{judge, operations, phone, template};

fn check(name: &str, pod: &Value) {
    let operations = operations(judge(pod, &template()));
    let mut found = serde_json::to_string_pretty(&operations).expect("plain data");
    found.push('\n');
    let file = format!(
        "{}/tests/injection/golden/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("GETVPN_BLESS").is_some() {
        std::fs::write(&file, &found).expect("writable");
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, golden, "{file}");
}

#[test]
fn a_plain_pod_gets_lists_and_maps_it_does_not_have() {
    let mut pod = phone();
    pod["metadata"]["labels"] = json!({ "app": "phone" });
    check("plain", &pod);
}

#[test]
fn a_full_pod_keeps_what_it_has_in_its_place() {
    let mut pod = phone();
    pod["metadata"]["annotations"] = json!({ "example.com/a": "b" });
    pod["spec"]["initContainers"] = json!([{ "name": "migrate", "image": "migrate:1" }]);
    pod["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    check("full", &pod);
}

#[test]
fn a_pod_in_two_groups_gets_the_key_of_one_and_the_settings_of_both() {
    let mut pod = phone();
    pod["metadata"]["annotations"] = json!({ "getvpn.dev/group-members": "files" });
    check("two-groups", &pod);
}
