//! Starts, kills and heals nodes, and waits until they serve.

use std::ffi::OsString;
use std::time::Duration;

use keyserver_api::status::ServerStatus;
use nix::sys::signal::Signal;

use super::admin::Admin;
use super::control;
use super::error::LabError;
use super::network;
use super::process::ProcessRecord;
use super::state::{Lab, Node, NodeRole};
use super::wait::{self, Look};

/// How long a process may take to end after a signal that it may catch.
const TERMINATION_LIMIT: Duration = Duration::from_secs(15);

/// How long a node may take until it serves.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Starts the process of a node that does not run.
///
/// # Errors
/// When it cannot be started.
pub fn start(node: &mut Node) -> Result<(), LabError> {
    let arguments = [
        OsString::from("--config"),
        node.configuration.clone().into_os_string(),
    ];
    let process = ProcessRecord::start(&node.namespace, &node.program, &arguments, &node.log)?;
    node.process = Some(process);
    Ok(())
}

/// Ends the process of a node: at once (`SIGKILL`), or in good order (`SIGTERM`).
///
/// # Errors
/// When the node is unknown or its process does not end.
pub fn kill(lab: &Lab, name: &str, at_once: bool) -> Result<(), LabError> {
    let node = lab.node(name)?;
    let Some(process) = node.process else {
        return Ok(());
    };
    process.signal(if at_once {
        Signal::SIGKILL
    } else {
        Signal::SIGTERM
    })?;
    process.wait_gone(TERMINATION_LIMIT)
}

/// Starts the node again if it does not run, joins it to the network again, waits until it serves.
///
/// # Errors
/// When the node is unknown, or does not serve in time.
pub fn heal(lab: &mut Lab, name: &str) -> Result<(), LabError> {
    let lab_name = lab.lab_name().clone();
    let others: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
    let node = lab.node_mut(name)?;
    network::join(&lab_name, network::Cut::Node(name))?;
    for other in others.iter().filter(|other| *other != name) {
        network::join(&lab_name, network::Cut::Pair(name, other))?;
    }
    if !node.is_running() {
        start(node)?;
        lab.save()?;
    }
    wait_serving(lab, name, READY_LIMIT)
}

/// Heals every node.
///
/// # Errors
/// When one cannot be started or does not serve in time.
pub fn heal_all(lab: &mut Lab) -> Result<(), LabError> {
    network::join_all(lab.lab_name())?;
    for node in &mut lab.nodes {
        if !node.is_running() {
            start(node)?;
        }
    }
    lab.save()?;
    let names: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
    names
        .iter()
        .try_for_each(|name| wait_serving(lab, name, READY_LIMIT))
}

/// Waits until a node serves: a key server knows the primary, a member has keys.
///
/// # Errors
/// When it ends meanwhile, or at the deadline.
pub fn wait_serving(lab: &Lab, name: &str, limit: Duration) -> Result<(), LabError> {
    let node = lab.node(name)?;
    match node.role {
        NodeRole::KeyServer => {
            let admin = Admin::new(lab.lab_name())?;
            let waiting_for = format!("key server {name} to know the primary");
            wait::until(&waiting_for, limit, || {
                wait::all_running([node], &waiting_for)?;
                Ok(match admin.status(node) {
                    Ok(ServerStatus {
                        primary: Some(_), ..
                    }) => Look::Done(()),
                    Ok(status) => Look::NotYet(format!("its role is {:?}", status.role)),
                    Err(error) => Look::NotYet(error.to_string()),
                })
            })
        }
        NodeRole::Member => {
            let waiting_for = format!("member {name} to be registered");
            wait::until(&waiting_for, limit, || {
                wait::all_running([node], &waiting_for)?;
                Ok(match control::ready(node) {
                    Ok(()) => Look::Done(()),
                    Err(why) => Look::NotYet(why),
                })
            })
        }
    }
}

/// Asks each running key server of a group who is primary; the answer of the one that is.
///
/// # Errors
/// When the client's credentials cannot be read.
pub fn primary(lab: &Lab, group: &str) -> Result<Option<ServerStatus>, LabError> {
    let admin = Admin::new(lab.lab_name())?;
    let servers = lab
        .key_servers()
        .filter(|node| node.groups.iter().any(|name| name == group) && node.is_running());
    for server in servers {
        if let Ok(status) = admin.status(server)
            && status.role == keyserver_api::status::ServerRole::Primary
        {
            return Ok(Some(status));
        }
    }
    Ok(None)
}
