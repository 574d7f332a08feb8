//! GroupMember: how a set of pods takes part in a group.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::condition::{conditions, date_time, never_observed, observed_generation};
use super::field::{
    Cidr, GroupRef, IMMUTABLE, LABEL, NO_DUPLICATES, Ordinal, PortRange, Resources, StringMap,
    default_is_empty_object, int, string_map,
};
use super::security_association::Protocol;

/// How a set of pods takes part in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "getvpn.dev",
    version = "v1alpha1",
    kind = "GroupMember",
    plural = "groupmembers",
    shortname = "gvm",
    category = "getvpn",
    namespaced,
    cel,
    status = "GroupMemberStatus",
    derive = "PartialEq",
    doc = "A GroupMember says how a set of pods takes part in a GetVpnGroup: on which interfaces, what stays in clear, and what happens while there are no keys.",
    selectable = ".spec.groupRef.name",
    // C49; the name is also the name of a label
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("name must be no more than 63 characters, start with a letter and contain only lower-case letters, digits and '-'")
        .field_path(".metadata.name"),
    printcolumn(name = "Group", type_ = "string", json_path = ".spec.groupRef.name", description = "Group the pods belong to"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether every pod is in order"),
    printcolumn(name = "Registered", type_ = "string", json_path = ".status.pods.summary", description = "Pods registered, of those injected"),
    printcolumn(name = "Direction", type_ = "string", json_path = ".spec.direction", description = "Whether the pods send encrypted traffic"),
    printcolumn(name = "Failure-Mode", type_ = "string", json_path = ".spec.failureMode", description = "What happens to traffic without keys"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since the object was created"),
    printcolumn(name = "Outdated", type_ = "integer", json_path = ".status.pods.outdated", description = "Pods with an older sidecar", priority = 1),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces", description = "Protected interfaces", priority = 1),
    printcolumn(name = "Local-Interface", type_ = "string", json_path = ".spec.localInterface", description = "Interface whose address the member registers from", priority = 1),
    printcolumn(name = "Bypass", type_ = "string", json_path = ".spec.bypass[*].name", description = "Flows the member keeps in clear", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why it is ready or not", priority = 1),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C22
    validation = Rule::new("size(self.interfaces) <= 1 || has(self.localInterface)")
        .message("`localInterface` must be set when more than one interface is listed").field_path(".localInterface"),
    validation = Rule::new("!has(self.localInterface) || self.localInterface in self.interfaces")
        .message("`localInterface` must be one of `interfaces`").field_path(".localInterface"),
    // C23
    validation = Rule::new("self.failureMode == 'FailClosed' || !has(self.failClosed)")
        .message("`failClosed` may be set only when `failureMode` is 'FailClosed'").field_path(".failClosed"),
)]
pub struct GroupMemberSpec {
    /// The group to take part in. It cannot be changed. A pod may take part in several groups through several GroupMembers.
    #[x_kube(validation = IMMUTABLE)]
    pub group_ref: GroupRef,
    /// Pods this applies to, by labels; absent for pods that name this object in their annotation `getvpn.dev/group-members`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<PodSelector>,
    /// Network interfaces whose traffic is protected.
    #[serde(default = "default_interfaces")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 15)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub interfaces: Vec<String>,
    /// Interface whose address the member registers from. Needed when more than one interface is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub local_interface: Option<String>,
    /// Flows this member keeps in clear although the group encrypts them. The other ends must do so too. They are
    /// compared before the group's rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        // C43
        validation = ("self.all(flow, self.exists_one(other, other.name == flow.name))", "flow names must be unique"),
    )]
    pub bypass: Vec<Flow>,
    /// What happens to traffic the group encrypts while there are no keys. `FailClosed`: it is dropped. `FailOpen`: before
    /// the first registration it goes in clear.
    #[serde(default)]
    pub failure_mode: FailureMode,
    /// What may go in clear before the first registration. May be set only when `failureMode` is 'FailClosed'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_closed: Option<FailClosed>,
    /// Order in which this member tries the key servers, by ordinal; absent for the group's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    // C24
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = NO_DUPLICATES)]
    pub key_server_order: Vec<Ordinal>,
    /// `Inherit`: as the group says. `Bidirectional`: send and accept encrypted traffic. `InboundOnly`: accept it, send in
    /// clear. `InboundOptional`: send encrypted, accept also clear traffic.
    #[serde(default)]
    pub direction: MemberDirection,
    /// Registration through address translation. `Auto`: when a translator is found. `Required`: always. `Disabled`: never.
    #[serde(default)]
    pub nat_traversal: NatTraversal,
    /// The sidecar container.
    #[serde(default)]
    pub sidecar: Sidecar,
}

