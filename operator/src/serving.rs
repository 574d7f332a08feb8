//! What the webhook and the enrolment endpoint prove themselves with.
//!
//! One authority for both is in a Secret of the operator's own namespace; each replica issues itself a certificate under
//! it, which is never stored, and a new one long before the old one ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use operator_core::{labels, names, rbac};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::authority::{Authority, Purpose, Subject};

/// Life of a certificate.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often there is a new one.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(2);
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";

/// What holds now.
#[derive(Clone)]
pub struct Serving {
    /// For connections.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
    /// The authority's certificate in PEM, for those who connect.
    pub authority: watch::Receiver<Arc<str>>,
}

/// Waits for the authority, making it if there is none, and renews the certificate as one of `tasks`.
pub async fn start(client: &Client, namespace: &str, tasks: &mut JoinSet<()>) -> Serving {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let namespace = namespace.to_owned();
    let (tls, authority) = again(&secrets, &namespace).await;
    let (tls_sender, tls) = watch::channel(tls);
    let (authority_sender, authority) = watch::channel(authority);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let (tls, authority) = again(&secrets, &namespace).await;
            tls_sender.send_replace(tls);
            authority_sender.send_if_modified(|held| {
                let differs = *held != authority;
                *held = authority;
                differs
            });
        }
    });
    Serving { tls, authority }
}

async fn again(secrets: &Api<Secret>, namespace: &str) -> (Arc<ServerConfig>, Arc<str>) {
    loop {
        match make(secrets, namespace).await {
            Ok(made) => return made,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the webhook and the enrolment endpoint have no certificate; tried again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn make(
    secrets: &Api<Secret>,
    namespace: &str,
) -> anyhow::Result<(Arc<ServerConfig>, Arc<str>)> {
    let authority = authority(secrets).await?;
    let subject = Subject {
        common_name: "getvpn-operator".to_owned(),
        unit: "operator".to_owned(),
        dns_names: vec![
            names::service_host(names::ENROLMENT_SERVICE, namespace),
            names::service_host(names::WEBHOOK_SERVICE, namespace),
        ],
    };
    let now = runtime::clock::since_epoch();
    let issued = authority.issue(&subject, Purpose::Server, LIFE, now)?;
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(runtime::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok((Arc::new(config), Arc::from(authority.certificate())))
}

/// The authority in the Secret, made now if there is none.
async fn authority(secrets: &Api<Secret>) -> anyhow::Result<Authority> {
    let name = rbac::SERVING_SECRET;
    let secret = match secrets.get_opt(name).await? {
        Some(secret) => secret,
        None => {
            let (certificate, key) =
                Authority::generate("getvpn operator", runtime::clock::since_epoch())?;
            let mut secret = Secret {
                type_: Some("getvpn.dev/authority".to_owned()),
                immutable: Some(true),
                data: Some(
                    [
                        (CERTIFICATE.to_owned(), ByteString(certificate.into_bytes())),
                        (KEY.to_owned(), ByteString(key.as_bytes().to_vec())),
                    ]
                    .into(),
                ),
                ..Secret::default()
            };
            secret.metadata.name = Some(name.to_owned());
            secret.metadata.labels = Some(labels::of_operator());
            match secrets.create(&PostParams::default(), &secret).await {
                Ok(secret) => secret,
                // Another replica was quicker: its authority is the one.
                Err(kube::Error::Api(status)) if status.code == 409 => secrets.get(name).await?,
                Err(error) => return Err(error.into()),
            }
        }
    };
    let text = |entry: &str| {
        let value = secret.data.iter().flatten().find(|(key, _)| *key == entry);
        value
            .and_then(|(_, value)| String::from_utf8(value.0.clone()).ok())
            .map(Zeroizing::new)
            .with_context(|| {
                format!("Secret `{name}` has no `{entry}`; delete it, and a new one is made")
            })
    };
    Ok(Authority::load(&text(CERTIFICATE)?, &text(KEY)?)?)
}
