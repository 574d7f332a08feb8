//! Writes to standard output, whose reader may go away at any time, as `head` does.

use std::fmt;
use std::io::Write;

use kubectl_getvpn::lab::error::LabError;

/// Writes text.
///
/// # Errors
/// [`LabError::Output`].
pub(crate) fn write(text: fmt::Arguments<'_>) -> Result<(), LabError> {
    let mut out = std::io::stdout().lock();
    out.write_fmt(text)
        .and_then(|()| out.flush())
        .map_err(LabError::Output)
}

/// Writes a line, and returns from the function when that fails.
macro_rules! say {
    ($($arguments:tt)+) => {
        $crate::standard_output::write(format_args!("{}\n", format_args!($($arguments)+)))?
    };
}

/// Writes text as it is, and returns from the function when that fails.
macro_rules! say_text {
    ($($arguments:tt)+) => { $crate::standard_output::write(format_args!($($arguments)+))? };
}
