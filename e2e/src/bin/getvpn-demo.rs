//! The main job on real processes: what `cargo xtask demo` runs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::rig::{Rig, example};
use keyserver_api::request::RekeyRequest;
use kubectl_getvpn::lab::progress::Progress;

/// Packets a second during the demo.
const RATE: u32 = 5_000;
/// Rekeys under traffic.
const REKEYS: u32 = 3;
/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let file = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => example("quickstart.yaml"),
        [flag, file] if flag == "--file" => PathBuf::from(file),
        _ => {
            eprintln!("usage: getvpn-demo [--file FILE]");
            return ExitCode::from(2);
        }
    };
    match run(&file) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: the demo lost packets or saw something in clear: see the table");
            ExitCode::from(3)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One line of the closing table.
struct Row {
    what: &'static str,
    sent: u64,
    lost: u64,
    longest_gap: Duration,
    note: String,
}

fn run(file: &std::path::Path) -> Result<bool> {
    let mut progress = Progress::visible();
    let mut rig = Rig::up_with(file, "demo", None, &mut progress)?;
    let members = rig.members();
    let [first, second, ..] = members.as_slice() else {
        bail!("the demo needs two members")
    };
    let (first, second) = (first.name.clone(), second.name.clone());
    let watch = rig.watch()?;

    progress.begin("ping every pair");
    let (answered, pairs) = rig.ping_all()?;
    progress.done(&format!("{answered} of {pairs}"));

    let mut rows = Vec::new();
    let registrations = rig.registrations()?;

    progress.begin(&format!("{REKEYS} rekeys under {RATE} packets/s"));
    let traffic = rig.traffic(&first, &second, RATE)?;
    for _ in 0..REKEYS {
        rekey(&rig)?;
    }
    let report = traffic.stop()?;
    progress.done("");
    rows.push(Row {
        what: "rekey under traffic",
        sent: report.sent,
        lost: report.lost(),
        longest_gap: report.longest_gap,
        note: format!("{REKEYS} times to a new key"),
    });

    progress.begin("kill the primary under traffic");
    let (primary, _) = rig.primary()?;
    let traffic = rig.traffic(&second, &first, RATE)?;
    Rig::wait_for("traffic", LIMIT, || {
        Ok((traffic.received() > u64::from(RATE)).then_some(()))
    })?;
    let killed = Instant::now();
    rig.kill(&primary)?;
    let (successor, _) = Rig::wait_for("another primary", LIMIT, || rig.primary().map(Some))?;
    let takeover = killed.elapsed();
    rekey(&rig).context("a rekey by the new primary")?;
    rig.heal(&primary)?;
    let report = traffic.stop()?;
    progress.done(&format!("{primary} killed, {successor} took over"));
    rows.push(Row {
        what: "loss of the primary",
        sent: report.sent,
        lost: report.lost(),
        longest_gap: report.longest_gap,
        note: format!(
            "{successor} took over after {:.1} s and rekeyed; {primary} is back",
            takeover.as_secs_f64()
        ),
    });

    let again = rig.registrations()? - registrations;
    let audit = watch.finish()?;
    println!(
        "\n{:<22}{:>10}{:>8}{:>14}  note",
        "step", "sent", "lost", "longest gap"
    );
    for row in &rows {
        println!(
            "{:<22}{:>10}{:>8}{:>11} ms  {}",
            row.what,
            row.sent,
            row.lost,
            row.longest_gap.as_millis(),
            row.note
        );
    }
    println!(
        "\nwire: {} packets of ESP, {} protected packets in clear, {} IVs used twice, {} not captured",
        audit.esp_in_udp + audit.raw_esp,
        audit.clear_protected + audit.canary,
        audit.iv_reused,
        audit.capture_dropped
    );
    println!("members that had to register again: {again}");
    println!("pings answered: {answered} of {pairs}");
    progress.begin("lab down");
    drop(rig);
    progress.done("");
    println!("total: {:.0} s", progress.elapsed().as_secs_f64());
    Ok(rows.iter().all(|row| row.lost == 0) && audit.is_clean() && answered == pairs && again == 0)
}

/// Rekeys and waits until every member sends with another key.
fn rekey(rig: &Rig) -> Result<()> {
    let members = rig.members();
    let before = members
        .iter()
        .map(|node| rig.active_spi(&node.name))
        .collect::<Result<Vec<_>>>()?;
    Rig::wait_for("the rekey to be committed", LIMIT, || {
        rig.rekey(&RekeyRequest::default()).map(Some)
    })?;
    for (node, before) in members.iter().zip(before) {
        Rig::wait_for("every member to use the new key", LIMIT, || {
            let now = rig.active_spi(&node.name)?;
            Ok((now.is_some() && now != before).then_some(()))
        })?;
    }
    Ok(())
}
