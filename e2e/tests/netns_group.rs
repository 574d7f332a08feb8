//! A group of real processes in network namespaces: what must hold when everything works.
//!
//! `GETVPN_FULL=1` runs the numbers of a release instead of those of continuous integration.

use std::time::Duration;

use e2e::rig::{Rig, example, root};
use keyserver_api::request::RekeyRequest;

const LIMIT: Duration = Duration::from_secs(30);
const RATE: u32 = 5_000;

fn amount(continuous: u32, full: u32) -> u32 {
    if std::env::var_os("GETVPN_FULL").is_some() {
        full
    } else {
        continuous
    }
}

/// Rekeys and waits until every member sends with another key.
fn rekey(rig: &Rig, request: &RekeyRequest) {
    let members = rig.members();
    let before: Vec<_> = members
        .iter()
        .map(|node| rig.active_spi(&node.name).expect("status"))
        .collect();
    Rig::wait_for("the rekey to be committed", LIMIT, || {
        rig.rekey(request).map(Some)
    })
    .expect("rekey");
    for (node, before) in members.iter().zip(before) {
        Rig::wait_for("every member to use the new key", LIMIT, || {
            let now = rig.active_spi(&node.name)?;
            Ok((now.is_some() && now != before).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{}: {error:#}", node.name));
    }
}

// GET VPN rows 2, 126
#[test]
fn every_pair_of_twenty_members_talks_and_nothing_is_in_clear() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("quickstart.yaml"), "twenty", Some(20)).expect("lab");
    let watch = rig.watch().expect("capture");
    let (answered, pairs) = rig.ping_all().expect("ping");
    assert_eq!((answered, pairs), (380, 380));
    let audit = watch.finish().expect("capture");
    assert!(audit.is_clean(), "{audit:?}");
    assert!(audit.esp_in_udp >= 760, "{audit:?}");
    // One set of SAs whatever the number of members: everybody holds the same SPIs.
    let spis = |name: &str| -> Vec<String> {
        let status = rig.member(name).expect("status");
        let keys = status["groups"][0]["trafficKeys"]
            .as_array()
            .expect("keys")
            .clone();
        keys.iter()
            .map(|key| key["spi"].as_str().expect("SPI").to_owned())
            .collect()
    };
    let first = spis("m-1");
    assert_eq!(first.len(), 2, "the current key and the staged one");
    for node in rig.members() {
        assert_eq!(spis(&node.name), first, "{}", node.name);
        // No device for each peer either: the cable, the loopback and one for all that is encrypted.
        let links = rig
            .run(&node.name, &["ip", "-brief", "link"])
            .expect("links");
        let mut names: Vec<&str> = links
            .lines()
            .filter_map(|line| line.split(['@', ' ']).next())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["eth0", "getvpn0", "lo"], "{}", node.name);
    }
}

// GET VPN row 134
#[test]
fn rekeys_under_traffic_lose_nothing() {
    if !root() {
        return;
    }
    let rig = Rig::up_scaled("quickstart.yaml", "rekeys", Some(3), "0.1").expect("lab");
    let registrations = rig.registrations().expect("status");
    let watch = rig.watch().expect("capture");
    let there = rig.traffic("m-1", "m-2", RATE).expect("traffic");
    let rounds = amount(10, 100);
    for round in 0..rounds {
        // Every fifth replaces the staged keys too, every seventh the key encryption key.
        let request = RekeyRequest {
            replace: round % 5 == 4,
            key_encryption_key: round % 7 == 6,
        };
        rekey(&rig, &request);
    }
    let report = there.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    println!("{rounds} rekeys, {report:?}, {audit:?}");
    assert_eq!(report.lost(), 0, "{report:?}");
    assert!(audit.is_clean(), "{audit:?}");
    assert!(audit.spis >= rounds as usize, "{audit:?}");
    assert_eq!(
        rig.registrations().expect("status"),
        registrations,
        "nobody registered again"
    );
}

// GET VPN row 69
#[test]
fn losing_the_primary_again_and_again_loses_no_packet() {
    if !root() {
        return;
    }
    // With times as users have them: an activation delay shorter than a fail-over is no promise.
    let mut rig = Rig::up_scaled("quickstart.yaml", "failover", Some(2), "1").expect("lab");
    let registrations = rig.registrations().expect("status");
    let watch = rig.watch().expect("capture");
    let traffic = rig.traffic("m-1", "m-2", RATE).expect("traffic");
    let mut times = Vec::new();
    for _ in 0..amount(3, 20) {
        let (primary, _) =
            Rig::wait_for("a primary", LIMIT, || rig.primary().map(Some)).expect("primary");
        let start = std::time::Instant::now();
        rig.kill(&primary).expect("kill");
        Rig::wait_for("another primary to rekey", LIMIT, || {
            rig.rekey(&RekeyRequest::default()).map(Some)
        })
        .expect("fail-over");
        times.push(start.elapsed());
        rig.heal(&primary).expect("heal");
    }
    let report = traffic.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    // Says where packets went, should any be missing.
    for name in ["m-1", "m-2"] {
        let state = rig.member(name).expect("status");
        println!(
            "{name}: {} {} {}",
            state["packets"], state["drops"], state["guard"]["drops"]
        );
    }
    times.sort();
    let median = times[times.len() / 2];
    println!(
        "fail-over: median {median:?}, slowest {:?} of {}; {report:?}; {audit:?}",
        times.last(),
        times.len()
    );
    assert_eq!(report.lost(), 0, "{report:?}");
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(
        rig.registrations().expect("status"),
        registrations,
        "nobody registered again"
    );
}

// GET VPN rows 11, 103
#[test]
fn without_key_servers_traffic_goes_on_until_the_staged_key_ends_and_then_drops() {
    if !root() {
        return;
    }
    // A key lives 3600 s * 0.004 = 14.4 s.
    let rig = Rig::up_scaled("quickstart.yaml", "silence", Some(2), "0.004").expect("lab");
    let watch = rig.watch().expect("capture");
    let traffic = rig.traffic("m-1", "m-2", 1_000).expect("traffic");
    Rig::wait_for("traffic", LIMIT, || {
        Ok((traffic.received() > 100).then_some(()))
    })
    .expect("traffic");
    let first = rig.active_spi("m-1").expect("status");
    for server in ["ks-0", "ks-1", "ks-2"] {
        rig.kill(server).expect("kill");
    }
    // The staged key takes over although no key server is left.
    Rig::wait_for("the staged key", LIMIT, || {
        Ok((rig.active_spi("m-1")? != first).then_some(()))
    })
    .expect("staged");
    assert!(
        traffic.sent() - traffic.received() < 100,
        "{} of {}",
        traffic.received(),
        traffic.sent()
    );
    // Then the last key ends, and packets stop to arrive.
    Rig::wait_for("the last key to end", Duration::from_secs(60), || {
        Ok(rig.active_spi("m-1")?.is_none().then_some(()))
    })
    .expect("end");
    let received = traffic.received();
    let sent = traffic.sent();
    Rig::wait_for("more packets to be refused", LIMIT, || {
        Ok((traffic.sent() > sent + 2_000).then_some(()))
    })
    .expect("traffic");
    let late = traffic.received() - received;
    let dropped = rig.member("m-1").expect("status")["drops"]["no_security_association"].as_u64();
    assert!(
        dropped >= Some(1_000),
        "the drops name their cause: {dropped:?}"
    );
    let report = traffic.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    println!("{report:?} {audit:?}");
    assert!(
        late < 200,
        "{late} packets arrived after the last key ended"
    );
    assert!(report.lost() > 0, "{report:?}");
    assert!(audit.is_clean(), "{audit:?}");
}

#[test]
fn a_killed_member_leaks_nothing_and_is_back_with_another_sender_id() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "memberkill", Some(2)).expect("lab");
    let before = rig.member("m-1").expect("status")["groups"][0]["senderID"].clone();
    let watch = rig.watch().expect("capture");
    let traffic = rig.traffic("m-1", "m-2", RATE).expect("traffic");
    Rig::wait_for("traffic", LIMIT, || {
        Ok((traffic.received() > 1_000).then_some(()))
    })
    .expect("traffic");
    rig.kill("m-1").expect("kill");
    let start = std::time::Instant::now();
    rig.heal("m-1").expect("heal");
    let back = start.elapsed();
    let received = traffic.received();
    Rig::wait_for("traffic again", LIMIT, || {
        Ok((traffic.received() > received + 1_000).then_some(()))
    })
    .expect("back");
    let report = traffic.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    let after = rig.member("m-1").expect("status")["groups"][0]["senderID"].clone();
    println!("back after {back:?}; {report:?}; {audit:?}");
    assert!(audit.is_clean(), "{audit:?}");
    assert_ne!(before, after);
    assert!(back < Duration::from_secs(10), "{back:?}");
}

