//! Services that a member translates itself: the field `services` of a member's configuration.
//!
//! A node translates the address of a Service after the packet has left the pod. A packet that was encrypted towards a
//! cluster address could never be translated, and one that was not encrypted would reach a member in clear. So a
//! member translates, before encryption, every Service that may lead to members of its groups.
//!
//! The operator has applied what depends on the pod's place: `internalTrafficPolicy`, `trafficDistribution`, readiness.
//! A member that finds a packet for [`Service::addresses`] and a listed port sends it to one of the endpoints of the
//! packet's address family:
//!
//! 1. one of those in state [`EndpointState::Ready`], all alike;
//! 2. else one of those in state [`EndpointState::Terminating`];
//! 3. else none: the connection is refused in the pod. It never goes to the node, which may already know an endpoint.
//!
//! An established connection stays with its endpoint while that endpoint is listed in any state. Packets of datagram
//! flows towards an endpoint that is no longer listed are to be given another one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// All Services a member translates. Equal clusters give equal documents: lists are sorted, and have no duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Services {
    /// Addresses of the pod's own node, at which [`ServicePort::node_port`] is translated too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_addresses: Vec<IpAddr>,
    /// The Services, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
}

impl Services {
    /// Whether there is nothing to translate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// `NAMESPACE/NAME`, for logs and people.
    pub name: String,
    /// Addresses to translate: cluster addresses of each family, external addresses, addresses of a load balancer.
    pub addresses: Vec<IpAddr>,
    /// With `sessionAffinity: ClientIP`, for how many seconds after its last connection the pod keeps its endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// Its ports, by protocol and number.
    pub ports: Vec<ServicePort>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// Protocol.
    pub protocol: ServiceProtocol,
    /// Port at [`Service::addresses`].
    pub port: u16,
    /// Port at [`Services::node_addresses`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// Where packets go, by address and port; an empty list refuses them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
}

/// Protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceProtocol {
    /// Transmission Control Protocol.
    #[serde(rename = "TCP")]
    Tcp,
    /// User Datagram Protocol.
    #[serde(rename = "UDP")]
    Udp,
    /// Stream Control Transmission Protocol.
    #[serde(rename = "SCTP")]
    Sctp,
}

/// One endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Address of a pod, or another one that an EndpointSlice names.
    pub address: IpAddr,
    /// Port there.
    pub port: u16,
    /// What may be sent to it.
    #[serde(default, skip_serializing_if = "EndpointState::is_ready")]
    pub state: EndpointState,
}

/// What may be sent to an endpoint.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum EndpointState {
    /// New connections.
    #[default]
    Ready,
    /// It is shutting down and still serves: what is established, and new connections only when no endpoint is ready.
    Terminating,
}

impl EndpointState {
    fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_form_that_is_documented() {
        let services = Services {
            node_addresses: vec![IpAddr::from([192, 0, 2, 1])],
            services: vec![Service {
                name: "shop/web".to_owned(),
                addresses: vec![IpAddr::from([10, 96, 0, 7])],
                affinity_seconds: Some(10_800),
                ports: vec![ServicePort {
                    protocol: ServiceProtocol::Tcp,
                    port: 80,
                    node_port: Some(30_080),
                    endpoints: vec![
                        Endpoint {
                            address: IpAddr::from([10, 244, 0, 3]),
                            port: 8080,
                            state: EndpointState::Ready,
                        },
                        Endpoint {
                            address: IpAddr::from([10, 244, 0, 4]),
                            port: 8080,
                            state: EndpointState::Terminating,
                        },
                    ],
                }],
            }],
        };
        let document = serde_json::json!({
            "nodeAddresses": ["192.0.2.1"],
            "services": [{
                "name": "shop/web",
                "addresses": ["10.96.0.7"],
                "affinitySeconds": 10800,
                "ports": [{
                    "protocol": "TCP",
                    "port": 80,
                    "nodePort": 30080,
                    "endpoints": [
                        { "address": "10.244.0.3", "port": 8080 },
                        { "address": "10.244.0.4", "port": 8080, "state": "Terminating" },
                    ],
                }],
            }],
        });
        assert_eq!(
            serde_json::to_value(&services).expect("plain data"),
            document
        );
        let back: Services = serde_json::from_value(document).expect("the same form");
        assert_eq!(back, services);
    }
}
