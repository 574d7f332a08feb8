//! IKE_SA_INIT: cookies, retries, refusals, NAT, and what an unproven address can make a key server do.

use std::net::SocketAddr;
use std::time::Duration;

use gikev2::exchange::proposal::KeyExchangeChoice;
use gikev2::initiator::{Event, Initiator, InitiatorError};
use gikev2::responder::RejectReason;
use gikev2::wire::message::write_clear;
use gikev2::wire::{
    ExchangeType, Flags, Header, IkeSpi, Message, Notify, NotifyType, Payload, PayloadType,
    VendorId,
};

use crate::support::{
    Pair, Seeded, Sighting, member_address, member_config, server_address, server_config,
};

fn exchange(sighting: &Sighting) -> u8 {
    sighting.payload[18]
}

fn clear_notify(sighting: &Sighting, notify_type: NotifyType) -> Option<Notify> {
    let message = Message::parse(&sighting.payload).ok()?;
    message.clear.into_iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.notify_type == notify_type => Some(notify),
        _ => None,
    })
}

/// The first IKE_SA_INIT request of a member with this seed.
fn opening_request(seed: u64) -> Vec<u8> {
    let mut entropy = Seeded::new(seed);
    let now = std::time::Instant::now();
    let mut member = Initiator::new(
        member_config(),
        member_address(),
        server_address(),
        now,
        &mut entropy,
    );
    member.poll_transmit().expect("a request").payload
}

#[test]
fn under_load_a_cookie_is_demanded_and_then_honoured() {
    let mut server = server_config();
    server.limits.cookie_threshold = 0;
    let mut pair = Pair::new(member_config(), server);
    pair.registered();
    let openings: Vec<_> = pair
        .wire
        .iter()
        .filter(|sighting| exchange(sighting) == 34)
        .collect();
    assert_eq!(
        openings.len(),
        4,
        "request, cookie, request with cookie, answer"
    );
    assert!(clear_notify(openings[1], NotifyType::COOKIE).is_some());
    assert!(openings[1].payload.len() < openings[0].payload.len());
    assert_eq!(&openings[1].payload[8..16], [0; 8], "no SPI: no state");
    let repeated = Message::parse(&openings[2].payload).expect("a message");
    assert!(
        matches!(&repeated.clear[0], Payload::Notify(notify) if notify.notify_type == NotifyType::COOKIE)
    );
    let first = Message::parse(&openings[0].payload).expect("a message");
    assert_eq!(
        repeated.clear[1..],
        first.clear[..],
        "the rest is identical"
    );
}

#[test]
fn without_a_good_cookie_nothing_is_kept() {
    let mut server = server_config();
    server.limits.cookie_threshold = 0;
    let mut pair = Pair::new(member_config(), server);
    pair.collect();
    for seed in 0..50 {
        let source = SocketAddr::from(([203, 0, 113, seed], 848));
        pair.inject_to_server(source, &opening_request(u64::from(seed) + 100));
    }
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
}

#[test]
fn a_busy_source_gets_cookies_while_others_do_not() {
    let mut server = server_config();
    server.limits.cookie_threshold_per_source = 3;
    let mut pair = Pair::new(member_config(), server);
    let noisy = SocketAddr::from(([203, 0, 113, 9], 848));
    for seed in 100..120 {
        pair.inject_to_server(noisy, &opening_request(seed));
    }
    assert_eq!(pair.server.ike_sa_counts(), (3, 3));
    pair.registered();
    assert!(
        pair.wire
            .iter()
            .filter(|sighting| sighting.remote == member_address())
            .all(|sighting| {
                exchange(sighting) != 34 || clear_notify(sighting, NotifyType::COOKIE).is_none()
            })
    );
}

#[test]
fn half_open_ike_sas_are_capped_and_expire() {
    let mut server = server_config();
    server.limits.cookie_threshold = 10_000;
    server.limits.cookie_threshold_per_source = 10_000;
    server.limits.half_open = 40;
    server.limits.half_open_per_source = 10;
    let mut pair = Pair::new(member_config(), server);
    for source in 0..10u8 {
        for request in 0..20u64 {
            let address = SocketAddr::from(([203, 0, 113, source], 848));
            pair.inject_to_server(
                address,
                &opening_request(1000 + u64::from(source) * 100 + request),
            );
        }
    }
    assert_eq!(pair.server.ike_sa_counts(), (40, 40));
    pair.collect();
    assert!(
        pair.rejections()
            .iter()
            .any(|reason| **reason == RejectReason::HalfOpenLimit)
    );
    pair.link.loss_percent = 100;
    pair.run_for(Duration::from_secs(31));
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
}

