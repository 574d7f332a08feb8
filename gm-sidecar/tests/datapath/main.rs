//! Two packet paths with a fixed key, a cable between them, real traffic through both, and what is
//! on the cable meanwhile. Needs root and tcpdump.

mod capture;
mod pair;
mod speed;
mod traffic;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use capture::{Capture, assert_only_esp};
use gm_core::DropReason;
use gm_core::data_plane::{AntiReplay, Encapsulation};
use pair::{Manner, pair, wait_until};
use traffic::{SECRET, datagrams, ping, tcp};

// GET VPN row 102
#[test]
fn all_traffic_of_both_versions_is_esp_in_udp_on_the_cable() {
    let Some(pair) = pair(Manner::default()) else {
        return;
    };
    let capture = Capture::start(&pair.left);
    ping(&pair.left, pair.right.v4, 56);
    ping(&pair.right, pair.left.v6, 56);
    tcp(&pair.left, &pair.right, pair.right.v4, 4 << 20);
    tcp(&pair.right, &pair.left, pair.left.v4, 4 << 20);
    tcp(&pair.left, &pair.right, pair.right.v6, 4 << 20);
    datagrams(&pair.left, &pair.right, pair.right.v4, 1200, 200);
    datagrams(&pair.right, &pair.left, pair.left.v6, 1200, 200);
    assert_only_esp(&capture.stop(), SECRET);
    for end in [&pair.left, &pair.right] {
        assert_eq!(end.all_drops(), [], "nothing is dropped");
        let counters = end.handle.counters();
        assert!(counters.sent_packets > 0 && counters.received_packets > 0);
        let sas = end.handle.sa_statistics();
        assert_eq!(
            sas.iter().map(|sa| sa.sent_packets).sum::<u64>(),
            counters.sent_packets
        );
        assert_eq!(
            sas.iter().map(|sa| sa.received_packets).sum::<u64>(),
            counters.received_packets
        );
    }
}

// GET VPN row 5
#[test]
fn raw_esp_carries_both_versions() {
    let Some(pair) = pair(Manner {
        encapsulation: Encapsulation::Raw,
        ..Manner::default()
    }) else {
        return;
    };
    let capture = Capture::start(&pair.left);
    ping(&pair.left, pair.right.v4, 56);
    ping(&pair.right, pair.left.v6, 56);
    tcp(&pair.left, &pair.right, pair.right.v4, 2 << 20);
    tcp(&pair.left, &pair.right, pair.right.v6, 2 << 20);
    let frames = capture.stop();
    assert_only_esp(&frames, SECRET);
    assert_eq!(pair.right.all_drops(), []);
    // The addresses in the outer header are those of the hosts that talk.
    let (left, right) = (pair.left.v4, pair.right.v4);
    let outer: Vec<_> = frames.iter().filter_map(|frame| frame.outer_v4()).collect();
    for direction in [(left, right, 50), (right, left, 50)] {
        assert!(outer.contains(&direction), "{direction:?}");
    }
    assert!(
        outer
            .iter()
            .all(|found| [(left, right, 50), (right, left, 50)].contains(found)),
        "{outer:?}"
    );
}

#[test]
fn datagrams_larger_than_the_path_arrive() {
    let Some(pair) = pair(Manner::default()) else {
        return;
    };
    ping(&pair.left, pair.right.v4, 8000);
    ping(&pair.left, pair.right.v6, 8000);
    datagrams(&pair.left, &pair.right, pair.right.v4, 9000, 20);
    datagrams(&pair.left, &pair.right, pair.right.v6, 9000, 20);
    assert_eq!(pair.right.all_drops(), []);
}

