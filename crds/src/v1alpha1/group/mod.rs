//! GetVpnGroup: one group of members that share keys, and the key servers that hand them out.

mod access;
mod key_servers;
mod placement;
mod rekey;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field::{GroupRef, IMMUTABLE, default_is_empty_object, int, long};

pub use access::*;
pub use key_servers::*;
pub use placement::*;
pub use rekey::*;
pub use status::*;

/// What a group is: its number, key servers, who may join, and how keys live and change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "getvpn.dev",
    version = "v1alpha1",
    kind = "GetVpnGroup",
    plural = "getvpngroups",
    shortname = "gvg",
    category = "getvpn",
    namespaced,
    cel,
    status = "GetVpnGroupStatus",
    derive = "PartialEq",
    doc = "A GetVpnGroup is a group of members that encrypt traffic among themselves with shared keys, and the key servers that register them and hand out the keys.",
    scale(
        spec_replicas_path = ".spec.keyServers.replicas",
        status_replicas_path = ".status.keyServers.replicas",
        label_selector_path = ".status.keyServers.selector"
    ),
    validation = Rule::new("size(self.metadata.name) <= 49")
        .message("name must be no more than 49 characters").field_path(".metadata.name"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("name must start with a letter and contain only lower-case letters, digits and '-'")
        .field_path(".metadata.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether everything about the group is in order"),
    printcolumn(name = "KeyServers", type_ = "string", json_path = ".status.keyServers.summary", description = "Key servers ready, of those asked for"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.keyServers.primary", description = "Key server that makes the keys"),
    printcolumn(name = "Members", type_ = "string", json_path = ".status.members.summary", description = "Members registered, of those expected"),
    printcolumn(name = "Direction", type_ = "string", json_path = ".spec.direction", description = "Whether members may send"),
    printcolumn(name = "Last-Rekey", type_ = "date", json_path = ".status.keys.lastRekeyTime", description = "Time since the last rekey"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since the object was created"),
    printcolumn(name = "ID", type_ = "integer", json_path = ".spec.groupID", description = "Number of the group on the wire", priority = 1),
    printcolumn(name = "Transport", type_ = "string", json_path = ".spec.rekey.transport", description = "How rekeys reach the members", priority = 1),
    printcolumn(name = "SAs", type_ = "integer", json_path = ".status.policy.securityAssociations", description = "Security associations every member holds", priority = 1),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.keys.epoch", description = "Number of the current generation of keys", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why the group is ready or not", priority = 1),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C4
    validation = Rule::new("self.authorization.mode != 'Certificate' || self.identity == 'DistinguishedName'")
        .message("`identity` must be 'DistinguishedName' when `authorization.mode` is 'Certificate'")
        .field_path(".identity"),
    // C5
    validation = Rule::new("!has(self.keyServers) || self.keyServers.replicas <= 1 || \
            self.registration.memberLifetimeSeconds <= self.registration.keyServerLifetimeSeconds")
        .message("`memberLifetimeSeconds` must be less than or equal to `keyServerLifetimeSeconds` when more than one key server is configured")
        .field_path(".registration.memberLifetimeSeconds"),
    // C6, one rule for each field so that the path names the one at fault
    validation = Rule::new("!has(self.keyServers) || self.keyServers.replicas != 1 || self.registration.keyServerLifetimeSeconds >= 60")
        .message("must be greater than or equal to 60 when `replicas` is 1")
        .field_path(".registration.keyServerLifetimeSeconds"),
    validation = Rule::new("!has(self.keyServers) || self.keyServers.replicas != 1 || self.registration.memberLifetimeSeconds >= 60")
        .message("must be greater than or equal to 60 when `replicas` is 1")
        .field_path(".registration.memberLifetimeSeconds"),
    // C9
    validation = Rule::new("self.rekey.kekLifetimeSeconds >= self.traffic.lifetimeSeconds")
        .message("`rekey.kekLifetimeSeconds` must be greater than or equal to `traffic.lifetimeSeconds`")
        .field_path(".rekey.kekLifetimeSeconds"),
    // C10
    validation = Rule::new("self.rekey.leadTimeSeconds + self.rekey.retransmit.attempts * self.rekey.retransmit.periodSeconds < self.traffic.lifetimeSeconds")
        .message("`rekey.leadTimeSeconds` plus retransmissions must be less than `traffic.lifetimeSeconds`")
        .field_path(".rekey.leadTimeSeconds"),
    // C14
    validation = Rule::new("has(self.keyServers) != has(self.keyServersFrom)")
        .message("exactly one of `keyServers` or `keyServersFrom` must be set"),
    validation = Rule::new("!has(self.keyServersFrom) || self.authorization.mode != 'Disabled'")
        .message("`authorization.mode` may not be 'Disabled' when `keyServersFrom` is set")
        .field_path(".authorization.mode"),
    // C28
    validation = Rule::new("!has(self.authorization.hostnames) || self.identity == 'Hostname'")
        .message("`identity` must be 'Hostname' when `authorization.hostnames` is set")
        .field_path(".identity"),
    // C29
    validation = Rule::new("self.authorization.mode == 'Disabled' || self.authorization.mode == self.authentication.mode")
        .message("`authorization.mode` must be 'Disabled' or equal to `authentication.mode`")
        .field_path(".authorization.mode"),
)]
pub struct GetVpnGroupSpec {
    /// Number of the group, which members name when they register. It cannot be changed.
    #[serde(rename = "groupID")]
    #[schemars(range(min = 0, max = 2147483647))]
    #[x_kube(validation = IMMUTABLE)]
    pub group_id: i32,
    /// What the group is for, in your own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// Whether members send encrypted traffic. `Bidirectional`: they send and receive. `ReceiveOnly`: they accept
    /// encrypted traffic but still send in clear, which is how an existing network is moved over step by step.
    #[serde(default)]
    pub direction: Direction,
    /// How members send multicast traffic. `Multicast`: as it is, in one packet that the network must carry to all
    /// receivers. `HeadEndReplication`: the sender makes a copy for every other member and sends it by unicast, for
    /// networks without multicast, as most pod networks are. Costs the sender one packet for each member.
    #[serde(default)]
    pub multicast_delivery: MulticastDelivery,
    /// The group's own set of key servers. Exactly one of `keyServers` and `keyServersFrom` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_servers: Option<KeyServers>,
    /// Uses the key servers of another group. Members must then be authorized for each group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_servers_from: Option<KeyServersFrom>,
    /// How members and key servers prove who they are.
    #[serde(default)]
    pub authentication: Authentication,
    /// What a member names itself by: its `Address`, its `Hostname` (an FQDN), or the `DistinguishedName` of its certificate.
    #[serde(default)]
    pub identity: Identity,
    /// Which of the members that proved who they are may join this group.
    #[serde(default)]
    pub authorization: Authorization,
    /// The exchange in which a member registers.
    #[serde(default)]
    pub registration: Registration,
    /// The keys that encrypt traffic (TEK).
    #[serde(default)]
    pub traffic: Traffic,
    /// How new keys reach the members.
    #[serde(default)]
    pub rekey: Rekey,
}

