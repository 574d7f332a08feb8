//! Members that send in clear, accept clear, or keep a flow in clear: what the wire shows of each.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use e2e::rig::{Rig, example, root};
use e2e::wire::Seen;

const LIMIT: Duration = Duration::from_secs(30);
/// IP protocol number of ICMP.
const ICMP: u8 = 1;

/// The quickstart's group and rules with these members: name, number, and what else they say.
fn with_members(of_group: &str, members: &[(&str, u32, &str)]) -> String {
    let text = std::fs::read_to_string(example("quickstart.yaml")).expect("example");
    let (rest, _) = text
        .rsplit_once("---\n")
        .expect("the member is the last object");
    let mut text = rest.replacen(
        "  groupID: 1234\n",
        &format!("  groupID: 1234\n{of_group}"),
        1,
    );
    for (name, number, more) in members {
        text.push_str(&format!(
            "---\napiVersion: getvpn.dev/v1alpha1\nkind: GroupMember\nmetadata:\n  name: {name}\n  annotations: {{ lab.getvpn.dev/members: \"{number}\" }}\nspec:\n  groupRef: {{ name: branch }}\n{more}"
        ));
    }
    text
}

fn address(rig: &Rig, name: &str) -> IpAddr {
    rig.lab.node(name).expect("node").addresses.ipv4.into()
}

/// How pings and their answers went from one member to another: whether some were ESP, and whether some were clear.
fn ways(rig: &Rig, seen: &[Seen], from: &str, to: &str) -> (bool, bool) {
    let (from, to) = (address(rig, from), address(rig, to));
    let between = || seen.iter().filter(|packet| packet.is_between(from, to));
    (
        between().any(|packet| packet.esp),
        between().any(|packet| packet.protocol == ICMP),
    )
}

const ESP: (bool, bool) = (true, false);
const CLEAR: (bool, bool) = (false, true);

fn sends_encrypted(rig: &Rig, name: &str) -> bool {
    let status = rig.member(name).expect("status");
    status["groups"][0]["sendsEncrypted"] == true
}

// GET VPN rows 181, 188, 189
#[test]
fn in_a_group_that_only_receives_all_send_clear_and_accept_encrypted() {
    if !root() {
        return;
    }
    let text = with_members(
        "  direction: ReceiveOnly\n",
        &[
            ("first", 2, ""),
            ("early", 1, "  direction: InboundOptional\n"),
        ],
    );
    let rig = Rig::up_text(&text, "receiveonly", None).expect("lab");
    let names: Vec<String> = rig.members().into_iter().map(|node| node.name).collect();
    let [one, other, early] = names.as_slice() else {
        panic!("three members: {names:?}");
    };
    let opened = |name: &str| -> u64 {
        let status = rig.member(name).expect("status");
        let keys = status["groups"][0]["trafficKeys"].as_array().cloned();
        let keys = keys.unwrap_or_default();
        let received = keys
            .iter()
            .filter_map(|key| key["receivedPackets"].as_u64());
        received.sum()
    };
    for passive in [one, other] {
        assert!(!sends_encrypted(&rig, passive), "by inheritance");
        assert_eq!(opened(passive), 0, "nothing is proven yet");
    }
    let recording = rig.record().expect("capture");
    assert_eq!(rig.ping_all().expect("ping"), (6, 6));
    let seen = recording.finish().expect("capture");
    assert_eq!(ways(&rig, &seen, one, other), CLEAR);
    assert_eq!(ways(&rig, &seen, other, one), CLEAR);
    // The one that encrypts already is understood, as its pings were answered.
    for passive in [one, other] {
        assert_eq!(ways(&rig, &seen, early, passive), ESP);
        assert_eq!(ways(&rig, &seen, passive, early), CLEAR);
        assert!(
            opened(passive) > 0,
            "the status of {passive} proves that it can receive"
        );
    }
}

