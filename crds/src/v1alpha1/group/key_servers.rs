//! The set of key servers of a group: how many, who leads, how they are reached, where they keep their state.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::field::{
    NO_DUPLICATES, Ordinal, POSITIVE_QUANTITY, Resources, StringMap, default_is_empty_object, int,
    string_map,
};
use super::placement::{Placement, PodMetadata};

/// The key servers of a group. They hold one replicated state; one of them, the primary, makes the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C12
    validation = Rule::new("!has(self.priorities) || self.priorities.all(entry, entry.ordinal < self.replicas)")
        .message("each `priorities[].ordinal` must be less than `replicas`")
        .field_path(".priorities"),
    // C39
    validation = Rule::new("!has(self.registration) || !has(self.registration.defaultOrder) || self.registration.defaultOrder.all(ordinal, ordinal < self.replicas)")
        .message("each number in `defaultOrder` must be less than `replicas`")
        .field_path(".registration.defaultOrder"),
)]
pub struct KeyServers {
    /// How many key servers. At most five of them vote; more than five add capacity for registrations.
    #[serde(default = "int::<3>")]
    #[schemars(range(min = 1, max = 8))]
    pub replicas: i32,
    /// Which key servers are preferred as primary: the highest priority wins. Those not listed have 100, 95, 90 and so
    /// on by their ordinal. A key server that comes back does not push the acting primary out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ordinal".into()]))]
    pub priorities: Vec<Priority>,
    /// How members reach the key servers.
    #[serde(default)]
    pub service: KeyServerService,
    /// How members choose among the key servers.
    #[serde(default, skip_serializing_if = "KeyServerRegistration::is_empty")]
    pub registration: KeyServerRegistration,
    /// How key servers notice that one of them is gone. Stored for policies that are carried over: key servers that work
    /// together watch one another several times a second, whatever is set here. Members are never asked whether they are
    /// there.
    #[serde(default)]
    pub dead_peer_detection: DeadPeerDetection,
    /// The volume each key server keeps its state on.
    #[serde(default)]
    pub storage: Storage,
    /// What each key server's container asks of its node and may use at most.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Priority class of the key servers' pods; empty for the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Labels and annotations added to the key servers' pods.
    #[serde(default, skip_serializing_if = "PodMetadata::is_empty")]
    pub pod_metadata: PodMetadata,
    /// Which nodes the key servers may run on, and how they are spread.
    #[serde(default, skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// Container image of the key servers; empty for the one that belongs to the operator's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}

default_is_empty_object!(KeyServers, KeyServerService, DeadPeerDetection, Storage);

/// Priority of one key server in the choice of the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Priority {
    /// The key server: the number at the end of its pod's name.
    pub ordinal: Ordinal,
    /// Higher is preferred; the highest address breaks a tie.
    #[schemars(range(min = 1, max = 100))]
    pub priority: i32,
}

/// The Service through which members reach a key server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyServerService {
    /// `ClusterIP` for members in the cluster; `NodePort` or `LoadBalancer` for members outside.
    #[serde(default, rename = "type")]
    pub service_type: ServiceType,
    /// UDP port for registration.
    #[serde(default = "int::<848>")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// UDP port for registration through address translation.
    #[serde(default = "int::<4500>")]
    #[schemars(range(min = 1, max = 65535))]
    pub nat_traversal_port: i32,
    /// Annotations added to the Service, for example for a cloud's load balancer.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    #[schemars(schema_with = "string_map::<32>")]
    pub annotations: StringMap,
}

/// Kind of Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reachable in the cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reachable at a port of every node.
    NodePort,
    /// Reachable at a load balancer's address.
    LoadBalancer,
}

/// How members choose among the key servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyServerRegistration {
    /// Network interface of the key server that answers registrations; empty for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15))]
    pub interface_name: Option<String>,
    /// Order in which members try the key servers, by ordinal. Those not listed come last, by ordinal. A GroupMember
    /// may set its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = NO_DUPLICATES)]
    pub default_order: Vec<Ordinal>,
    /// `InOrder`: every member begins with the first key server. `Spread`: each begins with another one and goes on in
    /// order, so that registrations are spread evenly. A GroupMember with an order of its own keeps to that.
    #[serde(default)]
    pub selection: KeyServerSelection,
}

/// With which key server a member begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyServerSelection {
    /// The first.
    #[default]
    InOrder,
    /// One that depends on the member.
    Spread,
}

impl KeyServerRegistration {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.interface_name.is_none()
            && self.default_order.is_empty()
            && self.selection == KeyServerSelection::InOrder
    }
}

/// How key servers notice that one of them is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadPeerDetection {
    /// `Periodic`: ask every period, as key servers do. `OnDemand`: ask only when there is a doubt. `Disabled`: do not ask.
    /// The last two are not followed, and the group's condition says so.
    #[serde(default)]
    pub mode: DeadPeerDetectionMode,
    /// Seconds between two questions to a silent key server.
    #[serde(default = "int::<10>")]
    #[schemars(range(min = 10, max = 3600))]
    pub period_seconds: i32,
    /// Seconds before an unanswered question is repeated.
    #[serde(default = "int::<2>")]
    #[schemars(range(min = 2, max = 60))]
    pub retry_period_seconds: i32,
    /// Unanswered repetitions after which the key server counts as gone.
    #[serde(default = "int::<5>")]
    #[schemars(range(min = 1, max = 10))]
    pub retry_limit: i32,
}

/// When a key server is asked whether it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeadPeerDetectionMode {
    /// Every period.
    #[default]
    Periodic,
    /// When there is a doubt.
    OnDemand,
    /// Never.
    Disabled,
}

/// The volume of each key server. It holds sealed keys, the members and the Raft log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C8
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
        .message("`className` is immutable").field_path(".className"),
)]
pub struct Storage {
    /// Size of the volume, a quantity such as `1Gi`. It may grow; volumes cannot shrink.
    #[serde(default = "default_size")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        validation = POSITIVE_QUANTITY,
        // C7
        validation = (
            "!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0",
            "may not be decreased; volumes cannot shrink",
        ),
    )]
    pub size: String,
    /// Storage class of the volume; absent for the cluster's default. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub class_name: Option<String>,
    /// What becomes of the volumes when the group is deleted: `Retain` keeps them, `Delete` deletes them.
    #[serde(default)]
    pub retention: Retention,
}

fn default_size() -> String {
    "1Gi".to_owned()
}

/// What becomes of the volumes of a deleted group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// They are kept.
    #[default]
    Retain,
    /// They are deleted.
    Delete,
}
