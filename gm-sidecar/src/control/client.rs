//! One request to a member's control socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::report::Report;

/// How long the member may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a member's state could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("{socket}: no answer: {cause}; is the member running?")]
    NoAnswer {
        /// The socket.
        socket: String,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The answer is not what a member says.
    #[error("{socket}: unexpected answer: {answer}")]
    Unexpected {
        /// The socket.
        socket: String,
        /// Its first line.
        answer: String,
    },
}

/// The state of the member that listens on `socket`.
///
/// # Errors
/// [`ClientError`].
pub fn status(socket: &Path) -> Result<Report, ClientError> {
    let name = || socket.display().to_string();
    let answer = exchange(socket, "GET /v1/status").map_err(|cause| ClientError::NoAnswer {
        socket: name(),
        cause,
    })?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(|_| ClientError::Unexpected {
        socket: name(),
        answer: answer.lines().next().unwrap_or_default().to_owned(),
    })
}

fn exchange(socket: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // HTTP/1.0: the answer ends where the connection does, in one piece.
    write!(stream, "{request} HTTP/1.0\r\nHost: member\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
