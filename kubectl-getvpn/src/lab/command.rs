//! Runs the system programs that a lab needs (`ip`, `nft`) and turns failures into errors.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::error::LabError;

/// Calls of system programs.
pub(crate) struct Program;

impl Program {
    /// Runs a program to its end and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it cannot be started or ends with another code than 0.
    pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, LabError> {
        Self::with_input(program, arguments, "")
    }

    /// Gives `ip -batch` all lines at once, in a namespace when one is named.
    ///
    /// # Errors
    /// When one line fails; the message names it.
    pub(crate) fn ip_batch(namespace: Option<&str>, lines: &[String]) -> Result<(), LabError> {
        let mut arguments = Vec::new();
        if let Some(namespace) = namespace {
            arguments.extend(["-n", namespace]);
        }
        arguments.extend(["-batch", "-"]);
        let mut input = lines.join("\n");
        input.push('\n');
        Self::with_input("ip", &arguments, &input).map(drop)
    }

    /// Gives `nft` a script inside a namespace.
    ///
    /// # Errors
    /// When `nft` refuses the script.
    pub(crate) fn nft(namespace: &str, script: &str) -> Result<(), LabError> {
        let arguments = ["netns", "exec", namespace, "nft", "-f", "-"];
        Self::with_input("ip", &arguments, script).map(drop)
    }

    fn with_input(program: &str, arguments: &[&str], input: &str) -> Result<String, LabError> {
        let command = || format!("{program} {}", arguments.join(" "));
        let failed = |source: std::io::Error| LabError::Program {
            command: command(),
            message: source.to_string(),
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut standard_input) = child.stdin.take() {
            // A program that ended early closes the pipe; its own message says why.
            let _ = standard_input.write_all(input.as_bytes());
        }
        let output: Output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::Program {
            command: command(),
            message: String::from_utf8_lossy(&output.stderr)
                .trim()
                .replace('\n', "; "),
        })
    }

    /// Where a program is in `PATH`, or in the system's own directories.
    #[must_use]
    pub(crate) fn find(program: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
            .map(|directory| directory.join(program))
            .find(|candidate| candidate.is_file())
    }
}
