//! Runs one command of the command line.

use std::io::Write;
use std::path::Path;
use std::process::{Command as Program, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::CommandFactory;
use keyserver_api::request::{EvictRequest, RekeyRequest};
use kubectl_getvpn::lab::admin::Admin;
use kubectl_getvpn::lab::capture::{Audit, AuditReport, CaptureFile, LiveCapture};
use kubectl_getvpn::lab::error::LabError;
use kubectl_getvpn::lab::name::LabName;
use kubectl_getvpn::lab::progress::Progress;
use kubectl_getvpn::lab::state::{Lab, Node};
use kubectl_getvpn::lab::up::{UpOptions, up};
use kubectl_getvpn::lab::{down, multicast_router, node_control, preflight};

use crate::cli::{Arguments, Command, LabCommand, Which};
use crate::show;

/// Exit code when a check of the command found something.
const CHECKS_FAILED: u8 = 3;

/// Runs a command.
///
/// # Errors
/// [`LabError`]; its exit code is the process's.
pub(crate) fn run(command: Command) -> Result<ExitCode, LabError> {
    match command {
        Command::Lab(command) => lab(command),
        Command::Completion { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(
                shell,
                &mut command,
                "kubectl-getvpn",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Version => {
            println!("kubectl-getvpn {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn lab(command: LabCommand) -> Result<ExitCode, LabError> {
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
        LabCommand::Status { which, output } => {
            show::status(&open(&which)?, output)?;
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Ping { which, nodes, all } => ping(&open(&which)?, &nodes, all),
        LabCommand::Exec {
            which,
            node,
            program,
        } => exec(&open(&which)?, &node, &program),
        LabCommand::Capture {
            which,
            write,
            seconds,
        } => capture(
            &open(&which)?,
            write.as_deref(),
            Duration::from_secs(seconds),
        ),
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
            println!("{node} is gone");
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Heal { which, node } => {
            let mut lab = open(&which)?;
            match node {
                Some(node) => node_control::heal(&mut lab, &node)?,
                None => node_control::heal_all(&mut lab)?,
            }
            println!("healed");
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Rekey {
            which,
            group,
            replace,
        } => rekey(&open(&which)?, group, replace),
        LabCommand::Evict { which, member } => evict(&open(&which)?, &member),
        LabCommand::Logs { which, node, tail } => {
            print!("{}", open(&which)?.node(&node)?.log_tail(tail));
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
                println!("no lab is up");
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
        println!(
            "lab `{}` {}",
            name.as_str(),
            if existed { "is gone" } else { "was not up" }
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn ping(lab: &Lab, nodes: &[String], all: bool) -> Result<ExitCode, LabError> {
    let pairs: Vec<(&Node, &Node)> = if all {
        let members: Vec<&Node> = lab.members().collect();
        members
            .iter()
            .flat_map(|from| {
                members
                    .iter()
                    .filter(|to| to.name != from.name)
                    .map(|to| (*from, *to))
            })
            .collect()
    } else {
        match nodes {
            [from, to] => vec![(lab.node(from)?, lab.node(to)?)],
            _ => return Err(LabError::Usage("two nodes are needed, or --all".to_owned())),
        }
    };
    let total = pairs.len();
    let mut failed = Vec::new();
    for (from, to) in pairs {
        if !ping_once(from, to)? {
            failed.push(format!("{} -> {}", from.name, to.name));
        }
    }
    println!("{} of {total} pings answered", total - failed.len());
    for pair in &failed {
        println!("  no answer: {pair}");
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHECKS_FAILED)
    })
}

fn ping_once(from: &Node, to: &Node) -> Result<bool, LabError> {
    let status = Program::new("ip")
        .args([
            "netns",
            "exec",
            &from.namespace,
            "ping",
            "-n",
            "-q",
            "-c",
            "1",
            "-W",
            "2",
        ])
        .arg(to.addresses.ipv4.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(LabError::file("run", Path::new("ip")))?;
    Ok(status.success())
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

fn capture(lab: &Lab, write: Option<&Path>, length: Duration) -> Result<ExitCode, LabError> {
    let core = lab.lab_name().core_namespace();
    let interfaces: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
    let file = match write {
        Some(path) => {
            let out = std::fs::File::create(path).map_err(LabError::file("create", path))?;
            let writer = CaptureFile::new(std::io::BufWriter::new(out), &interfaces)
                .map_err(LabError::file("write", path))?;
            Some((writer, path.to_owned()))
        }
        None => None,
    };
    let judge = (Audit::new(lab, &[]), file);
    let live = LiveCapture::start(&core, judge, |(audit, file), frame| {
        audit.frame(frame.bytes);
        if let Some((writer, path)) = file {
            writer
                .packet(
                    u32::try_from(frame.interface).unwrap_or(u32::MAX),
                    frame.time,
                    frame.bytes,
                )
                .map_err(LabError::file("write", path))?;
        }
        Ok(())
    })?;
    let end = Instant::now() + length;
    while Instant::now() < end && !live.is_finished() {
        std::thread::sleep(
            Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())),
        );
    }
    let ((audit, file), dropped) = live.finish()?;
    if let Some((writer, path)) = file {
        writer.finish().map_err(LabError::file("write", &path))?;
    }
    let report = audit.report(dropped);
    show::capture(&report);
    Ok(verdict(&report))
}

fn verdict(report: &AuditReport) -> ExitCode {
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHECKS_FAILED)
    }
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
    println!(
        "rekey of {group} is committed (generation {}); it goes to {} members",
        accepted.generation, accepted.members
    );
    Ok(ExitCode::SUCCESS)
}

fn evict(lab: &Lab, member: &str) -> Result<ExitCode, LabError> {
    let node = lab.node(member)?;
    let request = EvictRequest {
        member: node.identity.clone(),
    };
    let admin = Admin::new(lab.lab_name())?;
    for group in &node.groups {
        let accepted = admin.group_call(lab, group, async |client| {
            client.evict(group, &request).await
        })?;
        println!(
            "{member} is evicted from {group}; {} members get new keys",
            accepted.members
        );
    }
    std::io::stdout()
        .flush()
        .map_err(LabError::file("write", Path::new("standard output")))?;
    Ok(ExitCode::SUCCESS)
}
