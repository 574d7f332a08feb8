//! Outside programs that judge: found, and never skipped silently where it matters.

use std::io::Write;
use std::process::{Command, Stdio};

/// Whether all of `programs` (by path or by name in `PATH`) are installed. Without one of them the test has nothing
/// to say: it is skipped with a message, or fails when `CI` is set.
pub(crate) fn installed(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| !is_installed(program))
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "not installed: {missing:?}"
    );
    let _ = writeln!(std::io::stderr(), "skipped: not installed: {missing:?}");
    false
}

fn is_installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
