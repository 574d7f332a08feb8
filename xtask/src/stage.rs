//! One command of a longer run: announced, timed, ended when it hangs, its outcome counted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::conformance::Recorder;

/// How long one stage may take before it is ended and counted as failed: several times what the longest takes, so that
/// a run in which something hangs still comes to its summary.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long the output of a process that has ended is still read.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Counts of a whole run.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    times: Vec<(String, Duration, bool)>,
    recorder: Recorder,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            passed: 0,
            failed: 0,
            skipped: 0,
            times: Vec::new(),
            recorder: Recorder::default(),
        }
    }
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
        println!("\n== {name} ({})", self.elapsed());
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
        let mut recorder = std::mem::take(&mut self.recorder);
        let (ok, _) = self.execute(name, command, |line| {
            recorder.line(line);
            if let Some(counts) = parse_result(line) {
                passed += counts.0;
                failed += counts.1;
                skipped += counts.2;
            }
        })?;
        recorder.save()?;
        self.recorder = recorder;
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
        println!("{:>16.1} s  in all", self.start.elapsed().as_secs_f64());
        println!("\n{} passed, {} failed", self.passed, self.failed);
    }

    /// How far into the run this is.
    fn elapsed(&self) -> String {
        let seconds = self.start.elapsed().as_secs();
        format!("after {}:{:02} min", seconds / 60, seconds % 60)
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
        println!("\n== {name} ({})\n$ {}", self.elapsed(), shown(command));
        std::io::stdout().flush()?;
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        let guard = Guard::new(child.id(), LIMIT);
        if let Some(output) = child.stdout.take() {
            let lines = lines_of(output);
            while let Some(line) = next_line(&lines, &mut child)? {
                println!("{line}");
                on_line(&line);
            }
        }
        let mut ok = child.wait()?.success();
        if guard.ended_it() {
            eprintln!(
                "error: {name}: ended after {} minutes; its last lines above say what it was waiting for",
                LIMIT.as_secs() / 60
            );
            ok = false;
        }
        self.times.push((name.to_owned(), start.elapsed(), ok));
        Ok((ok, ()))
    }
}

/// Reads lines on a thread of its own. A program that a test left behind may hold the output open for ever, so nobody may
/// wait for its end.
fn lines_of(output: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line; none when the output has ended, or when the process has and nothing came for a moment.
fn next_line(lines: &mpsc::Receiver<String>, child: &mut Child) -> Result<Option<String>> {
    loop {
        match lines.recv_timeout(AFTERWARDS) {
            Ok(line) => return Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                if child.try_wait()?.is_some() {
                    return Ok(None);
                }
            }
        }
    }
}

/// Ends a process, and what it started, at a deadline.
struct Guard {
    done: mpsc::Sender<()>,
    watcher: std::thread::JoinHandle<bool>,
}

impl Guard {
    fn new(process: u32, limit: Duration) -> Self {
        let (done, ended) = mpsc::channel();
        let watcher = std::thread::spawn(move || {
            let late = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if late {
                kill(&descendants(process));
            }
            late
        });
        Self { done, watcher }
    }

    /// Stops watching; whether the deadline had passed.
    fn ended_it(self) -> bool {
        drop(self.done);
        self.watcher.join().unwrap_or(false)
    }
}

/// A process and all that it started, directly or not.
fn descendants(process: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // State and parent follow the name, which may hold anything but ends with the last parenthesis.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(id, _)| *id),
        );
        next += 1;
    }
    found
}

fn kill(processes: &[u32]) {
    let ended = Command::new("kill")
        .arg("-KILL")
        .args(processes.iter().map(u32::to_string))
        .status();
    if let Err(error) = ended {
        eprintln!("error: cannot end what hangs: {error}");
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
    fn what_hangs_is_ended_with_all_that_it_started() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        let mut output = BufReader::new(output);
        output.read_line(&mut line).expect("a line");
        let guard = Guard::new(child.id(), Duration::from_millis(1));
        // The pipe closes only when the sleeper is gone as well.
        assert_eq!(output.read_line(&mut line).expect("the end"), 0);
        assert!(!child.wait().expect("its end").success());
        assert!(guard.ended_it());
    }

    #[test]
    fn what_is_left_behind_with_the_output_does_not_hold_up_the_rest() {
        let mut tally = Tally::default();
        let begun = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!"]);
        let mut line = String::new();
        let (ok, ()) = tally
            .execute("leaves something", &mut command, |said| {
                line = said.to_owned()
            })
            .expect("a shell");
        assert!(ok && begun.elapsed() < Duration::from_secs(30));
        kill(&[line.parse().expect("its process id")]);
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
