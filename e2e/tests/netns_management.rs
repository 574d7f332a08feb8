//! Management, routing and keying of others while a member is not registered.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use e2e::rig::{Rig, example, root};
use kubectl_getvpn::lab::error::LabError;
use kubectl_getvpn::lab::{namespace, node_control};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

const LIMIT: Duration = Duration::from_secs(30);
/// IP protocol number of OSPF.
const OSPF: i32 = 89;

/// The quickstart with everything encrypted, and two members that say this.
fn everything(more: &str) -> String {
    let text = std::fs::read_to_string(example("quickstart.yaml")).expect("example");
    let text = text
        .replace("source: 10.1.0.0/16", "source: 0.0.0.0/0")
        .replace("destination: 10.1.0.0/16", "destination: 0.0.0.0/0")
        .replace("members: \"4\"", "members: \"2\"");
    format!("{}\n{more}", text.trim_end())
}

/// Starts a member anew while no key server runs, and waits until it is closed.
fn close(rig: &mut Rig, name: &str) {
    let key_servers: Vec<String> = rig
        .lab
        .key_servers()
        .map(|node| node.name.clone())
        .collect();
    for name in key_servers {
        rig.kill(&name).expect("kill");
    }
    rig.kill(name).expect("kill");
    restart_until(rig, name, "it to be closed and refused", |status| {
        status["guard"]["closed"] == true
            && status["groups"][0]["failedAttempts"].as_u64() > Some(0)
    });
}

/// Starts a member's process, again if need be, until its status is as wanted.
fn restart_until(
    rig: &mut Rig,
    name: &str,
    what: &str,
    wanted: impl Fn(&serde_json::Value) -> bool,
) {
    Rig::wait_for(what, LIMIT, || {
        let node = rig.lab.node_mut(name)?;
        // The kernel may keep the killed process's port for a moment.
        if !node.is_running() {
            node_control::start(node)?;
        }
        Ok(wanted(&rig.member(name)?).then_some(()))
    })
    .expect(what);
}

fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> std::io::Result<T> + Send) -> T {
    let failed = |error: std::io::Error| LabError::Environment(error.to_string());
    namespace::inside(namespace, || work().map_err(failed)).expect("works")
}

fn say(from: &mut TcpStream, to: &mut TcpStream, words: &[u8]) {
    from.write_all(words).expect("sent");
    let mut read = vec![0; words.len()];
    to.set_read_timeout(Some(LIMIT)).expect("set");
    to.read_exact(&mut read).expect("received");
    assert_eq!(read, words);
}

/// One exchange over a session in both directions.
fn talk(one: &mut TcpStream, other: &mut TcpStream, words: &[u8]) {
    say(one, other, words);
    say(other, one, words);
}

// GET VPN row 173
#[test]
fn a_session_of_an_administrator_survives_while_the_member_is_not_registered() {
    if !root() {
        return;
    }
    let text = everything(
        "  failClosed: { presets: [] }\n  bypass: [{ name: ssh, protocol: TCP, sourcePorts: [\"22\"] }]\n",
    );
    let mut rig = Rig::up_text(&text, "session", None).expect("lab");
    let node = rig.lab.node("m-1").expect("node").clone();
    let address = SocketAddr::from((node.addresses.ipv4, 22));
    let listener = inside(&node.namespace, || TcpListener::bind(address));
    // The administrator is outside of the group.
    let core = rig.lab.lab_name().core_namespace();
    let mut administrator = inside(&core, || TcpStream::connect_timeout(&address, LIMIT));
    let (mut session, _) = listener.accept().expect("accepted");
    talk(&mut administrator, &mut session, b"registered");
    close(&mut rig, "m-1");
    talk(&mut administrator, &mut session, b"not registered any more");
    // Nothing else passes: another port of the same member does not answer.
    let other = SocketAddr::from((node.addresses.ipv4, 23));
    let _listening = inside(&node.namespace, || TcpListener::bind(other));
    let refused = namespace::inside(&core, || {
        Ok(TcpStream::connect_timeout(&other, Duration::from_secs(1)).is_err())
    });
    assert!(refused.expect("asked"));
}

fn routing_socket(namespace: &str, address: Ipv4Addr) -> Socket {
    inside(namespace, || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(OSPF)))?;
        socket.bind(&SockAddr::from(SocketAddr::from((address, 0))))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(socket)
    })
}

/// Sends a greeting and says whether the other end received it.
fn greets(from: &Socket, to: &Socket, address: Ipv4Addr, words: &[u8]) -> bool {
    let destination = SockAddr::from(SocketAddr::from((address, 0)));
    if from.send_to(words, &destination).is_err() {
        return false;
    }
    let mut packet = [0_u8; 256];
    let mut reading = to;
    // Behind the IP header without options.
    matches!(reading.read(&mut packet), Ok(length) if packet.get(20..length) == Some(words))
}

