//! The file as it is written, and the rules its values must keep.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use keyserver_api::identity::{IdentityKind, IdentityPattern};
use serde::Deserialize;

use super::{Authentication, Environment, Metrics};
use crate::raft::InitialMember;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) data_directory: PathBuf,
    pub(super) sealing_key_file: PathBuf,
    #[serde(default)]
    pub(super) priority: Option<u8>,
    pub(super) ike: IkeFile,
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
pub(super) struct IkeFile {
    #[serde(default)]
    pub(super) addresses: Option<Vec<IpAddr>>,
    #[serde(default = "default_port")]
    pub(super) port: u16,
    #[serde(default = "default_nat_traversal_port")]
    pub(super) nat_traversal_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CooperativeFile {
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) domain: Option<String>,
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
    #[serde(default)]
    pub(super) address: Option<String>,
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

/// What the file and the environment say together.
pub(super) struct Resolved {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) priority: u8,
    /// `host:port` by which the others reach this key server's consensus endpoint.
    pub(super) own_address: String,
    pub(super) initial_members: Vec<InitialMember>,
}

/// Checks what the types cannot say, and fills in what the environment holds.
pub(super) fn resolve(file: &File, environment: &Environment) -> Result<Resolved, FieldError> {
    let refuse = |field: &str, what: &str| Err((field.to_owned(), what.to_owned()));
    let name = match (&file.name, &environment.name) {
        (Some(name), _) => {
            check_name("name", name)?;
            name.clone()
        }
        (None, Some(name)) => {
            check_name("name (from GETVPN_NAME)", name)?;
            name.clone()
        }
        (None, None) => {
            return refuse(
                "name",
                "is absent and GETVPN_NAME is not set; set one of them",
            );
        }
    };
    let addresses = match (&file.ike.addresses, &environment.addresses) {
        (Some(addresses), _) => addresses.clone(),
        (None, Some(text)) => environment_addresses(text)?,
        (None, None) => {
            return refuse(
                "ike.addresses",
                "is absent and GETVPN_ADDRESSES is not set; set one of them",
            );
        }
    };
    if addresses.is_empty() {
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
    let initial_members = initial_members(&file.cooperative)?;
    let own = initial_members.iter().find(|member| member.name == name);
    let own_address = match (own, &file.cooperative.domain) {
        (Some(own), _) => own.address.clone(),
        (None, Some(domain)) => in_domain(&name, domain, file.cooperative.listen.port()),
        (None, None) => {
            return Err((
                "cooperative.initialMembers".to_owned(),
                format!(
                    "does not name this key server itself (`{name}`), and cooperative.domain is not set; add it, or set the domain"
                ),
            ));
        }
    };
    let priority = file
        .priority
        .or_else(|| own.map(|own| own.priority))
        .unwrap_or(default_priority());
    check_priority("priority", priority)?;
    check_timing(&file.timing)?;
    Ok(Resolved {
        name,
        addresses,
        priority,
        own_address,
        initial_members,
    })
}

fn environment_addresses(text: &str) -> Result<Vec<IpAddr>, FieldError> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse().map_err(|_| {
                (
                    "ike.addresses (from GETVPN_ADDRESSES)".to_owned(),
                    format!("`{part}` is no IP address; separate several by commas"),
                )
            })
        })
        .collect()
}

fn initial_members(cooperative: &CooperativeFile) -> Result<Vec<InitialMember>, FieldError> {
    let field = "cooperative.domain";
    if let Some(domain) = &cooperative.domain
        && (domain.is_empty() || domain.len() > 189 || domain.split('.').any(str::is_empty))
    {
        let what = format!("`{domain}` is no domain name; for example `g-ks.namespace.svc`");
        return Err((field.to_owned(), what));
    }
    let members = &cooperative.initial_members;
    if members.is_empty() || members.len() > 8 {
        return Err((
            "cooperative.initialMembers".to_owned(),
            "must name 1 to 8 key servers".to_owned(),
        ));
    }
    let mut resolved: Vec<InitialMember> = Vec::with_capacity(members.len());
    for (index, member) in members.iter().enumerate() {
        let field = format!("cooperative.initialMembers[{index}]");
        check_name(&format!("{field}.name"), &member.name)?;
        check_priority(&format!("{field}.priority"), member.priority)?;
        let address = match (&member.address, &cooperative.domain) {
            (Some(address), _) => address.clone(),
            (None, Some(domain)) => in_domain(&member.name, domain, cooperative.listen.port()),
            (None, None) => {
                return Err((
                    format!("{field}.address"),
                    "is absent and cooperative.domain is not set; set one of them".to_owned(),
                ));
            }
        };
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err((
                format!("{field}.address"),
                format!("`{address}` is not host:port"),
            ));
        }
        if resolved.iter().any(|other| other.name == member.name) {
            return Err((
                format!("{field}.name"),
                format!("`{}` is used twice", member.name),
            ));
        }
        if resolved.iter().any(|other| other.address == address) {
            return Err((
                format!("{field}.address"),
                format!("`{address}` is used twice"),
            ));
        }
        resolved.push(InitialMember {
            name: member.name.clone(),
            address,
            priority: member.priority,
        });
    }
    Ok(resolved)
}

fn in_domain(name: &str, domain: &str, port: u16) -> String {
    format!("{name}.{domain}:{port}")
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
