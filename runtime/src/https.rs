//! HTTP/1.1 over TLS, with bounds on everything that a peer can hold on to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::shutdown::Shutdown;

/// How long a peer may take to prove itself.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take at the end.
const ENDING: Duration = Duration::from_secs(1);

/// What an endpoint is called in logs, and what it bears.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Its name in logs.
    pub name: &'static str,
    /// Connections at the same time; one more is closed at once.
    pub most_connections: usize,
    /// Longest life of a connection.
    pub longest_connection: Duration,
}

/// Serves `router` until shutdown; requests under way are finished. Whatever `tls` holds when a connection comes is what
/// it is served with.
pub async fn serve(
    endpoint: Endpoint,
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    router: Router,
    mut shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(endpoint.most_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(endpoint = endpoint.name, %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::warn!(endpoint = endpoint.name, %peer, "too many connections; this one is closed");
            continue;
        };
        // What holds now decides: credentials may have been replaced since the last connection.
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let connection = connection(endpoint.name, stream, peer, acceptor, router.clone());
        connections.spawn(async move {
            let _slot = slot;
            if tokio::time::timeout(endpoint.longest_connection, connection)
                .await
                .is_err()
            {
                tracing::debug!(endpoint = endpoint.name, %peer, "a connection was open too long");
            }
        });
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    // What does not finish soon is cut off with the process.
    let _ = tokio::time::timeout(ENDING, finished).await;
}

async fn connection(
    endpoint: &'static str,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
) {
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(endpoint, %peer, %error, "refused a connection");
            return;
        }
        Err(_) => {
            tracing::info!(endpoint, %peer, "a peer did not prove itself in time");
            return;
        }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(endpoint, %peer, %error, "a connection ended");
    }
}
