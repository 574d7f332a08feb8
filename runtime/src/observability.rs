//! The plain-HTTP endpoint of a process for probes and Prometheus: `/livez`, `/readyz`, `/metrics`.
//!
//! It serves no secret and changes nothing, so it needs no TLS; bind it to loopback or the pod's
//! own address.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::shutdown::Shutdown;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Routes `/livez`, `/readyz` and `/metrics`.
pub fn router(health: Health, registry: Arc<Registry>) -> Router {
    Router::new()
        .route(
            "/livez",
            get(|State(state): State<Endpoint>| async move { probe(state.health.live()) }),
        )
        .route(
            "/readyz",
            get(|State(state): State<Endpoint>| async move { probe(state.health.ready()) }),
        )
        .route("/metrics", get(metrics))
        .with_state(Endpoint { health, registry })
}

/// Serves [`router`] on `listen` until shutdown.
///
/// # Errors
/// When the address cannot be bound; the message names it.
pub async fn serve(
    listen: SocketAddr,
    health: Health,
    registry: Arc<Registry>,
    mut shutdown: Shutdown,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        std::io::Error::new(error.kind(), format!("metrics endpoint {listen}: {error}"))
    })?;
    axum::serve(listener, router(health, registry))
        .with_graceful_shutdown(async move { shutdown.wait().await })
        .await
}

#[derive(Clone)]
struct Endpoint {
    health: Health,
    registry: Arc<Registry>,
}

fn probe(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(state): State<Endpoint>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &state.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
