//! What is known about a group; written by the operator only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::condition::{conditions, date_time, never_observed, observed_generation};
use super::super::field::{Ordinal, default_is_empty_object};

/// State of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GetVpnGroupStatus {
    /// `metadata.generation` this status was computed for; -1 before the first time.
    #[serde(default = "never_observed")]
    #[schemars(schema_with = "observed_generation")]
    pub observed_generation: i64,
    /// Ready, KeyServersAvailable, PolicyAccepted, SigningKeyReady, KeysCurrent; and while they hold: Reconciling, Stalled, Paused, MembersAhead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The key servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_servers: Option<KeyServersStatus>,
    /// The members, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MembersStatus>,
    /// Numbers given to senders so that no two of them ever use the same counter under one key.
    #[serde(default, rename = "senderIDs", skip_serializing_if = "Option::is_none")]
    pub sender_ids: Option<SenderIdsStatus>,
    /// The policy made from the group's SecurityAssociations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// The keys, without the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysStatus>,
    /// The key that signs rekeys, without the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<SigningKeyStatus>,
    /// Value of the annotation `getvpn.dev/rekey-requested-at` that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_rekey_request: Option<String>,
}

default_is_empty_object!(
    GetVpnGroupStatus,
    KeyServersStatus,
    MembersStatus,
    SenderIdsStatus,
    PolicyStatus,
    KeysStatus
);

/// State of the key servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyServersStatus {
    /// Key servers that exist.
    #[serde(default)]
    #[schemars(range(min = 0, max = 8))]
    pub replicas: i32,
    /// Key servers that are ready.
    #[serde(default)]
    #[schemars(range(min = 0, max = 8))]
    pub ready: i32,
    /// Ready of asked for, such as `3/3`.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub summary: String,
    /// Label selector of the key servers' pods.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub selector: String,
    /// Name of the key server that makes the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub primary: Option<String>,
    /// Number of the current term of office of the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991i64))]
    pub term: Option<i64>,
    /// Each key server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ordinal".into()]))]
    pub peers: Vec<KeyServerPeer>,
}

/// State of one key server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyServerPeer {
    /// The number at the end of its pod's name.
    pub ordinal: Ordinal,
    /// `Primary`, `Secondary` (votes), or `Learner` (does not vote).
    pub role: KeyServerRole,
    /// `Up`, `Down` or `Unknown`.
    pub state: KeyServerState,
    /// Version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Members that registered with it.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub registered: i32,
}

/// Part a key server plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyServerRole {
    /// Makes the keys.
    Primary,
    /// Votes and can become primary.
    Secondary,
    /// Serves registrations, does not vote.
    Learner,
}

/// Whether a key server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyServerState {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// Nobody could ask.
    Unknown,
}

/// The members, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MembersStatus {
    /// Members that hold the current keys.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub registered: i32,
    /// Members that should.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub expected: i32,
    /// Members that run an older version.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub outdated: i32,
    /// Members that block traffic because they have no keys.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2147483647))]
    pub fail_closed_active: i32,
    /// Registered of expected, such as `12/12`.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub summary: String,
}

/// Use of the sender numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SenderIdsStatus {
    /// Numbers given out in this epoch.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4294967296i64))]
    pub used: i64,
    /// Numbers there are.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4294967296i64))]
    pub capacity: i64,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Rules that encrypt, reverse rules included.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub permit_rules: i32,
    /// Security associations every member holds.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub security_associations: i32,
    /// Short name of this version of the policy; equal policies have equal names.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub revision: String,
    /// Rules that were added by themselves, such as the one that leaves rekeys in clear.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub implicit_rules: i32,
}

/// The keys in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysStatus {
    /// Number of the current generation of keys.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9007199254740991i64))]
    pub epoch: i64,
    /// When keys were last sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub last_rekey_time: Option<Time>,
    /// When keys will be sent next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub next_rekey_time: Option<Time>,
    /// Members that acknowledged the last rekey, such as `12/12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub last_rekey_acknowledged: Option<String>,
}

/// The public side of the signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningKeyStatus {
    /// SHA-256 of the public key.
    #[schemars(length(max = 128))]
    pub fingerprint: String,
    /// Size of the key.
    #[schemars(range(min = 0, max = 4096))]
    pub bits: i32,
    /// When the key was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub created_time: Option<Time>,
}
