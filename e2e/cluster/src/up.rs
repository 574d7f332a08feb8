//! Brings a cluster up: what runs is left alone, what is missing is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{run, run_with_input, tail_of};
use crate::component::Component;
use crate::kubectl::kubectl;
use crate::lock::Lock;
use crate::machine::{Machine, spawn};
use crate::network::{Node, connect_control, connect_node, write_resolver};
use crate::place::Place;
use crate::programs::{COREDNS_MODULE, HELM_MODULE, KUBERNETES_MODULE};
use crate::record::{Process, Records};
use crate::shape::Shape;
use crate::{
    certificates, control, down, forward, host, load, names, node, standard_images, volumes,
};

/// What every cluster holds from the start.
const BASE: &str = include_str!("../manifests/base.yaml");
/// How long the forwarder may take.
const FORWARD: Duration = Duration::from_secs(10);

/// How a cluster is brought up.
#[derive(Debug)]
pub struct UpOptions {
    /// Number of nodes, from 1 to 9.
    pub nodes: u8,
    /// A program and arguments that, with `forward` or `volumes` added, call [`forward::serve`] or
    /// [`volumes::serve`] for the place in their environment.
    pub helper: Vec<PathBuf>,
}

/// Brings the cluster up; repeated, it starts only what is missing.
///
/// # Errors
/// What is missing on this machine, or which program does not serve and what it said.
pub fn up(place: &Place, options: &UpOptions) -> Result<()> {
    host::check(place)?;
    if !(1..=9).contains(&options.nodes) {
        bail!("{} nodes: from 1 to 9 are possible", options.nodes);
    }
    let programs = KUBERNETES_MODULE.build(place)?;
    let coredns = COREDNS_MODULE.build(place)?.join("coredns");
    let pause = standard_images::pause_program(place)?;

    let mut lock = own_directory(place)?;
    let shape = Shape {
        nodes: options.nodes,
        port: place.port,
    };
    if let Some(old) = Shape::read(place)? {
        let records = Records::read(&place.state)?;
        let whole = old
            .machines()
            .iter()
            .all(|name| Machine::find(&records, name).is_some());
        if whole && old.nodes != shape.nodes {
            bail!(
                "a cluster of {} nodes runs: `cargo xtask cluster down` first",
                old.nodes
            );
        }
        if !whole {
            println!("an earlier cluster has ended: removing what it left");
            down::remove(place)?;
            lock = own_directory(place)?;
        }
    }
    let start = Instant::now();
    let mut records = Records::read(&place.state)?;
    if Machine::find(&records, control::MACHINE).is_none() {
        prepare(place, shape)?;
        machines(place, &mut records, shape, &pause, &programs)?;
        said(start, "machines and certificates are made");
    }
    forwarder(place, &mut records, options)?;
    programs_of(place, &mut records, shape, control::MACHINE, start)?;
    for node in shape.nodes() {
        programs_of(place, &mut records, shape, &node.name, start)?;
    }
    let images = standard_images::pack(place, &pause, &coredns)?;
    for image in images {
        load::load(place, &image)?;
    }
    nodes_ready(place, &shape.nodes())?;
    said(start, "every node is Ready");
    run_with_input(
        kubectl(place)?.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=getvpn-cluster",
            "-f",
            "-",
        ]),
        BASE,
    )?;
    run(kubectl(place)?.args([
        "--namespace",
        "kube-system",
        "rollout",
        "status",
        "deployment/coredns",
        "--timeout=120s",
    ]))?;
    helper(place, &mut records, options, volumes::NAME)?;
    said(start, "names are served");
    drop(lock);
    Ok(())
}

/// Builds everything that is built once.
///
/// # Errors
/// When Go is missing or a build fails.
pub fn build(place: &Place) -> Result<()> {
    KUBERNETES_MODULE.build(place)?;
    COREDNS_MODULE.build(place)?;
    standard_images::pause_program(place)?;
    HELM_MODULE.build(place)?;
    Ok(())
}

/// Makes the state directory, or makes sure that it is one; one command at a time works in it.
fn own_directory(place: &Place) -> Result<Lock> {
    let state = &place.state;
    let foreign = state.exists()
        && !state.join("lock").exists()
        && fs::read_dir(state)
            .with_context(|| format!("cannot read {}", state.display()))?
            .next()
            .is_some();
    if foreign {
        bail!(
            "{} holds files that are not a cluster's: set GETVPN_CLUSTER_DIR to another directory",
            state.display()
        );
    }
    fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    Lock::acquire(&state.join("lock"), || {
        println!("another command works on the cluster: waiting for it");
    })
}

