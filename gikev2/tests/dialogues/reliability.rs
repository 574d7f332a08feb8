//! Loss, repetition, reordering, small packets: registration gets through, and repetitions change nothing.

use std::time::Duration;

use gikev2::exchange::proposal::KeyExchangeChoice;
use gikev2::initiator::Event;
use gikev2::responder;
use gikev2::wire::Identification;

use crate::support::{
    Decision, Link, Pair, grants, member_address, member_config, server_address, server_config,
};

#[test]
fn a_bad_link_delays_registration_and_does_not_prevent_it() {
    for seed in 1..40 {
        let mut pair = Pair::with_seed(member_config(), server_config(), seed);
        pair.link = Link {
            loss_percent: 25,
            duplicate_percent: 25,
            jitter: Duration::from_millis(200),
            ..Link::default()
        };
        let registration = pair.registered();
        assert!(
            registration.data[0].1 == grants::data_material(),
            "seed {seed}"
        );
        assert_eq!(
            pair.open_registrations.len(),
            1,
            "seed {seed}: the owner decides once"
        );
    }
}

#[test]
fn small_packets_get_through_as_fragments() {
    let mut member = member_config();
    let mut server = server_config();
    member.fragment_size = 548;
    server.fragment_size = 548;
    let mut pair = Pair::new(member, server);
    pair.link.longest = 548;
    pair.decide = Box::new(|_| {
        let mut grant = grants::plain();
        grant.keys.wrap_keys = Vec::new();
        grant.keys.auth_key = Some(vec![7; 1500]);
        Decision::accept(grant)
    });
    let registration = pair.registered();
    assert_eq!(registration.auth_key.as_ref().map(Vec::len), Some(1500));
    let fragments = pair
        .wire
        .iter()
        .filter(|sighting| sighting.payload[16] == 53);
    assert!(
        fragments.clone().any(|sighting| sighting.to_server),
        "the ML-KEM key was cut"
    );
    assert!(
        fragments.clone().any(|sighting| !sighting.to_server),
        "the registration was cut"
    );
    assert!(
        pair.wire
            .iter()
            .all(|sighting| sighting.payload.len() <= 548)
    );
}

#[test]
fn fragments_survive_loss_repetition_and_reordering() {
    for seed in 1..20 {
        let mut member = member_config();
        let mut server = server_config();
        member.fragment_size = 548;
        server.fragment_size = 548;
        let mut pair = Pair::with_seed(member, server, seed);
        pair.link = Link {
            loss_percent: 15,
            duplicate_percent: 30,
            jitter: Duration::from_millis(100),
            longest: 548,
            ..Link::default()
        };
        pair.registered();
        assert_eq!(pair.open_registrations.len(), 1, "seed {seed}");
    }
}

#[test]
fn repeated_requests_get_the_identical_answer() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    let wire = pair.wire.clone();
    let last_request = wire
        .iter()
        .rfind(|sighting| sighting.to_server)
        .expect("GSA_AUTH");
    let answer = wire
        .iter()
        .rfind(|sighting| !sighting.to_server)
        .expect("its answer");
    for _ in 0..3 {
        let before = pair.wire.len();
        pair.inject_to_server(member_address(), &last_request.payload);
        pair.collect();
        assert_eq!(pair.wire.len(), before + 1);
        assert_eq!(pair.wire[before].payload, answer.payload);
        // A recording played from elsewhere, or faster than a member repeats, is not answered.
        let elsewhere = std::net::SocketAddr::from(([203, 0, 113, 1], 848));
        pair.inject_to_server(elsewhere, &last_request.payload);
        pair.inject_to_server(member_address(), &last_request.payload);
        pair.collect();
        assert_eq!(pair.wire.len(), before + 1);
        pair.run_for(Duration::from_millis(200));
    }
    assert_eq!(pair.open_registrations.len(), 1);
    // Older requests are outside the window.
    let before = pair.wire.len();
    for sighting in wire
        .iter()
        .filter(|sighting| sighting.to_server && *sighting != last_request)
    {
        if sighting.payload[18] != 34 {
            pair.inject_to_server(member_address(), &sighting.payload);
        }
    }
    pair.collect();
    assert_eq!(pair.wire.len(), before);
}

#[test]
fn only_the_first_fragment_of_a_repetition_asks_for_the_answer() {
    // The link is cut when GSA_AUTH is sent, so IKE_INTERMEDIATE is the last request the key server saw.
    let mut member = member_config();
    member.fragment_size = 548;
    let mut pair = Pair::new(member, server_config());
    for _ in 0..200 {
        pair.run_for(Duration::from_millis(1));
        if pair
            .wire
            .iter()
            .any(|sighting| sighting.to_server && sighting.payload[18] == 39)
        {
            pair.link.loss_percent = 100;
            break;
        }
    }
    let sent: Vec<_> = pair
        .wire
        .iter()
        .filter(|sighting| {
            sighting.to_server && sighting.payload[16] == 53 && sighting.payload[18] == 43
        })
        .cloned()
        .collect();
    let answers = |pair: &mut Pair, payload: &[u8]| {
        let before = pair.wire.len();
        pair.inject_to_server(member_address(), payload);
        while let Some(transmit) = pair.server.poll_transmit() {
            assert_eq!(transmit.remote, member_address());
            pair.wire.push(crate::support::Sighting {
                to_server: false,
                local: transmit.local,
                remote: transmit.remote,
                payload: transmit.payload,
            });
        }
        pair.wire.len() - before
    };
    assert!(answers(&mut pair, &sent[0].payload) > 0);
    assert_eq!(answers(&mut pair, &sent[1].payload), 0);
}

