//! The file as it is written, and the rules its values must keep.

use std::net::SocketAddr;
use std::path::PathBuf;

use keyserver_api::identity::{IdentityKind, IdentityPattern};
use serde::Deserialize;

use super::{Authentication, Ike, Metrics};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) data_directory: PathBuf,
    pub(super) sealing_key_file: PathBuf,
    #[serde(default = "default_priority")]
    pub(super) priority: u8,
    pub(super) ike: Ike,
    pub(super) identity: IdentityPattern,
    pub(super) authentication: Authentication,
    pub(super) cooperative: CooperativeFile,
    pub(super) admin: AdminFile,
    #[serde(default)]
    pub(super) metrics: Option<Metrics>,
    #[serde(default)]
    pub(super) timing: TimingFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CooperativeFile {
    pub(super) listen: SocketAddr,
    pub(super) tls: PeerTls,
    pub(super) initial_members: Vec<MemberFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PeerTls {
    pub(super) certificate_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) trust_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MemberFile {
    pub(super) name: String,
    pub(super) address: String,
    #[serde(default = "default_priority")]
    pub(super) priority: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AdminFile {
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) address: Option<String>,
    pub(super) tls: AdminTls,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AdminTls {
    pub(super) certificate_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) client_trust_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TimingFile {
    pub(super) heartbeat_milliseconds: u64,
    pub(super) election_minimum_milliseconds: u64,
    pub(super) election_maximum_milliseconds: u64,
    pub(super) voter_replacement_seconds: u64,
}

impl Default for TimingFile {
    fn default() -> Self {
        Self {
            heartbeat_milliseconds: 150,
            election_minimum_milliseconds: 500,
            election_maximum_milliseconds: 1000,
            voter_replacement_seconds: 30,
        }
    }
}

pub(super) const fn default_port() -> u16 {
    848
}

pub(super) const fn default_nat_traversal_port() -> u16 {
    4500
}

pub(super) const fn default_priority() -> u8 {
    100
}

/// Field, and what is wrong with it.
pub(super) type FieldError = (String, String);

/// Checks what the types cannot say.
pub(super) fn check(file: &File) -> Result<(), FieldError> {
    let refuse = |field: &str, what: &str| Err((field.to_owned(), what.to_owned()));
    check_name("name", &file.name)?;
    check_priority("priority", file.priority)?;
    if file.ike.addresses.is_empty() {
        return refuse(
            "ike.addresses",
            "is empty; name at least one address of this host",
        );
    }
    if file.ike.port == 0 || file.ike.port == file.ike.nat_traversal_port {
        return refuse(
            "ike.port",
            "must not be 0 and not the same as natTraversalPort; the standard is 848",
        );
    }
    if file.ike.nat_traversal_port == 0 {
        return refuse(
            "ike.natTraversalPort",
            "must not be 0; the standard is 4500",
        );
    }
    if file.identity.kind == IdentityKind::Address || file.identity.value.is_empty() {
        return refuse(
            "identity",
            "must be an FQDN, a KeyID or a DistinguishedName with a value",
        );
    }
    if file.authentication.pre_shared_keys_file.is_none()
        && file.authentication.certificate.is_none()
    {
        return refuse(
            "authentication",
            "sets neither preSharedKeysFile nor certificate; nobody could register",
        );
    }
    let members = &file.cooperative.initial_members;
    if members.is_empty() || members.len() > 8 {
        return refuse("cooperative.initialMembers", "must name 1 to 8 key servers");
    }
    for (index, member) in members.iter().enumerate() {
        let field = format!("cooperative.initialMembers[{index}]");
        check_name(&format!("{field}.name"), &member.name)?;
        check_priority(&format!("{field}.priority"), member.priority)?;
        let port = member
            .address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err((
                format!("{field}.address"),
                format!("`{}` is not host:port", member.address),
            ));
        }
        let earlier = members.iter().take(index);
        if earlier.clone().any(|other| other.name == member.name) {
            return Err((
                format!("{field}.name"),
                format!("`{}` is used twice", member.name),
            ));
        }
        if earlier.clone().any(|other| other.address == member.address) {
            return Err((
                format!("{field}.address"),
                format!("`{}` is used twice", member.address),
            ));
        }
    }
    if !members.iter().any(|member| member.name == file.name) {
        return refuse(
            "cooperative.initialMembers",
            "does not name this key server itself",
        );
    }
    check_timing(&file.timing)
}

fn check_name(field: &str, name: &str) -> Result<(), FieldError> {
    let letters = name
        .bytes()
        .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-');
    if name.is_empty() || name.len() > 63 || !letters {
        return Err((
            field.to_owned(),
            format!("`{name}` is no name; use 1 to 63 lower-case letters, digits and `-`"),
        ));
    }
    Ok(())
}

fn check_priority(field: &str, priority: u8) -> Result<(), FieldError> {
    if (1..=100).contains(&priority) {
        return Ok(());
    }
    Err((field.to_owned(), format!("{priority} is not from 1 to 100")))
}

fn check_timing(timing: &TimingFile) -> Result<(), FieldError> {
    let (heartbeat, minimum, maximum) = (
        timing.heartbeat_milliseconds,
        timing.election_minimum_milliseconds,
        timing.election_maximum_milliseconds,
    );
    if heartbeat < 10
        || minimum < heartbeat.saturating_mul(2)
        || maximum <= minimum
        || maximum > 60_000
    {
        return Err((
            "timing".to_owned(),
            format!(
                "heartbeat {heartbeat} ms, election {minimum} to {maximum} ms: the heartbeat must be at least 10 ms, the shortest election timeout at least twice the heartbeat, the longest more than the shortest and at most 60000 ms"
            ),
        ));
    }
    Ok(())
}
