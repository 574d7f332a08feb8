//! `cargo xtask conformance`: which behaviours of a GET VPN are shown, by which tests.
//!
//! The behaviours are numbered in `docs/reference/get-vpn.tsv`. A test names those it shows in a comment right above it,
//! `// GET VPN rows 12, 14-16`. A row that no test can show has its reason in `docs/reference/get-vpn-exceptions.tsv`.

mod markers;
mod page;
mod results;
mod rows;

use std::fs;

use anyhow::{Context, Result, bail};

use crate::root;
pub(crate) use results::Recorder;

const PAGE: &str = "docs/reference/conformance.md";

/// Options of `cargo xtask conformance`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when the page is not current
    #[arg(long)]
    check: bool,
    /// Do not ask whether the tests passed in the last `cargo xtask test`
    #[arg(long)]
    without_results: bool,
}

/// Writes or checks the page, prints the counts, and fails on a row without a passing test or a reason.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let survey = Survey::take()?;
    let text = page::render(&survey);
    if arguments.check {
        compare(&text)?;
    } else {
        fs::write(root().join(PAGE), &text).with_context(|| format!("cannot write {PAGE}"))?;
    }
    println!("{}", survey.counts());
    if !arguments.without_results {
        let unproven = results::unproven(&survey)?;
        if !unproven.is_empty() {
            bail!(
                "these tests did not pass in the last `cargo xtask test`:\n  {}",
                unproven.join("\n  ")
            );
        }
    }
    let open = survey.open();
    if !open.is_empty() {
        bail!(
            "{} rows have neither a test nor a reason: {}",
            open.len(),
            rows::spans(&open)
        );
    }
    Ok(())
}

/// Fails when the page is not what the sources say.
pub(crate) fn check_page() -> Result<()> {
    compare(&page::render(&Survey::take()?))
}

fn compare(text: &str) -> Result<()> {
    let found = fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    if found != text {
        bail!("{PAGE} is not current; run `cargo xtask conformance`");
    }
    Ok(())
}

/// Rows, the tests that claim them, and the reasons of those that nothing shows.
pub(crate) struct Survey {
    rows: Vec<rows::Row>,
    exceptions: Vec<rows::Exception>,
    tests: Vec<markers::Test>,
}

impl Survey {
    fn take() -> Result<Self> {
        let rows = rows::read()?;
        let exceptions = rows::read_exceptions()?;
        let tests = markers::find()?;
        let known = |number: u16| rows.iter().any(|row| row.number == number);
        for test in &tests {
            if let Some(number) = test.rows.iter().find(|number| !known(**number)) {
                bail!("{}: there is no row {number}", test.place());
            }
        }
        for exception in &exceptions {
            if !known(exception.number) {
                bail!("exceptions: there is no row {}", exception.number);
            }
            if tests
                .iter()
                .any(|test| test.rows.contains(&exception.number))
            {
                bail!(
                    "row {} has a reason not to be shown, and a test that shows it",
                    exception.number
                );
            }
        }
        Ok(Self {
            rows,
            exceptions,
            tests,
        })
    }

    fn tests_of(&self, number: u16) -> Vec<&markers::Test> {
        self.tests
            .iter()
            .filter(|test| test.rows.contains(&number))
            .collect()
    }

    fn exception(&self, number: u16) -> Option<&rows::Exception> {
        self.exceptions
            .iter()
            .find(|exception| exception.number == number)
    }

    /// The row whose test serves for this one too, for rows that only say "See N".
    fn shown(&self, row: &rows::Row) -> bool {
        !self.tests_of(row.number).is_empty()
            || (!row.see.is_empty()
                && row
                    .see
                    .iter()
                    .all(|number| !self.tests_of(*number).is_empty()))
    }

    fn open(&self) -> Vec<u16> {
        self.rows
            .iter()
            .filter(|row| !self.shown(row) && self.exception(row.number).is_none())
            .map(|row| row.number)
            .collect()
    }

    fn counts(&self) -> String {
        let shown = self.rows.iter().filter(|row| self.shown(row)).count();
        let open = self.open().len();
        format!(
            "{} rows: {shown} shown, {} with a reason, {open} open",
            self.rows.len(),
            self.rows.len() - shown - open
        )
    }
}
