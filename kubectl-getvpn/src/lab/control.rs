//! Asks a member by its control socket: HTTP/1.1 with JSON over a unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::error::LabError;
use super::state::Node;

/// How long a member may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// An answer of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Sends one request to a member.
///
/// # Errors
/// [`LabError::Control`] when the socket is not there or the answer is no HTTP.
pub fn request(node: &Node, method: &str, path: &str) -> Result<Answer, LabError> {
    let failed = |message: String| LabError::Control {
        node: node.name.clone(),
        message,
    };
    let socket = node
        .control_socket
        .as_deref()
        .ok_or_else(|| failed("is a key server and has no control socket".to_owned()))?;
    exchange(socket, method, path)
        .map_err(|error| failed(format!("no answer on {}: {error}", socket.display())))
}

/// The member's state as it tells it.
///
/// # Errors
/// [`LabError::Control`] when there is no answer, or one that is no JSON.
pub fn status(node: &Node) -> Result<serde_json::Value, LabError> {
    let answer = request(node, "GET", "/v1/status")?;
    serde_json::from_str(&answer.body).map_err(|error| LabError::Control {
        node: node.name.clone(),
        message: format!("status {}, and no JSON: {error}", answer.status),
    })
}

/// Whether the member has keys, its receive path and its drop rules.
///
/// # Errors
/// Why not, in words.
pub fn ready(node: &Node) -> Result<(), String> {
    match request(node, "GET", "/readyz") {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(answer.body.trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn exchange(socket: &Path, method: &str, path: &str) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    // HTTP/1.0: the answer ends where the connection does, in one piece.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: member\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_of_an_answer_are_read() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno keys\n");
        let answer = answer.expect("well-formed");
        assert_eq!((answer.status, answer.body.as_str()), (503, "no keys\n"));
        assert_eq!(parse("garbage"), None);
    }
}
