//! How new keys reach the members: transport, repetition, acknowledgement, and the key that signs them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::field::{SecretRef, default_is_empty_object, int};

/// How new keys reach the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C2
    validation = Rule::new("(self.transport == 'Multicast') == has(self.multicast)")
        .message("`multicast` must be set when `transport` is 'Multicast' and may not be set otherwise")
        .field_path(".multicast"),
)]
pub struct Rekey {
    /// `Unicast`: a copy goes to every member, who acknowledges it. `Multicast`: one copy goes to all; the network must
    /// carry multicast, which pod networks seldom do.
    #[serde(default)]
    pub transport: RekeyTransport,
    /// Where multicast rekeys go. Set exactly when `transport` is 'Multicast'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multicast: Option<MulticastRekey>,
    /// Seconds the key lives that protects the rekeys themselves (KEK).
    #[serde(default = "int::<86400>")]
    #[schemars(range(min = 300, max = 86400))]
    pub kek_lifetime_seconds: i32,
    /// How many seconds before a key's end its successor is on its way at the latest.
    #[serde(default = "int::<120>")]
    #[schemars(range(min = 10, max = 3600))]
    pub lead_time_seconds: i32,
    /// How often a rekey is repeated.
    #[serde(default)]
    pub retransmit: Retransmit,
    /// Unicast rekeys: pace, acknowledgement and silence.
    #[serde(default)]
    pub unicast: UnicastRekey,
    /// Algorithm that signs rekeys, so that a member cannot pose as the key server. `RSAPSS3072`: RSASSA-PSS with SHA-256
    /// and a key of 3072 bits. `Ed25519`: smaller and faster.
    #[serde(default)]
    pub signature: RekeySignature,
    /// The key that signs rekeys.
    #[serde(default)]
    pub signing_key: SigningKey,
}

default_is_empty_object!(Rekey, Retransmit, UnicastRekey, SigningKey);

/// How rekeys travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RekeyTransport {
    /// A copy to every member.
    #[default]
    Unicast,
    /// One copy to a multicast address.
    Multicast,
}

/// Where multicast rekeys go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MulticastRekey {
    /// Multicast address the rekeys are sent to. A rule that leaves this address in clear is added by itself.
    #[schemars(length(min = 2, max = 45))]
    // C3
    #[x_kube(validation = (
        "isIP(self) && (ip(self).family() == 4 \
            ? cidr('224.0.0.0/4').containsIP(self) && !cidr('224.0.0.0/24').containsIP(self) \
            : cidr('ff00::/8').containsIP(self))",
        "must be a routable multicast address: IPv4 in 224.0.1.0-239.255.255.255 or IPv6 in ff00::/8"))]
    pub address: String,
    /// UDP port the rekeys are sent to.
    #[serde(default = "int::<848>")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Network interface the key servers send from and members listen on; absent for the one the route points at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub interface_name: Option<String>,
    /// Routers a rekey may pass.
    #[serde(default = "int::<32>")]
    #[schemars(range(min = 1, max = 255))]
    pub hop_limit: i32,
}

/// How often a rekey is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retransmit {
    /// Repetitions after the first copy.
    #[serde(default = "int::<2>")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: i32,
    /// Seconds between two copies.
    #[serde(default = "int::<10>")]
    #[schemars(range(min = 10, max = 60))]
    pub period_seconds: i32,
}

/// Pace and acknowledgement of unicast rekeys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnicastRekey {
    /// Members a rekey goes to at once.
    #[serde(default = "int::<30>")]
    #[schemars(range(min = 1, max = 1000))]
    pub batch_size: i32,
    /// Seconds a member has to acknowledge before the rekey is sent to it again.
    #[serde(default = "int::<10>")]
    #[schemars(range(min = 1, max = 60))]
    pub acknowledgement_timeout_seconds: i32,
    /// Rekeys in a row a member may leave unacknowledged; after that it must register again.
    #[serde(default = "int::<3>")]
    #[schemars(range(min = 1, max = 10))]
    pub eviction_threshold: i32,
}

/// Algorithm that signs rekeys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RekeySignature {
    /// RSASSA-PSS with SHA-256 and a key of 3072 bits.
    #[default]
    #[serde(rename = "RSAPSS3072")]
    RsaPss3072,
    /// Ed25519.
    Ed25519,
}

/// The key that signs rekeys. All key servers of the group hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C26
    validation = Rule::new("(self.source == 'Secret') == has(self.secretRef)")
        .message("`secretRef` must be set when `source` is 'Secret' and may not be set otherwise")
        .field_path(".secretRef"),
)]
pub struct SigningKey {
    /// `Generated`: the key servers make it once and share it. `Secret`: you provide it.
    #[serde(default)]
    pub source: SigningKeySource,
    /// Secret with the key as encrypted PKCS#8. Set exactly when `source` is 'Secret'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Days after which a generated key is replaced; 0 replaces it only on request.
    #[serde(default)]
    #[schemars(range(min = 0, max = 730))]
    // C27
    #[x_kube(validation = ("self == 0 || self >= 30", "`rotationPeriodDays` must be 0 or greater than or equal to 30"))]
    pub rotation_period_days: i32,
}

/// Where the signing key comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SigningKeySource {
    /// The key servers make it.
    #[default]
    Generated,
    /// It is in a Secret.
    Secret,
}
