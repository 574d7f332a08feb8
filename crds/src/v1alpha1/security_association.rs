//! SecurityAssociation: which traffic of a group is encrypted, and how.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::condition::{conditions, never_observed, observed_generation};
use super::field::{Cidr, GroupRef, IMMUTABLE, LABEL, PortRange, default_is_empty_object};

/// Which traffic of a group is encrypted, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "getvpn.dev",
    version = "v1alpha1",
    kind = "SecurityAssociation",
    plural = "securityassociations",
    shortname = "gvsa",
    category = "getvpn",
    namespaced,
    cel,
    status = "SecurityAssociationStatus",
    derive = "PartialEq",
    doc = "A SecurityAssociation says which traffic of a GetVpnGroup is encrypted, and how. The rules of all SecurityAssociations of a group, by their order, are the policy that every member enforces.",
    selectable = ".spec.groupRef.name",
    // C48
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("name must be no more than 63 characters, start with a letter and contain only lower-case letters, digits and '-'")
        .field_path(".metadata.name"),
    printcolumn(name = "Group", type_ = "string", json_path = ".spec.groupRef.name", description = "Group it belongs to"),
    printcolumn(name = "Order", type_ = "integer", json_path = ".spec.order", description = "Place among the group's SecurityAssociations"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].status", description = "Whether the group took it into its policy"),
    printcolumn(name = "Permits", type_ = "integer", json_path = ".status.permitRules", description = "Rules that encrypt"),
    printcolumn(name = "SAs", type_ = "integer", json_path = ".status.securityAssociations", description = "Security associations every member holds for it"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since the object was created"),
    printcolumn(name = "Encryption", type_ = "string", json_path = ".spec.transform.encryption", description = "Cipher", priority = 1),
    printcolumn(name = "Replay", type_ = "string", json_path = ".spec.antiReplay.mode", description = "How replayed packets are found", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].reason", description = "Why it was accepted or not", priority = 1),
)]
#[serde(rename_all = "camelCase")]
pub struct SecurityAssociationSpec {
    /// The group whose traffic this is about. It cannot be changed.
    #[x_kube(validation = IMMUTABLE)]
    pub group_ref: GroupRef,
    /// Place of these rules among those of the group's other SecurityAssociations: lower numbers are compared first.
    /// No two SecurityAssociations of a group may have the same.
    #[schemars(range(min = 1, max = 10000))]
    pub order: i32,
    /// How traffic is encrypted.
    #[serde(default)]
    pub transform: Transform,
    /// Seconds a key encrypts traffic before the next one takes over; absent for the group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 120, max = 86400))]
    pub lifetime_seconds: Option<i32>,
    /// Kilobytes one member may encrypt under a key; absent for the group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2560, max = 4294967295i64))]
    pub lifetime_kilobytes: Option<i64>,
    /// How packets that were recorded and sent again are found.
    #[serde(default)]
    pub anti_replay: AntiReplay,
    /// The rules, compared from the first to the last; the first that fits a packet decides. A packet that no rule of
    /// the group fits goes in clear.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        // C18
        validation = ("self.exists(rule, rule.action == 'Permit')", "must contain at least one rule with `action` 'Permit'"),
        // C19
        validation = ("self.all(rule, self.exists_one(other, other.name == rule.name))", "rule names must be unique"),
    )]
    pub rules: Vec<TrafficRule>,
}

/// How traffic is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transform {
    /// Cipher: `AES256GCM`, `AES128GCM` or `ChaCha20Poly1305`. CBC is refused.
    #[serde(default)]
    #[schemars(schema_with = "encryption")]
    pub encryption: Encryption,
    /// Form on the wire. `UDP`: ESP in UDP port 4500, which passes address translation and is spread over receive
    /// queues. `ESP`: IP protocol 50 itself.
    #[serde(default)]
    pub encapsulation: Encapsulation,
}

default_is_empty_object!(Transform, AntiReplay, SecurityAssociationStatus);

/// Cipher of encrypted traffic. Only ciphers that also authenticate are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// AES in Galois/Counter Mode with a 256-bit key.
    #[default]
    #[serde(rename = "AES256GCM")]
    Aes256Gcm,
    /// AES in Galois/Counter Mode with a 128-bit key.
    #[serde(rename = "AES128GCM")]
    Aes128Gcm,
    /// ChaCha20 with Poly1305, for processors without AES instructions.
    ChaCha20Poly1305,
}

/// Schema of `transform.encryption` (C20).
///
/// The names of CBC ciphers are in the schema's list although [`Encryption`] has no such value: they are what people
/// bring along from older configurations, and a rule can then tell them what to write instead, where the bare list
/// would only say that the value is not supported. CBC is refused because it needs a separate integrity algorithm,
/// and its unpredictable initialisation vectors do not fit counters that many senders share.
fn encryption(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": ["AES256GCM", "AES128GCM", "ChaCha20Poly1305", "AES256CBC", "AES192CBC", "AES128CBC"],
        "x-kubernetes-validations": [{
            "rule": "!self.endsWith('CBC')",
            "message": "may not be a CBC cipher; must be 'AES256GCM', 'AES128GCM' or 'ChaCha20Poly1305', which encrypt and authenticate",
        }],
    })
}

/// Form of encrypted packets on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encapsulation {
    /// ESP in UDP port 4500.
    #[default]
    #[serde(rename = "UDP")]
    Udp,
    /// ESP as IP protocol 50.
    #[serde(rename = "ESP")]
    Esp,
}