// GET VPN rows 169, 175
#[test]
fn greetings_of_a_routing_protocol_go_on_while_the_member_is_not_registered() {
    if !root() {
        return;
    }
    for (list, closed, passes) in [
        ("[{ name: ospf, protocol: OSPF }]", "presets: []", true),
        ("[{ name: gre, protocol: GRE }]", "presets: []", false),
        // In the member's own list, which does not count before the first registration.
        (
            "[{ name: ospf, protocol: OSPF }]",
            "presets: [], localBypass: Exclude",
            false,
        ),
    ] {
        let text = everything(&format!("  failClosed: {{ {closed} }}\n  bypass: {list}\n"));
        let mut rig = Rig::up_text(&text, "adjacency", None).expect("lab");
        let node = rig.lab.node("m-1").expect("node").clone();
        let core = rig.lab.lab_name().core_namespace();
        let (own, gateway) = (node.addresses.ipv4, node.addresses.gateway_ipv4);
        let member = routing_socket(&node.namespace, own);
        let router = routing_socket(&core, gateway);
        close(&mut rig, "m-1");
        for _ in 0..3 {
            assert_eq!(
                greets(&member, &router, gateway, b"hello"),
                passes,
                "{list}"
            );
            assert_eq!(
                greets(&router, &member, own, b"hello too"),
                passes,
                "{list}"
            );
        }
    }
}

/// Makes a namespace behind `m-1`, and in it the process of `m-2`, which then reaches key servers through `m-1` alone.
fn move_behind(rig: &mut Rig) -> String {
    let (first, second) = (
        rig.lab.node("m-1").expect("node").clone(),
        rig.lab.node("m-2").expect("node").clone(),
    );
    let behind = second.namespace.clone();
    let run = |rig: &Rig, node: &str, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        rig.run(node, &words).expect(line);
    };
    // The cable of m-2 goes to m-1 instead of the core.
    run(rig, "core", "ip link delete m-2");
    run(
        rig,
        "m-1",
        &format!("ip link add inner type veth peer name eth0 netns {behind}"),
    );
    run(
        rig,
        "m-1",
        &format!(
            "ip address add {}/24 dev inner",
            second.addresses.gateway_ipv4
        ),
    );
    run(rig, "m-1", "ip link set inner up");
    run(rig, "m-1", "sysctl -qw net.ipv4.ip_forward=1");
    run(
        rig,
        "m-2",
        &format!("ip address add {}/24 dev eth0", second.addresses.ipv4),
    );
    run(rig, "m-2", "ip link set eth0 up");
    run(
        rig,
        "m-2",
        &format!("ip route add default via {}", second.addresses.gateway_ipv4),
    );
    let network = Ipv4Addr::from(u32::from(second.addresses.ipv4) & 0xffff_ff00);
    run(
        rig,
        "core",
        &format!("ip route add {network}/24 via {}", first.addresses.ipv4),
    );
    behind
}

// GET VPN row 177
#[test]
fn a_member_behind_a_closed_one_registers_only_when_that_one_frees_keying() {
    if !root() {
        return;
    }
    for (list, registers) in [
        ("[]", false),
        (
            "[{ name: keying, protocol: UDP, sourcePorts: [\"848\"], destinationPorts: [\"848\"] }]",
            true,
        ),
    ] {
        let text = everything(&format!(
            "  failClosed: {{ presets: [], allowClear: {list} }}\n"
        ));
        let mut rig = Rig::up_text(&text, "transit", None).expect("lab");
        rig.kill("m-1").expect("kill");
        rig.kill("m-2").expect("kill");
        move_behind(&mut rig);
        // The first one has a wrong key and stays closed; key servers go on.
        let node = rig.lab.node("m-1").expect("node").clone();
        let directory = node.configuration.parent().expect("directory").to_owned();
        std::fs::write(directory.join("psk.key"), "ab".repeat(32)).expect("written");
        restart_until(&mut rig, "m-1", "the first to be refused", |status| {
            status["guard"]["closed"] == true
                && status["groups"][0]["failedAttempts"].as_u64() > Some(0)
        });
        restart_until(&mut rig, "m-2", "the second to have tried", |status| {
            let group = &status["groups"][0];
            group["registered"] == true || group["failedAttempts"].as_u64() >= Some(3)
        });
        let status = rig.member("m-2").expect("status");
        assert_eq!(status["groups"][0]["registered"], registers, "{list}");
    }
}
