//! Holds `docs/protocol/conformance.md` to the sources: named tests exist, and its counts are right.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const PAGE: &str = "docs/protocol/conformance.md";

fn read(path: &str) -> std::io::Result<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path))
}

fn page() -> String {
    read(PAGE).expect("the page of this repository")
}

/// The rows of the section under this heading of the second level, as their cells, without heads and rulers.
fn rows<'page>(page: &'page str, heading: &str) -> Vec<Vec<&'page str>> {
    let mut inside = false;
    let mut table = Vec::new();
    for line in page.lines() {
        if let Some(found) = line.strip_prefix("## ") {
            inside = found == heading;
        }
        let Some(cells) = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix(" |"))
        else {
            continue;
        };
        let cells: Vec<_> = cells.split(" | ").collect();
        if inside && cells.last() != Some(&"Shown by") {
            table.push(cells);
        }
    }
    table
}

/// The tests a last cell names, as file and function; empty when it says "not yet".
fn tests(cell: &str) -> Vec<(&str, &str)> {
    if cell == "not yet" {
        return Vec::new();
    }
    cell.split("; ")
        .map(|test| {
            test.strip_prefix('`')
                .and_then(|test| test.strip_suffix('`'))
                .and_then(|test| test.split_once(" :: "))
                .unwrap_or_else(|| panic!("neither 'not yet' nor `file :: function`: {test}"))
        })
        .collect()
}

/// Whether `source` has a test function of this name: `fn name(` with `#[test]` or that of Tokio among the lines right
/// above it.
fn has_test(source: &str, name: &str) -> bool {
    let declaration = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        line.strip_prefix("async ")
            .unwrap_or(line)
            .starts_with(&declaration)
            && lines[..at]
                .iter()
                .rev()
                .take_while(|above| above.starts_with("#[") || above.starts_with("//"))
                .any(|above| *above == "#[test]" || above.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_named_test_exists() {
    let page = page();
    let mut sources = BTreeMap::new();
    let mut missing = Vec::new();
    for (heading, columns) in [
        ("Requirements", 4),
        ("Private extensions", 2),
        ("Refused on purpose", 3),
    ] {
        let table = rows(&page, heading);
        assert!(!table.is_empty(), "no rows under '{heading}'");
        for row in table {
            assert_eq!(row.len(), columns, "cells of {row:?}");
            for (file, name) in row.last().map(|cell| tests(cell)).unwrap_or_default() {
                let source = sources
                    .entry(file)
                    .or_insert_with(|| read(file).unwrap_or_default());
                if !has_test(source, name) {
                    missing.push(format!("{file} :: {name}"));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "{PAGE} names tests that are not there: {missing:#?}"
    );
}

#[test]
fn the_counts_are_right() {
    let page = page();
    let table = rows(&page, "Requirements");
    let shown = table
        .iter()
        .filter(|row| row.last().is_some_and(|cell| !tests(cell).is_empty()))
        .count();
    let expected = format!(
        "{} requirements, {shown} shown, {} not yet.",
        table.len(),
        table.len() - shown
    );
    let counts = page.lines().last().unwrap_or_default();
    assert_eq!(counts, expected, "the last line of {PAGE}");
}

#[test]
fn a_test_that_is_only_mentioned_or_only_a_function_does_not_count() {
    let source = "#[test]\nfn real() {}\n\nfn helper() {}\n// fn mentioned() {}\n#[test]\n#[ignore]\nfn slow() {}\n#[tokio::test]\nasync fn waiting() {}\nasync fn idle() {}\n";
    assert!(has_test(source, "real") && has_test(source, "slow"));
    assert!(has_test(source, "waiting") && !has_test(source, "idle"));
    assert!(
        !has_test(source, "rea") && !has_test(source, "helper") && !has_test(source, "mentioned")
    );
}