fn prepare(place: &Place, shape: Shape) -> Result<()> {
    host::check_port(place.port)?;
    names::check(place, &shape.machines())?;
    shape.write(place)?;
    for directory in [place.logs(), place.state.join("images")] {
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    write_resolver(&place.state)?;
    certificates::make(place, &shape.nodes())?;
    control::write_files(place)?;
    for one in shape.nodes() {
        node::write_files(place, &one)?;
        host::make_group(place, &one.name)?;
    }
    Ok(())
}

fn machines(
    place: &Place,
    records: &mut Records,
    shape: Shape,
    pause: &Path,
    programs: &Path,
) -> Result<()> {
    let visible = [
        place.state.as_path(),
        pause.parent().unwrap_or(pause),
        programs,
    ];
    let control = Machine::start(place, records, control::MACHINE, pause, &visible)?;
    names::give(place, &control)?;
    connect_control(&control)?;
    let nodes = shape.nodes();
    for node in &nodes {
        let machine = Machine::start(place, records, &node.name, pause, &visible)?;
        names::give(place, &machine)?;
        connect_node(&control, &machine, node, &nodes)?;
    }
    Ok(())
}

/// Starts a helper outside of the machines unless it runs; answers whether it was started.
fn helper(place: &Place, records: &mut Records, options: &UpOptions, name: &str) -> Result<bool> {
    if records.find(name, None).is_some_and(Process::is_alive) {
        return Ok(false);
    }
    let (program, arguments) = options
        .helper
        .split_first()
        .context("no program was named for the helpers")?;
    let mut command = Command::new("setsid");
    command
        .arg(program)
        .args(arguments)
        .arg(name)
        .env("GETVPN_CLUSTER_DIR", &place.state)
        .env("GETVPN_CACHE", &place.cache)
        .env("GETVPN_CLUSTER_PORT", place.port.to_string());
    let pid = spawn(&mut command, &place.log(name))?;
    records.put(Process::of(name, None, pid)?)?;
    Ok(true)
}

fn forwarder(place: &Place, records: &mut Records, options: &UpOptions) -> Result<()> {
    if !helper(place, records, options, forward::NAME)? {
        return Ok(());
    }
    let deadline = Instant::now() + FORWARD;
    while std::net::TcpStream::connect(("127.0.0.1", place.port)).is_err() {
        if Instant::now() > deadline {
            let log = place.log(forward::NAME);
            bail!(
                "the way to the API server does not open: {}\n{}",
                log.display(),
                tail_of(&log, 5)
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn programs_of(
    place: &Place,
    records: &mut Records,
    shape: Shape,
    name: &str,
    start: Instant,
) -> Result<()> {
    let machine = Machine::find(records, name).with_context(|| format!("{name} has ended"))?;
    for component in shape.components(place)? {
        if component.machine == name {
            start_and_wait(place, records, &machine, &component, start)?;
        }
    }
    Ok(())
}

fn start_and_wait(
    place: &Place,
    records: &mut Records,
    machine: &Machine,
    component: &Component,
    start: Instant,
) -> Result<()> {
    let started = component.start(place, records, machine)?;
    component.wait(place, records, machine)?;
    if started {
        said(start, &format!("{} runs", component.log_name()));
    }
    Ok(())
}

fn nodes_ready(place: &Place, nodes: &[Node]) -> Result<()> {
    for node in nodes {
        let name = format!("node/{}", node.name);
        run(kubectl(place)?.args(["wait", "--for=create", "--timeout=60s", &name]))?;
        let ranges = format!(
            r#"{{"spec":{{"podCIDR":"{0}","podCIDRs":["{0}"]}}}}"#,
            node.pods
        );
        run(kubectl(place)?.args(["patch", &name, "--patch", &ranges]))?;
        run(kubectl(place)?.args(["wait", "--for=condition=Ready", "--timeout=120s", &name]))?;
    }
    Ok(())
}

fn said(start: Instant, what: &str) {
    println!("{:>6.1} s  {what}", start.elapsed().as_secs_f64());
}