// GET VPN row 190
#[test]
fn members_added_as_passive_to_a_group_that_only_receives_make_it_passive_altogether() {
    if !root() {
        return;
    }
    let text = with_members(
        "  direction: ReceiveOnly\n",
        &[("first", 2, ""), ("rest", 2, "  direction: InboundOnly\n")],
    );
    let rig = Rig::up_text(&text, "allpassive", None).expect("lab");
    let recording = rig.record().expect("capture");
    assert_eq!(rig.ping_all().expect("ping"), (12, 12));
    let seen = recording.finish().expect("capture");
    let members = rig.members();
    assert_eq!(members.len(), 4);
    for node in &members {
        assert!(!sends_encrypted(&rig, &node.name), "{}", node.name);
    }
    assert!(seen.iter().all(|packet| !packet.esp));
}

// GET VPN rows 183, 185, 186, 187
#[test]
fn a_member_that_only_accepts_and_one_that_may_accept_clear_understand_each_other() {
    if !root() {
        return;
    }
    let text = with_members(
        "",
        &[
            ("only", 2, "  direction: InboundOnly\n"),
            ("optional", 1, "  direction: InboundOptional\n"),
        ],
    );
    let rig = Rig::up_text(&text, "directions", None).expect("lab");
    let names: Vec<String> = rig.members().into_iter().map(|node| node.name).collect();
    let [only, another, optional] = names.as_slice() else {
        panic!("three members: {names:?}");
    };
    assert!(!sends_encrypted(&rig, only));
    assert!(sends_encrypted(&rig, optional));
    let recording = rig.record().expect("capture");
    assert_eq!(rig.ping_all().expect("ping"), (6, 6));
    let seen = recording.finish().expect("capture");
    assert_eq!(ways(&rig, &seen, optional, only), ESP);
    assert_eq!(ways(&rig, &seen, only, optional), CLEAR);
    assert_eq!(ways(&rig, &seen, only, another), CLEAR);
    assert_eq!(ways(&rig, &seen, another, only), CLEAR);
}

/// Packets that a member sent with each of its keys.
fn sent_with_keys(rig: &Rig, name: &str) -> u64 {
    let status = rig.member(name).expect("status");
    let keys = status["groups"][0]["trafficKeys"].as_array().cloned();
    let sent = keys.unwrap_or_default();
    let sent = sent.iter().filter_map(|key| key["sentPackets"].as_u64());
    sent.sum()
}

// GET VPN rows 104, 106, 112
#[test]
fn a_flow_of_the_members_own_list_is_clear_before_the_groups_rule_is_asked() {
    if !root() {
        return;
    }
    let bypass = "  bypass: [{ name: icmp, protocol: ICMP, destination: 10.1.0.0/16 }]\n";
    let text = with_members("", &[("branch", 2, bypass)]);
    let text = text.replace(
        "10.1.0.0/16\n      destination: 10.1.0.0/16",
        "0.0.0.0/0\n      destination: 0.0.0.0/0",
    );
    let rig = Rig::up_text(&text, "bypass", None).expect("lab");
    // Another protection on the same interface, which comes after ours.
    rig.run(
        "m-1",
        &[
            "nft",
            "table ip second { counter seen { }; chain out { type filter hook postrouting priority 200; oifname eth0 ip protocol icmp counter name seen; }; }",
        ],
    )
    .expect("rules");
    let recording = rig.record().expect("capture");
    let before = sent_with_keys(&rig, "m-1");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
    assert_eq!(
        sent_with_keys(&rig, "m-1"),
        before,
        "the group's rule was not asked"
    );
    let traffic = rig.traffic("m-1", "m-2", 200).expect("traffic");
    Rig::wait_for("traffic", LIMIT, || {
        Ok((traffic.received() > 50).then_some(()))
    })
    .expect("traffic");
    assert_eq!(traffic.stop().expect("traffic").lost(), 0);
    assert!(sent_with_keys(&rig, "m-1") >= before + 50);
    let seen = recording.finish().expect("capture");
    let (one, other) = (address(&rig, "m-1"), address(&rig, "m-2"));
    let kinds: BTreeSet<(u8, bool)> = seen
        .iter()
        .filter(|packet| packet.is_between(one, other))
        .map(|packet| (packet.protocol, packet.esp))
        .collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [(ICMP, false), (17, true)],
        "pings in clear, everything else encrypted"
    );
    let counter = rig
        .run("m-1", &["nft", "list", "counter", "ip", "second", "seen"])
        .expect("counter");
    assert!(
        counter.contains("packets ") && !counter.contains("packets 0 "),
        "the other protection sees what our list lets go: {counter}"
    );
}
