//! CRD manifests, made from the types.
//!
//! What the derive leaves to be done is done here: bounds become integers (the derive writes `1.0`), optional fields
//! are not `null` as well as absent, `status` starts as "not observed yet", and keys are in a fixed order, so that equal
//! types give equal bytes.

use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::v1alpha1::NEVER_OBSERVED;

/// First lines of every generated file.
const HEADER: &str = "# Generated from the types in crds/src by `cargo run -p crds --example generate`. Do not edit.\n";

/// The manifests of all kinds: file name and YAML.
///
/// # Panics
/// Never for the types as they are; the tests generate them.
#[must_use]
pub fn generate() -> Vec<(String, String)> {
    Kind::ALL
        .into_iter()
        .map(|kind| {
            let manifest = manifest(kind);
            let name = manifest
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .expect("the derive names every definition");
            let yaml =
                serde_saphyr::to_string(&manifest).expect("a JSON value can be written as YAML");
            (format!("{name}.yaml"), format!("{HEADER}{yaml}"))
        })
        .collect()
}

/// The manifest of one kind as JSON.
///
/// # Panics
/// Never for the types as they are; the tests generate them.
#[must_use]
pub fn manifest(kind: Kind) -> Value {
    let mut manifest =
        serde_json::to_value(kind.definition()).expect("a definition can be written as JSON");
    tidy(&mut manifest);
    let schema = manifest
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .expect("the derive gives every definition one version with a schema");
    if let Some(properties) = schema
        .pointer_mut("/properties")
        .and_then(Value::as_object_mut)
    {
        describe_envelope(properties, kind);
    }
    sorted(manifest)
}

/// Describes what every object has, and lets `status` start as "not observed yet".
fn describe_envelope(properties: &mut Map<String, Value>, kind: Kind) {
    for (name, description) in [
        (
            "apiVersion",
            format!(
                "Version of this object's form: `{}/{}`.",
                crate::GROUP,
                crate::VERSION
            ),
        ),
        ("kind", format!("`{kind}`.")),
    ] {
        properties.insert(
            name.to_owned(),
            json!({ "type": "string", "description": description, "maxLength": 256 }),
        );
    }
    // Rules may point at the name only when the schema has it; its own rules are stricter. The API server takes these
    // lengths into account only when both names are there, and refuses rules about names that may be of any length.
    let name = json!({ "type": "string", "maxLength": 253 });
    properties.insert(
        "metadata".to_owned(),
        json!({ "type": "object", "properties": { "generateName": name, "name": name } }),
    );
    if let Some(spec) = properties.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("description".to_owned(), json!("What you want."));
    }
    if let Some(status) = properties.get_mut("status") {
        remove_defaults(status);
    }
    if let Some(status) = properties.get_mut("status").and_then(Value::as_object_mut) {
        status.insert(
            "description".to_owned(),
            json!("What is. Written by the operator only."),
        );
        status.insert(
            "default".to_owned(),
            json!({ "observedGeneration": NEVER_OBSERVED }),
        );
    }
}

/// Removes all defaults: what nobody has observed is absent, not zero.
fn remove_defaults(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("default");
            object.values_mut().for_each(remove_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Bounds as integers, no `nullable`, no `title`, no empty leftovers.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("type").is_some_and(Value::is_string) || object.contains_key("anyOf") {
                object.remove("nullable");
                object.remove("title");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Number(number) => {
            if let Some(integer) = number
                .as_f64()
                .filter(|_| number.is_f64())
                .and_then(exact_integer)
            {
                *value = json!(integer);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The integer a float stands for, when it stands for one exactly.
fn exact_integer(float: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "bounded above and below, and whole"
    )]
    (float.fract() == 0.0 && float.abs() <= LIMIT).then_some(float as i64)
}

/// The same value with the keys of every object in alphabetical order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}
