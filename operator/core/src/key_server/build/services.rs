//! The two Services of the key servers.

use crds::v1alpha1::ServiceType;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ADMIN_PORT, COOPERATIVE_PORT, METRICS_PORT, meta};
use crate::key_server::inputs::Inputs;
use crate::{labels, names};

/// The headless Service: names of the key servers, which exist before they are ready, as they have to find each other
/// to become so.
pub(super) fn peers(inputs: &Inputs) -> Service {
    Service {
        metadata: meta::meta(inputs, names::key_servers(&inputs.group)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::key_servers(&inputs.group)),
            ports: Some(vec![
                port("cooperative", "TCP", COOPERATIVE_PORT),
                port("admin", "TCP", ADMIN_PORT),
                port("metrics", "TCP", METRICS_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The Service with one address for all key servers. A member's exchange stays with one of them.
pub(super) fn register(inputs: &Inputs) -> Service {
    let service = &inputs.key_servers.service;
    let service_type = match service.service_type {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let mut metadata = meta::meta(inputs, names::register_service(&inputs.group));
    if !service.annotations.is_empty() {
        metadata.annotations = Some(service.annotations.clone());
    }
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(service_type.to_owned()),
            session_affinity: Some("ClientIP".to_owned()),
            selector: Some(labels::key_servers(&inputs.group)),
            ports: Some(vec![
                port("gikev2", "UDP", inputs.port),
                port("gikev2-nat-t", "UDP", inputs.nat_traversal_port),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(name: &str, protocol: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        protocol: Some(protocol.to_owned()),
        port: number.into(),
        target_port: Some(IntOrString::Int(number.into())),
        ..ServicePort::default()
    }
}
