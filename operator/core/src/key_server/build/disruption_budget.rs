//! The PodDisruptionBudget of the key servers.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use crate::key_server::inputs::Inputs;
use crate::names;

/// One key server may be evicted at a time. One that is not ready protects nothing and may go at any time.
pub(super) fn build(inputs: &Inputs) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: meta::meta(inputs, names::key_servers(&inputs.group)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(meta::selector(inputs)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
