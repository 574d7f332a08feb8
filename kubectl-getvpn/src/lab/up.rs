//! Brings a lab up: files, network, key servers, policy, members; each step waited for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyserver_api::client::ClientError;
use keyserver_api::error::ErrorCode;
use keyserver_api::status::{ServerRole, ServerStatus};

use super::admin::{self, Admin};
use super::control;
use super::down;
use super::error::LabError;
use super::name::LabName;
use super::network::{self, Attachment};
use super::node_control;
use super::plan::Plan;
use super::preflight;
use super::process::ProcessRecord;
use super::progress::Progress;
use super::provision::Provisioner;
use super::resources::Resources;
use super::state::{Group, Lab, Node, NodeRole};
use super::wait::{self, Look};

/// How long the key servers may take to answer and to elect a primary.
const KEY_SERVER_LIMIT: Duration = Duration::from_secs(60);
/// How long a policy may take to be accepted; the first one makes the signing key.
const POLICY_LIMIT: Duration = Duration::from_secs(120);
/// How long one attempt to push a policy may take.
const PUSH_LIMIT: Duration = Duration::from_secs(60);
/// How long all members together may take to register.
const MEMBER_LIMIT: Duration = Duration::from_secs(90);
/// How long the multicast router may take to set up its tables.
const ROUTER_LIMIT: Duration = Duration::from_secs(10);

/// What `lab up` is asked for.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// File with the resources.
    pub file: PathBuf,
    /// Name of the lab; the first group's when absent.
    pub name: Option<LabName>,
    /// Number of members of each GroupMember, instead of its annotation.
    pub members: Option<u16>,
    /// Whether what was made stays for a look when `up` fails.
    pub keep: bool,
}

/// Brings a lab up.
///
/// When a step fails everything made so far is removed again, unless `keep` is set.
///
/// # Errors
/// Before anything is made: wrong file, missing rights or programs, name in use. Later: the step
/// that failed.
pub fn up(options: &UpOptions, progress: &mut Progress) -> Result<Lab, LabError> {
    let resources = Resources::load(&options.file)?;
    let plan = Plan::new(&resources, options.members)?;
    let programs = preflight::check()?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => default_name(&plan)?,
    };
    if !super::namespace::list(&name).is_empty() {
        return Err(LabError::AlreadyUp {
            name: name.to_string(),
        });
    }
    Lab::claim(&name)?;
    let result = build(&name, options, &plan, &programs, progress);
    if result.is_err() {
        progress.failed();
        if options.keep {
            progress.line(&format!(
                "kept  what was made; remove it with `kubectl getvpn lab down --name {name}`"
            ));
        } else {
            down::down(&name)?;
        }
    }
    result
}

fn default_name(plan: &Plan) -> Result<LabName, LabError> {
    let group = plan.groups.first().map(|group| group.policy.name.as_str());
    let short: String = group
        .unwrap_or("lab")
        .chars()
        .take(super::name::MAXIMUM_LENGTH)
        .collect();
    Ok(short.parse()?)
}

fn build(
    name: &LabName,
    options: &UpOptions,
    plan: &Plan,
    programs: &preflight::Programs,
    progress: &mut Progress,
) -> Result<Lab, LabError> {
    progress.begin("secrets and certificates");
    let (nodes, groups) = Provisioner::new(name, plan)?.write(programs)?;
    let source = std::path::absolute(&options.file).unwrap_or_else(|_| options.file.clone());
    let mut lab = Lab::new(name, source, groups, nodes);
    lab.save()?;
    progress.done("");

    progress.begin("namespaces");
    let attachments: Vec<Attachment<'_>> = lab
        .nodes
        .iter()
        .map(|node| Attachment {
            node: &node.name,
            addresses: node.addresses,
        })
        .collect();
    network::build(name, &attachments)?;
    let namespaces = attachments.len() + 1;
    start_multicast_router(&mut lab, &programs.plugin)?;
    progress.done(&namespaces.to_string());

    start_all(&mut lab, NodeRole::KeyServer)?;
    let admin = Admin::new(name)?;
    wait_key_servers(&lab, &admin, progress)?;
    for group in &lab.groups {
        wait_primary(&lab, &admin, group, progress)?;
        push_policy(&lab, &admin, group, progress)?;
        wait_keys(&lab, &admin, group, progress)?;
    }
    start_all(&mut lab, NodeRole::Member)?;
    wait_members(&lab, progress)?;
    Ok(lab)
}

/// Multicast needs an interface of the kernel's table for each node; larger labs go without.
fn start_multicast_router(lab: &mut Lab, plugin: &Path) -> Result<(), LabError> {
    if lab.nodes.len() > super::multicast_router::MAXIMUM_INTERFACES {
        return Ok(());
    }
    let directory = lab.lab_name().directory();
    let ready = directory.join("multicast-router.ready");
    let mut arguments: Vec<OsString> = ["lab", "multicast-router", "--ready"]
        .map(OsString::from)
        .to_vec();
    arguments.push(ready.clone().into_os_string());
    arguments.extend(lab.nodes.iter().map(|node| OsString::from(&node.name)));
    let log = directory.join("multicast-router.log");
    let core = lab.lab_name().core_namespace();
    let process = ProcessRecord::start(&core, plugin, &arguments, &log)?;
    lab.multicast_router = Some(process);
    lab.save()?;
    wait::until("the multicast router", ROUTER_LIMIT, || {
        if ready.exists() {
            return Ok(Look::Done(()));
        }
        if process.is_alive() {
            return Ok(Look::NotYet("it is starting".to_owned()));
        }
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        Err(LabError::ProcessEnded {
            node: "the multicast router".to_owned(),
            waiting_for: "it was starting".to_owned(),
            log: log.clone(),
            tail: text,
        })
    })
}

