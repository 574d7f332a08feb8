//! Async client of the admin API: mutual TLS, one connection per request, follows the way to the primary.

mod error;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use self::error::ClientError;
use crate::error::{ErrorBody, ErrorCode};
use crate::path;
use crate::policy::GroupPolicy;
use crate::request::{
    AdmitRequest, EvictRequest, RekeyAccepted, RekeyRequest, SigningKeyExport,
    SigningKeyExportRequest, SigningKeyImportRequest, SigningKeyRotationRequest,
};
use crate::status::{GroupStatus, MemberRow, ServerStatus, SigningKeyStatus};

/// Largest answer that is read.
const MAXIMUM_ANSWER_OCTETS: usize = 64 << 20;
/// How long connection and TLS handshake may take unless told otherwise. Nothing was sent before they are done, so
/// the next address is tried; a key server that was cut off does not use up the time of the whole request.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Most times a request is passed on to another key server.
const MAXIMUM_REDIRECTS: usize = 4;

/// Client of the admin API of a group of cooperative key servers.
#[derive(Clone)]
pub struct Client {
    addresses: Vec<String>,
    tls: Arc<rustls::ClientConfig>,
    server_name: Option<ServerName<'static>>,
    timeout: Duration,
    connect_timeout: Duration,
}

impl Client {
    /// A client that tries `addresses` (`host:port`) in order and proves itself with the certificate in `tls`.
    pub fn new(addresses: Vec<String>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            addresses,
            tls,
            server_name: None,
            timeout: Duration::from_secs(10),
            connect_timeout: CONNECT_LIMIT,
        }
    }

    /// Expects this name in the certificates instead of the host of the address.
    #[must_use]
    pub fn with_server_name(mut self, name: ServerName<'static>) -> Self {
        self.server_name = Some(name);
        self
    }

    /// The same client for other addresses, for example for the primary that a status names.
    #[must_use]
    pub fn at(mut self, addresses: Vec<String>) -> Self {
        self.addresses = addresses;
        self
    }

    /// Limits each request to `timeout` (10 s unless told).
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits connection and TLS handshake, each, to `timeout` (2 s unless told).
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// State of the first key server that answers.
    ///
    /// # Errors
    /// [`ClientError`]; of the last address tried when none answered.
    pub async fn status(&self) -> Result<ServerStatus, ClientError> {
        self.request(Method::GET, path::STATUS, &()).await
    }

    /// Sets the policy of a group, making the group when it is new.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::InvalidPolicy`] when a rule is broken.
    pub async fn put_group(&self, policy: &GroupPolicy) -> Result<GroupStatus, ClientError> {
        self.request(Method::PUT, &path::group(&policy.name), policy)
            .await
    }

    /// State of a group.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::GroupNotFound`].
    pub async fn group(&self, name: &str) -> Result<GroupStatus, ClientError> {
        self.request(Method::GET, &path::group(name), &()).await
    }

    /// Policy of a group.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::GroupNotFound`].
    pub async fn policy(&self, name: &str) -> Result<GroupPolicy, ClientError> {
        self.request(Method::GET, &path::policy(name), &()).await
    }

    /// Removes a group: its keys are forgotten, its members go on until theirs end.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::GroupNotFound`].
    pub async fn delete_group(&self, name: &str) -> Result<(), ClientError> {
        self.request(Method::DELETE, &path::group(name), &()).await
    }

    /// Members of a group.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::GroupNotFound`].
    pub async fn members(&self, name: &str) -> Result<Vec<MemberRow>, ClientError> {
        self.request(Method::GET, &path::members(name), &()).await
    }

    /// Makes the next key current now.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn rekey(
        &self,
        name: &str,
        request: &RekeyRequest,
    ) -> Result<RekeyAccepted, ClientError> {
        self.request(Method::POST, &path::rekey(name), request)
            .await
    }

    /// Excludes a member: it can open nothing new and may not register again until it is admitted.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::MemberNotFound`].
    pub async fn evict(
        &self,
        name: &str,
        request: &EvictRequest,
    ) -> Result<RekeyAccepted, ClientError> {
        self.request(Method::POST, &path::evict(name), request)
            .await
    }

    /// Lets an evicted identity register again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::MemberNotFound`] when no such identity was evicted.
    pub async fn admit(&self, name: &str, request: &AdmitRequest) -> Result<(), ClientError> {
        self.request(Method::POST, &path::admit(name), request)
            .await
    }

    /// Exports the signing key, encrypted under a passphrase.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn export_signing_key(
        &self,
        name: &str,
        request: &SigningKeyExportRequest,
    ) -> Result<SigningKeyExport, ClientError> {
        self.request(Method::POST, &path::signing_key_export(name), request)
            .await
    }

    /// Replaces the signing key by a new one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::SigningKeyConflict`] when the label is that of the present key.
    pub async fn rotate_signing_key(
        &self,
        name: &str,
        request: &SigningKeyRotationRequest,
    ) -> Result<SigningKeyStatus, ClientError> {
        self.request(Method::POST, &path::signing_key_rotation(name), request)
            .await
    }

    /// Imports a signing key.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::SigningKeyConflict`] or [`ErrorCode::InvalidSigningKey`].
    pub async fn import_signing_key(
        &self,
        name: &str,
        request: &SigningKeyImportRequest,
    ) -> Result<SigningKeyStatus, ClientError> {
        self.request(Method::POST, &path::signing_key_import(name), request)
            .await
    }

    /// Asks the primary to hand leadership on.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn step_down(&self) -> Result<(), ClientError> {
        self.request(Method::POST, path::STEP_DOWN, &()).await
    }

    /// Removes a key server from the group; its data directory is not taken in again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::PeerNotFound`], or with [`ErrorCode::NoQuorum`] when nobody could
    /// take over from the one that is to go.
    pub async fn remove_peer(&self, name: &str) -> Result<(), ClientError> {
        self.request(Method::DELETE, &path::peer(name), &()).await
    }

    /// Sends one request to the first address that answers, then wherever `NotPrimary` points.
    async fn request<B: Serialize + Sync, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<A, ClientError> {
        let reads = method == Method::GET || method == Method::DELETE;
        let octets = if reads || path == path::STEP_DOWN {
            Bytes::new()
        } else {
            Bytes::from(
                serde_json::to_vec(body).map_err(|source| ClientError::Answer {
                    address: "request".to_owned(),
                    status: 0,
                    source,
                })?,
            )
        };
        let mut last = ClientError::NoAddress;
        for address in &self.addresses {
            match self.follow(address, &method, path, octets.clone()).await {
                // Nothing was sent, or nothing was done: another key server may do it.
                Err(
                    error @ (ClientError::Address { .. }
                    | ClientError::Connect { .. }
                    | ClientError::Tls { .. }),
                ) => last = error,
                Err(
                    error @ ClientError::Refused {
                        status: 409 | 503, ..
                    },
                ) if not_done(&error) => last = error,
                Err(error @ (ClientError::TimedOut { .. } | ClientError::Http { .. }))
                    if method == Method::GET =>
                {
                    last = error;
                }
                other => return other,
            }
        }
        Err(last)
    }

    async fn follow<A: DeserializeOwned>(
        &self,
        address: &str,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<A, ClientError> {
        let mut address = address.to_owned();
        for _ in 0..MAXIMUM_REDIRECTS {
            let exchange = self.exchange(&address, method.clone(), path, body.clone());
            let result = tokio::time::timeout(self.timeout, exchange)
                .await
                .unwrap_or_else(|_| {
                    Err(ClientError::TimedOut {
                        address: address.clone(),
                        seconds: self.timeout.as_secs(),
                    })
                });
            match result {
                Err(ClientError::Refused { status, body }) => match (&body.code, &body.primary) {
                    (ErrorCode::NotPrimary, Some(primary)) if *primary != address => {
                        address.clone_from(primary)
                    }
                    _ => return Err(ClientError::Refused { status, body }),
                },
                other => return other,
            }
        }
        Err(ClientError::Refused {
            status: 409,
            body: ErrorBody {
                code: ErrorCode::NotPrimary,
                message: "the key servers do not agree on who is primary; try again".to_owned(),
                primary: None,
            },
        })
    }

    async fn exchange<A: DeserializeOwned>(
        &self,
        address: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<A, ClientError> {
        let host = address
            .rsplit_once(':')
            .map(|(host, _)| {
                host.trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned()
            })
            .ok_or_else(|| ClientError::Address {
                address: address.to_owned(),
            })?;
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host).map_err(|_| ClientError::Address {
                address: address.to_owned(),
            })?,
        };
        let http = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Http {
            address: address.to_owned(),
            source,
        };
        let tcp = within(self.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|source| ClientError::Connect {
                address: address.to_owned(),
                source,
            })?;
        let handshake = TlsConnector::from(self.tls.clone()).connect(name, tcp);
        let tls = within(self.connect_timeout, handshake)
            .await
            .map_err(|source| ClientError::Tls {
                address: address.to_owned(),
                source,
            })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(|error| http(error.into()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, address)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|error| http(error.into()))?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| http(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAXIMUM_ANSWER_OCTETS)
                .collect()
                .await
                .map_err(http)?;
            Ok::<_, ClientError>((status, body.to_bytes()))
        };
        let driver = async {
            // The connection's own error shows as an error of the request.
            let _closed = connection.await;
            std::future::pending::<()>().await;
        };
        let (status, body) = tokio::select! {
            biased;
            result = answer => result?,
            () = driver => return Err(http("connection closed before the answer".into())),
        };
        read_answer(address, status, &body)
    }
}

/// The result of `work`, or that it took too long.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Whether a refusal says that another key server may still do it.
fn not_done(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { body, .. } if matches!(body.code, ErrorCode::NotPrimary | ErrorCode::NoQuorum))
}

fn read_answer<A: DeserializeOwned>(
    address: &str,
    status: StatusCode,
    body: &[u8],
) -> Result<A, ClientError> {
    let unreadable = |source| ClientError::Answer {
        address: address.to_owned(),
        status: status.as_u16(),
        source,
    };
    if status.is_success() {
        let body = if body.is_empty() {
            b"null".as_slice()
        } else {
            body
        };
        return serde_json::from_slice(body).map_err(unreadable);
    }
    let body = serde_json::from_slice(body).map_err(unreadable)?;
    Err(ClientError::Refused {
        status: status.as_u16(),
        body,
    })
}

#[cfg(test)]
mod tests;
