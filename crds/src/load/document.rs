//! YAML documents as JSON values that know the line of each field.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::error::{LoadError, LoadErrors, Problem};

/// One document of a file.
pub(super) struct Document {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// Its content.
    pub(super) value: Value,
    /// Line of each field, by the field's path; the document itself has the empty path.
    lines: BTreeMap<String, u64>,
}

/// Reads all documents that are not empty.
///
/// # Errors
/// When the text is no YAML.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<Document>, LoadErrors> {
    let nodes: Vec<Spanned<Node>> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let cause = error.without_snippet().to_string();
        LoadErrors(vec![LoadError::of_file(
            file,
            line,
            Problem::Malformed(cause),
        )])
    })?;
    Ok(nodes
        .into_iter()
        .enumerate()
        .map(|(index, node)| {
            let mut lines = BTreeMap::new();
            let value = node
                .value
                .into_value(String::new(), node.referenced.line(), &mut lines);
            Document {
                number: index + 1,
                value,
                lines,
            }
        })
        .collect())
}

impl Document {
    /// An error about a field of this document.
    pub(super) fn error(&self, file: &str, field: &str, problem: Problem) -> LoadError {
        let text = |pointer| self.value.pointer(pointer).and_then(Value::as_str);
        let object = text("/kind").map(|kind| match text("/metadata/name") {
            Some(name) => format!("{kind} {name}"),
            None => kind.to_owned(),
        });
        LoadError {
            file: file.to_owned(),
            line: self.line(field),
            document: Some(self.number),
            object,
            field: field.to_owned(),
            problem,
        }
    }

    /// Line of a field, or of the nearest thing around it that was written.
    fn line(&self, field: &str) -> Option<u64> {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }
}

/// A YAML node.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Object(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn into_value(self, path: String, line: u64, lines: &mut BTreeMap<String, u64>) -> Value {
        let value = match self {
            Self::Scalar(value) => value,
            Self::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    item.value
                        .into_value(format!("{path}[{index}]"), item.referenced.line(), lines)
                })
                .collect(),
            Self::Object(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, entry)| {
                        let path = if path.is_empty() {
                            key.value.clone()
                        } else {
                            format!("{path}.{}", key.value)
                        };
                        let line = key.referenced.line();
                        (key.value, entry.value.into_value(path, line, lines))
                    })
                    .collect::<Map<_, _>>(),
            ),
        };
        lines.insert(path, line);
        value
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Node::Object(object))
    }
}