fn start_all(lab: &mut Lab, role: NodeRole) -> Result<(), LabError> {
    let of_role = lab.nodes.iter_mut().filter(|node| node.role == role);
    for node in of_role {
        node_control::start(node)?;
    }
    lab.save()
}

fn wait_key_servers(lab: &Lab, admin: &Admin, progress: &mut Progress) -> Result<(), LabError> {
    progress.begin("key servers");
    let all: Vec<&Node> = lab.key_servers().collect();
    let mut waiting = all.clone();
    let count = |waiting: usize| format!("{}/{}", all.len() - waiting, all.len());
    wait::until("the key servers to answer", KEY_SERVER_LIMIT, || {
        wait::all_running(all.iter().copied(), "the key servers were starting")?;
        let mut last = String::new();
        waiting.retain(|node| match admin.status(node) {
            Ok(_) => false,
            Err(error) => {
                last = error.to_string();
                true
            }
        });
        progress.update(&count(waiting.len()));
        Ok(if waiting.is_empty() {
            Look::Done(())
        } else {
            Look::NotYet(last)
        })
    })?;
    progress.done(&count(0));
    Ok(())
}

fn wait_primary(
    lab: &Lab,
    admin: &Admin,
    group: &Group,
    progress: &mut Progress,
) -> Result<(), LabError> {
    progress.begin("primary");
    let servers = servers_of(lab, group);
    let primary: ServerStatus = wait::until("a primary", KEY_SERVER_LIMIT, || {
        wait::all_running(servers.iter().copied(), "a primary was being elected")?;
        let mut roles = Vec::new();
        for server in &servers {
            match admin.status(server) {
                Ok(status) if status.role == ServerRole::Primary => return Ok(Look::Done(status)),
                Ok(status) => roles.push(format!("{} is {:?}", server.name, status.role)),
                Err(error) => roles.push(error.to_string()),
            }
        }
        Ok(Look::NotYet(roles.join(", ")))
    })?;
    progress.done(&format!("{} in term {}", primary.name, primary.term));
    Ok(())
}

fn push_policy(
    lab: &Lab,
    admin: &Admin,
    group: &Group,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let policy = &group.policy;
    progress.begin(&format!("policy of {}", policy.name));
    let servers = servers_of(lab, group);
    let accepted = wait::until("the policy to be accepted", POLICY_LIMIT, || {
        wait::all_running(servers.iter().copied(), "the policy was being committed")?;
        let pushed = admin.attempt(&servers, PUSH_LIMIT, async |client| {
            client.put_group(policy).await
        })?;
        match pushed {
            Ok(status) => Ok(Look::Done(status)),
            Err(error) if is_refusal(&error) => Err(LabError::Admin {
                node: group.key_servers.join(", "),
                message: admin::chain(&error),
            }),
            Err(error) => Ok(Look::NotYet(admin::chain(&error))),
        }
    })?;
    progress.done(&format!("accepted, revision {}", accepted.policy_revision));
    Ok(())
}

/// Members that come before the first keys are made would be sent away and come again later.
fn wait_keys(
    lab: &Lab,
    admin: &Admin,
    group: &Group,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let name = &group.policy.name;
    progress.begin(&format!("keys of {name}"));
    let servers = servers_of(lab, group);
    let keys = wait::until("the first keys", POLICY_LIMIT, || {
        wait::all_running(servers.iter().copied(), "the keys were being made")?;
        let status = admin.attempt(&servers, PUSH_LIMIT, async |client| {
            client.group(name).await
        })?;
        Ok(match status {
            Ok(status) if status.traffic_keys.is_empty() => {
                Look::NotYet("there are none yet".to_owned())
            }
            Ok(status) => Look::Done(status.traffic_keys.len()),
            Err(error) => Look::NotYet(admin::chain(&error)),
        })
    })?;
    progress.done(&format!("made: {keys} traffic keys"));
    Ok(())
}

/// Whether asking again cannot help.
fn is_refusal(error: &ClientError) -> bool {
    let ClientError::Refused { body, .. } = error else {
        return matches!(error, ClientError::Answer { .. });
    };
    !matches!(
        body.code,
        ErrorCode::NotPrimary | ErrorCode::NoQuorum | ErrorCode::Superseded | ErrorCode::Unknown
    )
}

fn servers_of<'a>(lab: &'a Lab, group: &Group) -> Vec<&'a Node> {
    lab.key_servers()
        .filter(|node| group.key_servers.contains(&node.name))
        .collect()
}

fn wait_members(lab: &Lab, progress: &mut Progress) -> Result<(), LabError> {
    progress.begin("members");
    let all: Vec<&Node> = lab.members().collect();
    let mut waiting = all.clone();
    let count = |waiting: usize| format!("{}/{} registered", all.len() - waiting, all.len());
    wait::until("the members to register", MEMBER_LIMIT, || {
        wait::all_running(all.iter().copied(), "the members were registering")?;
        let mut last = String::new();
        waiting.retain(|node| match control::ready(node) {
            Ok(()) => false,
            Err(why) => {
                last = format!("{}: {why}", node.name);
                true
            }
        });
        progress.update(&count(waiting.len()));
        Ok(if waiting.is_empty() {
            Look::Done(())
        } else {
            Look::NotYet(last)
        })
    })?;
    progress.done(&count(0));
    Ok(())
}