#[test]
fn another_key_exchange_method_is_asked_for_and_the_full_offer_is_repeated() {
    let mut member = member_config();
    member.key_exchanges = vec![
        KeyExchangeChoice::X25519,
        KeyExchangeChoice::P256,
        KeyExchangeChoice::P384,
    ];
    let mut server = server_config();
    server.key_exchanges = vec![KeyExchangeChoice::P384];
    let mut pair = Pair::new(member, server);
    pair.registered();
    let openings: Vec<_> = pair
        .wire
        .iter()
        .filter(|sighting| exchange(sighting) == 34)
        .collect();
    assert_eq!(openings.len(), 4);
    let wanted =
        clear_notify(openings[1], NotifyType::INVALID_KE_PAYLOAD).expect("INVALID_KE_PAYLOAD");
    assert_eq!(wanted.data, [0, 20]);
    let first = Message::parse(&openings[0].payload)
        .expect("a message")
        .clear;
    let second = Message::parse(&openings[2].payload)
        .expect("a message")
        .clear;
    assert_eq!(first[0], second[0], "the SA payload is never narrowed");
}

#[test]
fn a_method_that_was_not_offered_is_not_believed() {
    let mut member = member_config();
    member.key_exchanges = vec![KeyExchangeChoice::P256];
    let mut pair = Pair::new(member, server_config());
    pair.collect();
    let request = Message::parse(&pair.wire[0].payload)
        .expect("a message")
        .header;
    let header = Header {
        flags: Flags::new(false, true),
        ..request
    };
    let lie = Notify::new(NotifyType::INVALID_KE_PAYLOAD, &[0, 14]);
    let forged = write_clear(&header, &[Payload::Notify(lie)]).expect("a message");
    pair.inject_to_member(&forged);
    pair.registered();
}

#[test]
fn a_forged_refusal_does_not_end_the_attempt_when_the_real_answer_comes() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.collect();
    let request = Message::parse(&pair.wire[0].payload)
        .expect("a message")
        .header;
    let header = Header {
        flags: Flags::new(false, true),
        ..request
    };
    for notify_type in [
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::AUTHENTICATION_FAILED,
    ] {
        let forged = write_clear(&header, &[Payload::Notify(Notify::empty(notify_type))])
            .expect("a message");
        pair.inject_to_member(&forged);
    }
    pair.registered();
}

#[test]
fn an_answer_that_was_not_offered_is_ignored_and_the_real_one_believed() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.collect();
    // The key server's answer, read off the wire and changed: no key wrap, or a doubled transform.
    pair.run_for(Duration::from_millis(6));
    let genuine = pair
        .wire
        .iter()
        .find(|sighting| !sighting.to_server)
        .expect("an answer")
        .payload
        .clone();
    let message = Message::parse(&genuine).expect("a message");
    let changes: [fn(&mut gikev2::wire::Proposal); 3] = [
        |answer| {
            answer.transforms.pop();
        },
        |answer| answer.transforms.push(answer.transforms[0].clone()),
        |answer| answer.number = 9,
    ];
    for change in changes {
        let mut payloads = message.clear.clone();
        let Payload::SecurityAssociation(answer) = &mut payloads[0] else {
            panic!("SA comes first")
        };
        change(&mut answer.proposals[0]);
        let forged = write_clear(&message.header, &payloads).expect("a message");
        pair.inject_to_member(&forged);
        assert!(
            pair.member.poll_transmit().is_none(),
            "nothing follows from it"
        );
    }
    pair.registered();
}

#[test]
fn no_common_algorithm_is_said_so() {
    let mut member = member_config();
    member.key_exchanges = vec![KeyExchangeChoice::P256];
    let mut server = server_config();
    server.key_exchanges = vec![KeyExchangeChoice::P384];
    let mut pair = Pair::new(member, server);
    assert!(matches!(
        pair.outcome(),
        Event::Failed(InitiatorError::NoProposalChosen)
    ));
    assert!(pair.rejections().contains(&&RejectReason::NoProposalChosen));
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
}

