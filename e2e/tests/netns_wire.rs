//! Who talks to whom, in which exchanges and on which ports: what a capture shows beside encrypted traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use e2e::rig::{Rig, example, root};
use e2e::wire::Seen;
use keyserver_api::request::RekeyRequest;

const LIMIT: Duration = Duration::from_secs(30);
/// Exchange types (RFC 7296 §3.1, RFC 9242, RFC 9838 §9) and that of our acknowledgement.
const REGISTRATION: [u8; 4] = [34, 43, 37, 39];
const REKEY: u8 = 41;
const ACKNOWLEDGEMENT: u8 = 240;
/// TCP port on which key servers cooperate.
const COOPERATION: u16 = 9443;

fn addresses(rig: &Rig, member: bool) -> BTreeSet<IpAddr> {
    let nodes: Vec<_> = if member {
        rig.lab.members().collect()
    } else {
        rig.lab.key_servers().collect()
    };
    let of = nodes.iter().map(|node| IpAddr::V4(node.addresses.ipv4));
    of.collect()
}

/// Rekeys the group and waits until a member sends with another key.
fn rekey(rig: &Rig) {
    let before = rig.active_spi("m-1").expect("status");
    Rig::wait_for("the rekey to be committed", LIMIT, || {
        rig.rekey(&RekeyRequest::default()).map(Some)
    })
    .expect("rekey");
    Rig::wait_for("the new key", LIMIT, || {
        let now = rig.active_spi("m-1")?;
        Ok((now.is_some() && now != before).then_some(()))
    })
    .expect("rekey");
}

// GET VPN rows 1, 4, 34, 39, 65
#[test]
fn members_talk_directly_and_exchange_keys_with_key_servers_only() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "wire", Some(5)).expect("lab");
    let recording = rig.record().expect("capture");
    // A member joins while the capture runs.
    rig.kill("m-5").expect("kill");
    rig.heal("m-5").expect("heal");
    assert_eq!(rig.ping_all().expect("ping"), (20, 20));
    for _ in 0..10 {
        rekey(&rig);
    }
    let seen = recording.finish().expect("capture");
    let (members, key_servers) = (addresses(&rig, true), addresses(&rig, false));

    // Every one of the 20 flows is ESP from end to end, and nobody received what was for another one.
    let esp: Vec<&Seen> = seen.iter().filter(|packet| packet.esp).collect();
    let flows: BTreeSet<_> = esp
        .iter()
        .map(|packet| (packet.source, packet.destination))
        .collect();
    assert_eq!(flows.len(), 20, "{flows:?}");
    for node in rig.members() {
        let address = IpAddr::V4(node.addresses.ipv4);
        let packets = rig.member(&node.name).expect("status")["packets"].clone();
        let count = |own: &dyn Fn(&Seen) -> IpAddr| {
            esp.iter().filter(|packet| own(packet) == address).count() as u64
        };
        assert_eq!(packets["sent"], count(&|packet| packet.source));
        assert_eq!(packets["received"], count(&|packet| packet.destination));
    }

    // Key exchange has a key server at one end, and is registration, rekey or acknowledgement; on port 848 at both.
    let mut kinds: BTreeMap<u8, u32> = BTreeMap::new();
    for packet in seen.iter().filter(|packet| packet.exchange.is_some()) {
        let ends = [packet.source, packet.destination];
        assert!(
            ends.iter().any(|end| key_servers.contains(end)),
            "{packet:?}"
        );
        assert_eq!(packet.ports, Some((848, 848)), "{packet:?}");
        *kinds.entry(packet.exchange.unwrap_or(0)).or_default() += 1;
    }
    println!("exchanges: {kinds:?}");
    let known = |kind: &u8| REGISTRATION.contains(kind) || [REKEY, ACKNOWLEDGEMENT].contains(kind);
    assert!(kinds.keys().all(known), "{kinds:?}");
    assert!(kinds.contains_key(&34) && kinds.contains_key(&39) && kinds.contains_key(&REKEY));
    assert!(
        seen.iter()
            .filter(
                |packet| members.contains(&packet.source) && members.contains(&packet.destination)
            )
            .all(|packet| packet.esp),
        "between members there is nothing but ESP"
    );

    // All rekeys come from one key server.
    let senders: BTreeSet<IpAddr> = seen
        .iter()
        .filter(|packet| packet.exchange == Some(REKEY))
        .map(|packet| packet.source)
        .collect();
    assert_eq!(senders.len(), 1, "{senders:?}");

    // Pseudotime is the same at both ends, as far as asking one after the other can tell.
    let (_, group) = rig.primary().expect("primary");
    let told = rig.member("m-5").expect("status")["groups"][0]["pseudotimeMilliseconds"]
        .as_u64()
        .expect("a time");
    assert!(group.pseudotime_ms > 0);
    assert!(told.abs_diff(group.pseudotime_ms) < 1_000);
}

