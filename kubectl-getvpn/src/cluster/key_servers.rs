//! The key servers of a group, asked by their admin API.

use std::sync::Arc;
use std::time::Duration;

use crds::v1alpha1::GetVpnGroup;
use k8s_openapi::api::core::v1::{Pod, Secret};
use keyserver_api::client::{Client, ClientError};
use keyserver_api::status::ServerStatus;
use kube::ResourceExt;
use kube::api::ListParams;
use operator_core::key_server::build::ADMIN_PORT;
use operator_core::{labels, names};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::connection::Connection;
use super::error::ClusterError;
use super::forward::{Forward, forward};

/// How long connection and handshake may take, each: the way leads through the API server.
const CONNECT: Duration = Duration::from_secs(5);

/// One key server.
struct Peer {
    name: String,
    client: Client,
    _forward: Forward,
}

/// The key servers of a group that run, the primary first as far as the group's status tells.
pub struct KeyServers {
    group: String,
    peers: Vec<Peer>,
}

impl KeyServers {
    /// Forwards a port of each.
    ///
    /// # Errors
    /// When none runs, or the group's administrator certificate cannot be read.
    pub async fn of(connection: &Connection, group: &GetVpnGroup) -> Result<Self, ClusterError> {
        let own = group.name_any();
        // A group without key servers of its own is served by those of another.
        let host = group
            .spec
            .key_servers_from
            .as_ref()
            .map_or_else(|| own.clone(), |from| from.group_ref.name.clone());
        let tls = credentials(connection, &host).await?;
        let pods = connection.named::<Pod>();
        let selector = format!(
            "{}={},{}={host}",
            labels::ROLE,
            labels::KEY_SERVER,
            labels::GROUP
        );
        let listed = pods
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(ClusterError::api(format!("list the key servers of {host}")))?;
        let primary = group
            .status
            .as_ref()
            .and_then(|status| status.key_servers.as_ref())
            .and_then(|servers| servers.primary.clone());
        let mut peers = Vec::new();
        for pod in listed {
            let name = pod.name_any();
            let running = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            let Some(ordinal) = names::ordinal(&host, &name) else {
                continue;
            };
            if running != Some("Running") {
                continue;
            }
            let forward = forward(pods.clone(), &name, ADMIN_PORT).await?;
            let host_name = names::host(&host, &connection.namespace, ordinal);
            let server_name =
                ServerName::try_from(host_name).map_err(|error| ClusterError::KeyServers {
                    group: host.clone(),
                    message: error.to_string(),
                })?;
            let client = Client::new(vec![forward.address.to_string()], tls.clone())
                .with_server_name(server_name)
                .with_connect_timeout(CONNECT);
            peers.push(Peer {
                name,
                client,
                _forward: forward,
            });
        }
        peers.sort_by_key(|peer| (Some(&peer.name) != primary.as_ref(), peer.name.clone()));
        if peers.is_empty() {
            return Err(ClusterError::KeyServers {
                group: host,
                message: format!(
                    "none runs; see `kubectl -n {} describe getvpngroup {own}`",
                    connection.namespace
                ),
            });
        }
        Ok(Self { group: own, peers })
    }

    /// What each says of itself: its name, and its status or why there is none.
    pub async fn statuses(&self) -> Vec<(String, Result<ServerStatus, ClusterError>)> {
        let asked = self.peers.iter().map(|peer| async {
            let answer = peer.client.status().await;
            let answer = answer.map_err(|error| ClusterError::key_servers(&self.group, &error));
            (peer.name.clone(), answer)
        });
        futures::future::join_all(asked).await
    }

    /// Makes one request at the primary, or reads at whoever answers first.
    ///
    /// # Errors
    /// The last answer when nobody did it.
    pub async fn ask<T>(
        &self,
        request: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, ClusterError> {
        let mut last = ClientError::NoAddress;
        for peer in &self.peers {
            match request(&peer.client).await {
                Ok(answer) => return Ok(answer),
                // The way to the primary that a replica names leads inside the cluster; the next peer may be it.
                Err(
                    error @ (ClientError::Address { .. }
                    | ClientError::Connect { .. }
                    | ClientError::Tls { .. }),
                ) => last = error,
                Err(
                    error @ ClientError::Refused {
                        status: 409 | 503, ..
                    },
                ) => last = error,
                Err(error) => return Err(ClusterError::key_servers(&self.group, &error)),
            }
        }
        Err(ClusterError::key_servers(&self.group, &last))
    }
}

/// The administrator's certificate of a group.
async fn credentials(
    connection: &Connection,
    group: &str,
) -> Result<Arc<ClientConfig>, ClusterError> {
    let name = names::admin_secret(group);
    let shown = format!("{}/{name}", connection.namespace);
    let secret = connection
        .named::<Secret>()
        .get(&name)
        .await
        .map_err(ClusterError::api(format!(
            "read the administrator's certificate in Secret {shown}"
        )))?;
    let data = secret.data.unwrap_or_default();
    let entry = |key: &str| {
        data.get(key)
            .map(|value| value.0.as_slice())
            .ok_or_else(|| ClusterError::Credentials {
                name: shown.clone(),
                message: format!("has no `{key}`"),
            })
    };
    let unusable = |error: &dyn std::fmt::Display| ClusterError::Credentials {
        name: shown.clone(),
        message: error.to_string(),
    };
    let certificates = |pem| {
        CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(&error))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(entry("ca.crt")?)? {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let chain = certificates(entry("tls.crt")?)?;
    let key = PrivateKeyDer::from_pem_slice(entry("tls.key")?).map_err(|error| unusable(&error))?;
    let provider = runtime::tls::provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| unusable(&error))?;
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map(Arc::new)
        .map_err(|error| unusable(&error))
}
