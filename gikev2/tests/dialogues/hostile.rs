//! Anything at all as input: no panic, and no state past the caps.

use std::net::SocketAddr;
use std::time::Duration;

use gikev2::Entropy;
use gikev2::rekey::acknowledgement;
use proptest::prelude::*;

use crate::support::group::{WHOLE, ed25519_private_key, member, worked_example};
use crate::support::{Pair, Seeded, member_address, member_config, server_config};

/// One change to a datagram.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
    /// Makes the header's Length fit again.
    FixLength,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Mutation::Set(at, value)),
        any::<usize>().prop_map(Mutation::Cut),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(at, octets)| Mutation::Insert(at, octets)),
        (any::<usize>(), any::<usize>()).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        Just(Mutation::FixLength),
    ]
}

fn mutate(datagram: &mut Vec<u8>, mutation: &Mutation) {
    let length = datagram.len();
    if length == 0 {
        return;
    }
    match mutation {
        Mutation::Flip(at, bit) => datagram[at % length] ^= 1 << bit,
        Mutation::Set(at, value) => datagram[at % length] = *value,
        Mutation::Cut(at) => datagram.truncate(at % length),
        Mutation::Insert(at, octets) => {
            let at = at % length;
            datagram.splice(at..at, octets.iter().copied());
        }
        Mutation::Repeat(at, count) => {
            let (at, count) = (at % length, count % 64);
            let piece: Vec<u8> = datagram[at..(at + count).min(length)].to_vec();
            datagram.extend(piece);
        }
        Mutation::FixLength => {
            if let (Ok(total), Some(field)) = (u32::try_from(length), datagram.get_mut(24..28)) {
                field.copy_from_slice(&total.to_be_bytes());
            }
        }
    }
}

fn small_caps() -> gikev2::responder::Config {
    let mut server = server_config();
    server.limits.half_open = 20;
    server.limits.half_open_per_source = 8;
    server.limits.cookie_threshold = 1000;
    server.limits.cookie_threshold_per_source = 1000;
    server
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_octets_do_nothing(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..20)) {
        let mut pair = Pair::new(member_config(), small_caps());
        pair.collect();
        for datagram in &datagrams {
            pair.inject_to_server(member_address(), datagram);
            pair.inject_to_member(datagram);
            let _ = acknowledgement::parse(datagram);
        }
        prop_assert_eq!(pair.server.ike_sa_counts(), (0, 0));
        pair.registered();
    }

    /// A header that looks right, with any payload chain behind it.
    #[test]
    fn arbitrary_payload_chains_are_survived(
        exchange in prop::sample::select(vec![34u8, 35, 36, 37, 39, 40, 41, 42, 43, 44, 240]),
        flags in any::<u8>(),
        first in any::<u8>(),
        chain in prop::collection::vec(any::<u8>(), 0..300),
        zero_responder in any::<bool>(),
    ) {
        let mut datagram = vec![7; 8];
        datagram.extend([if zero_responder { 0 } else { 9 }; 8]);
        datagram.extend([first, 0x20, exchange, flags]);
        datagram.extend([0; 4]);
        let length = u32::try_from(28 + chain.len()).expect("short");
        datagram.extend(length.to_be_bytes());
        datagram.extend(&chain);
        let mut pair = Pair::new(member_config(), small_caps());
        pair.collect();
        pair.inject_to_server(member_address(), &datagram);
        pair.inject_to_member(&datagram);
        prop_assert!(pair.server.ike_sa_counts().0 <= 1);
        pair.registered();
    }

    /// Mutated copies of genuine traffic, thrown in while the genuine exchange runs, do not disturb it.
    #[test]
    fn mutated_traffic_does_not_disturb_a_registration(
        seed in any::<u64>(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut pair = Pair::with_seed(member_config(), small_caps(), 42);
        let mut chooser = Seeded::new(seed);
        let elsewhere = SocketAddr::from(([203, 0, 113, 1], 848));
        for _ in 0..60 {
            pair.run_for(Duration::from_millis(1));
            let Some(index) = pair.wire.len().checked_sub(1) else { continue };
            let chosen = usize::try_from(chooser.below(index as u64 + 1)).expect("small");
            let sighting = pair.wire[chosen].clone();
            let mut payload = sighting.payload.clone();
            for mutation in &mutations {
                mutate(&mut payload, mutation);
            }
            if payload == sighting.payload {
                continue;
            }
            if sighting.to_server {
                pair.inject_to_server(elsewhere, &payload);
            } else if payload.get(18) != Some(&34) {
                // An unauthenticated answer to IKE_SA_INIT that differs only in its keys cannot be told from the
                // real one; everything later can.
                pair.inject_to_member(&payload);
            }
        }
        let registration = pair.registered();
        prop_assert!(registration.data[0].1 == crate::support::grants::data_material());
        let (all, half_open) = pair.server.ike_sa_counts();
        prop_assert!(half_open <= 20 && all <= 30);
    }

    /// Mutated rekeys never change what a member holds.
    #[test]
    fn mutated_rekeys_are_refused(mutations in prop::collection::vec(mutation(), 1..5), cut in any::<bool>()) {
        let signer = ed25519_private_key();
        let (pair, mut receiver) = member(&signer, 5);
        let size = if cut { 548 } else { WHOLE };
        let genuine = worked_example(5, &signer, size);
        let mut forged = genuine[0].clone();
        for mutation in &mutations {
            mutate(&mut forged, mutation);
        }
        prop_assume!(forged != genuine[0]);
        prop_assert!(receiver.handle(pair.now, &forged).is_err());
        crate::support::group::accepted(&mut receiver, pair.now, &genuine);
    }
}

#[test]
fn a_storm_of_openings_stays_under_the_caps() {
    let mut pair = Pair::new(member_config(), small_caps());
    let mut entropy = Seeded::new(3);
    pair.collect();
    let genuine = pair.wire[0].payload.clone();
    for _ in 0..2000 {
        let mut opening = genuine.clone();
        entropy.fill(&mut opening[..8]);
        let source = SocketAddr::from((
            [
                203,
                0,
                113,
                u8::try_from(entropy.below(200)).expect("small"),
            ],
            848,
        ));
        pair.inject_to_server(source, &opening);
        let (all, half_open) = pair.server.ike_sa_counts();
        assert!(all <= 20 && half_open <= 20);
        while pair.server.poll_transmit().is_some() {}
        while pair.server.poll_event().is_some() {}
    }
    pair.link.loss_percent = 100;
    pair.run_for(Duration::from_secs(40));
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
}
