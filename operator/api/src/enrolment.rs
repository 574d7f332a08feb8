//! Requests and answers of the enrolment endpoint, JSON over HTTP/1.1 over TLS.
//!
//! Every request carries `Authorization: Bearer TOKEN`, the pod's projected service-account token for
//! [`crate::pod::TOKEN_AUDIENCE`]. A refusal is a 4xx answer with a [`Refusal`] body.

use serde::{Deserialize, Serialize};

/// `POST` [`EnrolRequest`], answered by [`EnrolAnswer`].
pub const ENROL: &str = "/v1/enrol";

/// `POST` [`WatchRequest`], answered by [`WatchAnswer`] once the configuration differs from the one the member has, or
/// by status 204 after [`WatchRequest::wait_seconds`].
pub const WATCH: &str = "/v1/watch";

/// Longest time a watch may wait, in seconds.
pub const MOST_WAIT_SECONDS: u32 = 300;

/// A member asks for certificates and its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrolRequest {
    /// Version of the member's program.
    pub version: String,
    /// PKCS#10 request in PEM for a key that never leaves the pod. Its one subject alternative name is the DNS name
    /// [`crate::pod::identity`].
    pub certificate_request: String,
}

/// What a member needs to take part in its groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolAnswer {
    /// The configuration.
    #[serde(flatten)]
    pub configured: WatchAnswer,
    /// One certificate for each group that authenticates by certificate.
    pub certificates: Vec<GroupCertificate>,
    /// Seconds after which the member should enrol again to renew its certificates.
    pub renew_after_seconds: u64,
}

/// A certificate for one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupCertificate {
    /// Name of the GetVpnGroup.
    pub group: String,
    /// The member's certificate, then intermediates, in PEM.
    pub chain: String,
    /// Authorities that may have issued a key server's certificate, in PEM.
    pub trust: String,
}

/// A member waits for a change of its configuration, and says how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchRequest {
    /// Revision of the configuration the member has.
    pub revision: String,
    /// How long to wait for another one; 1 to [`MOST_WAIT_SECONDS`].
    pub wait_seconds: u32,
    /// State of the member.
    pub report: MemberReport,
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchAnswer {
    /// Names this configuration; equal configurations have equal names.
    pub revision: String,
    /// The configuration file of a group member as a document. Names of credential files are relative to the
    /// member's state directory: `GROUP/chain.pem`, `GROUP/trust.pem` and `member.key`; pre-shared keys are mounted.
    pub configuration: serde_json::Value,
}

/// State of a member as it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberReport {
    /// Version of the program.
    pub version: String,
    /// Whether drop rules hold back traffic because there are no keys.
    pub fail_closed_active: bool,
    /// Packets that went in clear by a bypass or deny entry.
    pub clear_packets: u64,
    /// Each group.
    pub groups: Vec<GroupReport>,
}

/// State of a member in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupReport {
    /// Number of the group.
    #[serde(rename = "groupID")]
    pub group_id: u32,
    /// Whether the member holds keys it may use now.
    pub registered: bool,
    /// Why not, in one CamelCase word; empty when registered.
    pub reason: String,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// One CamelCase word, also the label of the metric and the reason of the Event.
    pub reason: String,
    /// What was wrong and what to do.
    pub message: String,
}
