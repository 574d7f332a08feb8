//! YAML with comments, in the order it was put together.

use std::fmt::Write as _;

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Entry>),
    /// Fields, in this order.
    Fields(Vec<(&'static str, Entry)>),
}

/// A node with the comment in front of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    node: Node,
    comment: Option<String>,
}

impl Node {
    /// A node without fields, to add some.
    pub(crate) const fn fields() -> Self {
        Self::Fields(Vec::new())
    }

    /// Text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts.
    pub(crate) fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::list(texts.into_iter().map(Self::Text))
    }

    /// A list.
    pub(crate) fn list(nodes: impl IntoIterator<Item = Self>) -> Self {
        Self::List(nodes.into_iter().map(Entry::from).collect())
    }

    /// With one field more. Only for nodes made by [`Node::fields`]; others stay as they are.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, node: impl Into<Entry>) -> Self {
        if let Self::Fields(fields) = &mut self {
            fields.push((name, node.into()));
        }
        self
    }

    /// With one field more, if there is something to put there.
    #[must_use]
    pub(crate) fn with_some(self, name: &'static str, node: Option<impl Into<Entry>>) -> Self {
        match node {
            Some(node) => self.with(name, node),
            None => self,
        }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Text(text) => text.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Fields(fields) => fields.is_empty(),
        }
    }

    /// The node, or nothing when it is empty.
    pub(crate) fn unless_empty(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// With a comment in front.
    pub(crate) fn commented(self, comment: impl Into<String>) -> Entry {
        Entry {
            node: self,
            comment: Some(comment.into()),
        }
    }

    /// The text of a document whose root this is.
    pub(crate) fn document(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Fields(fields) => write_fields(&mut out, fields, 0, false),
            Self::List(list) => write_list(&mut out, list, 0),
            scalar => {
                let _ = writeln!(out, "{}", scalar.scalar());
            }
        }
        out
    }

    fn scalar(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::List(_) => "[]".to_owned(),
            Self::Fields(_) => "{}".to_owned(),
        }
    }
}

impl From<Node> for Entry {
    fn from(node: Node) -> Self {
        Self {
            node,
            comment: None,
        }
    }
}

impl From<i64> for Node {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i64> for Entry {
    fn from(number: i64) -> Self {
        Node::Number(number).into()
    }
}

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        Node::text(text).into()
    }
}

impl From<String> for Entry {
    fn from(text: String) -> Self {
        Node::Text(text).into()
    }
}

/// Text that reads back as the same text and as nothing else.
fn quoted(text: &str) -> String {
    let prefix = text.contains('/') && text.starts_with(|c: char| c.is_ascii_digit());
    let plain = (prefix || text.starts_with(|c: char| c.is_ascii_alphabetic()))
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if plain {
        text.to_owned()
    } else {
        let mut quoted = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    quoted.push('\\');
                    quoted.push(c);
                }
                ' '..='~' => quoted.push(c),
                _ => {
                    let _ = write!(quoted, "\\U{:08X}", u32::from(c));
                }
            }
        }
        quoted.push('"');
        quoted
    }
}

/// Text for a comment: what is no plain character is replaced, as YAML does not allow all of them.
pub(crate) fn plain(text: &str) -> String {
    text.replace('…', "...")
        .chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

fn write_comment(out: &mut String, comment: Option<&str>, indent: usize) {
    for line in comment.into_iter().flat_map(str::lines) {
        let _ = writeln!(out, "{:indent$}# {}", "", plain(line));
    }
}

/// Writes fields; the first one goes on the line of the list item that holds them when `inline`.
fn write_fields(
    out: &mut String,
    fields: &[(&'static str, Entry)],
    indent: usize,
    mut inline: bool,
) {
    for (name, entry) in fields {
        if inline {
            inline = false;
        } else {
            write_comment(out, entry.comment.as_deref(), indent);
            let _ = write!(out, "{:indent$}", "");
        }
        match &entry.node {
            Node::Fields(below) if !below.is_empty() => {
                let _ = writeln!(out, "{name}:");
                write_fields(out, below, indent + 2, false);
            }
            Node::List(list) if !list.is_empty() => {
                let _ = writeln!(out, "{name}:");
                write_list(out, list, indent + 2);
            }
            scalar => {
                let _ = writeln!(out, "{name}: {}", scalar.scalar());
            }
        }
    }
}

fn write_list(out: &mut String, list: &[Entry], indent: usize) {
    for entry in list {
        write_comment(out, entry.comment.as_deref(), indent);
        let _ = write!(out, "{:indent$}- ", "");
        match &entry.node {
            Node::Fields(fields) if !fields.is_empty() => {
                write_fields(out, fields, indent + 2, true);
            }
            scalar => {
                let _ = writeln!(out, "{}", scalar.scalar());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_back_as_what_was_put_in() {
        let node = Node::fields()
            .with("kind", "GetVpnGroup")
            .with("number", 7)
            .with(
                "spec",
                Node::fields()
                    .with("odd", "no")
                    .with("colon", "a: b # c")
                    .with("prefix", "10.0.0.0/8")
                    .with(
                        "rules",
                        Node::List(vec![
                            Node::fields()
                                .with("name", "a")
                                .with("ports", Node::texts(["22".to_owned()]))
                                .commented("from line 3\nand line 4"),
                        ]),
                    )
                    .with("none", Node::List(Vec::new())),
            );
        let text = node.document();
        let back: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let expected = serde_json::json!({
            "kind": "GetVpnGroup", "number": 7,
            "spec": { "odd": "no", "colon": "a: b # c", "prefix": "10.0.0.0/8",
                      "rules": [{ "name": "a", "ports": ["22"] }], "none": [] }
        });
        assert_eq!(back, expected, "{text}");
        assert!(
            text.contains("    # from line 3\n    # and line 4\n    - name: a\n"),
            "{text}"
        );
    }
}