/// Whether members of the group send encrypted traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// Members send and receive encrypted traffic.
    #[default]
    Bidirectional,
    /// Members accept encrypted traffic and send in clear.
    ReceiveOnly,
}

/// How members of the group send multicast traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MulticastDelivery {
    /// In one packet, to the multicast address.
    #[default]
    Multicast,
    /// In one packet for each other member, by unicast.
    HeadEndReplication,
}

/// Names the group whose key servers this group uses as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyServersFrom {
    /// The group that has the key servers, in the same namespace.
    pub group_ref: GroupRef,
}

/// How long the keys that encrypt traffic live, and how members move from one to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C30
    validation = Rule::new("self.deactivationDelaySeconds > self.activationDelaySeconds")
        .message("`deactivationDelaySeconds` must be greater than `activationDelaySeconds`")
        .field_path(".deactivationDelaySeconds"),
    // C31
    validation = Rule::new("self.activationDelaySeconds + self.deactivationDelaySeconds < self.lifetimeSeconds")
        .message("`activationDelaySeconds` plus `deactivationDelaySeconds` must be less than `lifetimeSeconds`")
        .field_path(".deactivationDelaySeconds"),
)]
pub struct Traffic {
    /// Seconds a key encrypts traffic before the next one takes over. A SecurityAssociation may set its own.
    #[serde(default = "int::<3600>")]
    #[schemars(range(min = 120, max = 86400))]
    pub lifetime_seconds: i32,
    /// Kilobytes one member may encrypt under a key before it is replaced. The limit that is reached first counts.
    /// A SecurityAssociation may set its own.
    #[serde(default = "long::<4608000>")]
    #[schemars(range(min = 2560, max = 4294967295i64))]
    pub lifetime_kilobytes: i64,
    /// How many future keys every member holds beside the current one. While all key servers are lost, traffic goes on
    /// for about this many lifetimes more. An eviction replaces the future keys too.
    #[serde(default = "int::<1>")]
    #[schemars(range(min = 0, max = 3))]
    pub prestaged_keys: i32,
    /// Seconds between the arrival of a key that is to be used at once and its first use for sending, so that every
    /// member can receive with it before anyone sends with it.
    #[serde(default = "int::<5>")]
    #[schemars(range(min = 1, max = 60))]
    pub activation_delay_seconds: i32,
    /// Seconds a replaced key is still accepted for receiving, so that packets under way are not lost.
    #[serde(default = "int::<15>")]
    #[schemars(range(min = 2, max = 120))]
    pub deactivation_delay_seconds: i32,
    /// Bits of every packet's counter that name its sender. More bits allow more registrations before a new epoch of
    /// keys is needed; fewer leave each sender more packets: 2 to the power of 64 less this number.
    #[serde(default = "int::<24>", rename = "senderIDBits")]
    #[schemars(range(min = 8, max = 32), extend("enum" = [8, 12, 16, 24, 32]))]
    pub sender_id_bits: i32,
}

default_is_empty_object!(Traffic);