#[test]
fn an_evicted_member_decrypts_nothing_new_and_the_others_lose_nothing() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("quickstart.yaml"), "evict", Some(4)).expect("lab");
    let others = || -> u64 {
        ["m-1", "m-2", "m-3"]
            .iter()
            .map(|name| {
                rig.member(name).expect("status")["groups"][0]["registrations"]
                    .as_u64()
                    .unwrap_or(0)
            })
            .sum()
    };
    let registrations = others();
    let staying = rig.traffic("m-1", "m-2", RATE).expect("traffic");
    let leaving = rig.traffic("m-3", "m-4", 1_000).expect("traffic");
    Rig::wait_for("traffic", LIMIT, || {
        Ok((leaving.received() > 500).then_some(()))
    })
    .expect("traffic");
    let old = rig.active_spi("m-1").expect("status");
    let start = std::time::Instant::now();
    rig.evict("m-4").expect("evict");
    Rig::wait_for("a new key", LIMIT, || {
        Ok((rig.active_spi("m-3")? != old).then_some(()))
    })
    .expect("new key");
    let switched = start.elapsed();
    let received = leaving.received();
    let sent = leaving.sent();
    Rig::wait_for("traffic with the new key", LIMIT, || {
        Ok((leaving.sent() > sent + 1_000).then_some(()))
    })
    .expect("traffic");
    let late = leaving.received() - received;
    let report = staying.stop().expect("traffic");
    leaving.stop().expect("traffic");
    println!(
        "new key after {switched:?}, {late} packets opened later by the evicted member; others: {report:?}"
    );
    assert!(switched < Duration::from_secs(4), "{switched:?}");
    assert!(
        late < 50,
        "{late} packets reached the evicted member after the switch"
    );
    assert_eq!(report.lost(), 0, "{report:?}");
    assert_eq!(others(), registrations, "nobody else registered again");
}
