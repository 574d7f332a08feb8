//! What is mounted into a key server's pod.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, ProjectedVolumeSource, SecretProjection, SecretVolumeSource,
    Volume, VolumeMount, VolumeProjection,
};

use super::config::{
    CONFIG_DIRECTORY, IKE_DIRECTORY, SEALING_DIRECTORY, STATE_DIRECTORY, TLS_DIRECTORY,
};
use crate::key_server::inputs::{Certificate, Inputs};
use crate::names;

/// Mode of mounted secrets: readable by the key servers' group and nobody else.
const MODE: i32 = 0o440;

pub(super) fn build(inputs: &Inputs) -> Vec<Volume> {
    let group = &inputs.group;
    vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: names::key_servers(group),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        secret("tls", names::tls_secret(group)),
        Volume {
            name: "ike".to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: Some(MODE),
                sources: Some(ike(inputs)),
            }),
            ..Volume::default()
        },
        secret("sealing", names::sealing_secret(group)),
    ]
}

/// Where they are mounted; the volume claim is called as its template.
pub(super) fn mounts() -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    vec![
        mount(names::VOLUME, STATE_DIRECTORY, false),
        mount("config", CONFIG_DIRECTORY, true),
        mount("tls", TLS_DIRECTORY, true),
        mount("ike", IKE_DIRECTORY, true),
        mount("sealing", SEALING_DIRECTORY, true),
    ]
}

fn secret(name: &str, secret: String) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The operator's Secret, and where the user has the certificate, the user's under the names the key server knows.
fn ike(inputs: &Inputs) -> Vec<VolumeProjection> {
    let projection = |name: String, items: Option<Vec<KeyToPath>>| VolumeProjection {
        secret: Some(SecretProjection {
            name,
            items,
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let mut sources = Vec::new();
    if inputs.certificate == Some(Certificate::Internal) || inputs.pre_shared_keys.is_some() {
        sources.push(projection(names::ike_secret(&inputs.group), None));
    }
    if let Some(Certificate::Secret(name)) = &inputs.certificate {
        let item = |key: &str, path: &str| KeyToPath {
            key: key.to_owned(),
            path: path.to_owned(),
            mode: None,
        };
        let items = vec![
            item("tls.crt", "chain.pem"),
            item("tls.key", "key.pem"),
            item("ca.crt", "trust.pem"),
        ];
        sources.push(projection(name.clone(), Some(items)));
    }
    sources
}
