//! The key server program.

use std::process::ExitCode;

use clap::Parser;
use keyserver::cli::{Arguments, Command};
use keyserver::process::{self, ProcessError};
use runtime::exit;

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    // The consensus library repeats every failed heartbeat; what it means is said here once. Its
    // own notes are there for who asks for them by name.
    if !arguments.log.log.contains("openraft") {
        arguments.log.log.push_str(",openraft=error");
    }
    if let Err(error) = runtime::logging::init(&arguments.log) {
        eprintln!("keyserver: {error}");
        return ExitCode::from(exit::USAGE);
    }
    let Some(path) = &arguments.config else {
        eprintln!("keyserver: no configuration; give --config FILE or set GETVPN_CONFIG");
        return ExitCode::from(exit::USAGE);
    };
    let result = match arguments.command.unwrap_or(Command::Run) {
        Command::Check => process::check(path).map(|summary| println!("{summary}")),
        Command::Run => run(path),
    };
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("keyserver: {}", error.with_causes());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(path: &std::path::Path) -> Result<(), ProcessError> {
    let hardening = runtime::hardening::apply();
    if !hardening.undumpable {
        tracing::warn!("core dumps of this process could not be forbidden");
    }
    if !hardening.memory_locked {
        tracing::info!(
            "memory is not locked: keys may reach swap; raise the memlock limit or run without swap"
        );
    }
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            ProcessError::Environment(format!("cannot start worker threads: {error}"))
        })?;
    executor.block_on(process::run(path))
}