// GET VPN rows 33, 78
#[test]
fn only_rekeys_and_streams_are_multicast() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("multicast.yaml"), "wiremcast", None).expect("lab");
    let recording = rig.record().expect("capture");
    rig.kill("m-3").expect("kill");
    rig.heal("m-3").expect("heal");
    rekey(&rig);
    let seen = recording.finish().expect("capture");
    let key_servers = addresses(&rig, false);
    let rekeys: Vec<&Seen> = seen
        .iter()
        .filter(|packet| packet.exchange == Some(REKEY))
        .collect();
    assert!(!rekeys.is_empty());
    let group = IpAddr::V4(Ipv4Addr::new(239, 192, 0, 1));
    assert!(rekeys.iter().all(|packet| packet.destination == group));
    // The member that came back was registered by unicast.
    let registration = seen.iter().filter(|packet| {
        packet
            .exchange
            .is_some_and(|kind| REGISTRATION.contains(&kind))
    });
    let mut count = 0;
    for packet in registration {
        assert!(!packet.destination.is_multicast(), "{packet:?}");
        count += 1;
    }
    assert!(count >= 4, "{count}");
    // So is everything that key servers say to each other.
    let between: Vec<&Seen> = seen
        .iter()
        .filter(|packet| key_servers.contains(&packet.source) && packet.tcp_octets > 0)
        .collect();
    assert!(
        between
            .iter()
            .any(|packet| packet.ports.is_some_and(|(_, to)| to == COOPERATION))
    );
    assert!(
        between
            .iter()
            .all(|packet| !packet.destination.is_multicast())
    );
    let from_key_servers = seen
        .iter()
        .filter(|packet| key_servers.contains(&packet.source) && packet.destination == group);
    assert!(
        from_key_servers
            .clone()
            .all(|packet| packet.exchange == Some(REKEY))
    );
}

#[test]
fn in_a_network_without_multicast_every_member_gets_a_copy_by_unicast() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("multicast-over-unicast.yaml"), "wirecopy", None).expect("lab");
    let recording = rig.record().expect("capture");
    let group = IpAddr::V4(Ipv4Addr::new(239, 1, 1, 1));
    let streams = ["m-2", "m-3"].map(|to| {
        rig.multicast("m-1", to, group, 200)
            .expect("a stream with a listener")
    });
    Rig::wait_for("multicast to arrive everywhere", LIMIT, || {
        let all = streams.iter().all(|stream| stream.received() > 200);
        Ok(all.then_some(()))
    })
    .expect("multicast");
    let missed = streams
        .each_ref()
        .map(|stream| stream.sent() - stream.received());
    rekey(&rig);
    for (stream, missed) in streams.into_iter().zip(missed) {
        let report = stream.stop().expect("traffic");
        println!("{report:?}, {missed} before it joined");
        assert!(
            report.lost() <= missed,
            "{missed} missed before joining, {report:?}"
        );
    }
    let seen = recording.finish().expect("capture");
    let members = addresses(&rig, true);
    let esp: Vec<&Seen> = seen.iter().filter(|packet| packet.esp).collect();
    for receiver in ["m-2", "m-3"] {
        let address = IpAddr::V4(rig.lab.node(receiver).expect("node").addresses.ipv4);
        let copies = esp.iter().filter(|packet| packet.destination == address);
        assert!(copies.count() > 200, "{receiver}");
    }
    assert!(
        esp.iter()
            .all(|packet| members.contains(&packet.destination)),
        "an encrypted packet went to a multicast address"
    );
}