#[test]
fn repetitions_are_absorbed_while_the_owner_decides() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.decide = Box::new(|_| Decision::Wait);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.open_registrations.len(), 1);
    let requests = pair
        .wire
        .iter()
        .filter(|sighting| sighting.to_server && sighting.payload[18] == 39)
        .count();
    assert!(requests > 2, "the member repeated its request");
    let answers = pair
        .wire
        .iter()
        .filter(|sighting| !sighting.to_server && sighting.payload[18] == 39)
        .count();
    assert_eq!(answers, 0, "nothing leaves before the owner has spoken");
    let handle = pair.open_registrations[0].0;
    pair.server
        .accept(pair.now, handle, grants::plain(), &mut pair.entropy)
        .expect("still open");
    pair.registered();
    let again = pair
        .server
        .accept(pair.now, handle, grants::plain(), &mut pair.entropy);
    assert_eq!(again, Err(responder::AnswerError::Stale));
}

#[test]
fn an_owner_that_never_decides_means_registration_failed() {
    let mut member = member_config();
    member.retransmission.repetitions = 30;
    let mut pair = Pair::new(member, server_config());
    pair.decide = Box::new(|_| Decision::Wait);
    assert!(matches!(
        pair.outcome(),
        Event::Refused(responder::Refusal::RegistrationFailed)
    ));
    let handle = pair.open_registrations[0].0;
    assert!(
        pair.server
            .accept(pair.now, handle, grants::plain(), &mut pair.entropy)
            .is_err()
    );
}

#[test]
fn an_idle_ike_sa_is_deleted_by_the_key_server_and_the_member_stays_registered() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    assert!(matches!(pair.outcome(), Event::Deleted));
    assert!(pair.member.is_closed());
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
    assert!(matches!(
        pair.server_events.as_slice(),
        [responder::Event::Closed { .. }]
    ));
}

#[test]
fn a_lost_delete_is_repeated_and_a_dead_member_is_forgotten() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    pair.link.loss_percent = 100;
    pair.run_for(Duration::from_secs(200));
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
    let deletes: Vec<_> = pair
        .wire
        .iter()
        .filter(|s| !s.to_server && s.payload[18] == 37)
        .collect();
    assert_eq!(deletes.len(), 8);
    assert!(
        deletes
            .iter()
            .all(|delete| delete.payload == deletes[0].payload)
    );
}

#[test]
fn the_member_can_delete_probe_leave_and_register_again() {
    let mut pair = Pair::new(member_config(), server_config());
    let first = pair.registered();
    let (now, group) = (pair.now, first.group.clone());
    assert!(pair.member.probe(now, &mut pair.entropy));
    assert!(
        !pair.member.probe(now, &mut pair.entropy),
        "one request at a time"
    );
    pair.run_for(Duration::from_millis(100));

    let parameters = crate::support::registration_parameters();
    assert!(
        pair.member
            .register(pair.now, parameters, &mut pair.entropy)
    );
    pair.registered();
    let again = &pair.open_registrations[1].1;
    assert!(!again.initial);
    assert_eq!(again.identity, crate::support::member_identity());

    assert!(pair.member.leave(pair.now, &group, true, &mut pair.entropy));
    assert!(matches!(pair.outcome(), Event::Left));
    let left = pair.server_events.iter().any(|event| {
        matches!(event, responder::Event::Left { group, reason, .. }
            if *group == Identification::group(crate::support::GROUP)
                && *reason == gikev2::wire::NotifyType::NO_PROPOSAL_CHOSEN)
    });
    assert!(left);

    assert!(pair.member.delete(pair.now, &mut pair.entropy));
    assert!(matches!(pair.outcome(), Event::Deleted));
    pair.run_for(Duration::from_secs(6));
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
}

#[test]
fn an_old_answer_is_not_taken_for_the_answer_to_a_new_request() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    let old = pair
        .wire
        .iter()
        .rfind(|sighting| !sighting.to_server)
        .expect("an answer")
        .payload
        .clone();
    let parameters = crate::support::registration_parameters();
    assert!(
        pair.member
            .register(pair.now, parameters, &mut pair.entropy)
    );
    pair.inject_to_member(&old);
    assert!(pair.member.poll_event().is_none());
    pair.registered();
}

#[test]
fn a_probe_of_a_dead_key_server_fails() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    pair.link.loss_percent = 100;
    assert!(pair.member.probe(pair.now, &mut pair.entropy));
    assert!(matches!(pair.outcome(), Event::Failed(_)));
}

#[test]
fn childless_authentication_needs_no_group() {
    let mut member = member_config();
    member.purpose = gikev2::initiator::Purpose::ChildlessAuthentication;
    member.key_exchanges = vec![KeyExchangeChoice::X25519];
    let mut pair = Pair::new(member, server_config());
    match pair.outcome() {
        Event::Authenticated { peer } => assert_eq!(peer, crate::support::server_identity()),
        other => panic!("{other:?}"),
    }
    assert!(
        pair.server_events
            .iter()
            .any(|event| matches!(event, responder::Event::Authenticated { .. }))
    );
    assert_eq!(
        pair.member.addresses(),
        (member_address(), server_address())
    );
    assert!(pair.open_registrations.is_empty());
}

#[test]
fn the_same_seed_gives_the_same_octets_on_the_wire() {
    let run = || {
        let mut pair = Pair::with_seed(member_config(), server_config(), 99);
        pair.link.loss_percent = 20;
        pair.registered();
        pair.wire
            .into_iter()
            .map(|sighting| sighting.payload)
            .collect::<Vec<_>>()
    };
    assert!(run() == run());
}
