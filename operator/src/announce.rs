//! Tells the API server and the namespaces with injection which authority the operator's endpoints have, and where they
//! are.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use operator_api::pod;
use operator_core::injection::WEBHOOK_CONFIGURATION;
use operator_core::{labels, names};
use serde_json::json;

use crate::apply::Applier;
use crate::cli::Switch;
use crate::context::Context;
use crate::error::{Doing as _, Error};
use crate::serving::Serving;

/// How often everything is looked at, beside when something changes.
const PERIOD: Duration = Duration::from_secs(60);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// Field manager of the one field of the webhook configuration that the operator writes.
const MANAGER: &str = "getvpn-operator/ca-bundle";

/// Keeps both told, for ever.
pub async fn keep(context: Context, serving: Serving, applier: Applier) {
    let mut touched = context
        .stores
        .namespaces
        .as_ref()
        .map(|namespaces| namespaces.touched());
    let mut authority = serving.authority.clone();
    loop {
        let pem = authority.borrow_and_update().clone();
        let pause = match tell(&context, &applier, &pem).await {
            Ok(()) => PERIOD,
            Err(error) => {
                tracing::warn!(%error, "the operator's endpoints are not announced; tried again");
                RETRY
            }
        };
        let namespaces = async {
            match &mut touched {
                // Falling behind is a change like any other.
                Some(touched) => drop(touched.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = namespaces => {}
            changed = authority.changed() => if changed.is_err() { return },
        }
    }
}

async fn tell(context: &Context, applier: &Applier, authority: &str) -> Result<(), Error> {
    if context.arguments.webhook == Switch::Enabled {
        webhook(context, authority).await?;
    }
    if context.arguments.enrolment == Switch::Enabled {
        namespaces(context, applier, authority).await?;
    }
    Ok(())
}

/// Fills in `caBundle`.
async fn webhook(context: &Context, authority: &str) -> Result<(), Error> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(context.client.clone());
    let name = WEBHOOK_CONFIGURATION;
    let found = api
        .get_opt(name)
        .await
        .doing(|| format!("read MutatingWebhookConfiguration {name}"))?;
    // Without it nobody calls: the chart was installed so.
    let Some(found) = found else { return Ok(()) };
    let wanted = ByteString(authority.as_bytes().to_vec());
    let webhooks = found.webhooks.unwrap_or_default();
    let stale: Vec<_> = webhooks
        .iter()
        .filter(|webhook| webhook.client_config.ca_bundle.as_ref() != Some(&wanted))
        .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": wanted}}))
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": name },
        "webhooks": stale,
    });
    api.patch(
        name,
        &PatchParams::apply(MANAGER).force(),
        &Patch::Apply(&patch),
    )
    .await
    .doing(|| format!("fill in the authority of MutatingWebhookConfiguration {name}"))?;
    tracing::info!(name, "the API server knows the webhook's authority");
    Ok(())
}

/// Writes the ConfigMap by which pods find the enrolment endpoint.
async fn namespaces(context: &Context, applier: &Applier, authority: &str) -> Result<(), Error> {
    let own = &context.arguments.namespace;
    let services: Api<Service> = Api::namespaced(context.client.clone(), own);
    let service = services
        .get_opt(names::ENROLMENT_SERVICE)
        .await
        .doing(|| format!("read Service {own}/{}", names::ENROLMENT_SERVICE))?;
    let Some(endpoint) = service.as_ref().and_then(endpoint) else {
        return Ok(());
    };
    for namespace in injected(context) {
        let mut data = BTreeMap::new();
        data.insert(pod::TRUST_FILE.to_owned(), authority.to_owned());
        data.insert(pod::ENDPOINT_FILE.to_owned(), endpoint.clone());
        data.insert(
            pod::SERVER_NAME_FILE.to_owned(),
            names::service_host(names::ENROLMENT_SERVICE, own),
        );
        let mut object = ConfigMap {
            data: Some(data),
            ..ConfigMap::default()
        };
        object.metadata.namespace = Some(namespace.clone());
        object.metadata.name = Some(pod::ENROLMENT_CONFIG_MAP.to_owned());
        object.metadata.labels = Some(labels::of_operator());
        let present = context
            .stores
            .owned
            .config_maps
            .get(&namespace, pod::ENROLMENT_CONFIG_MAP);
        let present = present.as_deref().map(|object| &object.metadata);
        applier.ensure(&object, present).await?;
    }
    Ok(())
}

/// Address and port of the Service.
fn endpoint(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref()?;
    let address: std::net::IpAddr = spec.cluster_ip.as_ref()?.parse().ok()?;
    let port = u16::try_from(spec.ports.as_ref()?.first()?.port).ok()?;
    Some(std::net::SocketAddr::new(address, port).to_string())
}

/// Namespaces whose pods get sidecars.
fn injected(context: &Context) -> Vec<String> {
    match &context.stores.namespaces {
        Some(namespaces) => namespaces
            .all()
            .iter()
            .filter(|namespace| {
                let labels = namespace.labels();
                labels.get(labels::INJECTION).map(String::as_str) == Some(labels::ENABLED)
                    && namespace.metadata.deletion_timestamp.is_none()
            })
            .map(|namespace| namespace.name_any())
            .collect(),
        // Labels cannot be read: all that are looked after.
        None => context.arguments.watch_namespaces.clone(),
    }
}
