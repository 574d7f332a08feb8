//! Secrets, certificates and configuration files of a lab's nodes.
//!
//! Every file is mode 0600 in a directory of mode 0700 below the lab's own.

pub mod certificates;
mod flow;
mod key_server;
mod member;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crds::v1alpha1::{AuthenticationMode, Identity as IdentityMode};
use serde_json::{Value, json};

use self::certificates::{Authority, Subject};
use super::admin;
use super::error::LabError;
use super::name::LabName;
use super::plan::{MemberPlan, Plan};
use super::preflight::Programs;
use super::state::{Group, Node, NodeRole, write_private};

/// Domain of key servers' host names.
const KEY_SERVER_DOMAIN: &str = "keyserver.getvpn";
/// Domain of members' host names.
const MEMBER_DOMAIN: &str = "member.getvpn";

/// How a node names itself in IKE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By a host name.
    HostName(String),
    /// By its certificate's subject; its host name is in the certificate as well.
    DistinguishedName {
        /// The subject as RFC 4514 writes it.
        subject: String,
        /// The host name.
        host_name: String,
    },
}

impl Identity {
    fn configuration(&self) -> Value {
        match self {
            Self::HostName(name) => json!({ "type": "FQDN", "value": name }),
            Self::DistinguishedName { subject, .. } => {
                json!({ "type": "DistinguishedName", "value": subject })
            }
        }
    }

    fn host_name(&self) -> &str {
        match self {
            Self::HostName(name)
            | Self::DistinguishedName {
                host_name: name, ..
            } => name,
        }
    }

    /// The identity as the key server's member list shows it.
    fn display(&self) -> String {
        match self {
            Self::HostName(name) => format!("FQDN:{name}"),
            Self::DistinguishedName { subject, .. } => format!("DistinguishedName:{subject}"),
        }
    }
}

/// Writes the files of one lab.
pub(super) struct Provisioner<'a> {
    lab: &'a LabName,
    plan: &'a Plan,
    tls: Authority,
    ike: Authority,
    /// Hexadecimal pre-shared keys by member name.
    pre_shared_keys: BTreeMap<String, String>,
}

impl<'a> Provisioner<'a> {
    /// Makes the lab's certificate authorities and pre-shared keys.
    pub(super) fn new(lab: &'a LabName, plan: &'a Plan) -> Result<Self, LabError> {
        let pre_shared_keys = plan
            .members
            .iter()
            .filter(|member| uses(plan, member, AuthenticationMode::PreSharedKey))
            .map(|member| {
                let key = hex::encode(runtime::entropy::bytes::<32>());
                (member.name.clone(), key)
            })
            .collect();
        Ok(Self {
            lab,
            plan,
            tls: Authority::new("getvpn lab administration")?,
            ike: Authority::new("getvpn lab members")?,
            pre_shared_keys,
        })
    }

    /// Writes all files; returns the nodes, key servers first, and the groups.
    pub(super) fn write(&self, programs: &Programs) -> Result<(Vec<Node>, Vec<Group>), LabError> {
        self.administrator()?;
        let mut nodes = Vec::new();
        for (index, cluster) in self.plan.clusters.iter().enumerate() {
            for planned in &cluster.key_servers {
                let configuration = self.key_server(index, planned)?;
                let groups = self.plan.groups.iter();
                nodes.push(Node {
                    role: NodeRole::KeyServer,
                    identity: Self::key_server_identity(&planned.name).display(),
                    groups: groups
                        .filter(|group| group.cluster == index)
                        .map(|group| group.policy.name.clone())
                        .collect(),
                    program: programs.key_server.clone(),
                    admin: Some(SocketAddr::new(
                        planned.addresses.ipv4.into(),
                        key_server::ADMIN_PORT,
                    )),
                    priority: Some(planned.priority),
                    ..self.node(&planned.name, planned.addresses, configuration)
                });
            }
        }
        for planned in &self.plan.members {
            let configuration = self.member(planned)?;
            let memberships = || planned.memberships.iter();
            let directory = self.lab.directory().join(&planned.name);
            nodes.push(Node {
                role: NodeRole::Member,
                identity: self.member_identity(planned).display(),
                groups: memberships()
                    .map(|(group, _)| self.plan.groups[*group].policy.name.clone())
                    .collect(),
                bypass: memberships()
                    .flat_map(|(_, resource)| &resource.spec.bypass)
                    .flat_map(flow::rules)
                    .collect(),
                program: programs.member.clone(),
                control_socket: Some(member::control_socket(&directory)),
                ..self.node(&planned.name, planned.addresses, configuration)
            });
        }
        Ok((nodes, self.groups()))
    }

    fn node(
        &self,
        name: &str,
        addresses: super::address::NodeAddresses,
        configuration: PathBuf,
    ) -> Node {
        Node {
            name: name.to_owned(),
            role: NodeRole::Member,
            namespace: self.lab.namespace(name),
            addresses,
            identity: String::new(),
            bypass: Vec::new(),
            groups: Vec::new(),
            program: PathBuf::new(),
            log: self.lab.directory().join(name).join("log"),
            configuration,
            admin: None,
            priority: None,
            control_socket: None,
            process: None,
        }
    }

