//! ESP of our packet path against tools that share no code with it: scapy opens what we seal, we open what scapy
//! seals, and tshark, given the key, finds our ICV good.

#[path = "support/filter.rs"]
mod filter;
#[path = "support/ip.rs"]
mod ip;
#[path = "support/tools.rs"]
mod tools;
#[path = "support/tshark.rs"]
mod tshark;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gm_core::data_plane::{
    AntiReplay, DataPlane, Direction, Encapsulation, Family, Group, SecurityAssociation,
};
use gm_core::drop_reason::{DropCounters, DropReason};
use gm_core::ip::virtio;
use gm_core::sad::{
    Algorithm, Carrier, Inbound, Installed, KeyMaterial, Outbound, Outcome, Outer, Registry, Route,
    SenderId, Sent, Spi,
};
use gm_core::spd::{Action, AddressRange, Rule, Selector};
use gm_sidecar::datapath::Provider;

const PYTHON: &str = "/usr/bin/python3";
const SPI: Spi = Spi(0xc0ff_ee01);
/// Our Sender-ID of 12 bits, and that of the member scapy plays.
const OURS: SenderId = SenderId(5);
const THEIRS: u64 = 6;

const FORMS: [(Algorithm, Family, Encapsulation); 12] = {
    use Algorithm::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
    use Encapsulation::{Raw, Udp};
    use Family::{V4, V6};
    [
        (Aes256Gcm, V4, Raw),
        (Aes256Gcm, V4, Udp),
        (Aes256Gcm, V6, Raw),
        (Aes256Gcm, V6, Udp),
        (Aes128Gcm, V4, Raw),
        (Aes128Gcm, V4, Udp),
        (Aes128Gcm, V6, Raw),
        (Aes128Gcm, V6, Udp),
        (ChaCha20Poly1305, V4, Raw),
        (ChaCha20Poly1305, V4, Udp),
        (ChaCha20Poly1305, V6, Raw),
        (ChaCha20Poly1305, V6, Udp),
    ]
};

fn keying_material(algorithm: Algorithm) -> Vec<u8> {
    (0x80..).take(algorithm.keying_material_length()).collect()
}

fn addresses(family: Family) -> (IpAddr, IpAddr) {
    match family {
        Family::V4 => (
            Ipv4Addr::new(10, 1, 0, 2).into(),
            Ipv4Addr::new(10, 1, 1, 2).into(),
        ),
        Family::V6 => (
            Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2).into(),
            Ipv6Addr::new(0xfd00, 1, 1, 0, 0, 0, 0, 2).into(),
        ),
    }
}

fn inner(family: Family, text: &[u8]) -> Vec<u8> {
    let (source, destination) = addresses(family);
    ip::datagram((source, 5000), (destination, 5001), text)
}

/// A member with one SA in which it may send and receive everything.
fn member(algorithm: Algorithm, family: Family, encapsulation: Encapsulation) -> Installed {
    let now = Instant::now();
    let any = match family {
        Family::V4 => AddressRange::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
        Family::V6 => AddressRange::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from(u128::MAX)),
    };
    let selector = Selector {
        source: any,
        destination: any,
        protocol: None,
        source_ports: 0..=u16::MAX,
        destination_ports: 0..=u16::MAX,
    };
    let group = Group {
        group_id: 1234,
        direction: Direction::Both,
        rules: vec![Rule {
            selector,
            action: Action::Protect { association: 0 },
        }],
        pseudotime: None,
    };
    let association = SecurityAssociation {
        spi: SPI,
        group: 0,
        association: 0,
        family,
        key: KeyMaterial::new(algorithm, &keying_material(algorithm)).expect("the right length"),
        sender_id_bits: 12,
        sender_id: Some(OURS),
        activate_at: now,
        stop_sending_at: now + Duration::from_secs(3600),
        delete_at: now + Duration::from_secs(3600),
        anti_replay: AntiReplay::COUNTER,
        encapsulation,
    };
    let plane = DataPlane {
        local_bypass: Vec::new(),
        groups: vec![group],
        associations: vec![Arc::new(association)],
        link_mtu: None,
    };
    Installed::new(
        &plane,
        1,
        1500,
        &mut Registry::default(),
        &Provider::choose(),
    )
    .expect("a sound plane")
}

/// Takes what the packet path sends.
#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl Carrier for Wire {
    fn send(&mut self, route: &Route, train: &[u8], segment: usize) -> Sent {
        for esp in train.chunks(segment) {
            self.0.push(match route.encapsulation {
                Encapsulation::Raw => ip::packet(route.source, route.destination, ip::ESP, esp),
                Encapsulation::Udp => {
                    ip::datagram((route.source, 40_000), (route.destination, 4500), esp)
                }
            });
        }
        Sent::Yes
    }

    fn reply(&mut self, packet: &[u8]) {
        panic!("an ICMP error nobody asked for: {packet:02x?}");
    }
}

/// The IP packets our member puts on the wire for these inner packets.
fn sealed(installed: &Installed, inner: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let now = Instant::now();
    let mut outbound = Outbound::new(Arc::new(DropCounters::default()), 1);
    let mut wire = Wire::default();
    for packet in inner {
        let mut read = vec![0; virtio::LENGTH];
        read.extend_from_slice(packet);
        assert_eq!(
            outbound.handle(installed, now, &mut read, &mut wire),
            Outcome::Sealed(1)
        );
    }
    outbound.flush(now, &mut wire);
    wire.0
}

