//! Who may talk to key servers.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ADMIN_PORT, COOPERATIVE_PORT, METRICS_PORT, meta};
use crate::key_server::inputs::Inputs;
use crate::names;

/// Everybody may register and read metrics; only key servers of the group take part in their cooperation; only the
/// operator's namespace reaches the admin API. What key servers send is not limited: rekeys go to every member.
pub(super) fn build(inputs: &Inputs) -> NetworkPolicy {
    let rule = |ports: Vec<NetworkPolicyPort>, from: Option<Vec<NetworkPolicyPeer>>| {
        NetworkPolicyIngressRule {
            ports: Some(ports),
            from,
        }
    };
    let key_servers = NetworkPolicyPeer {
        pod_selector: Some(meta::selector(inputs)),
        ..NetworkPolicyPeer::default()
    };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(
                [(
                    "kubernetes.io/metadata.name".to_owned(),
                    inputs.operator_namespace.clone(),
                )]
                .into(),
            ),
            match_expressions: None,
        }),
        ..NetworkPolicyPeer::default()
    };
    NetworkPolicy {
        metadata: meta::meta(inputs, names::key_servers(&inputs.group)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::selector(inputs)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                rule(
                    vec![
                        port("UDP", inputs.port),
                        port("UDP", inputs.nat_traversal_port),
                        port("TCP", METRICS_PORT),
                    ],
                    None,
                ),
                rule(vec![port("TCP", COOPERATIVE_PORT)], Some(vec![key_servers])),
                rule(vec![port("TCP", ADMIN_PORT)], Some(vec![operator])),
            ]),
            egress: None,
        }),
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number.into())),
        end_port: None,
    }
}
