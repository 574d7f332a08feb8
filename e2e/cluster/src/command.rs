//! Programs that are run to their end, with errors that say what was run and what it said.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program; answers what it wrote to its standard output.
///
/// # Errors
/// When it cannot be started or fails: the program, its arguments and the end of what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    said(command, &output)
}

/// Runs a program that reads `input`; answers what it wrote to its standard output.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let pipe = child.stdin.take();
    let input = input.to_owned();
    // The program may write before it has read everything.
    let writer = std::thread::spawn(move || {
        if let Some(mut pipe) = pipe {
            let _ = pipe.write_all(input.as_bytes());
        }
    });
    let output = child.wait_with_output()?;
    let _ = writer.join();
    said(command, &output)
}

/// The program's file on the search path, or in the places of system programs.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(
            [
                "/usr/local/go/bin",
                "/usr/local/sbin",
                "/usr/sbin",
                "/sbin",
                "/usr/bin",
            ]
            .map(PathBuf::from),
        )
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The last lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

/// The last lines of a file, empty when it cannot be read.
#[must_use]
pub fn tail_of(file: &Path, lines: usize) -> String {
    tail(&std::fs::read_to_string(file).unwrap_or_default(), lines)
}

/// What a program wrote to its standard output, or why it failed.
fn said(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!(
            "`{}`: {}: {}",
            shown(command),
            output.status,
            tail(&String::from_utf8_lossy(&output.stderr), 20)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}
