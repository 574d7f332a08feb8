//! GSA_INBAND_REKEY: keys over the member's own IKE SA, confirmed like any IKEv2 request.

use std::time::Duration;

use gikev2::initiator::{Event, InbandRekey as Received};
use gikev2::responder::{self, IkeSaHandle, InbandError, InbandRekey};
use gikev2::wire::{Delete, GroupSecurityAssociation, GroupWidePolicy, RekeySpi, SaPolicy, Spi};

use crate::support::grants::{self, counting};
use crate::support::group::{
    SECOND_REKEY_SPI, WHOLE, accepted, delete_data, ed25519_private_key, member, new_data_sa,
    rekey_sa_keys, worked_example,
};
use crate::support::{Pair, Sighting, member_config, server_config};

/// Exchange type of GSA_INBAND_REKEY.
const EXCHANGE: u8 = 42;
const SPI: Spi = Spi(0xc0ff_ee02);

fn registered() -> (Pair, IkeSaHandle) {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    let ike_sa = pair.open_registrations[0].0.ike_sa();
    (pair, ike_sa)
}

/// One new data SA in place of the registered one.
fn new_key() -> InbandRekey {
    InbandRekey::Keys {
        gsa: new_data_sa(SPI),
        rekey: None,
        data: vec![(SPI, counting(0xc0, 36))],
    }
}

fn send(pair: &mut Pair, ike_sa: IkeSaHandle, rekey: &InbandRekey) -> Result<(), InbandError> {
    pair.server
        .rekey_inband(pair.now, ike_sa, rekey, &mut pair.entropy)
}

fn taken(pair: &mut Pair) -> Box<Received> {
    match pair.outcome() {
        Event::Rekeyed(rekey) => rekey,
        other => panic!("{other:?}"),
    }
}

fn confirmations(pair: &Pair) -> usize {
    pair.server_events
        .iter()
        .filter(|event| matches!(event, responder::Event::InbandRekeyed { .. }))
        .count()
}

/// What was sent in this exchange, in one direction.
fn sighted(pair: &Pair, to_server: bool) -> Vec<Sighting> {
    pair.wire
        .iter()
        .filter(|it| it.to_server == to_server && it.payload[18] == EXCHANGE)
        .cloned()
        .collect()
}

#[test]
fn a_member_answers_an_inband_rekey_with_an_empty_message() {
    let (mut pair, ike_sa) = registered();
    send(&mut pair, ike_sa, &new_key()).expect("sent");
    let rekey = taken(&mut pair);
    assert_eq!(rekey.gsa, Some(new_data_sa(SPI)));
    assert!(rekey.data == [(SPI, counting(0xc0, 36))]);
    assert_eq!(confirmations(&pair), 1);

    let (requests, answers) = (sighted(&pair, false), sighted(&pair, true));
    assert_eq!((requests.len(), answers.len()), (1, 1));
    // The key server is the responder of this IKE SA, and this is its first request.
    assert_eq!(requests[0].payload[19..24], [0x00, 0, 0, 0, 0]);
    assert_eq!(answers[0].payload[19..24], [0x28, 0, 0, 0, 0]);
    // Header, SK header, IV, Pad Length and ICV, with no payload inside.
    assert_eq!(answers[0].payload[28], 0);
    assert_eq!(answers[0].payload.len(), 28 + 4 + 8 + 1 + 16);

    // A repetition gets the same answer and installs nothing a second time.
    pair.inject_to_member(&requests[0].payload);
    pair.collect();
    let answers = sighted(&pair, true);
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].payload, answers[1].payload);
    assert!(pair.member_events.is_empty());
    // A message that does not verify gets nothing, and its number is not used up.
    let mut forged = requests[0].payload.clone();
    forged[23] = 1;
    pair.inject_to_member(&forged);
    pair.collect();
    assert_eq!(sighted(&pair, true).len(), 2);
    send(&mut pair, ike_sa, &new_key()).expect("sent");
    taken(&mut pair);
}

#[test]
fn an_inband_rekey_gets_through_a_bad_link_once() {
    for seed in 1..30 {
        let mut pair = Pair::with_seed(member_config(), server_config(), seed);
        pair.registered();
        let ike_sa = pair.open_registrations[0].0.ike_sa();
        (pair.link.loss_percent, pair.link.duplicate_percent) = (30, 30);
        pair.link.jitter = Duration::from_millis(200);
        send(&mut pair, ike_sa, &new_key()).expect("sent");
        let again = send(&mut pair, ike_sa, &new_key());
        assert_eq!(again, Err(InbandError::Unavailable), "one at a time");
        taken(&mut pair);
        pair.run_for(Duration::from_secs(60));
        let rekeyed = |event: &Event| matches!(event, Event::Rekeyed(_));
        assert!(!pair.member_events.iter().any(rekeyed), "seed {seed}");
        assert_eq!(confirmations(&pair), 1, "seed {seed}");
    }
}

