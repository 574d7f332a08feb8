//! Files of one member.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crds::v1alpha1::{
    AuthenticationMode, Flow, KeyServerSelection, LocalBypass, MulticastDelivery,
};
use serde_json::{Value, json};

use super::Provisioner;
use super::certificates::Subject;
use crate::lab::error::LabError;
use crate::lab::plan::MemberPlan;
use crate::lab::state::write_private;

/// UDP port of registration at a key server.
const REGISTRATION_PORT: u16 = 848;
/// TCP port of the metrics, on the loopback address.
const METRICS_PORT: u16 = 9446;
/// File name of the control socket.
pub(super) const CONTROL_SOCKET: &str = "control.sock";

impl Provisioner<'_> {
    /// Writes everything a member needs into its directory; returns its configuration file.
    pub(super) fn member(&self, node: &MemberPlan) -> Result<PathBuf, LabError> {
        let directory = self.node_directory(&node.name)?;
        let identity = self.member_identity(node);
        if self.member_uses_certificates(node) {
            let subject = Subject {
                common_name: node.name.clone(),
                dns_names: vec![identity.host_name().to_owned()],
                addresses: vec![node.addresses.ipv4.into(), node.addresses.ipv6.into()],
            };
            self.ike_certificate(&subject, &directory)?;
        }
        if let Some(key) = self.pre_shared_keys.get(&node.name) {
            write_private(&directory.join("psk.key"), key.as_bytes())?;
        }
        let specs = || node.memberships.iter().map(|(_, resource)| &resource.spec);
        let mut interfaces: Vec<&str> = specs()
            .flat_map(|spec| spec.interfaces.iter().map(String::as_str))
            .collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        let allow_clear: Vec<Value> = specs()
            .filter_map(|spec| spec.fail_closed.as_ref())
            .flat_map(|fail_closed| entries(&fail_closed.allow_clear))
            .collect();
        let local_bypass = specs()
            .filter_map(|spec| spec.fail_closed.as_ref())
            .all(|fail_closed| fail_closed.local_bypass == LocalBypass::Include);
        let groups = node
            .memberships
            .iter()
            .map(|(group, resource)| self.member_group(&node.name, *group, &resource.spec))
            .collect::<Result<Vec<_>, LabError>>()?;
        let first = specs().next();
        let configuration = json!({
            "name": node.name,
            "interfaces": interfaces,
            "tunDevice": "getvpn0",
            "controlSocket": directory.join(CONTROL_SOCKET),
            "metrics": { "listen": format!("127.0.0.1:{METRICS_PORT}") },
            "identity": identity.configuration(),
            "mtuBytes": first.map_or(0, |spec| spec.sidecar.mtu_bytes),
            "failureMode": first.map(|spec| spec.failure_mode),
            "allowClear": allow_clear,
            "localBypass": if local_bypass { "Include" } else { "Exclude" },
            "groups": groups,
        });
        super::write_configuration(&directory, &configuration)
    }

    fn member_group(
        &self,
        member: &str,
        group: usize,
        spec: &crds::v1alpha1::GroupMemberSpec,
    ) -> Result<Value, LabError> {
        let plan = &self.plan.groups[group];
        let cluster = &self.plan.clusters[plan.cluster];
        let default_order = plan
            .resource
            .spec
            .key_servers
            .as_ref()
            .map(|key_servers| key_servers.registration.default_order.clone())
            .unwrap_or_default();
        let wanted = if spec.key_server_order.is_empty() {
            default_order
        } else {
            spec.key_server_order.clone()
        };
        let ordered: Vec<usize> = if wanted.is_empty() {
            (0..cluster.key_servers.len()).collect()
        } else {
            let ordinals = wanted.iter().map(|ordinal| usize::try_from(ordinal.0));
            ordinals.filter_map(Result::ok).collect()
        };
        let mut ordered = ordered;
        let registration = plan.resource.spec.key_servers.as_ref();
        let spread = registration.is_some_and(|key_servers| {
            key_servers.registration.selection == KeyServerSelection::Spread
        });
        if spread && spec.key_server_order.is_empty() && !ordered.is_empty() {
            let first = operator_core::fingerprint::number(member) % ordered.len() as u64;
            ordered.rotate_left(usize::try_from(first).unwrap_or(0));
        }
        let addresses: Vec<String> = ordered
            .into_iter()
            .filter_map(|ordinal| cluster.key_servers.get(ordinal))
            .map(|node| format!("{}:{REGISTRATION_PORT}", node.addresses.ipv4))
            .collect();
        let identities: Vec<Value> = cluster
            .key_servers
            .iter()
            .map(|node| Self::key_server_identity(&node.name).configuration())
            .collect();
        let authentication = match plan.resource.spec.authentication.mode {
            AuthenticationMode::PreSharedKey => json!({ "preSharedKeyFile": "psk.key" }),
            AuthenticationMode::Certificate => {
                json!({ "certificate": super::certificate_files() })
            }
        };
        let mut configuration = json!({
            "groupID": plan.policy.group_id,
            "keyServers": addresses,
            "keyServerIdentities": identities,
            "authentication": authentication,
            "bypass": entries(&spec.bypass).collect::<Vec<_>>(),
            "direction": spec.direction,
        });
        if plan.resource.spec.multicast_delivery == MulticastDelivery::HeadEndReplication {
            configuration["multicastReceivers"] = json!(self.others_of(member, group));
        }
        Ok(configuration)
    }

    /// Addresses of the group's other members.
    fn others_of(&self, member: &str, group: usize) -> Vec<IpAddr> {
        let members = self.plan.members.iter();
        members
            .filter(|other| other.name != member)
            .filter(|other| other.memberships.iter().any(|(of, _)| *of == group))
            .flat_map(|other| {
                let addresses = other.addresses;
                [IpAddr::V4(addresses.ipv4), IpAddr::V6(addresses.ipv6)]
            })
            .collect()
    }
}

fn entries(flows: &[Flow]) -> impl Iterator<Item = Value> {
    flows.iter().map(operator_core::flow::entry)
}

/// The control socket of the member with this directory.
pub(super) fn control_socket(directory: &Path) -> PathBuf {
    directory.join(CONTROL_SOCKET)
}
