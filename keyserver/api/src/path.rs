//! Paths of the admin API: one place for server and client.

/// `GET`: [`ServerStatus`](crate::status::ServerStatus).
pub const STATUS: &str = "/v1/status";

/// `POST`: the primary hands leadership to another key server.
pub const STEP_DOWN: &str = "/v1/step-down";

/// `DELETE`: takes the vote of a key server away and removes it from the group. The primary does it; when it is asked
/// to remove itself it hands leadership on first and answers with the new primary.
pub fn peer(name: &str) -> String {
    format!("/v1/peers/{name}")
}

/// `GET`: names of all groups.
pub const GROUPS: &str = "/v1/groups";

/// `PUT` [`GroupPolicy`](crate::policy::GroupPolicy), `GET` [`GroupStatus`](crate::status::GroupStatus), `DELETE`.
pub fn group(name: &str) -> String {
    format!("/v1/groups/{name}")
}

/// `GET`: the policy that is in force.
pub fn policy(name: &str) -> String {
    format!("/v1/groups/{name}/policy")
}

/// `GET`: [`MemberRow`](crate::status::MemberRow)s.
pub fn members(name: &str) -> String {
    format!("/v1/groups/{name}/members")
}

/// `POST` [`RekeyRequest`](crate::request::RekeyRequest).
pub fn rekey(name: &str) -> String {
    format!("/v1/groups/{name}/rekey")
}

/// `POST` [`EvictRequest`](crate::request::EvictRequest).
pub fn evict(name: &str) -> String {
    format!("/v1/groups/{name}/evict")
}

/// `POST` [`AdmitRequest`](crate::request::AdmitRequest).
pub fn admit(name: &str) -> String {
    format!("/v1/groups/{name}/admit")
}

/// `POST` [`SigningKeyExportRequest`](crate::request::SigningKeyExportRequest).
pub fn signing_key_export(name: &str) -> String {
    format!("/v1/groups/{name}/signing-key/export")
}

/// `POST` [`SigningKeyRotationRequest`](crate::request::SigningKeyRotationRequest).
pub fn signing_key_rotation(name: &str) -> String {
    format!("/v1/groups/{name}/signing-key/rotate")
}

/// `POST` [`SigningKeyImportRequest`](crate::request::SigningKeyImportRequest).
pub fn signing_key_import(name: &str) -> String {
    format!("/v1/groups/{name}/signing-key/import")
}