#[test]
fn endless_cookies_end_the_attempt() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.link.loss_percent = 100;
    for round in 1..=10u8 {
        pair.collect();
        let request = Message::parse(&pair.wire[0].payload)
            .expect("a message")
            .header;
        let header = Header {
            flags: Flags::new(false, true),
            ..request
        };
        let cookie = Notify::new(NotifyType::COOKIE, &[round; 16]);
        pair.inject_to_member(
            &write_clear(&header, &[Payload::Notify(cookie)]).expect("a message"),
        );
    }
    assert!(matches!(
        pair.outcome(),
        Event::Failed(InitiatorError::TooManyRetries)
    ));
}

#[test]
fn a_silent_key_server_is_given_up() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.link.loss_percent = 100;
    assert!(matches!(
        pair.outcome(),
        Event::Failed(InitiatorError::NoAnswer {
            exchange: ExchangeType::IKE_SA_INIT
        })
    ));
    assert_eq!(pair.wire.len(), 8, "the request and seven repetitions");
    assert!(
        pair.wire
            .windows(2)
            .all(|pair| pair[0].payload == pair[1].payload)
    );
    assert!(pair.member.is_closed());
}

#[test]
fn behind_a_nat_everything_after_the_first_exchange_moves_to_port_4500() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.link.nat =
        Some(|inside| SocketAddr::from(([198, 51, 100, 77], 40_000 + inside.port() % 1000)));
    pair.registered();
    let request = &pair.open_registrations[0].1;
    assert!(request.behind_nat);
    assert_eq!(
        request.remote,
        SocketAddr::from(([198, 51, 100, 77], 40_500))
    );
    for sighting in pair
        .wire
        .iter()
        .filter(|sighting| sighting.to_server)
        .skip(1)
    {
        assert_eq!(
            (sighting.local.port(), sighting.remote.port()),
            (4500, 4500)
        );
        assert_eq!(sighting.payload[..4], [0; 4], "the non-ESP marker");
    }
}

#[test]
fn without_a_nat_the_port_stays() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    assert!(
        pair.wire
            .iter()
            .all(|sighting| sighting.local.port() == 848 && sighting.remote.port() == 848)
    );
}

#[test]
fn no_answer_to_an_unproven_address_is_longer_than_its_request() {
    for childless in [false, true] {
        let mut server = server_config();
        server.childless = childless;
        let mut pair = Pair::new(member_config(), server);
        pair.registered();
        let mut openings = pair.wire.iter().filter(|sighting| exchange(sighting) == 34);
        let (request, answer) = (
            openings.next().expect("a request"),
            openings.next().expect("an answer"),
        );
        assert!(answer.payload.len() <= request.payload.len());
    }
}

#[test]
fn a_repeated_opening_gets_the_identical_answer_and_no_second_ike_sa() {
    let mut pair = Pair::new(member_config(), server_config());
    let request = opening_request(7);
    let source = SocketAddr::from(([203, 0, 113, 5], 848));
    for _ in 0..3 {
        pair.inject_to_server(source, &request);
    }
    pair.collect();
    let answers: Vec<_> = pair
        .wire
        .iter()
        .filter(|sighting| sighting.remote == source)
        .collect();
    assert_eq!(answers.len(), 3);
    assert!(
        answers
            .iter()
            .all(|answer| answer.payload == answers[0].payload)
    );
    assert_eq!(pair.server.ike_sa_counts().0, 1);
}

#[test]
fn a_higher_major_version_is_told_ours() {
    let mut pair = Pair::new(member_config(), server_config());
    let mut request = opening_request(7);
    request[17] = 0x30;
    let source = SocketAddr::from(([203, 0, 113, 5], 848));
    pair.inject_to_server(source, &request);
    pair.collect();
    let answer = pair
        .wire
        .iter()
        .find(|sighting| sighting.remote == source)
        .expect("an answer");
    assert!(clear_notify(answer, NotifyType::INVALID_MAJOR_VERSION).is_some());
    assert_eq!(answer.payload[17], 0x20);
    request[17] = 0x10;
    let before = pair.wire.len();
    pair.inject_to_server(source, &request);
    pair.collect();
    assert_eq!(pair.wire.len(), before, "version 1 gets silence");
}