// GET VPN row 35
#[test]
fn behind_a_translator_a_member_floats_to_port_4500_and_rekeys_reach_it_there() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "wirenat", Some(2)).expect("lab");
    let member = rig.lab.node("m-1").expect("node").addresses;
    let outside = "198.18.0.7";
    // The core answers for the translator's outer address: key servers route everything to it.
    rig.run(
        "core",
        &[
            "ip",
            "address",
            "add",
            &format!("{outside}/32"),
            "dev",
            "lo",
        ],
    )
    .expect("address");
    let rules = format!(
        "table ip translator {{ chain out {{ type nat hook postrouting priority srcnat; ip saddr {} udp dport {{ 848, 4500 }} ip daddr 172.20.0.0/16 snat to {outside}; }}; }}",
        member.ipv4
    );
    rig.run("core", &["nft", &rules]).expect("rules");
    rig.kill("m-1").expect("kill");
    let recording = rig.record().expect("capture");
    rig.heal("m-1").expect("heal");
    let rows = rig.member_rows().expect("rows");
    let row = rows
        .iter()
        .find(|row| row.identity.contains("m-1."))
        .expect("listed");
    assert_eq!(row.address.ip().to_string(), outside);
    let accepted = |rig: &Rig| {
        rig.member("m-1").expect("status")["groups"][0]["rekeysAccepted"]
            .as_u64()
            .unwrap_or(0)
    };
    let before = accepted(&rig);
    rekey(&rig);
    assert!(accepted(&rig) > before);
    let seen = recording.finish().expect("capture");
    let own = IpAddr::V4(member.ipv4);
    let authentications: Vec<&Seen> = seen
        .iter()
        .filter(|packet| packet.source == own && packet.exchange == Some(39))
        .collect();
    assert!(!authentications.is_empty());
    assert!(
        authentications
            .iter()
            .all(|packet| packet.ports.is_some_and(|(_, to)| to == 4500))
    );
    let outside: IpAddr = outside.parse().expect("an address");
    let pushes: Vec<&Seen> = seen
        .iter()
        .filter(|packet| packet.destination == outside && packet.exchange == Some(REKEY))
        .collect();
    assert!(!pushes.is_empty());
    assert!(
        pushes
            .iter()
            .all(|packet| packet.ports.is_some_and(|(from, _)| from == 4500))
    );
}

// GET VPN row 51
#[test]
fn members_begin_with_the_first_key_server_whichever_is_primary() {
    if !root() {
        return;
    }
    let text = std::fs::read_to_string(example("quickstart.yaml")).expect("example");
    let text = text.replacen(
        "    replicas: 3\n",
        "    replicas: 3\n    priorities: [{ ordinal: 0, priority: 50 }, { ordinal: 2, priority: 100 }]\n",
        1,
    );
    let rig = Rig::up_text(&text, "wireorder", Some(2)).expect("lab");
    Rig::wait_for("the highest priority to lead", LIMIT, || {
        Ok((rig.primary()?.0 == "ks-2").then_some(()))
    })
    .expect("primary");
    for row in rig.member_rows().expect("rows") {
        assert_eq!(row.key_server, "ks-0", "{}", row.identity);
    }
}

// GET VPN row 67
#[test]
fn in_an_idle_group_the_primary_speaks_and_the_others_only_answer() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("quickstart.yaml"), "wireidle", Some(2)).expect("lab");
    let recording = rig.record().expect("capture");
    // That nothing else happens has no event to wait for.
    std::thread::sleep(Duration::from_secs(3));
    let seen = recording.finish().expect("capture");
    let (primary, _) = rig.primary().expect("primary");
    let primary = IpAddr::V4(rig.lab.node(&primary).expect("node").addresses.ipv4);
    let spoken = |to_port: bool| -> Vec<&Seen> {
        let with_port = |packet: &&Seen| {
            packet.tcp_octets > 0
                && packet
                    .ports
                    .is_some_and(|(from, to)| (if to_port { to } else { from }) == COOPERATION)
        };
        seen.iter().filter(with_port).collect()
    };
    let (announcements, answers) = (spoken(true), spoken(false));
    for other in addresses(&rig, false)
        .into_iter()
        .filter(|address| *address != primary)
    {
        let told = announcements
            .iter()
            .filter(|packet| packet.is_between(primary, other));
        assert!(
            told.count() >= 5,
            "{other} hears the primary again and again"
        );
    }
    assert!(announcements.iter().all(|packet| packet.source == primary));
    assert!(answers.iter().all(|packet| packet.destination == primary));
}