fn default_interfaces() -> Vec<String> {
    vec!["eth0".to_owned()]
}

default_is_empty_object!(
    PodSelector,
    FailClosed,
    Sidecar,
    GroupMemberStatus,
    PodsStatus
);

/// Chooses pods by their labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSelector {
    /// Labels a pod must have, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "string_map::<16>")]
    pub match_labels: StringMap,
}

/// A flow that stays in clear. What is left out fits everything. Packets of the way back fit as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C44, as C16
    validation = Rule::new("!has(self.source) || !has(self.destination) || !isCIDR(self.source) || !isCIDR(self.destination) || cidr(self.source).ip().family() == cidr(self.destination).ip().family()")
        .message("`source` and `destination` must be of the same IP family").field_path(".destination"),
    // C45, as C17
    validation = Rule::new("!has(self.sourcePorts) || self.protocol in ['TCP', 'UDP']")
        .message("`sourcePorts` may be set only when `protocol` is 'TCP' or 'UDP'").field_path(".sourcePorts"),
    validation = Rule::new("!has(self.destinationPorts) || self.protocol in ['TCP', 'UDP']")
        .message("`destinationPorts` may be set only when `protocol` is 'TCP' or 'UDP'").field_path(".destinationPorts"),
    // C46, as C34
    validation = Rule::new("!has(self.protocolNumber) || self.protocol == 'Any'")
        .message("`protocolNumber` may be set only when `protocol` is 'Any'").field_path(".protocolNumber"),
)]
pub struct Flow {
    /// Name of the flow, unique in its list.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = LABEL)]
    pub name: String,
    /// `Deny`, and nothing else: a member's list only leaves flows in clear. May be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "flow_action")]
    pub action: Option<FlowAction>,
    /// Protocol of the packets.
    #[serde(default)]
    pub protocol: Protocol,
    /// Number of the protocol, for protocols without a name here. May be set only when `protocol` is 'Any'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub protocol_number: Option<i32>,
    /// Where the packets come from; anywhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Cidr>,
    /// Where the packets go to; anywhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Cidr>,
    /// Ports the packets come from; any when absent. Only for TCP and UDP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub source_ports: Vec<PortRange>,
    /// Ports the packets go to; any when absent. Only for TCP and UDP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub destination_ports: Vec<PortRange>,
}

/// What a flow of a member's list does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlowAction {
    /// It goes in clear.
    #[default]
    Deny,
}

/// Schema of `action` of a flow (C52).
///
/// `Permit` is in the schema's list although [`FlowAction`] has no such value: it is what people bring along from older
/// access lists. No key server would make keys for it, so its packets could only be dropped.
fn flow_action(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": ["Deny", "Permit"],
        "x-kubernetes-validations": [{
            "rule": "self != 'Permit'",
            "message": "may not be 'Permit': a member's list only leaves flows in clear, and no key server makes keys for it; write a rule with `action` 'Permit' in a SecurityAssociation",
        }],
    })
}

/// What happens to traffic without keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailureMode {
    /// It is dropped.
    #[default]
    FailClosed,
    /// It goes in clear before the first registration.
    FailOpen,
}

