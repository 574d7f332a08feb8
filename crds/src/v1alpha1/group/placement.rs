//! Where the key servers' pods run: a bounded part of what a pod template offers.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::field::{StringMap, default_is_empty_object, int, string_map};

/// Labels and annotations of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Labels. Those the operator sets itself win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "string_map::<32>")]
    pub labels: StringMap,
    /// Annotations. Those the operator sets itself win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "string_map::<32>")]
    pub annotations: StringMap,
}

impl PodMetadata {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// Which nodes pods may run on, and how they are spread over them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "string_map::<32>")]
    pub node_selector: StringMap,
    /// Taints the pods put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,
    /// How evenly the key servers are spread over zones or nodes. Without an entry they are spread over nodes where possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into()]))]
    pub topology_spread: Vec<TopologySpread>,
}

impl Placement {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.node_selector.is_empty()
            && self.tolerations.is_empty()
            && self.topology_spread.is_empty()
    }
}

/// A taint that pods put up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C40
    validation = Rule::new("(self.operator == 'Equal') == has(self.value)")
        .message("`value` must be set when `operator` is 'Equal' and may not be set otherwise").field_path(".value"),
)]
pub struct Toleration {
    /// Key of the taint; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316))]
    pub key: Option<String>,
    /// `Exists`: any value. `Equal`: the value given.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// Value of the taint. Set exactly when `operator` is 'Equal'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

default_is_empty_object!(Toleration);

/// How a toleration compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Any value.
    #[default]
    Exists,
    /// The value given.
    Equal,
}

/// Effect of the taints put up with: `NoSchedule`, `PreferNoSchedule` or `NoExecute`; absent for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New pods are not scheduled.
    NoSchedule,
    /// New pods are scheduled elsewhere where possible.
    PreferNoSchedule,
    /// Running pods are removed too.
    NoExecute,
}

/// How evenly pods are spread over one kind of place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// Node label that names the place, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
    /// Largest allowed difference in the number of pods between two places.
    #[serde(default = "int::<1>")]
    #[schemars(range(min = 1, max = 8))]
    pub max_skew: i32,
    /// What happens to a pod that would break the limit: `ScheduleAnyway` or `DoNotSchedule`.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens to a pod that cannot be spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// It runs where it can.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}
