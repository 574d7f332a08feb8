//! Before the first registration: what a member that fails closed lets go, and that it can still register.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use e2e::rig::{Rig, example, root};
use e2e::wire::Seen;
use kubectl_getvpn::lab::{namespace, node_control};

const LIMIT: Duration = Duration::from_secs(30);
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// The quickstart with everything encrypted, and these members: name, number, and what else they say.
fn with_members(members: &[(&str, u32, &str)]) -> String {
    let text = std::fs::read_to_string(example("quickstart.yaml")).expect("example");
    let (rest, _) = text
        .rsplit_once("---\n")
        .expect("the member is the last object");
    let mut text = rest
        .replace("source: 10.1.0.0/16", "source: 0.0.0.0/0")
        .replace("destination: 10.1.0.0/16", "destination: 0.0.0.0/0");
    for (name, number, more) in members {
        text.push_str(&format!(
            "---\napiVersion: getvpn.dev/v1alpha1\nkind: GroupMember\nmetadata:\n  name: {name}\n  annotations: {{ lab.getvpn.dev/members: \"{number}\" }}\nspec:\n  groupRef: {{ name: branch }}\n{more}"
        ));
    }
    text
}

/// Kills all key servers and starts all members anew, so that none can register.
fn start_without_key_servers(rig: &mut Rig) {
    let key_servers: Vec<String> = rig
        .lab
        .key_servers()
        .map(|node| node.name.clone())
        .collect();
    for name in key_servers {
        rig.kill(&name).expect("kill");
    }
    let members: Vec<String> = rig.members().into_iter().map(|node| node.name).collect();
    for name in &members {
        rig.kill(name).expect("kill");
        node_control::start(rig.lab.node_mut(name).expect("node")).expect("start");
    }
    for name in &members {
        Rig::wait_for("the member to answer", LIMIT, || {
            let node = rig.lab.node_mut(name)?;
            // The kernel may keep the killed process's port for a moment.
            if !node.is_running() {
                node_control::start(node)?;
            }
            let status = rig.member(name)?;
            let tried = status["groups"][0]["failedAttempts"].as_u64() > Some(0);
            Ok((status["guard"]["installed"] == true && tried).then_some(()))
        })
        .expect("status");
    }
}

/// Sends datagrams to ports 1 to 100, connects to some ports, and pings.
fn mixed_packets(rig: &Rig, from: &str, to: IpAddr, rounds: usize) {
    let inside = rig.lab.node(from).expect("node").namespace.clone();
    namespace::inside(&inside, || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        for _ in 0..rounds {
            for port in 1..=100 {
                // What the drop rules refuse may be told to the sender.
                let _refused = socket.send_to(b"mixed", SocketAddr::new(to, port));
            }
        }
        for port in [22, 80, 443] {
            let address = SocketAddr::new(to, port);
            let _refused = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        }
        Ok(())
    })
    .expect("sent");
    let to = to.to_string();
    let _unanswered = rig.run(from, &["ping", "-c", "3", "-i", "0.2", "-W", "1", &to]);
}

/// What one node sent, by protocol and destination port, without what belongs to link and keying.
fn sent_by(seen: &[Seen], source: IpAddr) -> BTreeMap<(u8, u16), usize> {
    let mut counts = BTreeMap::new();
    for packet in seen
        .iter()
        .filter(|packet| packet.source == source && packet.exchange.is_none())
    {
        let port = packet.ports.map_or(0, |(_, to)| to);
        *counts.entry((packet.protocol, port)).or_default() += 1;
    }
    counts
}

// GET VPN rows 36, 158, 161, 163, 164, 167
#[test]
fn only_freed_flows_leave_a_closed_member_and_only_open_members_leak() {
    if !root() {
        return;
    }
    let closed = "  failClosed:\n    presets: []\n    allowClear:\n    - { name: discard, protocol: UDP, destinationPorts: [\"9\"] }\n    - { name: ssh, protocol: TCP, destinationPorts: [\"22\"] }\n";
    let text = with_members(&[
        ("closed", 2, closed),
        ("open", 3, "  failureMode: FailOpen\n"),
    ]);
    let mut rig = Rig::up_text(&text, "closed", None).expect("lab");
    start_without_key_servers(&mut rig);
    let nodes = rig.members();
    let recording = rig.record().expect("capture");
    // 10,000 datagrams from one closed member, fewer from the others.
    for (index, node) in nodes.iter().enumerate() {
        let to = nodes[(index + 1) % nodes.len()].addresses.ipv4.into();
        let rounds = if index == 0 { 100 } else { 2 };
        mixed_packets(&rig, &node.name, to, rounds);
    }
    let seen = recording.finish().expect("capture");
    let mut leaking = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let sent = sent_by(&seen, node.addresses.ipv4.into());
        let freed = |kind: &(u8, u16)| [(UDP, 9), (TCP, 22)].contains(kind);
        let others: Vec<_> = sent.keys().filter(|kind| !freed(kind)).collect();
        if others.is_empty() {
            let rounds = if index == 0 { 100 } else { 2 };
            assert_eq!(sent[&(UDP, 9)], rounds, "{}: {sent:?}", node.name);
            assert!(sent.contains_key(&(TCP, 22)), "{}: {sent:?}", node.name);
        } else {
            assert!(sent.contains_key(&(ICMP, 0)) && sent.contains_key(&(UDP, 80)));
            leaking.push(node.name.as_str());
        }
        let status = rig.member(&node.name).expect("status");
        assert_eq!(status["guard"]["closed"], index < 2, "{}", node.name);
        assert_eq!(status["guard"]["exposed"], index >= 2, "{}", node.name);
        // The rules are looked at from time to time, so the count may be a moment behind.
        let counted = || {
            let status = rig.member(&node.name)?;
            let count = status["guard"]["exposures"]["exposed_outbound"].as_u64();
            Ok((count.unwrap_or(0) >= 100).then_some(()))
        };
        if index >= 2 {
            Rig::wait_for("the exposure to be counted", LIMIT, counted).expect("count");
        }
    }
    assert_eq!(leaking, ["m-3", "m-4", "m-5"]);
}

// GET VPN rows 115, 166, 176
#[test]
fn with_everything_encrypted_and_an_empty_list_a_member_lets_nothing_go_and_still_registers() {
    if !root() {
        return;
    }
    let empty = "  failClosed: { presets: [], allowClear: [] }\n";
    let mut rig = Rig::up_text(&with_members(&[("branch", 2, empty)]), "emptylist", None)
        .expect("members register whatever the list says");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
    let key_servers: Vec<String> = rig
        .lab
        .key_servers()
        .map(|node| node.name.clone())
        .collect();
    start_without_key_servers(&mut rig);
    let nodes = rig.members();
    let recording = rig.record().expect("capture");
    mixed_packets(&rig, "m-1", nodes[1].addresses.ipv4.into(), 2);
    let seen = recording.finish().expect("capture");
    let sent = sent_by(&seen, nodes[0].addresses.ipv4.into());
    assert!(sent.is_empty(), "{sent:?}");
    // A new start with key servers there registers through its own drop rules.
    for name in key_servers {
        node_control::start(rig.lab.node_mut(&name).expect("node")).expect("start");
    }
    for node in &nodes {
        rig.heal(&node.name).expect("registered");
    }
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
}