#[test]
fn a_captured_packet_sent_again_is_refused() {
    let Some(pair) = pair(Manner {
        anti_replay: AntiReplay::COUNTER,
        ..Manner::default()
    }) else {
        return;
    };
    let capture = Capture::start(&pair.left);
    datagrams(&pair.left, &pair.right, pair.right.v4, 100, 5);
    let frames = capture.stop();
    let esp = frames
        .iter()
        .find_map(|frame| frame.esp())
        .expect("a packet");
    let again: SocketAddr = (pair.right.v4, 4500).into();
    pair.left.within(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)
            .expect("a socket");
        socket.set_mark(0x4356).expect("root may mark");
        UdpSocket::from(socket).send_to(esp, again).expect("sent");
    });
    wait_until("the packet to be refused", || {
        pair.right.drops(DropReason::Replayed) == 1
    });
    let senders = pair.right.handle.sender_statistics();
    assert_eq!(
        senders
            .iter()
            .map(|sender| sender.replayed_packets)
            .sum::<u64>(),
        1
    );
}

#[test]
fn without_keys_nothing_leaves_and_the_drops_say_why() {
    let Some(pair) = pair(Manner::default()) else {
        return;
    };
    pair.install(|plane| plane.associations.clear());
    let capture = Capture::start(&pair.left);
    pair.left.within(|| {
        let socket = UdpSocket::bind((pair.left.v4, 0)).expect("a socket");
        socket
            .send_to(SECRET, (pair.right.v4, 9))
            .expect("taken by the TUN");
    });
    wait_until("the drop", || {
        pair.left.drops(DropReason::NoSecurityAssociation) == 1
    });
    assert!(
        capture
            .stop()
            .iter()
            .all(|frame| frame.esp().is_none() && !frame.contains(SECRET))
    );
}

#[test]
fn an_unknown_spi_is_reported_once_a_second_at_most() {
    let Some(pair) = pair(Manner::default()) else {
        return;
    };
    let mut events = pair
        .right
        .handle
        .unknown_spi_events()
        .expect("not taken yet");
    pair.right.install_nothing();
    datagrams_unanswered(&pair);
    wait_until("the drops", || {
        pair.right.drops(DropReason::UnknownSpi) >= 20
    });
    let event = events.try_recv().expect("a report");
    assert_eq!((event.spi.0, event.source), (pair::SPI_V4, pair.left.v4));
    assert!(events.try_recv().is_err(), "only one");
}

fn datagrams_unanswered(pair: &pair::Pair) {
    pair.left.within(|| {
        let socket = UdpSocket::bind((pair.left.v4, 0)).expect("a socket");
        for _ in 0..20 {
            socket
                .send_to(SECRET, (pair.right.v4, 9))
                .expect("taken by the TUN");
        }
    });
}

#[test]
fn a_path_that_carries_less_is_learned() {
    let Some(pair) = pair(Manner::default()) else {
        return;
    };
    for end in [&pair.left, &pair.right] {
        pair::ip(&format!("-n {} link set eth0 mtu 1300", end.namespace));
    }
    for address in [pair.right.v4, pair.right.v6] {
        tcp(&pair.left, &pair.right, address, 1 << 20);
    }
    assert!(
        pair.left.drops(DropReason::TooBig) > 0,
        "that is how it was learned"
    );
}

#[test]
fn a_swap_of_the_data_plane_loses_nothing() {
    let Some(pair) = pair(Manner::default()) else {
        return;
    };
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| tcp(&pair.left, &pair.right, pair.right.v4, 64 << 20));
        while !transfer.is_finished() {
            pair.install(|_| {});
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    for end in [&pair.left, &pair.right] {
        assert_eq!(
            end.all_drops(),
            [],
            "the counters went on, so no packet looks repeated"
        );
    }
}

#[test]
fn a_multicast_packet_is_encrypted_once_and_arrives() {
    let Some(pair) = pair(Manner::default()) else {
        return;
    };
    let capture = Capture::start(&pair.left);
    traffic::multicast(&pair.left, &pair.right);
    assert_only_esp(&capture.stop(), SECRET);
    wait_until("the count", || {
        pair.left.handle.counters().sent_packets == 1
    });
    assert_eq!(pair.right.all_drops(), []);
}
