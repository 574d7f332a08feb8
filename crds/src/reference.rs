//! The reference page of the three kinds, made from the documentation of their fields.

use std::fmt::Write;

use serde_json::Value;

use crate::kind::Kind;
use crate::{GROUP, VERSION};

/// The page as Markdown: for each kind its fields in the order of their names, with type, bounds, default and rules.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = format!(
        "<!-- Generated from the types in crds/src by `cargo run -p crds --example generate`. Do not edit. -->\n\n\
         # Custom resources\n\n\
         All kinds are in `{GROUP}/{VERSION}` and belong to a namespace. `kubectl explain` shows the same texts.\n"
    );
    for kind in Kind::ALL {
        describe(&mut page, kind);
    }
    page
}

fn describe(page: &mut String, kind: Kind) {
    let manifest = crate::manifest(kind);
    let text = |pointer: &str| {
        manifest
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let schema = kind.schema();
    line(page, format_args!("\n## {kind}\n"));
    line(
        page,
        format_args!(
            "Short name `{}`, category `{}`.",
            text("/spec/names/shortNames/0"),
            text("/spec/names/categories/0")
        ),
    );
    line(
        page,
        format_args!("{}", one_line(schema.get("description"))),
    );
    for (part, title) in [
        ("spec", "What you write"),
        ("status", "What the operator reports"),
    ] {
        line(page, format_args!("\n### {title}\n"));
        line(
            page,
            format_args!("| Field | Type | Default | Meaning |\n|---|---|---|---|"),
        );
        if let Some(node) = schema.pointer(&format!("/properties/{part}")) {
            fields(page, node, part);
        }
    }
    let mut rules = Vec::new();
    collect_rules(schema, "", &mut rules);
    line(page, format_args!("\n### Rules\n"));
    for rule in rules {
        line(page, format_args!("- {rule}"));
    }
}

/// One row for each field below `node`, and for what is inside it.
fn fields(page: &mut String, node: &Value, path: &str) {
    let required: Vec<&str> = node
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, child) in node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = format!("{path}.{name}");
        let default = match child.get("default") {
            Some(default) if !default.is_object() => plain(default),
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            _ => String::new(),
        };
        let meaning = one_line(child.get("description"));
        line(
            page,
            format_args!("| `{path}` | {} | {default} | {meaning} |", type_of(child)),
        );
        fields(page, child, &path);
        if let Some(items) = child.get("items") {
            fields(page, items, &format!("{path}[]"));
        }
    }
}

/// Type and bounds in words.
fn type_of(node: &Value) -> String {
    let number = |key: &str| node.get(key).and_then(Value::as_i64);
    let up_to = |key: &str, unit: &str| {
        number(key).map_or_else(String::new, |most| format!(", at most {most} {unit}"))
    };
    if let Some(values) = node.get("enum").and_then(Value::as_array) {
        let words: Vec<_> = values
            .iter()
            .filter(|value| !is_refused(value))
            .map(plain)
            .collect();
        return words.join(", ");
    }
    match node.get("type").and_then(Value::as_str) {
        Some("integer") => match (number("minimum"), number("maximum")) {
            (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
            _ => "integer".to_owned(),
        },
        Some("string") if node.get("format").is_some() => "time".to_owned(),
        Some("string") => format!("text{}", up_to("maxLength", "characters")),
        Some("array") => {
            let items = node.get("items").map(type_of).unwrap_or_default();
            let items = items.split(", at most").next().unwrap_or_default();
            format!("list of {items}{}", up_to("maxItems", "items"))
        }
        Some("object") if node.get("additionalProperties").is_some() => {
            format!("map{}", up_to("maxProperties", "entries"))
        }
        _ => "object".to_owned(),
    }
}

/// Names the schema knows only to refuse them in clear words.
fn is_refused(value: &Value) -> bool {
    value.as_str().is_some_and(|name| name.ends_with("CBC"))
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
}

fn collect_rules(node: &Value, path: &str, found: &mut Vec<String>) {
    for rule in node
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let field = rule
            .get("fieldPath")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let message = rule
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        found.push(format!(
            "`{}`: {message}.",
            format!("{path}{field}").trim_start_matches('.')
        ));
    }
    for (name, child) in node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        collect_rules(child, &format!("{path}.{name}"), found);
    }
    if let Some(items) = node.get("items") {
        collect_rules(items, &format!("{path}[]"), found);
    }
    if let Some(values) = node.get("additionalProperties") {
        collect_rules(values, &format!("{path}{{}}"), found);
    }
}

fn one_line(text: Option<&Value>) -> String {
    text.and_then(Value::as_str)
        .unwrap_or_default()
        .replace('\n', " ")
        .replace('|', "\\|")
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a String takes everything");
}
