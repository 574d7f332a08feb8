//! Talks to the key servers of a group by their admin API.
//!
//! Pods are dialled at their addresses and proved by their names, so that nothing depends on name resolution.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use keyserver_api::client::{Client, ClientError};
use keyserver_api::status::ServerStatus;
use operator_core::key_server::build::ADMIN_PORT;
use operator_core::key_server::observed::{PodState, PodView};
use operator_core::names;
use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::sync::Mutex;

use crate::authority::{Authorities, GroupAuthorities, Purpose, Subject};
use crate::error::Error;

/// Life of the operator's own certificate for the key servers of a group.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long it is used.
const USE: Duration = Duration::from_secs(12 * 3600);
/// How long connection and TLS handshake may take, each.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a question about state may take.
const QUESTION: Duration = Duration::from_secs(4);
/// How long a change may take: it is committed by a majority first.
const CHANGE: Duration = Duration::from_secs(15);

/// Connects to key servers. Clones share credentials.
#[derive(Clone)]
pub struct KeyServers {
    authorities: Authorities,
    credentials: Arc<Mutex<HashMap<(String, String), Credentials>>>,
}

#[derive(Clone)]
struct Credentials {
    tls: Arc<ClientConfig>,
    authorities: Arc<GroupAuthorities>,
    made: Instant,
}

/// A set of key servers that can be asked.
pub struct Dialled {
    tls: Arc<ClientConfig>,
    namespace: String,
    group: String,
}

impl KeyServers {
    /// Connections whose certificates come from `authorities`.
    pub fn new(authorities: Authorities) -> Self {
        Self {
            authorities,
            credentials: Arc::default(),
        }
    }

    /// The key servers of a group.
    ///
    /// # Errors
    /// When the group has no authorities, or they issue nothing.
    pub async fn of(&self, namespace: &str, group: &str) -> Result<Dialled, Error> {
        let authorities = self.authorities.get(namespace, group).await?;
        let key = (namespace.to_owned(), group.to_owned());
        let mut known = self.credentials.lock().await;
        let usable = known.get(&key).filter(|credentials| {
            Arc::ptr_eq(&credentials.authorities, &authorities)
                && runtime::clock::now().duration_since(credentials.made) < USE
        });
        let credentials = match usable {
            Some(credentials) => credentials.clone(),
            None => {
                let made = Credentials {
                    tls: client_config(&authorities)?,
                    authorities,
                    made: runtime::clock::now(),
                };
                known.insert(key, made.clone());
                made
            }
        };
        Ok(Dialled {
            tls: credentials.tls,
            namespace: namespace.to_owned(),
            group: group.to_owned(),
        })
    }

    /// Forgets a group.
    pub async fn forget(&self, namespace: &str, group: &str) {
        let key = (namespace.to_owned(), group.to_owned());
        self.credentials.lock().await.remove(&key);
    }
}

impl Dialled {
    /// What those pods say that answer, by ordinal.
    pub async fn statuses(&self, pods: &BTreeMap<usize, PodView>) -> BTreeMap<usize, ServerStatus> {
        let questions = pods.iter().filter_map(|(ordinal, pod)| {
            if pod.state == PodState::NotRunning {
                return None;
            }
            let client = self.client(*ordinal, pod)?.with_timeout(QUESTION);
            Some(async move {
                match client.status().await {
                    Ok(status) if status.name == pod.name => Some((*ordinal, status)),
                    // An address that was given to another pod.
                    Ok(_) => None,
                    Err(error) => {
                        tracing::debug!(
                            pod = pod.name,
                            error = words(&error),
                            "a key server does not answer"
                        );
                        None
                    }
                }
            })
        });
        join_all(questions).await.into_iter().flatten().collect()
    }

    /// A client for changes, at one pod.
    pub fn client(&self, ordinal: usize, pod: &PodView) -> Option<Client> {
        let address = SocketAddr::new(pod.address?, ADMIN_PORT);
        let host = names::host(&self.group, &self.namespace, ordinal);
        let name = ServerName::try_from(host).ok()?;
        Some(
            Client::new(vec![address.to_string()], self.tls.clone())
                .with_server_name(name)
                .with_connect_timeout(CONNECT)
                .with_timeout(CHANGE),
        )
    }
}

/// An error with its causes, in one line.
pub(crate) fn words(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn client_config(authorities: &GroupAuthorities) -> Result<Arc<ClientConfig>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Credentials(error.to_string());
    let subject = Subject {
        common_name: "getvpn-operator".to_owned(),
        unit: "operator".to_owned(),
        dns_names: Vec::new(),
    };
    let issued = authorities
        .tls
        .issue(
            &subject,
            Purpose::Client,
            LIFE,
            runtime::clock::since_epoch(),
        )
        .map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.tls.certificate().as_bytes()) {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(&error))?;
    let key =
        PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).map_err(|error| failed(&error))?;
    let provider = runtime::tls::provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| failed(&error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(|error| failed(&error))?;
    Ok(Arc::new(config))
}