#[test]
fn a_long_inband_rekey_travels_as_fragments() {
    let mut config = server_config();
    config.fragment_size = 548;
    let mut pair = Pair::new(member_config(), config);
    pair.registered();
    let ike_sa = pair.open_registrations[0].0.ike_sa();
    pair.link.jitter = Duration::from_millis(50);
    let spis: Vec<Spi> = (0..20).map(|number| Spi(0x1000 + number)).collect();
    let policy = |spi: &Spi| SaPolicy::Data(grants::data_policy(*spi));
    let rekey = InbandRekey::Keys {
        gsa: GroupSecurityAssociation {
            policies: spis.iter().map(policy).collect(),
            group_wide: Some(grants::group_wide(false)),
        },
        rekey: None,
        data: spis.iter().map(|spi| (*spi, counting(7, 36))).collect(),
    };
    send(&mut pair, ike_sa, &rekey).expect("sent");
    assert_eq!(taken(&mut pair).data.len(), 20);
    let requests = sighted(&pair, false);
    assert!(requests.len() > 3 && requests.iter().all(|it| it.payload[16] == 53));
    // The answer belongs to the first fragment: that one alone asks for it again.
    for (index, fragment) in requests.iter().enumerate() {
        let before = sighted(&pair, true).len();
        pair.inject_to_member(&fragment.payload);
        pair.collect();
        let answered = sighted(&pair, true).len() - before;
        assert_eq!(answered, usize::from(index == 0), "fragment {index}");
    }
}

#[test]
fn inband_deletions_are_those_of_a_rekey() {
    let (mut pair, ike_sa) = registered();
    let nothing = send(&mut pair, ike_sa, &InbandRekey::Deletes(Vec::new()));
    assert!(matches!(nothing, Err(InbandError::Content(_))));
    let named = InbandRekey::Deletes(vec![delete_data(grants::DATA_SPI)]);
    send(&mut pair, ike_sa, &named).expect("sent");
    let rekey = taken(&mut pair);
    assert!(rekey.gsa.is_none() && rekey.data.is_empty());
    assert_eq!(rekey.deletes.data, [grants::DATA_SPI]);
    pair.run_for(Duration::from_millis(100));
    let out = InbandRekey::Deletes(vec![Delete::all_data(), Delete::exclusion()]);
    send(&mut pair, ike_sa, &out).expect("sent");
    let rekey = taken(&mut pair);
    assert!(rekey.deletes.all_data && rekey.deletes.excluded);
}

/// The Rekey SA of a group can be replaced inband too: the same AUTH_KEY goes on.
#[test]
fn an_inband_rekey_can_replace_the_rekey_sa() {
    let signer = ed25519_private_key();
    let (mut pair, mut receiver) = member(&signer, 0);
    let ike_sa = pair.open_registrations[0].0.ike_sa();
    let gsa = GroupSecurityAssociation {
        policies: vec![SaPolicy::Rekey(grants::rekey_policy(
            SECOND_REKEY_SPI,
            None,
        ))],
        group_wide: Some(grants::group_wide(false)),
    };
    let material = counting(0x55, 68);
    let rekey = InbandRekey::Keys {
        gsa,
        rekey: Some((SECOND_REKEY_SPI, material.duplicate())),
        data: Vec::new(),
    };
    send(&mut pair, ike_sa, &rekey).expect("sent");
    let rekey = taken(&mut pair);
    let new = receiver.handle_inband(pair.now, &rekey).expect("usable");
    assert_eq!(new, Some(SECOND_REKEY_SPI));
    assert_eq!(receiver.current(), Some(SECOND_REKEY_SPI));
    let gsa = new_data_sa(Spi(0xc0ff_ee03));
    let key = counting(7, 36);
    let message = gikev2::rekey::sender::RekeyMessage {
        spi: SECOND_REKEY_SPI,
        message_id: 0,
        gsa: Some(&gsa),
        keys: gikev2::rekey::sender::KeyUpdate {
            data: vec![(Spi(0xc0ff_ee03), &key)],
            ..Default::default()
        },
        deletes: &[],
        notifies: &[],
    };
    let over_new = gikev2::rekey::sender::build(&message, &rekey_sa_keys(&material), &signer, None);
    accepted(&mut receiver, pair.now, &over_new.expect("a message"));
    // The old one goes after DTD, and at once when it is deleted by name.
    accepted(&mut receiver, pair.now, &worked_example(0, &signer, WHOLE));
    pair.run_for(Duration::from_millis(100));
    let delete = InbandRekey::Deletes(vec![Delete::Rekey(vec![grants::REKEY_SPI])]);
    send(&mut pair, ike_sa, &delete).expect("sent");
    let rekey = taken(&mut pair);
    receiver.handle_inband(pair.now, &rekey).expect("usable");
    let late = receiver.handle(pair.now, &worked_example(1, &signer, WHOLE)[0]);
    assert!(late.is_err(), "{late:?}");
}

