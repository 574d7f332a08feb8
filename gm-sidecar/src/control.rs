//! The control socket: HTTP/1.1 with JSON over a unix socket, for the administrator of this host.
//!
//! `GET /v1/status`, `POST /v1/reregister` (optional body `{"groupID": 7, "fresh": true}`),
//! `POST /v1/shutdown`, and `/livez`, `/readyz`, `/metrics` as on the metrics endpoint. Whoever may
//! open the socket file may do all of this; it never shows a key.

pub mod access_list;
pub mod client;
pub mod report;
pub mod table;

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use runtime::health::Health;
use runtime::shutdown::{Shutdown, Trigger};
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use report::Report;

/// Something an administrator asks of the running member.
#[derive(Debug)]
pub enum Command {
    /// Tell the state.
    Status(oneshot::Sender<Report>),
    /// Register again.
    Reregister {
        /// With this group only.
        group_id: Option<u32>,
        /// Forget keys and policy first; fails closed until registered.
        fresh: bool,
        /// Number of groups that will register.
        answer: oneshot::Sender<usize>,
    },
}

/// Body of a request to register again.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Reregister {
    #[serde(rename = "groupID")]
    group_id: Option<u32>,
    fresh: bool,
}

/// Makes the socket file, readable for its owner only. A file left by a dead process is replaced.
///
/// # Errors
/// The operating system's answer, with the path. A living process on the socket is an error.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let explain = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("controlSocket: {}: {error}", path.display()),
        )
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(explain)?;
    }
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(explain(io::Error::other("is there and is no socket")));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(explain(io::Error::other(
                "another process answers there; is this member running already?",
            )));
        }
        std::fs::remove_file(path).map_err(explain)?;
    }
    let listener = UnixListener::bind(path).map_err(explain)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(explain)?;
    Ok(listener)
}

/// Serves the control socket until shutdown.
///
/// # Errors
/// When the socket fails altogether.
pub async fn serve(
    listener: UnixListener,
    commands: mpsc::Sender<Command>,
    health: Health,
    registry: Arc<Registry>,
    trigger: Trigger,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    let endpoint = Endpoint { commands, trigger };
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reregister", post(reregister))
        .route("/v1/shutdown", post(end))
        .with_state(endpoint)
        .merge(runtime::observability::router(health, registry));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { shutdown.wait().await })
        .await
}

#[derive(Clone)]
struct Endpoint {
    commands: mpsc::Sender<Command>,
    trigger: Trigger,
}

impl Endpoint {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.commands.send(command(sender)).await.ok()?;
        answer.await.ok()
    }
}

fn ending() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the member is ending\n").into_response()
}

async fn status(State(endpoint): State<Endpoint>) -> Response {
    match endpoint.ask(Command::Status).await {
        Some(report) => Json(report).into_response(),
        None => ending(),
    }
}

async fn reregister(State(endpoint): State<Endpoint>, body: Bytes) -> Response {
    let request = if body.is_empty() {
        Ok(Reregister::default())
    } else {
        serde_json::from_slice(&body)
    };
    let Reregister { group_id, fresh } = match request {
        Ok(request) => request,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, format!("body: {error}\n")).into_response();
        }
    };
    let asked = endpoint.ask(|answer| Command::Reregister {
        group_id,
        fresh,
        answer,
    });
    match asked.await {
        Some(0) => (StatusCode::NOT_FOUND, "no such group\n").into_response(),
        Some(groups) => Json(serde_json::json!({ "groups": groups })).into_response(),
        None => ending(),
    }
}

async fn end(State(endpoint): State<Endpoint>) -> Response {
    endpoint.trigger.fire();
    (StatusCode::ACCEPTED, "ending\n").into_response()
}
