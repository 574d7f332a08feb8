//! Runs commands on a cluster: asks, changes, prints.

mod check;
mod inspect;
mod signing_key;

use std::process::ExitCode;

use crds::v1alpha1::{GetVpnGroup, GroupMember};
use k8s_openapi::api::core::v1::{Pod, Service};
use keyserver_api::request::{AdmitRequest, EvictRequest, RekeyRequest};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};
use kubectl_getvpn::cli::{ClusterArguments, ClusterCommand, MemberCommand, Output};
use kubectl_getvpn::cluster::connection::{Choice, Connection};
use kubectl_getvpn::cluster::error::ClusterError;
use kubectl_getvpn::cluster::key_servers::KeyServers;
use kubectl_getvpn::cluster::table::render;
use kubectl_getvpn::cluster::{resources, stand_alone};
use operator_core::{labels, names};

use super::Failure;

/// A command under way.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) output: Output,
}

/// Runs a command.
pub(crate) fn run(
    arguments: &ClusterArguments,
    command: ClusterCommand,
) -> Result<ExitCode, Failure> {
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClusterError::Usage(format!("cannot start: {error}")))?;
    executor.block_on(async {
        let choice = Choice {
            context: arguments.context.clone(),
            namespace: arguments.namespace.clone(),
            all_namespaces: arguments.all_namespaces,
        };
        let session = Session {
            connection: Connection::open(&choice).await?,
            output: arguments.output,
        };
        session.run(command).await
    })
}

impl Session {
    async fn run(&self, command: ClusterCommand) -> Result<ExitCode, Failure> {
        let to = &self.connection;
        match command {
            ClusterCommand::Status { group } => self.status(&group).await,
            ClusterCommand::Groups { group } => {
                let rows = resources::group_rows(to, group.as_deref()).await?;
                self.list(&rows, resources::GROUPS)
            }
            ClusterCommand::Keyservers { group } => {
                let rows = resources::key_server_rows(to, group.as_deref()).await?;
                self.list(&rows, resources::KEY_SERVERS)
            }
            ClusterCommand::Members { group } => {
                let rows = resources::member_rows(to, group.as_deref(), now()).await?;
                self.list(&rows, resources::MEMBERS)
            }
            ClusterCommand::Sa { group } => {
                let rows = resources::key_rows(to, group.as_deref()).await?;
                self.list(&rows, resources::KEYS)
            }
            ClusterCommand::Rekey {
                group,
                replace,
                key_encryption_key,
                dry_run,
            } => {
                let request = RekeyRequest {
                    replace,
                    key_encryption_key,
                };
                self.rekey(&group, &request, dry_run).await
            }
            ClusterCommand::Evict { group, member } => self.evict(&group, member).await,
            ClusterCommand::Admit { group, member } => self.admit(&group, member).await,
            ClusterCommand::EncryptStatus { pod } => self.encrypt_status(&pod).await,
            ClusterCommand::ConnectivityTest { group, members } => {
                self.connectivity(&group, members).await
            }
            ClusterCommand::Diagnose => self.diagnose().await,
            ClusterCommand::Sysdump { file } => self.system_dump(&file).await,
            ClusterCommand::Logs { name, tail } => self.logs(&name, tail).await,
            ClusterCommand::Rsa(command) => self.signing_key(command).await,
            ClusterCommand::Member(MemberCommand::Config { name }) => {
                self.member_config(&name).await
            }
        }
    }

    fn list(
        &self,
        rows: &[serde_json::Value],
        columns: &[kubectl_getvpn::cluster::table::Column],
    ) -> Result<ExitCode, Failure> {
        say_text!("{}", render(self.output, rows, columns));
        Ok(ExitCode::SUCCESS)
    }

    /// A group that exists, and its key servers.
    pub(super) async fn key_servers(&self, group: &str) -> Result<KeyServers, ClusterError> {
        let found = resources::groups(&self.connection, Some(group)).await?;
        match found.first() {
            Some(group) => KeyServers::of(&self.connection, group).await,
            None => Err(ClusterError::Usage(format!("there is no group `{group}`"))),
        }
    }

    async fn rekey(
        &self,
        group: &str,
        request: &RekeyRequest,
        dry_run: bool,
    ) -> Result<ExitCode, Failure> {
        let servers = self.key_servers(group).await?;
        if dry_run {
            let status = servers
                .ask(async |client| client.group(group).await)
                .await?;
            let what = if request.replace {
                "all traffic keys would be replaced and the old ones deleted"
            } else {
                "the staged traffic keys would become current"
            };
            say!(
                "{what}; the rekey would go to {} members of {group} (generation {} now). Nothing was changed.",
                status.members,
                status.generation
            );
            return Ok(ExitCode::SUCCESS);
        }
        let accepted = servers
            .ask(async |client| client.rekey(group, request).await)
            .await?;
        say!(
            "rekey of {group} is committed (generation {}); it goes to {} members",
            accepted.generation,
            accepted.members
        );
        Ok(ExitCode::SUCCESS)
    }

