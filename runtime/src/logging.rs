//! Structured logs on standard error, as text for people or JSON for collectors.

use std::fmt;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Command-line options about logging; flatten this into a program's own arguments.
#[derive(Args, Clone, Debug)]
pub struct LogArguments {
    /// Which events to log: a level (error, warn, info, debug, trace) or a filter such as
    /// `info,keyserver=debug`
    #[arg(long, env = "GETVPN_LOG", default_value = "info", global = true)]
    pub log: String,
    /// Form of the log lines
    #[arg(long, env = "GETVPN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
}

/// Why logging could not be set up.
#[derive(Debug)]
pub struct LogError(String);

impl fmt::Display for LogError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}

/// Installs the process-wide log writer. Call once, first thing in `main`.
///
/// # Errors
/// When the filter cannot be parsed, or a log writer is installed already.
pub fn init(arguments: &LogArguments) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&arguments.log).map_err(|error| {
        LogError(format!(
            "--log: `{}` is no level or filter: {error}; use for example `info` or `info,keyserver=debug`",
            arguments.log
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let installed = match arguments.log_format {
        LogFormat::Text => builder.with_ansi(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    installed.map_err(|error| LogError(format!("logging is set up already: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named_with_a_remedy() {
        let error = init(&LogArguments {
            log: "keyserver=loud".to_owned(),
            log_format: LogFormat::Text,
        })
        .expect_err("`loud` is no level");
        assert!(error.to_string().contains("`keyserver=loud`"));
        assert!(error.to_string().contains("use for example"));
    }
}
