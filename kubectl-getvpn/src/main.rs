//! The `kubectl getvpn` plugin.

#[macro_use]
mod standard_output;

mod cli;
mod command;
mod show;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;
use kubectl_getvpn::lab::error::LabError;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match command::run(arguments.command) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(LabError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(&error)
        }
    }
}
