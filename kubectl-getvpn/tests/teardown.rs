//! A lab leaves nothing behind, however it ends. Needs root; the product's programs are stood in
//! for by ones that only wait, so that the network and the end are what is tested.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kubectl_getvpn::lab::address::NodeAddresses;
use kubectl_getvpn::lab::name::LabName;
use kubectl_getvpn::lab::network::{self, Attachment, Cut};
use kubectl_getvpn::lab::{down, namespace};

/// The plugin under test.
const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-getvpn");

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Whether the test can run here; in continuous integration it must.
fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "continuous integration must run the lab tests as root"
    );
    root
}

/// A lab's name that takes down whatever is left when the test ends.
struct Lab(LabName);

impl Lab {
    fn new(name: &str) -> Self {
        let lab = Self(name.parse().expect("name"));
        down::down(&lab.0).expect("a clean start");
        lab
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(namespace::list(&self.0), Vec::<String>::new());
        assert!(!self.0.directory().exists());
        assert!(!down::remaining().contains(&self.0));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A failure here would hide the test's own.
        let _ = down::down(&self.0);
    }
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < LIMIT, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory with programs that start and then only wait.
fn idle_programs() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("directory");
    for name in ["keyserver", "gm-sidecar"] {
        let path = directory.path().join(name);
        std::fs::write(&path, "#!/bin/sh\nexec sleep 600\n").expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
    std::os::unix::fs::symlink(PLUGIN, directory.path().join("kubectl-getvpn")).expect("link");
    directory
}

fn start_up(lab: &Lab, programs: &Path) -> Child {
    let example: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart.yaml");
    Command::new(PLUGIN)
        .args(["lab", "up", "--name", lab.0.as_str(), "-f"])
        .arg(example)
        .env("GETVPN_BIN_DIR", programs)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the plugin runs")
}

fn take_down(lab: &Lab) -> (bool, String) {
    let output = Command::new(PLUGIN)
        .args(["lab", "down", "--name", lab.0.as_str()])
        .output()
        .expect("the plugin runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

fn nodes() -> [(&'static str, NodeAddresses); 3] {
    [
        ("ks-0", NodeAddresses::key_server(0)),
        ("m-1", NodeAddresses::member(1)),
        ("m-2", NodeAddresses::member(2)),
    ]
}

fn build(lab: &Lab) {
    let nodes = nodes();
    let attachments: Vec<Attachment<'_>> = nodes
        .iter()
        .map(|(node, addresses)| Attachment {
            node,
            addresses: *addresses,
        })
        .collect();
    network::build(&lab.0, &attachments).expect("network");
}

/// A socket inside a node's namespace.
fn socket(lab: &Lab, node: &str, address: SocketAddr) -> UdpSocket {
    let socket = namespace::inside(&lab.0.namespace(node), || {
        Ok(UdpSocket::bind(address).expect("bind"))
    })
    .expect("namespace");
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("socket");
    socket
}

/// Whether a datagram from one socket arrives at the other.
fn arrives(from: &UdpSocket, to: &UdpSocket) -> bool {
    let target = to.local_addr().expect("address");
    from.send_to(b"hello", target).expect("send");
    let mut buffer = [0; 16];
    to.recv_from(&mut buffer)
        .is_ok_and(|(length, source)| length == 5 && source == from.local_addr().expect("address"))
}

#[test]
fn nodes_reach_each_other_through_the_core_unless_they_are_cut() {
    if !root() {
        return;
    }
    let lab = Lab::new("test-network");
    build(&lab);
    let [(_, server), (_, first), (_, second)] = nodes();
    for (a, b, c) in [
        (server.ipv4.into(), first.ipv4.into(), second.ipv4.into()),
        (server.ipv6.into(), first.ipv6.into(), second.ipv6.into()),
    ] {
        let server = socket(&lab, "ks-0", SocketAddr::new(a, 7000));
        let first = socket(&lab, "m-1", SocketAddr::new(b, 7000));
        let second = socket(&lab, "m-2", SocketAddr::new(c, 7000));
        assert!(arrives(&first, &second) && arrives(&second, &server));

        network::partition(&lab.0, Cut::Pair("m-1", "m-2")).expect("cut");
        network::partition(&lab.0, Cut::Pair("m-1", "m-2")).expect("cutting twice is fine");
        assert!(!arrives(&first, &second) && !arrives(&second, &first));
        assert!(arrives(&first, &server));
        network::join(&lab.0, Cut::Pair("m-2", "m-1")).expect("join");
        assert!(arrives(&first, &second));

        network::partition(&lab.0, Cut::Node("m-1")).expect("cut");
        assert!(!arrives(&first, &server) && !arrives(&second, &first));
        network::join_all(&lab.0).expect("join");
        assert!(arrives(&first, &server) && arrives(&second, &first));
    }
    assert!(down::down(&lab.0).expect("down"));
    lab.assert_nothing_is_left();
    assert!(!down::down(&lab.0).expect("a second time is fine"));
}

#[test]
fn multicast_reaches_every_other_node_once() {
    if !root() {
        return;
    }
    let lab = Lab::new("test-multicast");
    build(&lab);
    let directory = tempfile::tempdir().expect("directory");
    let ready = directory.path().join("ready");
    let mut router = Command::new("ip")
        .args(["netns", "exec", &lab.0.core_namespace(), PLUGIN])
        .args(["lab", "multicast-router", "--ready"])
        .arg(&ready)
        .args(["ks-0", "m-1", "m-2"])
        .spawn()
        .expect("router");
    wait_until("the multicast router", || ready.exists());
    let group = Ipv4Addr::new(239, 192, 1, 1);
    let listen = |node: &str| {
        let socket = socket(&lab, node, SocketAddr::new(group.into(), 7001));
        let joined = namespace::inside(&lab.0.namespace(node), || {
            Ok(socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED))
        });
        joined.expect("namespace").expect("join");
        socket
    };
    let listeners = ["ks-0", "m-2"].map(listen);
    let [_, (_, sender_addresses), _] = nodes();
    let sender = socket(
        &lab,
        "m-1",
        SocketAddr::new(sender_addresses.ipv4.into(), 7002),
    );
    sender.set_multicast_ttl_v4(8).expect("TTL");
    sender.send_to(b"all", (group, 7001)).expect("send");
    let mut buffer = [0; 16];
    for listener in &listeners {
        let (length, source) = listener.recv_from(&mut buffer).expect("multicast arrives");
        assert_eq!((length, source), (3, sender.local_addr().expect("address")));
        assert!(listener.recv_from(&mut buffer).is_err(), "and only once");
    }
    router.kill().expect("kill");
    router.wait().expect("wait");
}

#[test]
fn a_crash_of_up_halfway_leaves_nothing_after_down() {
    if !root() {
        return;
    }
    let lab = Lab::new("test-crash");
    let programs = idle_programs();
    let mut up = start_up(&lab, programs.path());
    let idle = || {
        let all = namespace::list(&lab.0);
        let (core, nodes): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|name| name.ends_with("core"));
        (
            namespace::processes(&core).len(),
            namespace::processes(&nodes),
        )
    };
    // The multicast router and three key servers run.
    wait_until("the key servers", || idle().0 >= 1 && idle().1.len() == 3);
    up.kill().expect("kill");
    up.wait().expect("wait");
    let (_, running) = idle();
    assert_eq!(
        running.len(),
        3,
        "they outlive the command that started them"
    );

    let mut second = start_up(&lab, programs.path());
    assert_eq!(
        second.wait().expect("wait").code(),
        Some(2),
        "the name is taken"
    );

    let (ended, text) = take_down(&lab);
    assert!(ended && text.contains("is gone"), "{text}");
    lab.assert_nothing_is_left();
    for pid in running {
        let alive = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "));
        assert!(!alive, "process {pid} still runs");
    }
    let (ended, text) = take_down(&lab);
    assert!(ended && text.contains("was not up"), "{text}");
}

#[test]
fn down_finds_a_lab_whose_record_was_lost() {
    if !root() {
        return;
    }
    let lab = Lab::new("test-lost");
    let programs = idle_programs();
    let mut up = start_up(&lab, programs.path());
    wait_until("the record", || lab.0.state_file().exists());
    wait_until("processes", || {
        !namespace::processes(&namespace::list(&lab.0)).is_empty()
    });
    up.kill().expect("kill");
    up.wait().expect("wait");
    std::fs::remove_dir_all(lab.0.directory()).expect("remove");
    let (ended, text) = take_down(&lab);
    assert!(ended && text.contains("is gone"), "{text}");
    lab.assert_nothing_is_left();
}

#[test]
fn a_key_server_that_ends_at_once_ends_up_with_its_log_and_nothing_is_left() {
    if !root() {
        return;
    }
    let lab = Lab::new("test-ended");
    let programs = idle_programs();
    let broken = "#!/bin/sh\necho the disk is full >&2\nexit 11\n";
    std::fs::write(programs.path().join("keyserver"), broken).expect("write");
    let output = Command::new(PLUGIN)
        .args(["lab", "up", "--name", lab.0.as_str(), "-f"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart.yaml"))
        .env("GETVPN_BIN_DIR", programs.path())
        .output()
        .expect("the plugin runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("ended while") && text.contains("the disk is full"),
        "{text}"
    );
    lab.assert_nothing_is_left();
}

#[test]
fn two_labs_live_side_by_side() {
    if !root() {
        return;
    }
    let (first, second) = (Lab::new("test-one"), Lab::new("test-one-more"));
    build(&first);
    build(&second);
    down::down(&first.0).expect("down");
    first.assert_nothing_is_left();
    assert_eq!(namespace::list(&second.0).len(), 4);
}