/// What scapy, as `e2e/interop/esp.py` drives it, makes of a packet.
fn scapy(job: &serde_json::Value, answer: &str) -> Vec<u8> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/esp.py");
    let output = filter::run(Command::new(PYTHON).arg(script), job.to_string().as_bytes());
    let output: serde_json::Value =
        serde_json::from_slice(&output).expect("the script answers JSON");
    hex::decode(output[answer].as_str().expect("hex")).expect("hex")
}

fn scapy_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Aes128Gcm | Algorithm::Aes256Gcm => "AES-GCM",
        Algorithm::ChaCha20Poly1305 => "CHACHA20-POLY1305",
    }
}

fn scapy_is_installed() -> bool {
    tools::installed(&[PYTHON, "/usr/bin/scapy"])
}

#[test]
fn scapy_opens_what_our_packet_path_seals() {
    if !scapy_is_installed() {
        return;
    }
    for form @ (algorithm, family, encapsulation) in FORMS {
        let packet = inner(family, b"sealed by getvpn");
        let wire = sealed(
            &member(algorithm, family, encapsulation),
            std::slice::from_ref(&packet),
        );
        let [outer] = wire.as_slice() else {
            panic!("one packet")
        };
        let opened = scapy(
            &serde_json::json!({
                "do": "open",
                "spi": format!("{:08x}", SPI.0),
                "key": hex::encode(keying_material(algorithm)),
                "algorithm": scapy_name(algorithm),
                "packet": hex::encode(outer),
            }),
            "inner",
        );
        assert_eq!(hex::encode(opened), hex::encode(&packet), "{form:?}");
    }
}

#[test]
fn our_packet_path_opens_what_scapy_seals_once_and_only_unchanged() {
    if !scapy_is_installed() {
        return;
    }
    for form @ (algorithm, family, encapsulation) in FORMS {
        let packet = inner(family, b"sealed by scapy");
        let outer_packet = scapy(
            &serde_json::json!({
                "do": "seal",
                "spi": format!("{:08x}", SPI.0),
                "key": hex::encode(keying_material(algorithm)),
                "algorithm": scapy_name(algorithm),
                "sequence": 7,
                "iv": format!("{:016x}", THEIRS << 52 | 7),
                "inner": hex::encode(&packet),
                "udp": encapsulation == Encapsulation::Udp,
            }),
            "packet",
        );
        let header = match family {
            Family::V4 => 20,
            Family::V6 => 40,
        } + match encapsulation {
            Encapsulation::Raw => 0,
            Encapsulation::Udp => 8,
        };
        let esp = &outer_packet[header..];
        let (source, destination) = addresses(family);
        let outer = Outer {
            source,
            destination,
            traffic_class: 0,
            encapsulation,
        };

        let installed = member(algorithm, family, encapsulation);
        let mut inbound = Inbound::new(16);
        let now = Instant::now();
        let mut open = |octets: &[u8]| {
            let mut octets = octets.to_vec();
            inbound
                .handle(&installed, now, &outer, &mut octets)
                .map(|range| octets[range].to_vec())
        };
        let mut forged = esp.to_vec();
        *forged.last_mut().expect("an ICV") ^= 1;
        assert_eq!(
            open(&forged).expect_err("forged").reason,
            DropReason::AuthenticationFailed,
            "{form:?}"
        );
        assert_eq!(
            open(esp).map(hex::encode),
            Ok(hex::encode(&packet)),
            "{form:?}"
        );
        assert_eq!(
            open(esp).expect_err("repeated").reason,
            DropReason::Replayed,
            "{form:?}"
        );
    }
}

#[test]
fn tshark_with_the_key_finds_our_icv_good_and_the_inner_packet_inside() {
    if !tools::installed(&["tshark"]) {
        return;
    }
    for form @ (algorithm, family, encapsulation) in FORMS {
        // tshark 4.0 has no ChaCha20-Poly1305 for ESP.
        if algorithm == Algorithm::ChaCha20Poly1305 {
            continue;
        }
        let text = b"read by tshark";
        let mut wire = sealed(
            &member(algorithm, family, encapsulation),
            &[inner(family, text)],
        );
        // The same packet with a wrong ICV shows that the verdict is a verdict.
        let mut forged = wire[0].clone();
        *forged.last_mut().expect("an ICV") ^= 1;
        wire.push(forged);
        let protocol = match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let association = format!(
            "\"{protocol}\",\"*\",\"*\",\"{}\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x{}\",\"NULL\",\"\"\n",
            SPI,
            hex::encode(keying_material(algorithm)),
        );
        let seen = tshark::dissect(
            &wire,
            &[("esp_sa", association)],
            &[
                "-o",
                "esp.enable_encryption_decode:TRUE",
                "-o",
                "esp.enable_authentication_check:TRUE",
            ],
            &[
                "esp.spi",
                "esp.sequence",
                "esp.iv",
                "esp.icv_good",
                "esp.icv_bad",
                "udp.dstport",
                "data.data",
            ],
        );
        let [good, bad] = seen.as_slice() else {
            panic!("two packets: {seen:?}")
        };
        let port = match encapsulation {
            Encapsulation::Raw => "5001",
            Encapsulation::Udp => "4500,5001",
        };
        let expected = [
            "0xc0ffee01",
            "1",
            "0050000000000001",
            "1",
            "0",
            port,
            &hex::encode(text),
        ]
        .map(str::to_owned);
        assert_eq!(good.as_slice(), expected, "{form:?}");
        assert_eq!(
            (bad[3].as_str(), bad[4].as_str()),
            ("0", "1"),
            "{form:?}: {bad:?}"
        );
    }
}
