//! Outside programs that judge: found, run, and never skipped silently where it matters.

use std::io::Write;
use std::process::{Command, Stdio};

/// Whether all of `programs` (by path or by name in `PATH`) are installed. Without one of them the test has nothing
/// to say: it is skipped with a message, or fails when `CI` is set.
pub(crate) fn installed(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !is_installed(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "not installed: {missing:?}");
    let _ = writeln!(std::io::stderr(), "skipped: not installed: {missing:?}");
    false
}

fn is_installed(program: &str) -> bool {
    Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Runs a program with `input` on its standard input and answers its standard output.
///
/// # Panics
/// When it fails; the message has its standard error.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input).expect("the program reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