    async fn evict(&self, group: &str, member: String) -> Result<ExitCode, Failure> {
        let request = EvictRequest { member };
        let servers = self.key_servers(group).await?;
        let accepted = servers
            .ask(async |client| client.evict(group, &request).await)
            .await?;
        say!(
            "{} is evicted from {group}; {} members get new keys",
            request.member,
            accepted.members
        );
        Ok(ExitCode::SUCCESS)
    }

    async fn admit(&self, group: &str, member: String) -> Result<ExitCode, Failure> {
        let request = AdmitRequest { member };
        let servers = self.key_servers(group).await?;
        servers
            .ask(async |client| client.admit(group, &request).await)
            .await?;
        say!("{} may register with {group} again", request.member);
        Ok(ExitCode::SUCCESS)
    }

    async fn logs(&self, name: &str, tail: i64) -> Result<ExitCode, Failure> {
        let pods = self.connection.named::<Pod>();
        let member = pods
            .get_opt(name)
            .await
            .map_err(|source| api(format!("read pod {name}"), source))?;
        let (names, container) = match member {
            Some(_) => (vec![name.to_owned()], operator_api::pod::CONTAINER),
            None => {
                // Also says whether there is such a group.
                resources::groups(&self.connection, Some(name)).await?;
                let selector = format!(
                    "{}={},{}={name}",
                    labels::ROLE,
                    labels::KEY_SERVER,
                    labels::GROUP
                );
                let listed = pods
                    .list(&ListParams::default().labels(&selector))
                    .await
                    .map_err(|source| api(format!("list the key servers of {name}"), source))?;
                let names = listed.iter().map(ResourceExt::name_any).collect();
                (names, "key-server")
            }
        };
        let parameters = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(tail),
            ..LogParams::default()
        };
        for pod in names {
            let text = pods
                .logs(&pod, &parameters)
                .await
                .map_err(|source| api(format!("read the log of {pod}"), source))?;
            for line in text.lines() {
                say!("[{pod}] {line}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn member_config(&self, name: &str) -> Result<ExitCode, Failure> {
        let to = &self.connection;
        let found = to
            .named::<GroupMember>()
            .get_opt(name)
            .await
            .map_err(|source| api(format!("read GroupMember {name}"), source))?;
        let Some(member) = found else {
            return Err(ClusterError::Usage(format!(
                "there is no GroupMember `{name}` in namespace `{}`",
                to.namespace
            ))
            .into());
        };
        if member.spec.pod_selector.is_some() {
            return Err(ClusterError::Usage(format!(
                "GroupMember `{name}` selects pods, whose sidecars get their configuration by themselves; make one without `podSelector` for a gateway"
            ))
            .into());
        }
        let groups = resources::groups(to, Some(&member.spec.group_ref.name)).await?;
        let Some(group) = groups.first() else {
            return Ok(ExitCode::FAILURE);
        };
        let host = host_of(group);
        let service = to
            .named::<Service>()
            .get(&names::register_service(&host))
            .await
            .map_err(|source| api(format!("read the registration Service of {host}"), source))?;
        let addresses = stand_alone::addresses(&service);
        let outside = service
            .spec
            .as_ref()
            .and_then(|spec| spec.type_.as_deref())
            .is_some_and(|kind| kind == "LoadBalancer");
        if !outside {
            eprintln!(
                "note: {} is not of type LoadBalancer; its address may not be reached from outside of the cluster (`spec.keyServers.service.type` of the group)",
                names::register_service(&host)
            );
        }
        for advice in operator_core::group_member::advice::advice(&member) {
            eprintln!("note: {advice}");
        }
        let file = stand_alone::configuration(&member, group, &host, &addresses);
        match self.output {
            Output::Json => say!("{file:#}"),
            Output::Table | Output::Wide | Output::Yaml => {
                say_text!("{}", serde_saphyr::to_string(&file).unwrap_or_default());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The group whose key servers serve a group.
fn host_of(group: &GetVpnGroup) -> String {
    group
        .spec
        .key_servers_from
        .as_ref()
        .map_or_else(|| group.name_any(), |from| from.group_ref.name.clone())
}

pub(super) fn api(doing: String, source: kube::Error) -> ClusterError {
    ClusterError::Api {
        doing,
        source: Box::new(source),
    }
}

/// UNIX time in milliseconds.
pub(super) fn now() -> u64 {
    u64::try_from(runtime::clock::since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// One value as JSON or YAML.
fn whole(output: Output, value: &serde_json::Value) -> String {
    match output {
        Output::Yaml => serde_saphyr::to_string(value).unwrap_or_default(),
        Output::Json | Output::Table | Output::Wide => format!("{value:#}\n"),
    }
}
