//! Members as the edge of a site: two ways in, and several interfaces.

use std::net::IpAddr;
use std::time::Duration;

use e2e::rig::{Rig, example, root};
use e2e::wire::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Runs a command line, words separated by blanks, in a node or in the core.
fn run(rig: &Rig, node: &str, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    rig.run(node, &words).expect(line);
}

/// Makes a node an ordinary host that hangs on two members, each by a cable of its own.
fn host_behind(rig: &mut Rig, host: &str, members: [&str; 2]) {
    let node = rig.lab.node(host).expect("node").clone();
    rig.kill(host).expect("kill");
    let program = node.program.display().to_string();
    let configuration = node.configuration.display().to_string();
    rig.run(host, &[&program, "cleanup", "--config", &configuration])
        .expect("clean-up");
    run(rig, "core", &format!("ip link delete {host}"));
    run(
        rig,
        host,
        &format!("ip address add {}/32 dev lo", node.addresses.ipv4),
    );
    for (index, member) in members.iter().enumerate() {
        run(rig, member, "sysctl -qw net.ipv4.ip_forward=1");
        run(
            rig,
            member,
            &format!(
                "ip link add site type veth peer name to-{index} netns {}",
                node.namespace
            ),
        );
        run(
            rig,
            member,
            &format!("ip address add 192.0.2.{}/30 dev site", 4 * index + 1),
        );
        run(rig, member, "ip link set site up");
        run(
            rig,
            host,
            &format!("ip address add 192.0.2.{}/30 dev to-{index}", 4 * index + 2),
        );
        run(rig, host, &format!("ip link set to-{index} up"));
        let way = format!("via 192.0.2.{} dev site", 4 * index + 2);
        run(
            rig,
            member,
            &format!("ip route add {}/32 {way}", node.addresses.ipv4),
        );
        // It learns that it is a gateway when it starts.
        rig.kill(member).expect("kill");
        rig.heal(member).expect("heal");
    }
    for setting in ["all", "to-0", "to-1"] {
        run(
            rig,
            host,
            &format!("sysctl -qw net.ipv4.conf.{setting}.rp_filter=0"),
        );
    }
}

// GET VPN row 6
#[test]
fn when_one_way_into_a_site_is_cut_traffic_goes_on_by_the_other_and_nobody_registers() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "sites", Some(4)).expect("lab");
    host_behind(&mut rig, "m-4", ["m-1", "m-2"]);
    let address = |name: &str| rig.lab.node(name).expect("node").addresses.ipv4;
    let (first, second, host) = (address("m-1"), address("m-2"), address("m-4"));
    run(&rig, "core", &format!("ip route add {host}/32 via {first}"));
    let registrations =
        |name: &str| rig.member(name).expect("status")["groups"][0]["registrations"].clone();
    let before = ["m-1", "m-2", "m-3"].map(registrations);
    let received = |name: &str| rig.member(name).expect("status")["packets"]["received"].as_u64();
    let watch = rig.watch().expect("capture");
    let traffic = rig.traffic("m-3", "m-4", 1_000).expect("traffic");
    Rig::wait_for("traffic by the first way", LIMIT, || {
        Ok((traffic.received() > 500).then_some(()))
    })
    .expect("traffic");
    assert!(received("m-1") >= Some(500));
    assert_eq!(received("m-2"), Some(0));
    // The uplink is cut, and routing converges.
    run(&rig, "core", "ip link set m-1 down");
    run(
        &rig,
        "core",
        &format!("ip route replace {host}/32 via {second}"),
    );
    let already = traffic.received();
    Rig::wait_for("traffic by the other way", LIMIT, || {
        Ok((traffic.received() > already + 1_000).then_some(()))
    })
    .expect("traffic");
    assert!(received("m-2") >= Some(1_000));
    let report = traffic.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    println!("{report:?} {audit:?}");
    assert!(report.lost() < 500, "only what was on its way: {report:?}");
    assert!(report.longest_gap < Duration::from_secs(2), "{report:?}");
    assert!(audit.is_clean(), "{audit:?}");
    let after = ["m-1", "m-2", "m-3"].map(registrations);
    assert_eq!(after, before, "nobody registered again");
}

/// A further cable between a member and the core: the member has .2, the core .1.
fn further_cable(rig: &Rig, member: &str, name: &str, network: &str) {
    let namespace = rig.lab.node(member).expect("node").namespace.clone();
    let at_core = format!("{member}-{name}");
    run(
        rig,
        "core",
        &format!("ip link add {at_core} type veth peer name {name} netns {namespace}"),
    );
    run(
        rig,
        "core",
        &format!("ip address add {network}.1/24 dev {at_core}"),
    );
    run(rig, "core", &format!("ip link set {at_core} up"));
    run(
        rig,
        member,
        &format!("ip address add {network}.2/24 dev {name}"),
    );
    run(rig, member, &format!("ip link set {name} up"));
}

// GET VPN row 150
#[test]
fn both_named_interfaces_encrypt_and_a_third_one_stays_clear() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "interfaces", Some(3)).expect("lab");
    rig.kill("m-1").expect("kill");
    further_cable(&rig, "m-1", "eth1", "10.1.101");
    further_cable(&rig, "m-1", "eth2", "10.1.102");
    let address = |name: &str| rig.lab.node(name).expect("node").addresses.ipv4;
    let (second, third) = (address("m-2"), address("m-3"));
    // The second member is reached by the second interface, the third one by the first.
    run(
        &rig,
        "m-1",
        &format!("ip route add {second}/32 via 10.1.101.1 dev eth1"),
    );
    let node = rig.lab.node("m-1").expect("node").clone();
    let text = std::fs::read_to_string(&node.configuration).expect("configuration");
    let lines: Vec<String> = text
        .lines()
        .flat_map(|line| {
            let further = line.trim() == "- eth0";
            let copy = further.then(|| line.replace("eth0", "eth1"));
            std::iter::once(line.to_owned()).chain(copy)
        })
        .collect();
    assert_eq!(lines.len(), text.lines().count() + 1, "{text}");
    std::fs::write(&node.configuration, lines.join("\n")).expect("written");
    rig.heal("m-1").expect("registered");
    let recording = rig.record().expect("capture");
    let ping = |to: &str| rig.run("m-1", &["ping", "-c", "2", "-i", "0.2", "-W", "2", to]);
    let left_by = |interface: &str| -> u64 {
        let file = format!("/sys/class/net/{interface}/statistics/tx_packets");
        let text = rig.run("m-1", &["cat", &file]).expect("a figure");
        text.trim().parse().expect("a number")
    };
    let before = left_by("eth1");
    ping(&second.to_string()).expect("by the second interface");
    assert!(left_by("eth1") >= before + 2, "its packets left there");
    let before = left_by("eth0");
    ping(&third.to_string()).expect("by the first interface");
    assert!(left_by("eth0") >= before + 2, "its packets left there");
    ping("10.1.102.1").expect("by the interface that is not named");
    let seen = recording.finish().expect("capture");
    let sent = |to: IpAddr| -> Vec<&Seen> {
        seen.iter()
            .filter(|packet| packet.destination == to)
            .collect()
    };
    for to in [second, third] {
        let packets = sent(to.into());
        assert!(packets.len() >= 2, "{to}");
        assert!(packets.iter().all(|packet| packet.esp), "{packets:?}");
    }
    let clear = sent("10.1.102.1".parse().expect("an address"));
    assert!(clear.len() >= 2);
    assert!(
        clear
            .iter()
            .all(|packet| !packet.esp && packet.protocol == 1)
    );
}
