//! The operator's program.

use std::process::ExitCode;

use clap::Parser;
use operator::cli::Arguments;
use runtime::exit;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = runtime::logging::init(&arguments.log) {
        eprintln!("operator: {error}");
        return ExitCode::from(exit::USAGE);
    }
    let hardening = runtime::hardening::apply();
    if !hardening.undumpable {
        tracing::warn!("core dumps of this process could not be forbidden");
    }
    let executor = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(executor) => executor,
        Err(error) => {
            eprintln!("operator: cannot start worker threads: {error}");
            return ExitCode::from(exit::FAILURE);
        }
    };
    match executor.block_on(operator::process::run(arguments)) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("operator: {error:#}");
            ExitCode::from(exit::FAILURE)
        }
    }
}