    fn groups(&self) -> Vec<Group> {
        let groups = self.plan.groups.iter().map(|group| {
            let cluster = &self.plan.clusters[group.cluster];
            let mut servers: Vec<_> = cluster.key_servers.iter().collect();
            servers.sort_by_key(|server| std::cmp::Reverse(server.priority));
            Group {
                policy: group.policy.clone(),
                key_servers: servers
                    .into_iter()
                    .map(|server| server.name.clone())
                    .collect(),
            }
        });
        groups.collect()
    }

    fn administrator(&self) -> Result<(), LabError> {
        self.node_directory("admin")?;
        let files = admin::credentials(self.lab);
        let subject = Subject {
            common_name: "administrator".to_owned(),
            dns_names: vec!["administrator.getvpn".to_owned()],
            addresses: Vec::new(),
        };
        self.tls.issue(&subject, &files.certificate, &files.key)?;
        write_private(&files.trust, self.tls.certificate().as_bytes())
    }

    fn node_directory(&self, name: &str) -> Result<PathBuf, LabError> {
        let directory = self.lab.directory().join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(LabError::file("create", &directory))?;
        Ok(directory)
    }

    fn tls_certificate(
        &self,
        name: &str,
        address: IpAddr,
        directory: &Path,
    ) -> Result<(), LabError> {
        let subject = Subject {
            common_name: name.to_owned(),
            dns_names: vec![name.to_owned(), format!("{name}.{KEY_SERVER_DOMAIN}")],
            addresses: vec![address],
        };
        let (chain, key) = (directory.join("tls.pem"), directory.join("tls.key"));
        self.tls.issue(&subject, &chain, &key)?;
        write_private(
            &directory.join("tls-ca.pem"),
            self.tls.certificate().as_bytes(),
        )
    }

    fn ike_certificate(&self, subject: &Subject, directory: &Path) -> Result<(), LabError> {
        let (chain, key) = (directory.join("ike.pem"), directory.join("ike.key"));
        self.ike.issue(subject, &chain, &key)?;
        write_private(
            &directory.join("ike-ca.pem"),
            self.ike.certificate().as_bytes(),
        )
    }

    /// Key servers name themselves by host name whatever their members do: a member trusts a name that the certificate
    /// holds as well.
    fn key_server_identity(name: &str) -> Identity {
        identity(name, KEY_SERVER_DOMAIN, false)
    }

    fn member_identity(&self, member: &MemberPlan) -> Identity {
        let by_subject = member.memberships.iter().any(|(group, _)| {
            self.plan.groups[*group].resource.spec.identity == IdentityMode::DistinguishedName
        });
        identity(&member.name, MEMBER_DOMAIN, by_subject)
    }

    fn member_uses_certificates(&self, member: &MemberPlan) -> bool {
        uses(self.plan, member, AuthenticationMode::Certificate)
    }

    fn cluster_uses_certificates(&self, cluster: usize) -> bool {
        self.plan.groups.iter().any(|group| {
            group.cluster == cluster
                && group.resource.spec.authentication.mode == AuthenticationMode::Certificate
        })
    }

    /// Identities and pre-shared keys of the members that this set of key servers serves.
    fn pre_shared_keys_of(&self, cluster: usize) -> impl Iterator<Item = (Identity, &str)> {
        let served = move |member: &&MemberPlan| {
            member
                .memberships
                .iter()
                .any(|(group, _)| self.plan.groups[*group].cluster == cluster)
        };
        self.plan
            .members
            .iter()
            .filter(served)
            .filter_map(|member| {
                let key = self.pre_shared_keys.get(&member.name)?;
                Some((self.member_identity(member), key.as_str()))
            })
    }
}

fn uses(plan: &Plan, member: &MemberPlan, mode: AuthenticationMode) -> bool {
    member
        .memberships
        .iter()
        .any(|(group, _)| plan.groups[*group].resource.spec.authentication.mode == mode)
}

fn identity(name: &str, domain: &str, by_subject: bool) -> Identity {
    let host_name = format!("{name}.{domain}");
    if !by_subject {
        return Identity::HostName(host_name);
    }
    let subject = Subject {
        common_name: name.to_owned(),
        ..Subject::default()
    };
    Identity::DistinguishedName {
        subject: subject.distinguished_name(),
        host_name,
    }
}

fn certificate_files() -> Value {
    json!({ "chainFile": "ike.pem", "keyFile": "ike.key", "trustFile": "ike-ca.pem" })
}

fn write_configuration(directory: &Path, configuration: &Value) -> Result<PathBuf, LabError> {
    let path = directory.join("config.yaml");
    write_yaml(&path, configuration)?;
    Ok(path)
}

fn write_yaml(path: &Path, value: &Value) -> Result<(), LabError> {
    let text = serde_saphyr::to_string(value).map_err(|error| LabError::Provision {
        what: path.display().to_string(),
        message: error.to_string(),
    })?;
    write_private(path, text.as_bytes())
}
