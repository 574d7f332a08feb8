//! The table of a chart's values, from the comments in its `values.yaml`.
//!
//! Read line by line, not as YAML: comments are what matters. Every key has a comment, or is below a key whose comment
//! speaks for it.

use anyhow::{Result, bail};

/// One value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, such as `operator.image.tag`.
    pub(crate) path: String,
    /// What it is by default, as written; empty for a map whose entries follow.
    pub(crate) default: String,
    /// What its comment says.
    pub(crate) meaning: String,
}

/// Reads the text of a `values.yaml`.
pub(crate) fn read(text: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<String> = Vec::new();
    // A commented map whose entries have no comments of their own is one value.
    let mut whole: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let content = line.trim();
        if content.is_empty() {
            comment.clear();
            continue;
        }
        if let Some(words) = content.strip_prefix('#') {
            comment.push(words.trim().to_owned());
            whole = None;
            continue;
        }
        let Some((key, default)) = content.split_once(':') else {
            bail!("values.yaml:{}: neither key nor comment", number + 1);
        };
        let default = default.trim().to_owned();
        if let Some(from) = whole.filter(|from| indent > *from && comment.is_empty()) {
            whole = Some(from);
            append(&mut entries, key, &default);
            continue;
        }
        while parents.last().is_some_and(|(at, _)| *at >= indent) {
            parents.pop();
        }
        let mut path: Vec<&str> = parents.iter().map(|(_, name)| name.as_str()).collect();
        path.push(key);
        let path = path.join(".");
        if comment.is_empty() && !default.is_empty() {
            bail!("values.yaml:{}: `{path}` has no comment", number + 1);
        }
        if !comment.is_empty() {
            entries.push(Entry {
                path,
                default: default.clone(),
                meaning: comment.join(" "),
            });
        }
        whole = (default.is_empty() && !comment.is_empty()).then_some(indent);
        comment.clear();
        if default.is_empty() {
            parents.push((indent, key.to_owned()));
        }
    }
    Ok(entries)
}

/// Adds a nested value to the default of the entry it belongs to.
fn append(entries: &mut [Entry], key: &str, default: &str) {
    if let Some(entry) = entries.last_mut() {
        if default.is_empty() {
            entry.default.push_str(&format!("{key}: "));
        } else {
            entry.default.push_str(&format!("{key}: {default}; "));
        }
    }
}

/// The entries as a Markdown table.
pub(crate) fn table(entries: &[Entry]) -> String {
    let mut text = String::from("| Value | Default | Meaning |\n|---|---|---|\n");
    for entry in entries {
        let default = entry.default.trim_end_matches("; ").trim();
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        text.push_str(&format!(
            "| `{}` | {default} | {} |\n",
            entry.path,
            entry.meaning.replace('|', "\\|")
        ));
    }
    text
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn paths_defaults_and_comments_are_read() {
        let text = "\
# A part.
part:
  # First.
  one: 1
  # Several
  # lines.
  deep:
    # Below.
    two: []
# A map that speaks for itself.
whole:
  requests:
    cpu: 50m
    memory: 64Mi
  limits:
    memory: 1Gi
# Last.
last: \"\"
";
        let entries = read(text).expect("valid");
        let shown: Vec<(&str, &str, &str)> = entries
            .iter()
            .map(|entry| {
                (
                    entry.path.as_str(),
                    entry.default.as_str(),
                    entry.meaning.as_str(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("part", "", "A part."),
                ("part.one", "1", "First."),
                ("part.deep", "", "Several lines."),
                ("part.deep.two", "[]", "Below."),
                (
                    "whole",
                    "requests: cpu: 50m; memory: 64Mi; limits: memory: 1Gi; ",
                    "A map that speaks for itself."
                ),
                ("last", "\"\"", "Last."),
            ]
        );
    }

    #[test]
    fn a_value_without_a_comment_is_refused() {
        assert!(read("one: 1\n").is_err());
    }
}
