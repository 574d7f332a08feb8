//! One command of a longer run: announced, timed, its outcome counted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Counts of a whole run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    times: Vec<(String, Duration, bool)>,
}

impl Tally {
    /// Runs a check that passes or fails as a whole.
    pub(crate) fn check(&mut self, name: &str, command: &mut Command) -> Result<bool> {
        let (ok, _) = self.execute(name, command, |_| {})?;
        self.count(u64::from(ok), u64::from(!ok));
        Ok(ok)
    }

    /// Runs a check that is a function of this program.
    pub(crate) fn call(&mut self, name: &str, act: impl FnOnce() -> Result<()>) {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = act();
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        self.times
            .push((name.to_owned(), start.elapsed(), outcome.is_ok()));
        self.count(u64::from(outcome.is_ok()), u64::from(outcome.is_err()));
    }

    /// Runs `cargo test` and adds up what each of its test programs reports.
    pub(crate) fn cargo_test(&mut self, name: &str, command: &mut Command) -> Result<bool> {
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        let (ok, _) = self.execute(name, command, |line| {
            if let Some(counts) = parse_result(line) {
                passed += counts.0;
                failed += counts.1;
                skipped += counts.2;
            }
        })?;
        // A test program that dies, or does not build, reports no failed test of its own.
        if !ok && failed == 0 {
            failed = 1;
        }
        self.count(passed, failed);
        self.skipped += skipped;
        Ok(ok)
    }

    /// Prints what each stage took and the closing line.
    pub(crate) fn report(&self) {
        println!("\n== summary");
        for (name, time, ok) in &self.times {
            let verdict = if *ok { "ok    " } else { "FAILED" };
            println!("{verdict}  {:>6.1} s  {name}", time.as_secs_f64());
        }
        println!("\n{} passed, {} failed", self.passed, self.failed);
    }

    fn count(&mut self, passed: u64, failed: u64) {
        self.passed += passed;
        self.failed += failed;
    }

    fn execute(
        &mut self,
        name: &str,
        command: &mut Command,
        mut on_line: impl FnMut(&str),
    ) -> Result<(bool, ())> {
        println!("\n== {name}\n$ {}", shown(command));
        std::io::stdout().flush()?;
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let line = line?;
                println!("{line}");
                on_line(&line);
            }
        }
        let ok = child.wait()?.success();
        self.times.push((name.to_owned(), start.elapsed(), ok));
        Ok((ok, ()))
    }
}

/// `(passed, failed, ignored)` of a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn parse_result(line: &str) -> Option<(u64, u64, u64)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| {
        counts
            .split("; ")
            .find_map(|part| part.strip_suffix(word)?.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?, number("ignored")?))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn a_result_line_of_the_test_runner_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(parse_result(line), Some((12, 3, 1)));
        assert_eq!(parse_result("test wire::round_trip ... ok"), None);
    }

    #[test]
    fn a_run_that_dies_without_a_result_counts_as_failed() {
        let mut tally = Tally::default();
        let ok = tally
            .cargo_test("dies", Command::new("false").args(["--no-result"]))
            .expect("`false` exists");
        assert!(!ok);
        assert_eq!((tally.passed, tally.failed), (0, 1));
    }
}
