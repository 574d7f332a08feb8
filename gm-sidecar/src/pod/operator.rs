//! Requests to the operator's enrolment endpoint.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use operator_api::enrolment::Refusal;
use operator_api::pod as place;
use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// How long connection and handshake may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take beyond what was asked for.
const ANSWER: Duration = Duration::from_secs(15);
/// Largest answer.
const LARGEST: usize = 4 << 20;

/// The endpoint. Its files are read for every request: the kubelet renews the token, the operator its authority.
pub(super) struct Operator {
    directory: PathBuf,
    mark: u32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Not now; trying again may help.
    #[error("the operator does not answer: {0}")]
    Unreachable(String),
    /// Not yet; the operator says why.
    #[error("{0}")]
    NotReady(String),
    /// Refused.
    #[error("the operator refuses: {reason}: {message}")]
    Refused {
        /// One word.
        reason: String,
        /// In words.
        message: String,
    },
}

impl Operator {
    pub(super) fn new(directory: &Path, mark: u32) -> Self {
        Self {
            directory: directory.to_owned(),
            mark,
        }
    }

    /// Posts `body`; nothing when the answer is that there is nothing new. `wait` is how long the operator was asked to
    /// wait.
    pub(super) async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<Option<A>, Unanswered> {
        let exchange = self.exchange(path, body);
        tokio::time::timeout(wait.saturating_add(ANSWER), exchange)
            .await
            .map_err(|_| Unanswered::Unreachable("no answer in time".to_owned()))?
    }

    async fn exchange<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Option<A>, Unanswered> {
        let failed = |error: &dyn std::fmt::Display| Unanswered::Unreachable(error.to_string());
        let octets = serde_json::to_vec(body).map_err(|error| failed(&error))?;
        let token = Zeroizing::new(self.file(place::TOKEN_FILE)?);
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let authorization = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut authorization = header::HeaderValue::from_str(&authorization)
            .map_err(|_| Unanswered::Unreachable("the token is no text".to_owned()))?;
        authorization.set_sensitive(true);
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, "enrolment")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::AUTHORIZATION, authorization)
            .body(Full::new(Bytes::from(octets)))
            .map_err(|error| failed(&error))?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| failed(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST)
                .collect()
                .await
                .map_err(|error| Unanswered::Unreachable(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let driver = async {
            // Its own error shows as an error of the request.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        let (status, body) = tokio::select! {
            biased;
            answer = answer => answer?,
            () = driver => return Err(Unanswered::Unreachable("the connection ended".to_owned())),
        };
        understood(status, &body)
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Unanswered> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Unanswered::Unreachable(format!("{what}: {error}"))
        };
        let endpoint: SocketAddr = self
            .file(place::ENDPOINT_FILE)?
            .trim()
            .parse()
            .map_err(|error| failed(place::ENDPOINT_FILE, &error))?;
        let name = self.file(place::SERVER_NAME_FILE)?;
        let name = ServerName::try_from(name.trim().to_owned())
            .map_err(|error| failed(place::SERVER_NAME_FILE, &error))?;
        let trust = self.file(place::TRUST_FILE)?;
        let config = tls(&trust).map_err(|error| failed(place::TRUST_FILE, &error))?;
        let connect = async {
            let stream = marked(endpoint, self.mark)?.connect(endpoint).await?;
            TlsConnector::from(config).connect(name, stream).await
        };
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(result) => result.map_err(|error| failed(&endpoint.to_string(), &error)),
            Err(_) => Err(Unanswered::Unreachable(format!(
                "{endpoint}: no connection in time"
            ))),
        }
    }

    fn file(&self, name: &str) -> Result<String, Unanswered> {
        let path = self.directory.join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| Unanswered::Unreachable(format!("{}: {error}", path.display())))
    }
}

/// A socket whose packets pass the drop rules, by its mark.
fn marked(remote: SocketAddr, mark: u32) -> io::Result<TcpSocket> {
    let socket = Socket::new(
        Domain::for_address(remote),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_mark(mark)?;
    socket.set_nonblocking(true)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

fn tls(trust: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trust.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = runtime::tls::provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn understood<A: DeserializeOwned>(
    status: StatusCode,
    body: &[u8],
) -> Result<Option<A>, Unanswered> {
    if status == StatusCode::NO_CONTENT {
        return Ok(None);
    }
    if status.is_success() {
        return serde_json::from_slice(body)
            .map(Some)
            .map_err(|error| Unanswered::Unreachable(format!("an unreadable answer: {error}")));
    }
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_else(|_| Refusal {
        reason: status.as_str().to_owned(),
        message: String::from_utf8_lossy(body).into_owned(),
    });
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return Err(Unanswered::NotReady(refusal.message));
    }
    Err(Unanswered::Refused {
        reason: refusal.reason,
        message: refusal.message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let nothing = understood::<u32>(StatusCode::NO_CONTENT, b"");
        assert!(matches!(nothing, Ok(None)));
        assert!(matches!(
            understood::<u32>(StatusCode::OK, b"7"),
            Ok(Some(7))
        ));
        let body = br#"{"reason":"NotSelected","message":"no GroupMember chooses it"}"#;
        let refused = understood::<u32>(StatusCode::FORBIDDEN, body).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "the operator refuses: NotSelected: no GroupMember chooses it"
        );
        let later = understood::<u32>(StatusCode::SERVICE_UNAVAILABLE, body).expect_err("later");
        assert!(matches!(later, Unanswered::NotReady(_)));
        let garbage = understood::<u32>(StatusCode::BAD_GATEWAY, b"<html>").expect_err("no answer");
        assert!(matches!(garbage, Unanswered::Refused { .. }));
    }
}
