//! Two network namespaces joined by a cable, a packet path with a fixed key in each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gm_core::DropReason;
use gm_core::data_plane::{
    AntiReplay, DataPlane, Direction, Encapsulation, Family, Group, Pseudotime, SecurityAssociation,
};
use gm_core::sad::{Algorithm, KeyMaterial, SenderId, Spi};
use gm_core::spd::{Action, AddressRange, Rule, Selector};
use gm_sidecar::datapath::{self, Config, Handle};
use nix::sched::{CloneFlags, setns};

/// How long anything here may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const SPI_V4: u32 = 0x6006_0004;
pub(crate) const SPI_V6: u32 = 0x6006_0006;
const MARK: u32 = 0x4356;

/// How the two ends talk.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) encapsulation: Encapsulation,
    pub(crate) anti_replay: AntiReplay,
    pub(crate) link_mtu: u16,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            encapsulation: Encapsulation::Udp,
            anti_replay: AntiReplay::time(Duration::from_secs(5)),
            link_mtu: 1500,
        }
    }
}

/// One end.
pub(crate) struct End {
    pub(crate) namespace: String,
    pub(crate) v4: IpAddr,
    pub(crate) v6: IpAddr,
    pub(crate) handle: Handle,
    sender: u32,
}

/// Both ends; everything vanishes when dropped.
pub(crate) struct Pair {
    pub(crate) left: End,
    pub(crate) right: End,
    pub(crate) manner: Manner,
    started: Instant,
    _scene: Scene,
}

/// The namespaces by themselves.
struct Scene(String, String);

impl Drop for Scene {
    fn drop(&mut self) {
        for name in [&self.0, &self.1] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// A pair, its data plane installed at both ends; `None` without root.
pub(crate) fn pair(manner: Manner) -> Option<Pair> {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "this test needs root, and must not be skipped in CI"
        );
        eprintln!("skipped: needs root");
        return None;
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = |side| format!("gvd{}-{number}{side}", std::process::id());
    let scene = Scene(name('l'), name('r'));
    let (left, right) = (scene.0.clone(), scene.1.clone());
    ip(&format!("netns add {left}"));
    ip(&format!("netns add {right}"));
    ip(&format!(
        "link add eth0 netns {left} type veth peer name eth0 netns {right}"
    ));
    let pair = Pair {
        left: end(&left, 1, 2, manner),
        right: end(&right, 2, 1, manner),
        manner,
        started: Instant::now(),
        _scene: scene,
    };
    pair.install(|_| {});
    Some(pair)
}

fn end(namespace: &str, own: u32, peer: u32, manner: Manner) -> End {
    for setting in ["all", "default", "eth0"] {
        inside(
            namespace,
            &format!("sysctl -qw net.ipv4.conf.{setting}.rp_filter=0"),
        );
    }
    for arguments in [
        "link set lo up".to_owned(),
        format!("address add 10.77.0.{own}/24 dev eth0"),
        format!("address add fd77::{own}/64 dev eth0 nodad"),
        format!("link set eth0 mtu {} up", manner.link_mtu),
    ] {
        ip(&format!("-n {namespace} {arguments}"));
    }
    let handle = within(namespace, move || {
        datapath::start(Config {
            tun_name: "getvpn0".to_owned(),
            link_mtu: manner.link_mtu,
            mark: MARK,
            raw: manner.encapsulation == Encapsulation::Raw,
            ..Config::default()
        })
        .expect("the packet path starts")
    });
    for arguments in [
        "link set getvpn0 up".to_owned(),
        format!("rule add not fwmark {MARK} lookup 77"),
        format!("-6 rule add not fwmark {MARK} lookup 77"),
        format!("route add 10.77.0.{peer} dev getvpn0 src 10.77.0.{own} table 77"),
        format!("route add 239.0.0.0/8 dev getvpn0 src 10.77.0.{own} table 77"),
        format!("route add 239.0.0.0/8 dev eth0 src 10.77.0.{own}"),
        format!("-6 route add fd77::{peer} dev getvpn0 src fd77::{own} table 77"),
    ] {
        ip(&format!("-n {namespace} {arguments}"));
    }
    End {
        namespace: namespace.to_owned(),
        v4: Ipv4Addr::from(0x0a4d_0000 + own).into(),
        v6: Ipv6Addr::from((0xfd77 << 112) + u128::from(own)).into(),
        handle,
        sender: own,
    }
}

impl Pair {
    /// Installs the data plane at both ends, after `change` had its way with each.
    pub(crate) fn install(&self, change: impl Fn(&mut DataPlane)) {
        for end in [&self.left, &self.right] {
            let mut plane = self.plane(SenderId(end.sender));
            change(&mut plane);
            end.handle.install(plane).expect("a sound data plane");
        }
    }