/// How packets that were recorded and sent again are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C21
    validation = Rule::new("self.mode == 'TimeBased' || !has(self.windowSeconds)")
        .message("`windowSeconds` may be set only when `mode` is 'TimeBased'").field_path(".windowSeconds"),
    validation = Rule::new("self.mode == 'TimeBased' || !has(self.windowMilliseconds)")
        .message("`windowMilliseconds` may be set only when `mode` is 'TimeBased'").field_path(".windowMilliseconds"),
    // C41
    validation = Rule::new("!has(self.windowSeconds) || !has(self.windowMilliseconds)")
        .message("only one of `windowSeconds` and `windowMilliseconds` may be set").field_path(".windowMilliseconds"),
)]
pub struct AntiReplay {
    /// `TimeBased`: every packet carries the group's time, and one that is older than the window is dropped; duplicates
    /// inside the window are found by the sender's counter. `Counter`: by the sender's counter alone. `Disabled`: not at all.
    #[serde(default)]
    pub mode: AntiReplayMode,
    /// Oldest accepted packet in seconds, with 'TimeBased'; 5 when no window is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub window_seconds: Option<i32>,
    /// Oldest accepted packet in milliseconds, with 'TimeBased', for windows that are no whole number of seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 100000))]
    pub window_milliseconds: Option<i32>,
}

/// How replayed packets are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AntiReplayMode {
    /// By the group's time, and by counter inside the window.
    #[default]
    TimeBased,
    /// By the sender's counter.
    Counter,
    /// Not at all.
    Disabled,
}

/// One rule: which packets, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C16; an end that is no CIDR at all has its own message already
    validation = Rule::new("!isCIDR(self.source) || !isCIDR(self.destination) || cidr(self.source).ip().family() == cidr(self.destination).ip().family()")
        .message("`source` and `destination` must be of the same IP family").field_path(".destination"),
    // C17
    validation = Rule::new("!has(self.sourcePorts) || self.protocol in ['TCP', 'UDP']")
        .message("`sourcePorts` may be set only when `protocol` is 'TCP' or 'UDP'").field_path(".sourcePorts"),
    validation = Rule::new("!has(self.destinationPorts) || self.protocol in ['TCP', 'UDP']")
        .message("`destinationPorts` may be set only when `protocol` is 'TCP' or 'UDP'").field_path(".destinationPorts"),
    // C34
    validation = Rule::new("!has(self.protocolNumber) || self.protocol == 'Any'")
        .message("`protocolNumber` may be set only when `protocol` is 'Any'").field_path(".protocolNumber"),
    // C42
    validation = Rule::new("!isCIDR(self.source) || !(self.protocol in ['ICMP', 'ICMPv6']) || (cidr(self.source).ip().family() == 6) == (self.protocol == 'ICMPv6')")
        .message("`protocol` must be 'ICMP' for IPv4 and 'ICMPv6' for IPv6").field_path(".protocol"),
)]
pub struct TrafficRule {
    /// Name of the rule, unique in this object. It appears in messages and counters.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = LABEL)]
    pub name: String,
    /// `Permit`: packets that fit are encrypted. `Deny`: they go in clear.
    pub action: Action,
    /// Protocol of the packets.
    #[serde(default)]
    pub protocol: Protocol,
    /// Number of the protocol, for protocols without a name here. May be set only when `protocol` is 'Any'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub protocol_number: Option<i32>,
    /// Where the packets come from.
    pub source: Cidr,
    /// Where the packets go to. May be a multicast prefix.
    pub destination: Cidr,
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
    /// `Auto`: when the two ends differ, the rule for the way back is added. `Disabled`: it is not.
    #[serde(default)]
    pub mirror: Mirror,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// It is encrypted.
    Permit,
    /// It goes in clear.
    Deny,
}

/// Protocol of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// Any protocol.
    #[default]
    Any,
    /// TCP (6).
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP (17).
    #[serde(rename = "UDP")]
    Udp,
    /// ICMP (1).
    #[serde(rename = "ICMP")]
    Icmp,
    /// ICMPv6 (58).
    #[serde(rename = "ICMPv6")]
    IcmpV6,
    /// OSPF (89).
    #[serde(rename = "OSPF")]
    Ospf,
    /// GRE (47).
    #[serde(rename = "GRE")]
    Gre,
    /// ESP (50).
    #[serde(rename = "ESP")]
    Esp,
}

/// Whether the rule for the way back is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mirror {
    /// When the two ends differ.
    #[default]
    Auto,
    /// Never.
    Disabled,
}

/// State of a SecurityAssociation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityAssociationStatus {
    /// `metadata.generation` this status was computed for; -1 before the first time.
    #[serde(default = "never_observed")]
    #[schemars(schema_with = "observed_generation")]
    pub observed_generation: i64,
    /// Ready and Accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Rules that encrypt, reverse rules included.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub permit_rules: i32,
    /// Security associations every member holds for it, in both directions.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub security_associations: i32,
    /// The group that took it into its policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_by: Option<AcceptedBy>,
}

/// The group that took a SecurityAssociation into its policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedBy {
    /// Name of the group.
    #[schemars(length(max = 253))]
    pub group: String,
    /// The policy it is part of.
    #[schemars(length(max = 64))]
    pub policy_revision: String,
}
