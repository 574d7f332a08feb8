//! The `kubectl getvpn` plugin.

#[macro_use]
mod standard_output;

mod command;
mod show;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;
use kubectl_getvpn::cli::Arguments;
use kubectl_getvpn::lab::error::LabError;

fn main() -> ExitCode {
    match command::run(Arguments::parse()) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(command::Failure::Lab(LabError::Output(error)))
            if error.kind() == ErrorKind::BrokenPipe =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