#[test]
fn an_unknown_critical_payload_is_named_and_an_uncritical_one_is_skipped() {
    let request = opening_request(7);
    let source = SocketAddr::from(([203, 0, 113, 5], 848));
    for (critical, expected) in [(0x80, Some(vec![200])), (0x00, None)] {
        let mut pair = Pair::new(member_config(), server_config());
        // A payload of type 200 in front of everything.
        let mut altered = request.clone();
        altered.splice(28..28, [request[16], critical, 0, 4]);
        altered[16] = 200;
        let length = u32::try_from(altered.len()).expect("short");
        altered[24..28].copy_from_slice(&length.to_be_bytes());
        pair.inject_to_server(source, &altered);
        pair.collect();
        let answer = pair
            .wire
            .iter()
            .find(|sighting| sighting.remote == source)
            .expect("an answer");
        let named = clear_notify(answer, NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD)
            .map(|notify| notify.data);
        assert_eq!(named, expected);
        assert_eq!(
            pair.server.ike_sa_counts().0,
            usize::from(expected.is_none())
        );
    }
}

#[test]
fn a_malformed_opening_gets_invalid_syntax_and_leaves_nothing() {
    let request = Message::parse(&opening_request(7))
        .map(|message| (message.header, message.clear))
        .expect("parses");
    let (header, payloads) = request;
    let source = SocketAddr::from(([203, 0, 113, 5], 848));
    let doubled: Vec<Payload> = payloads.iter().chain(&payloads[..1]).cloned().collect();
    let without_nonce: Vec<Payload> = payloads
        .iter()
        .filter(|payload| !matches!(payload, Payload::Nonce(_)))
        .cloned()
        .collect();
    for bad in [doubled, without_nonce] {
        let mut pair = Pair::new(member_config(), server_config());
        pair.inject_to_server(source, &write_clear(&header, &bad).expect("a message"));
        pair.collect();
        let answer = pair
            .wire
            .iter()
            .find(|sighting| sighting.remote == source)
            .expect("an answer");
        assert!(clear_notify(answer, NotifyType::INVALID_SYNTAX).is_some());
        assert_eq!(pair.server.ike_sa_counts(), (0, 0));
    }
}

#[test]
fn reordered_payloads_are_accepted() {
    let opening = opening_request(7);
    let message = Message::parse(&opening).expect("parses");
    let reordered: Vec<Payload> = message.clear.iter().rev().cloned().collect();
    let mut pair = Pair::new(member_config(), server_config());
    let source = SocketAddr::from(([203, 0, 113, 5], 848));
    pair.inject_to_server(
        source,
        &write_clear(&message.header, &reordered).expect("a message"),
    );
    assert_eq!(pair.server.ike_sa_counts(), (1, 1));
}

#[test]
fn truncated_openings_never_leave_state() {
    let request = opening_request(7);
    let source = SocketAddr::from(([203, 0, 113, 5], 848));
    let mut pair = Pair::new(member_config(), server_config());
    for length in 0..request.len() {
        let mut cut = request[..length].to_vec();
        pair.inject_to_server(source, &cut);
        if length >= 28 {
            let claimed = u32::try_from(length).expect("short");
            cut[24..28].copy_from_slice(&claimed.to_be_bytes());
            pair.inject_to_server(source, &cut);
        }
    }
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
}

#[test]
fn messages_for_unknown_ike_sas_are_answered_at_a_bounded_rate() {
    let mut pair = Pair::new(member_config(), server_config());
    let header = Header {
        initiator_spi: IkeSpi([1; 8]),
        responder_spi: IkeSpi([2; 8]),
        next_payload: PayloadType::NONE,
        exchange: ExchangeType::GSA_AUTH,
        flags: Flags::new(true, false),
        message_id: 9,
    };
    let stray = write_clear(&header, &[Payload::VendorId(VendorId::ours())]).expect("a message");
    let source = SocketAddr::from(([203, 0, 113, 5], 848));
    for _ in 0..100 {
        pair.inject_to_server(source, &stray);
    }
    pair.collect();
    let answers: Vec<_> = pair
        .wire
        .iter()
        .filter(|sighting| sighting.remote == source)
        .collect();
    assert_eq!(answers.len(), 10);
    assert!(clear_notify(answers[0], NotifyType::INVALID_IKE_SPI).is_some());
    let echoed = Message::parse(&answers[0].payload)
        .expect("a message")
        .header;
    assert_eq!(
        (
            echoed.initiator_spi,
            echoed.responder_spi,
            echoed.message_id
        ),
        (IkeSpi([1; 8]), IkeSpi([2; 8]), 9)
    );
}
