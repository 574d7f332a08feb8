//! The one container of a key server's pod.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    ObjectFieldSelector, Probe, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config::{CONFIG_DIRECTORY, FILE};
use super::{ADMIN_PORT, COOPERATIVE_PORT, METRICS_PORT, stateful_set, volumes};
use crate::key_server::inputs::Inputs;

/// Name of the container.
const NAME: &str = "key-server";
/// Environment variable with the key server's name.
const NAME_VARIABLE: &str = "GETVPN_NAME";
/// Environment variable with its addresses, separated by commas.
const ADDRESSES_VARIABLE: &str = "GETVPN_ADDRESSES";

pub(super) fn build(inputs: &Inputs) -> Container {
    Container {
        name: NAME.to_owned(),
        image: Some(inputs.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(
            [
                "--config",
                &format!("{CONFIG_DIRECTORY}/{FILE}"),
                "--log-format",
                "json",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        env: Some(vec![
            from_field(NAME_VARIABLE, "metadata.name"),
            from_field(ADDRESSES_VARIABLE, "status.podIPs"),
        ]),
        ports: Some(vec![
            port("gikev2", "UDP", inputs.port),
            port("gikev2-nat-t", "UDP", inputs.nat_traversal_port),
            port("cooperative", "TCP", COOPERATIVE_PORT),
            port("admin", "TCP", ADMIN_PORT),
            port("metrics", "TCP", METRICS_PORT),
        ]),
        resources: Some(stateful_set::resources(&inputs.key_servers.resources)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        // A minute to open the volume and to read what is on it.
        startup_probe: Some(probe("/livez", 1, 60, 2)),
        liveness_probe: Some(probe("/livez", 10, 3, 5)),
        readiness_probe: Some(probe("/readyz", 2, 2, 2)),
        volume_mounts: Some(volumes::mounts()),
        ..Container::default()
    }
}

fn port(name: &str, protocol: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        protocol: Some(protocol.to_owned()),
        container_port: number.into(),
        ..ContainerPort::default()
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: Some("v1".to_owned()),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn probe(path: &str, period: i32, failures: i32, timeout: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(timeout),
        ..Probe::default()
    }
}
