//! Files of one key server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::certificates::Subject;
use super::{Identity, Provisioner};
use crate::lab::error::LabError;
use crate::lab::plan::{ClusterPlan, KeyServerPlan};
use crate::lab::state::write_private;

/// TCP port of the cooperative protocol.
const COOPERATIVE_PORT: u16 = 9443;
/// TCP port of the admin API.
pub(super) const ADMIN_PORT: u16 = 9444;
/// TCP port of the metrics, on the loopback address.
const METRICS_PORT: u16 = 9445;

impl Provisioner<'_> {
    /// Writes everything a key server needs into its directory; returns its configuration file.
    pub(super) fn key_server(
        &self,
        cluster: usize,
        node: &KeyServerPlan,
    ) -> Result<std::path::PathBuf, LabError> {
        let directory = self.node_directory(&node.name)?;
        let members = &self.plan.clusters[cluster];
        let identity = Self::key_server_identity(&node.name);

        let sealing_key = hex::encode(runtime::entropy::bytes::<32>());
        write_private(&directory.join("sealing.key"), sealing_key.as_bytes())?;
        self.tls_certificate(&node.name, node.addresses.ipv4.into(), &directory)?;
        let authentication =
            self.key_server_authentication(cluster, node, &identity, &directory)?;

        let ipv4 = node.addresses.ipv4;
        let tls = json!({
            "certificateFile": "tls.pem", "keyFile": "tls.key", "trustFile": "tls-ca.pem",
        });
        let admin_tls = json!({
            "certificateFile": "tls.pem", "keyFile": "tls.key", "clientTrustFile": "tls-ca.pem",
        });
        let configuration = json!({
            "name": node.name,
            "dataDirectory": "data",
            "sealingKeyFile": "sealing.key",
            "priority": node.priority,
            "ike": { "addresses": [ipv4], "port": 848, "natTraversalPort": 4500 },
            "identity": identity.configuration(),
            "authentication": authentication,
            "cooperative": {
                "listen": format!("{ipv4}:{COOPERATIVE_PORT}"),
                "tls": tls,
                "initialMembers": initial_members(members),
            },
            "admin": { "listen": format!("{ipv4}:{ADMIN_PORT}"), "tls": admin_tls },
            "metrics": { "listen": format!("127.0.0.1:{METRICS_PORT}") },
        });
        fs::create_dir(directory.join("data"))
            .map_err(LabError::file("create", directory.join("data")))?;
        super::write_configuration(&directory, &configuration)
    }

    fn key_server_authentication(
        &self,
        cluster: usize,
        node: &KeyServerPlan,
        identity: &Identity,
        directory: &Path,
    ) -> Result<Value, LabError> {
        let mut authentication = json!({});
        let pre_shared: Vec<Value> = self
            .pre_shared_keys_of(cluster)
            .map(|(identity, key)| json!({ "identity": identity.configuration(), "key": key }))
            .collect();
        if !pre_shared.is_empty() {
            let path = directory.join("psk.yaml");
            super::write_yaml(&path, &Value::Array(pre_shared))?;
            authentication["preSharedKeysFile"] = json!("psk.yaml");
        }
        if self.cluster_uses_certificates(cluster) {
            let subject = Subject {
                common_name: node.name.clone(),
                dns_names: vec![identity.host_name().to_owned()],
                addresses: vec![node.addresses.ipv4.into(), node.addresses.ipv6.into()],
            };
            self.ike_certificate(&subject, directory)?;
            authentication["certificate"] = super::certificate_files();
        }
        Ok(authentication)
    }
}

fn initial_members(cluster: &ClusterPlan) -> Value {
    let members = cluster.key_servers.iter().map(|node| {
        json!({
            "name": node.name,
            "address": format!("{}:{COOPERATIVE_PORT}", node.addresses.ipv4),
            "priority": node.priority,
        })
    });
    Value::Array(members.collect())
}
