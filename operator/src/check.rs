//! `operator check`: is an installation whole? What `helm test` runs.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use operator_core::injection::WEBHOOK_CONFIGURATION;
use operator_core::{names, rbac};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::{Arguments, Switch};

/// How long one question may take: an installation that has just been made may need some seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(500);
/// Ports of the two Services, as in the chart.
const WEBHOOK_PORT: u16 = 443;
const ENROLMENT_PORT: u16 = 10251;
const API: &str = "getvpn.dev/v1alpha1";

/// Asks for every part of the installation in the namespace that the arguments name, and prints a line for each.
///
/// # Errors
/// When a part is missing or does not answer within twenty seconds; its line says why.
pub async fn run(client: &Client, arguments: &Arguments) -> anyhow::Result<()> {
    let installation = Installation {
        client,
        namespace: &arguments.namespace,
    };
    let mut failed = 0_u32;
    let mut report = |what: &str, outcome: anyhow::Result<()>| match outcome {
        Ok(()) => println!("ok      {what}"),
        Err(error) => {
            println!("FAILED  {what}: {error:#}");
            failed = failed.saturating_add(1);
        }
    };
    let resources = again(|| installation.resources()).await;
    report("the API server serves the three resources", resources);
    if arguments.webhook == Switch::Enabled {
        let known = again(|| installation.webhook_is_trusted()).await;
        report("the API server trusts the webhook", known);
        let answers = again(|| installation.answers(names::WEBHOOK_SERVICE, WEBHOOK_PORT)).await;
        report("the webhook answers", answers);
    }
    if arguments.enrolment == Switch::Enabled {
        let answers =
            again(|| installation.answers(names::ENROLMENT_SERVICE, ENROLMENT_PORT)).await;
        report("the enrolment endpoint answers", answers);
    }
    if failed > 0 {
        bail!("{failed} parts of the installation do not work");
    }
    Ok(())
}

/// Asks until the answer is good or patience ends.
async fn again<F: Future<Output = anyhow::Result<()>>>(ask: impl Fn() -> F) -> anyhow::Result<()> {
    let asking = async {
        let mut last = String::from("nothing was heard");
        let deadline = runtime::clock::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(deadline.into(), ask()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = format!("{error:#}"),
                Err(_) => bail!("{last}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    asking.await
}

struct Installation<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Installation<'_> {
    async fn resources(&self) -> anyhow::Result<()> {
        let served = self
            .client
            .list_api_group_resources(API)
            .await
            .with_context(|| format!("{API} is not served; install the chart `getvpn-crds`"))?;
        for wanted in ["getvpngroups", "securityassociations", "groupmembers"] {
            if !served.resources.iter().any(|it| it.name == wanted) {
                bail!("{API} has no `{wanted}`; install the chart `getvpn-crds` of this version");
            }
        }
        Ok(())
    }

    /// The authority of the operator's endpoints, in PEM.
    async fn authority(&self) -> anyhow::Result<Vec<u8>> {
        let name = rbac::SERVING_SECRET;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let secret = secrets
            .get(name)
            .await
            .with_context(|| format!("Secret {}/{name}; does the operator run?", self.namespace))?;
        let data = secret.data.unwrap_or_default();
        let certificate = data.get("ca.crt");
        Ok(certificate
            .with_context(|| format!("Secret {}/{name} has no `ca.crt`", self.namespace))?
            .0
            .clone())
    }

    async fn webhook_is_trusted(&self) -> anyhow::Result<()> {
        let name = WEBHOOK_CONFIGURATION;
        let authority = self.authority().await?;
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let found = api
            .get(name)
            .await
            .with_context(|| format!("MutatingWebhookConfiguration {name}"))?;
        for webhook in found.webhooks.unwrap_or_default() {
            let bundle = webhook.client_config.ca_bundle;
            if bundle.is_none_or(|bundle| bundle.0 != authority) {
                bail!(
                    "`caBundle` of {} in {name} is not the operator's authority; does the operator run?",
                    webhook.name
                );
            }
        }
        Ok(())
    }

    /// Whether somebody with a certificate of the authority answers behind a Service.
    async fn answers(&self, service: &str, port: u16) -> anyhow::Result<()> {
        let host = names::service_host(service, self.namespace);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.authority().await?) {
            roots.add(certificate?)?;
        }
        let config = ClientConfig::builder_with_provider(runtime::tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = format!("{host}:{port}");
        let stream = TcpStream::connect(&address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(host)?, stream)
            .await
            .with_context(|| format!("{address} has no certificate of the operator's authority"))?;
        Ok(())
    }
}
