//! Compares a value with the structure of a schema: types, required and unknown fields, bounds, lists.
//!
//! Only what our own schemas use is known here; the tests in `tests/schema.rs` refuse a schema with anything else.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Violation;

/// Fields of `metadata` that a user may write or a cluster adds.
const METADATA: [&str; 14] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "uid",
];

/// Everything in which `object` differs from `schema`.
pub(super) fn violations(schema: &Value, object: &Value) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    found.node(schema, object, "");
    found.metadata(object.get("metadata"));
    found.0
}

struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Violation {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    fn metadata(&mut self, metadata: Option<&Value>) {
        let Some(metadata) = metadata.and_then(Value::as_object) else {
            self.add("metadata", "is required");
            return;
        };
        match metadata.get("name").and_then(Value::as_str) {
            Some("") | None => self.add("metadata.name", "is required"),
            Some(_) => {}
        }
        for (key, value) in metadata {
            let field = format!("metadata.{key}");
            if !METADATA.contains(&key.as_str()) {
                self.add(&field, unknown(METADATA.into_iter(), key));
            } else if matches!(key.as_str(), "annotations" | "labels") {
                self.texts(&field, value);
            } else if matches!(key.as_str(), "name" | "namespace") && !value.is_string() {
                self.add(&field, format!("must be a string, not {}", type_of(value)));
            }
        }
    }

    fn texts(&mut self, field: &str, value: &Value) {
        let Some(map) = value.as_object() else {
            self.add(field, format!("must be an object, not {}", type_of(value)));
            return;
        };
        for (key, value) in map {
            if !value.is_string() {
                self.add(
                    &format!("{field}[{key}]"),
                    format!("must be a string, not {}; put it in quotes", type_of(value)),
                );
            }
        }
    }

    fn node(&mut self, schema: &Value, value: &Value, field: &str) {
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => match value.as_object() {
                Some(object) => self.object(schema, object, field),
                None => self.add(field, format!("must be an object, not {}", type_of(value))),
            },
            Some("array") => match value.as_array() {
                Some(items) => self.list(schema, items, field),
                None => self.add(field, format!("must be a list, not {}", type_of(value))),
            },
            Some("string") => match value.as_str() {
                Some(text) => self.text(schema, text, field),
                None => self.add(field, format!("must be a string, not {}", type_of(value))),
            },
            Some("integer") => match value.as_i64() {
                Some(number) => self.integer(schema, number, field),
                None => self.add(field, format!("must be an integer, not {}", type_of(value))),
            },
            _ => {}
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && schema.get("type").and_then(Value::as_str) == Some(json_type(value))
            && !allowed.contains(value)
        {
            let allowed: Vec<_> = allowed.iter().map(quoted).collect();
            self.add(
                field,
                format!(
                    "{} is not supported; must be one of {}",
                    quoted(value),
                    allowed.join(", ")
                ),
            );
        }
    }

    fn object(&mut self, schema: &Value, object: &Map<String, Value>, field: &str) {
        let join = |key: &str| {
            if field.is_empty() {
                key.to_owned()
            } else {
                format!("{field}.{key}")
            }
        };
        for required in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(required) = required.as_str()
                && !object.contains_key(required)
            {
                self.add(&join(required), "is required");
            }
        }
        if let Some(maximum) = schema.get("maxProperties").and_then(Value::as_u64)
            && object.len() as u64 > maximum
        {
            self.add(field, format!("must have no more than {maximum} entries"));
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        // `metadata` has its own check.
        let open = field == "metadata" || (properties.is_none() && others.is_none());
        for (key, value) in object {
            if let Some(schema) = properties.and_then(|properties| properties.get(key)) {
                self.node(schema, value, &join(key));
            } else if let Some(schema) = others {
                self.node(schema, value, &format!("{field}[{key}]"));
            } else if !open {
                let known = properties
                    .into_iter()
                    .flat_map(Map::keys)
                    .map(String::as_str);
                self.add(&join(key), unknown(known, key));
            }
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], field: &str) {
        let count = items.len() as u64;
        if let Some(minimum) = schema.get("minItems").and_then(Value::as_u64)
            && count < minimum
        {
            self.add(field, format!("must have at least {minimum} items"));
        }
        if let Some(maximum) = schema.get("maxItems").and_then(Value::as_u64)
            && count > maximum
        {
            self.add(field, format!("must have no more than {maximum} items"));
        }
        let keys: Vec<&str> = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .map(|keys| keys.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let list_type = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{field}[{index}]");
            if let Some(schema) = schema.get("items") {
                self.node(schema, item, &at);
            }
            let identity = match list_type {
                Some("set") => item.to_string(),
                Some("map") => keys
                    .iter()
                    .map(|key| item.get(key).unwrap_or(&Value::Null).to_string())
                    .collect(),
                _ => continue,
            };
            if !seen.insert(identity) {
                self.add(&at, "is in the list twice");
            }
        }
    }

    fn text(&mut self, schema: &Value, text: &str, field: &str) {
        let length = text.chars().count() as u64;
        if let Some(minimum) = schema.get("minLength").and_then(Value::as_u64)
            && length < minimum
        {
            self.add(field, format!("must be at least {minimum} characters long"));
        }
        if let Some(maximum) = schema.get("maxLength").and_then(Value::as_u64)
            && length > maximum
        {
            self.add(
                field,
                format!("must be no more than {maximum} characters long"),
            );
        }
    }

    fn integer(&mut self, schema: &Value, number: i64, field: &str) {
        let minimum = schema.get("minimum").and_then(Value::as_i64);
        let maximum = schema.get("maximum").and_then(Value::as_i64);
        if minimum.is_some_and(|minimum| number < minimum)
            || maximum.is_some_and(|maximum| number > maximum)
        {
            let range = match (minimum, maximum) {
                (Some(minimum), Some(maximum)) => format!("between {minimum} and {maximum}"),
                (Some(minimum), None) => format!("greater than or equal to {minimum}"),
                (None, Some(maximum)) => format!("less than or equal to {maximum}"),
                (None, None) => return,
            };
            self.add(field, format!("must be {range}, not {number}"));
        }
    }
}

/// The message for a field nobody knows, with the known one that is most alike.
fn unknown<'a>(known: impl Iterator<Item = &'a str>, key: &str) -> String {
    let nearest = known.map(|name| (distance(name, key), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + key.len() / 4 => {
            format!("unknown field; did you mean `{name}`?")
        }
        _ => "unknown field".to_owned(),
    }
}

/// Insertions, deletions and replacements that turn one word into the other, without regard to case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.to_lowercase().chars().enumerate() {
        let mut next = vec![index + 1];
        for ((position, &replaced), pair) in other.iter().enumerate().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            let left = next.get(position).copied().unwrap_or(usize::MAX - 1);
            let cost = usize::from(letter != replaced);
            next.push((diagonal + cost).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn quoted(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("'{text}'"),
        None => value.to_string(),
    }
}

/// What the schema language calls the type of a value.
fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What people call the type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
