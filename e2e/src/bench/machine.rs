//! On what was measured, and with which versions.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use runtime::shutdown::Shutdown;

use super::child::run;

/// How long a program may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What a reader has to know to judge the figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// When the run began: UTC, RFC 3339.
    pub date: String,
    /// Commit of our programs; with `-dirty` when the sources differ from it.
    pub commit: String,
    /// Model of the processor.
    pub processor: String,
    /// Processors that this program may use.
    pub processors: usize,
    /// Name and version of the kernel.
    pub kernel: String,
    /// Version of `iperf3`.
    pub iperf3: String,
    /// The compiler of our programs.
    pub rustc: String,
}

impl Machine {
    /// This machine, now. What cannot be told is `unknown`.
    ///
    /// # Errors
    /// When the user wants to end.
    pub fn of_now(shutdown: &Shutdown) -> Result<Self> {
        super::child::go_on(shutdown)?;
        let told = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            let source = Path::new(env!("CARGO_MANIFEST_DIR"));
            command.args(arguments).current_dir(source);
            let told = run(&mut command, ANSWER, shutdown).unwrap_or_default();
            let line = told.lines().next().unwrap_or_default().trim();
            if line.is_empty() { "unknown" } else { line }.to_owned()
        };
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            date: told("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            commit: told(
                "git",
                &[
                    "describe",
                    "--always",
                    "--dirty",
                    "--abbrev=12",
                    "--exclude",
                    "*",
                ],
            ),
            processor: model(&information).unwrap_or_else(|| "unknown".to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: told("uname", &["-sr"]),
            iperf3: told("iperf3", &["--version"]),
            rustc: told("rustc", &["--version"]),
        })
    }
}

/// The processor's name in `/proc/cpuinfo`.
fn model(information: &str) -> Option<String> {
    information.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn the_processor_is_named_as_the_kernel_names_it() {
        let text = "processor\t: 0\nmodel name\t: A Processor @ 2.0GHz\nflags\t: aes\n";
        assert_eq!(model(text).as_deref(), Some("A Processor @ 2.0GHz"));
        assert_eq!(model("processor\t: 0\n"), None);
    }
}
