//! What makes sense in a configuration, field by field, with what to write instead.

use std::fmt;

use super::flow::FlowEntry;
use super::{Config, FailureMode, GroupConfig, IdentityConfig, IdentityKind, NetworkConfig};

/// A complaint about one field, before the file name is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) field: String,
    pub(super) problem: String,
}

impl Complaint {
    fn new(field: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self {
            field: field.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), Complaint> {
        check_name("name", &self.name, 63)?;
        check_interface("tunDevice", &self.tun_device)?;
        if !(1..=8).contains(&self.interfaces.len()) {
            return Err(Complaint::new(
                "interfaces",
                format!("name 1 to 8 interfaces, not {}", self.interfaces.len()),
            ));
        }
        for (index, interface) in self.interfaces.iter().enumerate() {
            check_interface(&format!("interfaces[{index}]"), interface)?;
            if *interface == self.tun_device {
                return Err(Complaint::new(
                    format!("interfaces[{index}]"),
                    "is the TUN device itself; name the interface that carries the traffic",
                ));
            }
        }
        if self.mtu_bytes != 0 && !(1280..=9000).contains(&self.mtu_bytes) {
            return Err(Complaint::new(
                "mtuBytes",
                format!("must be 0 (learn) or 1280 to 9000, not {}", self.mtu_bytes),
            ));
        }
        check_identity("identity", &self.identity)?;
        check_flows("allowClear", &self.allow_clear)?;
        if self.failure_mode == FailureMode::FailOpen && !self.allow_clear.is_empty() {
            return Err(Complaint::new(
                "allowClear",
                "has no effect with `failureMode: FailOpen`; remove one of the two",
            ));
        }
        self.network.check()?;
        if self.groups.is_empty() {
            return Err(Complaint::new("groups", "name at least one group to join"));
        }
        for (index, group) in self.groups.iter().enumerate() {
            group.check(&format!("groups[{index}]"))?;
            if self.groups[..index]
                .iter()
                .any(|other| other.group_id == group.group_id)
            {
                return Err(Complaint::new(
                    format!("groups[{index}].groupID"),
                    format!("group {} is named twice", group.group_id),
                ));
            }
        }
        Ok(())
    }
}

impl NetworkConfig {
    fn check(&self) -> Result<(), Complaint> {
        if self.mark == 0 {
            return Err(Complaint::new(
                "network.mark",
                "must not be 0, which every other packet carries",
            ));
        }
        if !(256..u32::MAX).contains(&self.routing_table) {
            return Err(Complaint::new(
                "network.routingTable",
                "must be 256 or more; lower numbers belong to the system",
            ));
        }
        if !(1..=28_000).contains(&self.rule_preference) {
            return Err(Complaint::new(
                "network.rulePreference",
                "must be 1 to 28000, before the system's main table at 32766",
            ));
        }
        Ok(())
    }
}

impl GroupConfig {
    fn check(&self, field: &str) -> Result<(), Complaint> {
        if !(1..=8).contains(&self.key_servers.len()) {
            return Err(Complaint::new(
                format!("{field}.keyServers"),
                format!("name 1 to 8 key servers, not {}", self.key_servers.len()),
            ));
        }
        for (index, server) in self.key_servers.iter().enumerate() {
            if server.port() == 0 || server.ip().is_unspecified() || server.ip().is_multicast() {
                return Err(Complaint::new(
                    format!("{field}.keyServers[{index}]"),
                    format!("`{server}` is no key server; write for example 192.0.2.1:848"),
                ));
            }
        }
        if self.key_server_identities.is_empty() {
            return Err(Complaint::new(
                format!("{field}.keyServerIdentities"),
                "say who may be a key server, for example {type: FQDN, value: \"*.keyserver.getvpn\"}",
            ));
        }
        for (index, identity) in self.key_server_identities.iter().enumerate() {
            let field = format!("{field}.keyServerIdentities[{index}]");
            check_identity(&field, identity)?;
            if identity.kind == IdentityKind::DistinguishedName {
                return Err(Complaint::new(
                    format!("{field}.type"),
                    "name a key server by FQDN, which its certificate must hold as well",
                ));
            }
        }
        check_flows(&format!("{field}.bypass"), &self.bypass)?;
        for (index, receiver) in self.multicast_receivers.iter().flatten().enumerate() {
            if receiver.is_multicast() || receiver.is_unspecified() || receiver.is_loopback() {
                return Err(Complaint::new(
                    format!("{field}.multicastReceivers[{index}]"),
                    format!(
                        "`{receiver}` is no address of another member; write for example 192.0.2.7"
                    ),
                ));
            }
        }
        let authentication = &self.authentication;
        match (
            &authentication.pre_shared_key_file,
            &authentication.certificate,
        ) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (Some(_), Some(_)) => Err(Complaint::new(
                format!("{field}.authentication"),
                "give preSharedKeyFile or certificate, not both",
            )),
            (None, None) => Err(Complaint::new(
                format!("{field}.authentication"),
                "give preSharedKeyFile or certificate",
            )),
        }
    }
}

fn check_flows(field: &str, flows: &[FlowEntry]) -> Result<(), Complaint> {
    flows.iter().enumerate().try_for_each(|(index, flow)| {
        flow.check()
            .map_err(|problem| Complaint::new(format!("{field}[{index}]"), problem))
    })
}

fn check_name(field: &str, name: &str, longest: usize) -> Result<(), Complaint> {
    let plain = name
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_');
    if plain && (1..=longest).contains(&name.len()) {
        Ok(())
    } else {
        Err(Complaint::new(
            field,
            format!("`{name}` must be 1 to {longest} letters, digits, `-` or `_`"),
        ))
    }
}

fn check_interface(field: &str, name: &str) -> Result<(), Complaint> {
    let plain = name
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || b"-_.@".contains(&octet));
    if plain && (1..=15).contains(&name.len()) && name != "lo" {
        Ok(())
    } else {
        Err(Complaint::new(
            field,
            format!("`{name}` is no interface name of 1 to 15 characters"),
        ))
    }
}

fn check_identity(field: &str, identity: &IdentityConfig) -> Result<(), Complaint> {
    if (1..=255).contains(&identity.value.len()) {
        Ok(())
    } else {
        Err(Complaint::new(
            format!("{field}.value"),
            "must be 1 to 255 octets long",
        ))
    }
}
