//! Small valid objects, and the ways of judging an object.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

mod api_server;

use crds::Kind;
use crds::check::{self, Violation};
use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use serde_json::{Value, json};

/// The smallest group with its own key servers.
pub fn group() -> Value {
    json!({
        "apiVersion": "getvpn.dev/v1alpha1",
        "kind": "GetVpnGroup",
        "metadata": { "name": "voice" },
        "spec": { "groupID": 1, "keyServers": {} },
    })
}

/// The smallest security association.
pub fn security_association() -> Value {
    json!({
        "apiVersion": "getvpn.dev/v1alpha1",
        "kind": "SecurityAssociation",
        "metadata": { "name": "rtp" },
        "spec": {
            "groupRef": { "name": "voice" },
            "order": 100,
            "rules": [{ "name": "all", "action": "Permit", "source": "10.0.0.0/8", "destination": "10.0.0.0/8" }],
        },
    })
}

/// The smallest member.
pub fn member() -> Value {
    json!({
        "apiVersion": "getvpn.dev/v1alpha1",
        "kind": "GroupMember",
        "metadata": { "name": "branch" },
        "spec": { "groupRef": { "name": "voice" } },
    })
}

/// `object` with `value` written at the JSON pointer; `null` removes what is there.
pub fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = object.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = changed
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect("the parent is an object");
    if value.is_null() {
        parent.remove(key);
    } else {
        parent.insert(key.to_owned(), value);
    }
    changed
}

/// What both judges say about a new object.
pub fn create(object: &Value) -> Vec<String> {
    let by_schema = words(check::create(kind(object), object));
    agree(&by_schema, typed(object, None));
    api_server::agrees(object, None, &by_schema);
    by_schema
}

/// What both judges say about a changed object.
pub fn update(object: &Value, old: &Value) -> Vec<String> {
    let by_schema = words(check::update(kind(object), object, old));
    agree(&by_schema, typed(object, Some(old)));
    api_server::agrees(object, Some(old), &by_schema);
    by_schema
}

fn kind(object: &Value) -> Kind {
    Kind::from_name(object["kind"].as_str().expect("a kind")).expect("our kind")
}

fn words(result: Result<(), Vec<Violation>>) -> Vec<String> {
    result
        .err()
        .into_iter()
        .flatten()
        .map(|violation| violation.to_string())
        .collect()
}

/// The two judges agree, except about objects the types cannot hold.
fn agree(by_schema: &[String], by_type: Option<Vec<String>>) {
    if let Some(by_type) = by_type {
        assert_eq!(by_schema, by_type, "the manifest and the type judge alike");
    } else {
        assert!(!by_schema.is_empty(), "what a type cannot hold is refused");
    }
}

fn typed(object: &Value, old: Option<&Value>) -> Option<Vec<String>> {
    macro_rules! judge {
        ($kind:ty) => {{
            let object: $kind = serde_json::from_value(object.clone()).ok()?;
            match old {
                None => object.validate_cel(),
                Some(old) => {
                    let old: $kind =
                        serde_json::from_value(old.clone()).expect("the old object is valid");
                    object.validate_cel_update(&old)
                }
            }
        }};
    }
    let result = match kind(object) {
        Kind::GetVpnGroup => judge!(GetVpnGroup),
        Kind::SecurityAssociation => judge!(SecurityAssociation),
        Kind::GroupMember => judge!(GroupMember),
    };
    let mut words: Vec<_> = result
        .err()
        .into_iter()
        .flat_map(|errors| errors.into_vec())
        .map(|error| error.to_string().trim_start_matches('.').to_owned())
        .collect();
    words.sort();
    words.dedup();
    Some(words)
}
