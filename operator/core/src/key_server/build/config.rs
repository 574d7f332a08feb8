//! The configuration file of the key servers, the same for all replicas.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value, json};

use super::{ADMIN_PORT, COOPERATIVE_PORT, METRICS_PORT, meta};
use crate::key_server::inputs::Inputs;
use crate::names;

/// Name of the file in the ConfigMap.
pub const FILE: &str = "keyserver.yaml";
/// Directory of the configuration file.
pub(super) const CONFIG_DIRECTORY: &str = "/etc/getvpn";
/// Directory of the volume.
pub(super) const STATE_DIRECTORY: &str = "/var/lib/getvpn";
/// Directory of the certificate of the cooperative protocol and the admin API.
pub(super) const TLS_DIRECTORY: &str = "/run/getvpn/tls";
/// Directory of what the key server proves itself to members with.
pub(super) const IKE_DIRECTORY: &str = "/run/getvpn/ike";
/// Directory of the key that seals the volume.
pub(super) const SEALING_DIRECTORY: &str = "/run/getvpn/sealing";

/// The ConfigMap with the file.
pub(super) fn config_map(inputs: &Inputs) -> ConfigMap {
    ConfigMap {
        metadata: meta::meta(inputs, names::key_servers(&inputs.group)),
        data: Some(BTreeMap::from([(FILE.to_owned(), text(inputs))])),
        ..ConfigMap::default()
    }
}

/// The file as YAML.
///
/// # Panics
/// Never: every value can be written as YAML.
#[must_use]
pub fn text(inputs: &Inputs) -> String {
    serde_saphyr::to_string(&document(inputs)).expect("a JSON document can be written as YAML")
}

fn document(inputs: &Inputs) -> Value {
    let mut authentication = Map::new();
    if inputs.certificate.is_some() {
        authentication.insert(
            "certificate".to_owned(),
            json!({
                "chainFile": format!("{IKE_DIRECTORY}/chain.pem"),
                "keyFile": format!("{IKE_DIRECTORY}/key.pem"),
                "trustFile": format!("{IKE_DIRECTORY}/trust.pem"),
            }),
        );
    }
    if inputs.pre_shared_keys.is_some() {
        let file = format!("{IKE_DIRECTORY}/pre-shared-keys.yaml");
        authentication.insert("preSharedKeysFile".to_owned(), json!(file));
    }
    let members: Vec<Value> = (0..inputs.replicas)
        .map(|ordinal| {
            json!({
                "name": names::pod(&inputs.group, ordinal),
                "priority": inputs.priorities.get(ordinal).copied().unwrap_or(1),
            })
        })
        .collect();
    let certificate = format!("{TLS_DIRECTORY}/tls.crt");
    let key = format!("{TLS_DIRECTORY}/tls.key");
    let trust = format!("{TLS_DIRECTORY}/ca.crt");
    json!({
        "dataDirectory": STATE_DIRECTORY,
        "sealingKeyFile": format!("{SEALING_DIRECTORY}/key"),
        "ike": { "port": inputs.port, "natTraversalPort": inputs.nat_traversal_port },
        "identity": {
            "type": "FQDN",
            "value": operator_api::pod::key_server_identity(
                &names::key_servers(&inputs.group), &inputs.namespace),
        },
        "authentication": authentication,
        "cooperative": {
            "listen": format!("[::]:{COOPERATIVE_PORT}"),
            "domain": names::domain(&inputs.group, &inputs.namespace),
            "tls": { "certificateFile": certificate, "keyFile": key, "trustFile": trust },
            "initialMembers": members,
        },
        "admin": {
            "listen": format!("[::]:{ADMIN_PORT}"),
            "tls": { "certificateFile": certificate, "keyFile": key, "clientTrustFile": trust },
        },
        "metrics": { "listen": format!("[::]:{METRICS_PORT}") },
    })
}