/// What may go in clear before the first registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailClosed {
    /// Flows that may go in clear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = ("self.all(flow, self.exists_one(other, other.name == flow.name))", "flow names must be unique"),
    )]
    pub allow_clear: Vec<Flow>,
    /// Flows that a pod needs to start at all. `KubeletProbes`: probes from the node. `ClusterDNS`: name resolution.
    /// `KubernetesAPI`: the API server. `RegistrationTransit`: registrations of others that this member forwards.
    #[serde(default = "default_presets")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub presets: Vec<Preset>,
    /// Whether the flows in `bypass` may go in clear as well: `Include` or `Exclude`.
    #[serde(default)]
    pub local_bypass: LocalBypass,
}

fn default_presets() -> Vec<Preset> {
    Preset::ALL.to_vec()
}

/// Flows that a pod needs to start.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Preset {
    /// Probes from the pod's node.
    KubeletProbes,
    /// Name resolution by the cluster's DNS.
    #[serde(rename = "ClusterDNS")]
    ClusterDns,
    /// The Kubernetes API server.
    #[serde(rename = "KubernetesAPI")]
    KubernetesApi,
    /// Registrations of other members, forwarded by this one.
    RegistrationTransit,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::KubeletProbes,
        Self::ClusterDns,
        Self::KubernetesApi,
        Self::RegistrationTransit,
    ];
}

/// Whether `bypass` applies before registration too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalBypass {
    /// It does.
    #[default]
    Include,
    /// It does not.
    Exclude,
}

/// Whether a member sends and demands encrypted traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberDirection {
    /// As the group says.
    #[default]
    Inherit,
    /// Sends and demands encrypted traffic.
    Bidirectional,
    /// Accepts encrypted traffic, sends in clear.
    InboundOnly,
    /// Sends encrypted traffic, accepts clear traffic as well.
    InboundOptional,
}

/// Registration through address translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NatTraversal {
    /// When a translator is found.
    #[default]
    Auto,
    /// Always.
    Required,
    /// Never.
    Disabled,
}

/// The sidecar container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C47
    validation = Rule::new("self.mtuBytes == 0 || self.mtuBytes >= 1280")
        .message("`mtuBytes` must be 0 or greater than or equal to 1280").field_path(".mtuBytes"),
)]
pub struct Sidecar {
    /// How much is logged: `Error`, `Warn`, `Info`, `Debug` or `Trace`.
    #[serde(default)]
    pub log_level: LogLevel,
    /// Largest packet before encryption, in bytes; 0 learns it from the interface.
    #[serde(default = "int::<0>")]
    #[schemars(range(min = 0, max = 9000))]
    pub mtu_bytes: i32,
    /// What the container asks of its node and may use at most.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what deserves a look.
    Warn,
    /// And what changed.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And every packet.
    Trace,
}

/// State of a GroupMember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupMemberStatus {
    /// `metadata.generation` this status was computed for; -1 before the first time.
    #[serde(default = "never_observed")]
    #[schemars(schema_with = "observed_generation")]
    pub observed_generation: i64,
    /// Ready, InjectionAllowed, Registered, PolicyInSync and VersionCurrent; and while it holds: SidecarTooOld.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The pods, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsStatus>,
    /// Some of the pods that are not in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["podName".into()]))]
    pub unhealthy: Vec<UnhealthyPod>,
}

/// The pods of a GroupMember, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodsStatus {
    /// Pods with a sidecar.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub injected: i32,
    /// Pods that hold the current keys.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub registered: i32,
    /// Pods with an older sidecar.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub outdated: i32,
    /// Pods that block traffic because they have no keys.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub fail_closed_active: i32,
    /// Registered of injected, such as `11/12`.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub summary: String,
}

/// A pod that is not in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyPod {
    /// Name of the pod.
    #[schemars(length(max = 253))]
    pub pod_name: String,
    /// Why, in one CamelCase word.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub since_time: Option<Time>,
}
