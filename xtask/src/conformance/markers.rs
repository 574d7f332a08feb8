//! Finds the comments by which tests say which rows they show.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::root;

const MARKERS: [&str; 2] = ["// GET VPN rows ", "// GET VPN row "];
/// Folders without tests of ours.
const PASSED_OVER: [&str; 3] = ["target", ".git", "docs"];

/// A test and the rows it shows.
pub(crate) struct Test {
    /// File below the root.
    pub(super) file: String,
    /// Name of the function.
    pub(super) name: String,
    pub(super) rows: Vec<u16>,
}

impl Test {
    pub(super) fn place(&self) -> String {
        format!("{} :: {}", self.file, self.name)
    }
}

/// All tests with a marker, by file and place in it.
pub(super) fn find() -> Result<Vec<Test>> {
    let mut files = Vec::new();
    collect(root(), &mut files)?;
    files.sort();
    let mut tests = Vec::new();
    for file in files {
        let text = fs::read_to_string(root().join(&file))
            .with_context(|| format!("cannot read {file}"))?;
        if MARKERS.iter().any(|marker| text.contains(marker)) {
            tests.extend(in_source(&file, &text)?);
        }
    }
    Ok(tests)
}

fn collect(directory: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !PASSED_OVER.contains(&name.as_ref()) {
                collect(&path, files)?;
            }
        } else if name.ends_with(".rs") && !path.starts_with(root().join("xtask/src/conformance")) {
            let below = path.strip_prefix(root())?;
            files.push(below.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// A marker belongs to the next function, which must be a test.
fn in_source(file: &str, text: &str) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    let mut rows = Vec::new();
    let mut is_test = false;
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let place = || format!("{file}:{}", index.saturating_add(1));
        if let Some(found) = MARKERS.iter().find_map(|marker| line.strip_prefix(marker)) {
            let found = numbers(found)
                .with_context(|| format!("{}: `{found}` is no list of rows", place()))?;
            rows.extend(found);
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if let Some(name) = function(line) {
            if !rows.is_empty() {
                if !is_test {
                    bail!(
                        "{}: rows are claimed for `{name}`, which is no test",
                        place()
                    );
                }
                rows.sort_unstable();
                rows.dedup();
                tests.push(Test {
                    file: file.to_owned(),
                    name: name.to_owned(),
                    rows: std::mem::take(&mut rows),
                });
            }
            is_test = false;
        } else if !line.is_empty() && !line.starts_with("//") {
            if !rows.is_empty() {
                bail!("{}: rows are claimed, and no test follows", place());
            }
            is_test = false;
        }
    }
    Ok(tests)
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line);
    Some(rest.strip_prefix("fn ")?.split_once('(')?.0)
}

/// `12, 14-16` or `12 and 14 to 16`.
pub(super) fn numbers(text: &str) -> Option<Vec<u16>> {
    let text = text
        .trim()
        .trim_end_matches('.')
        .replace(" and ", ", ")
        .replace(" to ", "-");
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u16 = first.trim().parse().ok()?;
        let last: u16 = last.trim().parse().ok()?;
        if first > last {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn a_marker_belongs_to_the_test_below_it() {
        let source = "// GET VPN rows 1, 3-4\n#[test]\nfn a_name() {\n}\n#[tokio::test(flavor = \"x\")]\n// GET VPN row 9\nasync fn other() {}\n";
        let tests = in_source("x.rs", source).expect("well formed");
        let found: Vec<_> = tests
            .iter()
            .map(|test| (test.name.as_str(), test.rows.clone()))
            .collect();
        assert_eq!(found, [("a_name", vec![1, 3, 4]), ("other", vec![9])]);
    }

    #[test]
    fn a_helper_cannot_claim_rows() {
        assert!(in_source("x.rs", "// GET VPN row 1\nfn helper() {}\n").is_err());
        assert!(in_source("x.rs", "// GET VPN row 1\nlet x = 1;\n").is_err());
        assert!(in_source("x.rs", "// GET VPN row one\n#[test]\nfn a() {}\n").is_err());
    }
}
