//! HTTP over mutual TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use runtime::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const MOST_CONNECTIONS: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest a connection may live: requests are short, and waiting for a commit is bounded.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the admin endpoint does not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.listen {address}: {cause}; another process uses it, or it is no address of this host"
)]
pub struct AdminError {
    address: SocketAddr,
    cause: String,
}

/// Listens on `address`.
///
/// # Errors
/// [`AdminError`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| AdminError {
            address,
            cause: error.to_string(),
        })
}

/// Serves `router` until shutdown; requests under way are finished.
pub async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    mut shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
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
                tracing::warn!(%error, "cannot accept an admin connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "too many admin connections; this one is closed");
            continue;
        };
        let connection = connection(stream, peer, acceptor.clone(), router.clone());
        connections.spawn(async move {
            let _slot = slot;
            if tokio::time::timeout(CONNECTION_TIMEOUT, connection)
                .await
                .is_err()
            {
                tracing::debug!(%peer, "an admin connection was open too long");
            }
        });
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    // What does not finish soon is cut off with the process.
    let _ = tokio::time::timeout(Duration::from_secs(1), finished).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, router: Router) {
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "refused an admin connection");
            return;
        }
        Err(_) => {
            tracing::info!(%peer, "an admin connection did not authenticate in time");
            return;
        }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "an admin connection ended");
    }
}