#[test]
fn a_key_server_sends_no_attribute_inband_that_has_no_place_there() {
    let (mut pair, ike_sa) = registered();
    let broken = |change: fn(&mut GroupSecurityAssociation)| {
        let mut gsa = GroupSecurityAssociation {
            policies: vec![
                SaPolicy::Rekey(grants::rekey_policy(SECOND_REKEY_SPI, None)),
                SaPolicy::Data(grants::data_policy(SPI)),
            ],
            group_wide: Some(GroupWidePolicy::default()),
        };
        change(&mut gsa);
        InbandRekey::Keys {
            gsa,
            rekey: Some((SECOND_REKEY_SPI, counting(0x55, 68))),
            data: vec![(SPI, counting(7, 36))],
        }
    };
    type Change = fn(&mut GroupSecurityAssociation);
    let changes: [(&str, Change); 5] = [
        ("GSA_INITIAL_MESSAGE_ID", |gsa| {
            rekey_of(gsa).initial_message_id = Some(4)
        }),
        ("GSA_NEXT_SPI of the Rekey SA", |gsa| {
            rekey_of(gsa).next_spis = vec![RekeySpi([9; 16])];
        }),
        ("GSA_NEXT_SPI of a data SA", |gsa| {
            if let Some(SaPolicy::Data(policy)) = gsa.policies.last_mut() {
                policy.next_spis = vec![Spi(0x9999)];
            }
        }),
        ("GCAUTH", |gsa| {
            *rekey_of(gsa) = grants::rekey_policy(SECOND_REKEY_SPI, Some(grants::ED25519));
        }),
        ("GWP_SENDER_ID_BITS", |gsa| {
            gsa.group_wide = Some(grants::group_wide(true))
        }),
    ];
    for (what, change) in changes {
        let outcome = send(&mut pair, ike_sa, &broken(change));
        assert!(
            matches!(outcome, Err(InbandError::Content(_))),
            "{what}: {outcome:?}"
        );
    }
    assert!(sighted(&pair, false).is_empty());
    send(&mut pair, ike_sa, &broken(|_| {})).expect("what is left is in order");
    assert_eq!(taken(&mut pair).data.len(), 1);
}

fn rekey_of(gsa: &mut GroupSecurityAssociation) -> &mut gikev2::wire::RekeySaPolicy {
    match gsa.policies.first_mut() {
        Some(SaPolicy::Rekey(policy)) => policy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_an_answer_the_ike_sa_is_given_up_and_a_wanted_delete_waits_for_one() {
    let (mut pair, ike_sa) = registered();
    let begun = pair.now;
    send(&mut pair, ike_sa, &new_key()).expect("sent");
    pair.server
        .delete_ike_sa(pair.now, ike_sa, &mut pair.entropy);
    taken(&mut pair);
    assert!(matches!(pair.outcome(), Event::Deleted));
    assert!(
        pair.now < begun + Duration::from_secs(2),
        "not when it is idle"
    );
    assert_eq!(confirmations(&pair), 1);
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
    let gone = send(&mut pair, ike_sa, &new_key());
    assert_eq!(gone, Err(InbandError::Unavailable));

    let (mut pair, ike_sa) = registered();
    pair.link.loss_percent = 100;
    send(&mut pair, ike_sa, &new_key()).expect("sent");
    pair.run_for(Duration::from_secs(200));
    assert_eq!(pair.server.ike_sa_counts(), (0, 0));
    assert_eq!(confirmations(&pair), 0);
    let requests = sighted(&pair, false);
    assert!(requests.len() > 2);
    assert!(requests.iter().all(|it| it.payload == requests[0].payload));
}

#[test]
fn who_is_in_no_group_takes_no_inband_rekey() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.decide =
        Box::new(|_| crate::support::Decision::Refuse(responder::Refusal::RegistrationFailed));
    assert!(matches!(pair.outcome(), Event::Refused(_)));
    let ike_sa = pair.open_registrations[0].0.ike_sa();
    send(&mut pair, ike_sa, &new_key()).expect("sent");
    pair.run_for(Duration::from_secs(3));
    assert!(pair.member_events.is_empty());
    assert!(sighted(&pair, true).is_empty());
}
