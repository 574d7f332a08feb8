//! What encryption adds to the time a packet takes, and to the way it goes.

use std::net::IpAddr;
use std::time::Duration;

use e2e::rig::{Rig, example, root};

/// What `docs/explanation/performance.md` promises for the median of one way, on a machine of two processors.
const BUDGET: Duration = Duration::from_millis(1);
const ECHOES: usize = 200;

/// What the echoes of a neighbour showed.
#[derive(Debug)]
struct Echoes {
    /// Median round trip.
    median: Duration,
    /// Time to live of every answer.
    time_to_live: u8,
}

fn echoes(rig: &Rig, from: &str, to: &str) -> Echoes {
    let address = rig.lab.node(to).expect("node").addresses.ipv4.to_string();
    let count = ECHOES.to_string();
    let ping = [
        "ping", "-n", "-c", &count, "-i", "0.005", "-W", "2", &address,
    ];
    let told = rig.run(from, &ping).expect("every echo answered");
    let values = |name: &str| -> Vec<f64> {
        told.lines()
            .filter_map(|line| line.split_once(name)?.1.split(' ').next()?.parse().ok())
            .collect()
    };
    let (mut times, hops) = (values("time="), values("ttl="));
    assert_eq!(times.len(), ECHOES, "{told}");
    assert_eq!(hops.len(), ECHOES, "{told}");
    assert!(hops.iter().all(|hop| *hop == hops[0]), "{told}");
    times.sort_by(f64::total_cmp);
    Echoes {
        median: Duration::from_secs_f64(times[ECHOES / 2] / 1000.0),
        time_to_live: hops[0] as u8,
    }
}

// GET VPN row 10
#[test]
fn encryption_adds_no_hop_and_no_more_latency_than_the_budget() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("quickstart.yaml"), "latency", Some(2)).expect("lab");
    let recording = rig.record().expect("capture");
    let encrypted = echoes(&rig, "m-1", "m-2");
    let seen = recording.finish().expect("capture");
    let ends =
        ["m-1", "m-2"].map(|name| IpAddr::V4(rig.lab.node(name).expect("node").addresses.ipv4));
    let direct = seen.iter().filter(|packet| {
        packet.esp && ends.contains(&packet.source) && ends.contains(&packet.destination)
    });
    // Routers see the addresses they would see in clear, so they choose the same way.
    assert_eq!(
        direct.count(),
        2 * ECHOES,
        "an ESP packet for each echo and each answer"
    );

    for name in ["m-1", "m-2"] {
        let node = rig.lab.node(name).expect("node").clone();
        rig.kill(name).expect("kill");
        let program = node.program.display().to_string();
        let configuration = node.configuration.display().to_string();
        rig.run(name, &[&program, "cleanup", "--config", &configuration])
            .expect("clean-up");
    }
    let clear = echoes(&rig, "m-1", "m-2");

    println!("encrypted {encrypted:?}, in clear {clear:?}");
    // The hops of the way count down the outer header, so the inner one shows only what the members took.
    assert_eq!(encrypted.time_to_live, 64, "hops at the members");
    assert_eq!(clear.time_to_live, 63, "the lab's core is one hop");
    let added = encrypted.median.saturating_sub(clear.median) / 2;
    assert!(added < BUDGET, "{added:?} added to one way");
}