    fn plane(&self, sender_id: SenderId) -> DataPlane {
        let sa = |spi, family| {
            Arc::new(SecurityAssociation {
                spi: Spi(spi),
                group: 0,
                association: 1,
                family,
                // The two SAs must not share a key.
                key: KeyMaterial::new(Algorithm::Aes256Gcm, &[spi as u8; 36]).expect("36 octets"),
                sender_id_bits: 24,
                sender_id: Some(sender_id),
                activate_at: self.started,
                stop_sending_at: self.started + Duration::from_secs(3600),
                delete_at: self.started + Duration::from_secs(3600),
                anti_replay: self.manner.anti_replay,
                encapsulation: self.manner.encapsulation,
            })
        };
        let v4 = |first: [u8; 4], last: [u8; 4]| AddressRange::V4(first.into(), last.into());
        let members_v6 = AddressRange::V6(
            Ipv6Addr::from(0xfd77 << 112),
            Ipv6Addr::from((0xfd77 << 112) + 0xffff),
        );
        let members = v4([10, 77, 0, 0], [10, 77, 0, 255]);
        let rule = |source, destination| Rule {
            selector: Selector {
                source,
                destination,
                protocol: None,
                source_ports: 0..=u16::MAX,
                destination_ports: 0..=u16::MAX,
            },
            action: Action::Protect { association: 1 },
        };
        DataPlane {
            groups: vec![Group {
                group_id: 77,
                direction: Direction::Both,
                rules: vec![
                    rule(members, members),
                    rule(members, v4([239, 0, 0, 0], [239, 255, 255, 255])),
                    rule(members_v6, members_v6),
                ],
                pseudotime: Some(Pseudotime {
                    at: self.started,
                    milliseconds: 1_000_000,
                }),
            }],
            associations: vec![sa(SPI_V4, Family::V4), sa(SPI_V6, Family::V6)],
            ..DataPlane::default()
        }
    }
}

impl End {
    /// Packets dropped here for `reason`.
    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.handle
            .counters()
            .drops
            .iter()
            .find(|(other, _)| *other == reason)
            .map_or(0, |(_, count)| *count)
    }

    /// Every reason with a count that is not zero. What no rule is about is left out: the kernel
    /// itself sends router solicitations and group reports through any device.
    pub(crate) fn all_drops(&self) -> Vec<(DropReason, u64)> {
        let drops = self.handle.counters().drops.into_iter();
        drops
            .filter(|(reason, count)| *count > 0 && *reason != DropReason::NoPolicy)
            .collect()
    }

    /// Takes all keys and rules away from this end.
    pub(crate) fn install_nothing(&self) {
        self.handle
            .install(DataPlane::default())
            .expect("an empty data plane is sound");
    }

    /// A command inside, ready to run.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .args(line.split_whitespace());
        command
    }

    /// Runs `work` on a thread inside the namespace.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.namespace, work)
    }
}

/// Runs `work` on a thread inside the namespace; sockets opened there belong to it.
fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let file =
                    std::fs::File::open(format!("/run/netns/{namespace}")).expect("the namespace");
                setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
                work()
            })
            .join()
            .expect("no panic inside")
    })
}

/// Waits for an event.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn ip(line: &str) {
    let status = Command::new("ip")
        .args(line.split_whitespace())
        .status()
        .expect("ip runs");
    assert!(status.success(), "ip {line}");
}

fn inside(namespace: &str, line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let status = Command::new("ip")
        .args(["netns", "exec", namespace, program])
        .args(words)
        .status()
        .expect("ip runs");
    assert!(status.success(), "{line}");
}
