//! Where the admin endpoint listens.

use std::net::SocketAddr;
use std::time::Duration;

use runtime::https::Endpoint;
use tokio::net::TcpListener;

/// Bounds of the admin endpoint: requests are short, and waiting for a commit is bounded.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "admin",
    most_connections: 64,
    longest_connection: Duration::from_secs(60),
};

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
