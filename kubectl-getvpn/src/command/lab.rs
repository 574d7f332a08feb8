//! Runs commands of the lab.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode};
use std::sync::mpsc;
use std::time::Duration;

use keyserver_api::request::{EvictRequest, RekeyRequest};
use kubectl_getvpn::cli::{LabCommand, Output, Which};
use kubectl_getvpn::lab::admin::Admin;
use kubectl_getvpn::lab::capture::{Audit, AuditReport, CaptureFile, Frame, LiveCapture};
use kubectl_getvpn::lab::error::LabError;
use kubectl_getvpn::lab::name::LabName;
use kubectl_getvpn::lab::network::Cut;
use kubectl_getvpn::lab::progress::Progress;
use kubectl_getvpn::lab::state::{Lab, Node, NodeRole};
use kubectl_getvpn::lab::up::{UpOptions, up};
use kubectl_getvpn::lab::{
    down, multicast_router, namespace, network, node_control, ping, preflight,
};

use super::CHECKS_FAILED;
use crate::show;

/// Runs one.
///
/// # Errors
/// [`LabError`].
pub(super) fn run(command: LabCommand, output: Output) -> Result<ExitCode, LabError> {
    match command {
        LabCommand::Up {
            file,
            members,
            name,
            keep,
        } => {
            let name = name.map(|name| name.parse::<LabName>()).transpose()?;
            let mut progress = Progress::visible();
            let lab = up(
                &UpOptions {
                    file,
                    name,
                    members,
                    keep,
                },
                &mut progress,
            )?;
            progress.line(&format!(
                "lab `{}` is up after {:.1} s: {} key servers, {} members",
                lab.name,
                progress.elapsed().as_secs_f64(),
                lab.key_servers().count(),
                lab.members().count()
            ));
            progress.line(&format!(
                "next: kubectl getvpn lab ping --all --name {}",
                lab.name
            ));
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Status { which } => {
            show::status(&open(&which)?, output)?;
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Ping {
            which,
            nodes,
            all: _,
            ipv6,
            wait,
        } => ping(&open(&which)?, &nodes, ipv6, wait),
        LabCommand::Exec {
            which,
            node,
            program,
        } => exec(&open(&which)?, &node, &program),
        LabCommand::Capture {
            which,
            write,
            seconds,
            count,
        } => {
            let limits = (Duration::from_secs(seconds), count.unwrap_or(u64::MAX));
            capture(&open(&which)?, write.as_deref(), limits)
        }
        LabCommand::Kill {
            which,
            node,
            gracefully,
        } => {
            let lab = open(&which)?;
            let node = if node == "primary" {
                primary(&lab)?
            } else {
                node
            };
            node_control::kill(&lab, &node, !gracefully)?;
            say!("{node} is gone");
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Partition { which, node, from } => {
            partition(&open(&which)?, &node, from.as_deref())
        }
        LabCommand::Heal {
            which,
            node,
            all: _,
        } => {
            let mut lab = open(&which)?;
            match node {
                Some(node) => node_control::heal(&mut lab, &node)?,
                None => node_control::heal_all(&mut lab)?,
            }
            say!("healed");
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Rekey {
            which,
            group,
            replace,
        } => rekey(&open(&which)?, group, replace),
        LabCommand::Evict { which, member } => evict(&open(&which)?, &member),
        LabCommand::Logs { which, node, tail } => {
            say_text!("{}", open(&which)?.node(&node)?.log_tail(tail));
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Down { which, all } => take_down(&which, all),
        LabCommand::MulticastRouter { ready, interfaces } => {
            multicast_router::run(&interfaces, &ready)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The lab that is meant: the named one, or the only one.
fn open(which: &Which) -> Result<Lab, LabError> {
    preflight::check_root()?;
    if let Some(name) = &which.name {
        return Lab::open(&name.parse()?);
    }
    match Lab::names().as_slice() {
        [] => Err(LabError::Usage(
            "no lab is up: start one with `kubectl getvpn lab up -f FILE`".to_owned(),
        )),
        [only] => Lab::open(only),
        several => {
            let names: Vec<&str> = several.iter().map(LabName::as_str).collect();
            Err(LabError::Usage(format!(
                "several labs are up ({}): choose one with --name",
                names.join(", ")
            )))
        }
    }
}

fn primary(lab: &Lab) -> Result<String, LabError> {
    let group = lab
        .groups
        .first()
        .map(|group| group.policy.name.clone())
        .unwrap_or_default();
    node_control::primary(lab, &group)?
        .map(|status| status.name)
        .ok_or_else(|| LabError::Usage("no key server is primary now".to_owned()))
}

fn take_down(which: &Which, all: bool) -> Result<ExitCode, LabError> {
    preflight::check_root()?;
    let names = match (&which.name, all) {
        (Some(name), _) => vec![name.parse()?],
        (None, true) => down::remaining(),
        (None, false) => match down::remaining().as_slice() {
            [] => {
                say!("no lab is up");
                return Ok(ExitCode::SUCCESS);
            }
            [only] => vec![only.clone()],
            several => {
                let names: Vec<&str> = several.iter().map(LabName::as_str).collect();
                return Err(LabError::Usage(format!(
                    "several labs are up ({}): choose one with --name, or --all",
                    names.join(", ")
                )));
            }
        },
    };
    for name in names {
        let existed = down::down(&name)?;
        say!(
            "lab `{}` {}",
            name.as_str(),
            if existed { "is gone" } else { "was not up" }
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn ping(lab: &Lab, nodes: &[String], ipv6: bool, wait: u32) -> Result<ExitCode, LabError> {
    let pairs: Vec<(&Node, &Node)> = match nodes {
        [from, to] => vec![(lab.node(from)?, lab.node(to)?)],
        // The command line demands two nodes or `--all`.
        _ => ping::all_pairs(lab),
    };
    let silent = ping::unanswered(&pairs, ipv6, wait)?;
    say!(
        "{} of {} pings answered",
        pairs.len() - silent.len(),
        pairs.len()
    );
    for (from, to) in &silent {
        say!("  no answer: {} -> {}", from.name, to.name);
    }
    Ok(if silent.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHECKS_FAILED)
    })
}

fn exec(lab: &Lab, node: &str, program: &[String]) -> Result<ExitCode, LabError> {
    let namespace = if node == "core" {
        lab.lab_name().core_namespace()
    } else {
        lab.node(node)?.namespace.clone()
    };
    let status = Program::new("ip")
        .args(["netns", "exec", &namespace])
        .args(program)
        .status()
        .map_err(LabError::file("run", Path::new("ip")))?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// A pcapng file under way, and the number in it of each interface by the kernel's index.
struct Recording {
    file: CaptureFile<BufWriter<File>>,
    numbers: HashMap<usize, u32>,
    path: PathBuf,
}

impl Recording {
    fn new(lab: &Lab, path: &Path) -> Result<Self, LabError> {
        let names: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
        let numbers = namespace::interface_indices(&lab.lab_name().core_namespace(), &names)?
            .into_iter()
            .zip(0_u32..)
            .collect();
        let out = File::create(path).map_err(LabError::file("create", path))?;
        let file =
            CaptureFile::new(BufWriter::new(out), &names).map_err(LabError::file("write", path))?;
        Ok(Self {
            file,
            numbers,
            path: path.to_owned(),
        })
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), LabError> {
        // The core's loopback device is no wire of the lab.
        let Some(number) = self.numbers.get(&frame.interface) else {
            return Ok(());
        };
        self.file
            .packet(*number, frame.time, frame.bytes)
            .map_err(LabError::file("write", &self.path))
    }
}

fn capture(
    lab: &Lab,
    write: Option<&Path>,
    (length, count): (Duration, u64),
) -> Result<ExitCode, LabError> {
    let recording = write.map(|path| Recording::new(lab, path)).transpose()?;
    let (enough, ended) = mpsc::channel();
    let judge = (Audit::new(lab, &[]), recording);
    let mut seen = 0;
    let live = LiveCapture::start(
        &lab.lab_name().core_namespace(),
        judge,
        move |(audit, recording), frame| {
            if seen == count {
                // Nobody waits any more when the time was up first.
                let _ = enough.send(());
                return Ok(());
            }
            seen += 1;
            audit.frame(frame.bytes);
            recording
                .as_mut()
                .map_or(Ok(()), |recording| recording.frame(frame))
        },
    )?;
    // Also over when the capture fails, which closes the channel.
    let _ = ended.recv_timeout(length);
    let ((audit, recording), dropped) = live.finish()?;
    if let Some(recording) = recording {
        recording
            .file
            .finish()
            .map_err(LabError::file("write", &recording.path))?;
    }
    let report = audit.report(dropped);
    show::capture(&report)?;
    Ok(verdict(&report))
}

fn verdict(report: &AuditReport) -> ExitCode {
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHECKS_FAILED)
    }
}

fn partition(lab: &Lab, node: &str, from: Option<&str>) -> Result<ExitCode, LabError> {
    let node = lab.node(node)?.name.as_str();
    let cut = match from {
        Some(other) => Cut::Pair(node, lab.node(other)?.name.as_str()),
        None => Cut::Node(node),
    };
    network::partition(lab.lab_name(), cut)?;
    say!(
        "{node} is cut from {}; join it with `lab heal {node}`",
        from.unwrap_or("all others")
    );
    Ok(ExitCode::SUCCESS)
}

fn rekey(lab: &Lab, group: Option<String>, replace: bool) -> Result<ExitCode, LabError> {
    let group = match group {
        Some(group) => group,
        None => match lab.groups.as_slice() {
            [only] => only.policy.name.clone(),
            _ => {
                return Err(LabError::Usage(
                    "the lab has several groups: name one".to_owned(),
                ));
            }
        },
    };
    let request = RekeyRequest {
        replace,
        ..RekeyRequest::default()
    };
    let accepted = Admin::new(lab.lab_name())?.group_call(lab, &group, async |client| {
        client.rekey(&group, &request).await
    })?;
    say!(
        "rekey of {group} is committed (generation {}); it goes to {} members",
        accepted.generation,
        accepted.members
    );
    Ok(ExitCode::SUCCESS)
}

fn evict(lab: &Lab, member: &str) -> Result<ExitCode, LabError> {
    let node = lab.node(member)?;
    if node.role != NodeRole::Member {
        return Err(LabError::Usage(format!(
            "{member} is a key server; only members are evicted"
        )));
    }
    let request = EvictRequest {
        member: node.identity.clone(),
    };
    let admin = Admin::new(lab.lab_name())?;
    for group in &node.groups {
        let accepted = admin.group_call(lab, group, async |client| {
            client.evict(group, &request).await
        })?;
        say!(
            "{member} is evicted from {group}; {} members get new keys",
            accepted.members
        );
    }
    Ok(ExitCode::SUCCESS)
}
