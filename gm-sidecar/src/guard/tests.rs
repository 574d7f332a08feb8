use super::*;
use gm_core::data_plane::Family;
use gm_core::member::traffic_plan::{Origin, PlanEntry, Treatment};
use gm_core::spd::{AddressRange, Selector};

fn guard() -> Guard {
    Guard {
        member: "m-1".to_owned(),
        interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
        mark: 0x47,
        ike_ports: vec![848],
        key_servers: vec![
            "172.20.0.2:848".parse().expect("address"),
            "[fd00::2]:1848".parse().expect("address"),
        ],
        rekey_groups: vec!["239.1.2.3:848".parse().expect("address")],
        operator: Some("10.96.0.9:9443".parse().expect("address")),
    }
}

fn between(source: &str, destination: &str) -> Selector {
    let range = |text: &str| AddressRange::network(text.parse().expect("network"));
    Selector::between(range(source), range(destination))
}

fn web(source: &str, destination: &str) -> Selector {
    Selector {
        protocol: Some(6),
        destination_ports: 443..=443,
        ..between(source, destination)
    }
}

const BOTH: Treatment = Treatment::Protect {
    outbound: true,
    inbound: true,
};

fn open_plan() -> TrafficPlan {
    let entry = |origin, treatment, selector| PlanEntry {
        origin,
        treatment,
        selector,
    };
    let group = Origin::Group(7);
    TrafficPlan {
        closed: false,
        exposed: false,
        allow_clear: Vec::new(),
        entries: vec![
            entry(
                Origin::Local,
                Treatment::Clear,
                web("0.0.0.0/0", "10.9.0.0/16"),
            ),
            entry(
                group,
                Treatment::Clear,
                between("10.1.0.0/16", "10.1.9.0/24"),
            ),
            entry(group, BOTH, between("10.1.0.0/16", "10.1.0.0/16")),
            entry(group, BOTH, web("10.1.0.0/16", "10.2.0.0/16")),
            entry(
                group,
                Treatment::Protect {
                    outbound: false,
                    inbound: false,
                },
                between("fd00:1::/32", "fd00:1::/32"),
            ),
        ],
    }
}

fn closed_plan() -> TrafficPlan {
    let mut ssh = Selector::between(AddressRange::any(Family::V4), AddressRange::any(Family::V4));
    ssh.protocol = Some(6);
    ssh.source_ports = 22..=22;
    TrafficPlan::before_registration(true, vec![ssh])
}

/// Compares with the file that was written and read by a person.
fn assert_golden(text: &str, golden: &str) {
    for (number, (ours, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(ours, expected, "line {}", number + 1);
    }
    assert_eq!(text, golden);
}

#[test]
fn the_closed_ruleset_is_as_reviewed() {
    assert_golden(
        &guard().ruleset(&closed_plan()),
        include_str!("golden_closed.nft"),
    );
}

#[test]
fn the_ruleset_of_a_registered_member_is_as_reviewed() {
    assert_golden(
        &guard().ruleset(&open_plan()),
        include_str!("golden_open.nft"),
    );
}

// GET VPN row 172
#[test]
fn what_may_be_clear_before_registration_and_the_drop_behind_it_are_gone_afterwards() {
    let ssh = closed_plan().allow_clear;
    let open = TrafficPlan {
        allow_clear: ssh,
        ..open_plan()
    };
    let (closed, open) = (guard().ruleset(&closed_plan()), guard().ruleset(&open));
    for rule in ["sport 22-22", "counter name closed_outbound drop"] {
        assert!(closed.contains(rule), "{closed}");
        assert!(!open.contains(rule), "{open}");
    }
    assert_golden(&open, include_str!("golden_open.nft"));
}

#[test]
fn what_goes_in_clear_for_want_of_a_policy_is_counted() {
    let exposed = guard().ruleset(&TrafficPlan::before_registration(false, Vec::new()));
    for way in ["outbound", "inbound"] {
        let rule = format!("\tchain {way}_policy {{\n\t\tcounter name exposed_{way}\n\t}}");
        assert!(exposed.contains(&rule), "{exposed}");
    }
    for plan in [closed_plan(), open_plan()] {
        let text = guard().ruleset(&plan);
        assert!(!text.contains("counter name exposed_"), "{text}");
    }
}

#[test]
fn the_kernel_accepts_both_rulesets() {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "this test needs root, and must not be skipped in CI"
        );
        return;
    }
    guard().check(&closed_plan()).expect("closed rules");
    guard().check(&open_plan()).expect("open rules");
    let exposed = TrafficPlan::before_registration(false, Vec::new());
    guard().check(&exposed).expect("exposed rules");
}

/// In a network namespace of the thread's own; the rules of this machine stay untouched.
#[test]
fn the_kernel_lists_every_verdict_and_an_emptied_table_shows_none() {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "this test needs root, and must not be skipped in CI"
        );
        return;
    }
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
        for plan in [closed_plan(), open_plan()] {
            guard().install(&plan).expect("rules");
            let listed = guard().inspect().expect("nft").expect("a table");
            assert_eq!(listed.verdicts, guard().verdicts(&plan));
        }
        nft(&["flush", "table", "inet", "getvpn_m-1"], "").expect("nft");
        let emptied = guard().inspect().expect("nft").expect("a table");
        assert_eq!(emptied.verdicts, 0);
    })
    .join()
    .expect("the rules");
}

#[test]
fn an_inspection_tells_rules_from_counts() {
    let listing = |packets: u32| {
        format!(
            "table inet getvpn_m-1 {{\n\tcounter clear_outbound {{\n\t\tpackets {packets} bytes 84\n\t}}\n\n\
             \tchain output {{\n\t\tmeta mark 0x00000047 accept\n\t}}\n}}\n"
        )
    };
    let (before, after) = (
        Inspection::parse(&listing(1)),
        Inspection::parse(&listing(7)),
    );
    assert_eq!(before.rules, after.rules);
    assert_eq!(after.counters.get("clear_outbound"), Some(&7));
    let flushed = Inspection::parse("table inet getvpn_m-1 {\n}\n");
    assert_ne!(before.rules, flushed.rules);
}
