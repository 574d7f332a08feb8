//! What the sidecar of a pod says, by running its own program in it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use operator_api::pod;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::connection::Connection;
use super::error::ClusterError;

/// Most octets of an answer.
const MOST: u64 = 4 << 20;

/// The state of a member, as `gm-sidecar status --output json` gives it.
///
/// # Errors
/// [`ClusterError::Member`].
pub async fn state(connection: &Connection, name: &str) -> Result<Value, ClusterError> {
    let socket = format!("{}/{}", pod::STATE_DIRECTORY, pod::CONTROL_SOCKET_FILE);
    let program = [
        pod::PROGRAM,
        "status",
        "--socket",
        &socket,
        "--output",
        "json",
    ];
    let text = run(connection, name, pod::CONTAINER, &program).await?;
    serde_json::from_str(&text).map_err(|error| failed(connection, name, error.to_string()))
}

/// Runs a program in a container of a pod; what it wrote.
///
/// # Errors
/// [`ClusterError::Member`] with what it complained about.
pub async fn run(
    connection: &Connection,
    name: &str,
    container: &str,
    program: &[&str],
) -> Result<String, ClusterError> {
    let parameters = AttachParams::default().container(container);
    let pods = connection.named::<Pod>();
    let mut process = pods
        .exec(name, program.iter().copied(), &parameters)
        .await
        .map_err(ClusterError::api(format!(
            "run {} in container {container} of pod {}/{name}",
            program.first().copied().unwrap_or_default(),
            connection.namespace
        )))?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let (said, complained) = tokio::join!(read_all(stdout), read_all(stderr));
    let unreadable = |error: std::io::Error| failed(connection, name, error.to_string());
    let (said, complained) = (said.map_err(unreadable)?, complained.map_err(unreadable)?);
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    match status.and_then(|status| status.status) {
        Some(word) if word == "Success" => Ok(said),
        _ => Err(failed(connection, name, complained.trim().to_owned())),
    }
}

async fn read_all(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut text = String::new();
    if let Some(stream) = stream {
        stream.take(MOST).read_to_string(&mut text).await?;
    }
    Ok(text)
}

fn failed(connection: &Connection, name: &str, message: String) -> ClusterError {
    let message = if message.is_empty() {
        "no answer".to_owned()
    } else {
        message
    };
    ClusterError::Member {
        pod: format!("{}/{name}", connection.namespace),
        message,
    }
}
