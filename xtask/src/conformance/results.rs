//! What became of each test in the last run of `cargo xtask test`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Survey;
use crate::target_directory;

fn file() -> PathBuf {
    target_directory().join("test-results.tsv")
}

/// Collects results while tests run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorder {
    passed: BTreeMap<String, bool>,
}

impl Recorder {
    /// Reads a line of a test program, such as `test module::name ... ok`.
    pub(crate) fn line(&mut self, line: &str) {
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let passed = match outcome.trim() {
            "ok" => true,
            outcome if outcome.starts_with("FAILED") => false,
            _ => return,
        };
        let name = name.rsplit("::").next().unwrap_or(name).to_owned();
        // Of tests with the same name in several programs, all must pass.
        let entry = self.passed.entry(name).or_insert(true);
        *entry &= passed;
    }

    /// Writes the results; those of tests that did not run now are kept.
    pub(crate) fn save(&self) -> Result<()> {
        let mut all = read().unwrap_or_default();
        all.extend(self.passed.clone());
        let text: String = all
            .iter()
            .map(|(name, passed)| format!("{name}\t{}\n", if *passed { "ok" } else { "FAILED" }))
            .collect();
        fs::write(file(), text).with_context(|| format!("cannot write {}", file().display()))
    }
}

fn read() -> Result<BTreeMap<String, bool>> {
    let text = fs::read_to_string(file()).with_context(|| {
        format!(
            "cannot read {}: run `cargo xtask test` first, or ask --without-results",
            file().display()
        )
    })?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, outcome)| (name.to_owned(), outcome == "ok"))
        .collect())
}

/// Tests that claim rows and did not pass, with what is known of them.
pub(super) fn unproven(survey: &Survey) -> Result<Vec<String>> {
    let results = read()?;
    Ok(survey
        .tests
        .iter()
        .filter_map(|test| match results.get(&test.name) {
            Some(true) => None,
            Some(false) => Some(format!("{}: failed", test.place())),
            None => Some(format!("{}: did not run", test.place())),
        })
        .collect())
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn one_failure_under_a_name_is_remembered() {
        let mut recorder = Recorder::default();
        recorder.line("test a::same ... ok");
        recorder.line("test b::same ... FAILED");
        recorder.line("test c::same ... ok");
        recorder.line("test other ... ignored");
        assert_eq!(
            recorder.passed,
            BTreeMap::from([("same".to_owned(), false)])
        );
    }
}
