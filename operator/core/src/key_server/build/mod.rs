//! Whole objects from [`Inputs`]: the same inputs always give the same octets.

pub mod config;
mod container;
mod disruption_budget;
mod meta;
mod network_policy;
pub mod secrets;
mod services;
mod stateful_set;
mod volumes;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::inputs::Inputs;
use crate::names;

pub use meta::owner;
pub use stateful_set::{template_hash, with_replicas};

/// TCP port of the cooperative protocol.
pub const COOPERATIVE_PORT: u16 = 9443;
/// TCP port of the admin API.
pub const ADMIN_PORT: u16 = 9444;
/// TCP port of probes and metrics.
pub const METRICS_PORT: u16 = 9445;

/// Every object of a set of key servers except its Secrets, which depend on keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// Identity of the pods; it may do nothing and its token is not mounted.
    pub service_account: ServiceAccount,
    /// The configuration.
    pub config_map: ConfigMap,
    /// The headless Service that gives each key server its name.
    pub peers: Service,
    /// The Service that members can register through.
    pub register: Service,
    /// One down at a time.
    pub disruption_budget: PodDisruptionBudget,
    /// Who may talk to them.
    pub network_policy: NetworkPolicy,
    /// The pods and volumes, with as many replicas as there should be in the end.
    pub stateful_set: StatefulSet,
}

/// Builds them.
#[must_use]
pub fn objects(inputs: &Inputs) -> Objects {
    Objects {
        service_account: ServiceAccount {
            metadata: meta::meta(inputs, names::key_servers(&inputs.group)),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        config_map: config::config_map(inputs),
        peers: services::peers(inputs),
        register: services::register(inputs),
        disruption_budget: disruption_budget::build(inputs),
        network_policy: network_policy::build(inputs),
        stateful_set: stateful_set::build(inputs),
    }
}
