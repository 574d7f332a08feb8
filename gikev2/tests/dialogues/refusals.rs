//! Every refusal of a registration, and messages that do not belong where they arrive.

use std::time::Duration;

use gikev2::initiator::{Event, InitiatorError};
use gikev2::responder::{self, Refusal, RejectReason};
use gikev2::wire::{AddressRange, Identification, Spi};

use crate::support::{Decision, Pair, grants, member_address, member_config, server_config};

#[test]
fn every_refusal_reaches_the_member_authenticated_and_leaves_the_ike_sa_up() {
    for refusal in [
        Refusal::InvalidGroupId,
        Refusal::AuthorizationFailed,
        Refusal::RegistrationFailed,
        Refusal::NoProposalChosen,
    ] {
        let mut pair = Pair::new(member_config(), server_config());
        pair.decide = Box::new(move |_| Decision::Refuse(refusal));
        match pair.outcome() {
            Event::Refused(heard) => assert_eq!(heard, refusal),
            other => panic!("{other:?}"),
        }
        assert!(
            pair.rejections()
                .contains(&&RejectReason::Registration(refusal))
        );
        // The IKE SA is up: another group may be tried over it.
        pair.decide = Box::new(|_| Decision::accept(grants::plain()));
        let parameters = crate::support::registration_parameters();
        assert!(
            pair.member
                .register(pair.now, parameters, &mut pair.entropy)
        );
        pair.registered();
    }
}

#[test]
fn a_name_that_cannot_be_a_group_is_refused_without_asking_the_owner() {
    let mut member = member_config();
    if let gikev2::initiator::Purpose::Registration(parameters) = &mut member.purpose {
        parameters.group = Identification::key_id(b"abc");
    }
    let mut pair = Pair::new(member, server_config());
    assert!(matches!(
        pair.outcome(),
        Event::Refused(Refusal::InvalidGroupId)
    ));
    assert!(pair.open_registrations.is_empty());
}

#[test]
fn an_identity_that_is_not_an_allowed_key_server_is_refused_even_with_the_right_key() {
    let mut server = server_config();
    server.identity = Identification::fqdn("ks-0.somewhere.else");
    let mut pair = Pair::new(member_config(), server);
    match pair.outcome() {
        Event::Failed(InitiatorError::Authentication(error)) => {
            assert_eq!(
                error,
                gikev2::exchange::authentication::AuthenticationError::IdentityNotAllowed
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grant_that_does_not_fit_the_wire_is_told_as_registration_failed() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.decide = Box::new(|_| Decision::Wait);
    pair.run_for(Duration::from_millis(300));
    let handle = pair.open_registrations[0].0;
    let mut grant = grants::plain();
    grant.keys.auth_key = Some(vec![0; 70_000]);
    let outcome = pair
        .server
        .accept(pair.now, handle, grant, &mut pair.entropy);
    assert_eq!(outcome, Err(responder::AnswerError::Encoding));
    assert!(matches!(
        pair.outcome(),
        Event::Refused(Refusal::RegistrationFailed)
    ));
}

/// A hostile or broken key server: policy and keys that do not belong together.
#[test]
fn a_member_takes_no_grant_whose_keys_do_not_fit_the_policy() {
    type Case = (&'static str, fn() -> responder::Grant);
    let broken: Vec<Case> = vec![
        ("a data key is missing", || {
            let mut grant = grants::plain();
            grant.keys.data.clear();
            grant
        }),
        ("a key without policy", || {
            let mut grant = grants::plain();
            grant
                .keys
                .data
                .push((Spi(0xdead_beef), grants::data_material()));
            grant
        }),
        ("a data key given twice", || {
            let mut grant = grants::plain();
            grant
                .keys
                .data
                .push((grants::DATA_SPI, grants::data_material()));
            grant
        }),
        ("a data key without its salt", || {
            let mut grant = grants::plain();
            grant.keys.data[0].1 = grants::counting(0, 32);
            grant
        }),
        ("a Rekey SA key of the wrong length", || {
            let mut grant = grants::plain();
            let spi = grants::REKEY_SPI;
            let key = responder::RekeyKey::Plain(grants::counting(0, 36));
            grant.keys.rekey = Some(responder::RekeyKeyGrant { spi, key });
            grant
        }),
        ("a Rekey SA key for another SPI", || {
            let mut grant = grants::plain();
            let spi = gikev2::wire::RekeySpi([9; 16]);
            let key = responder::RekeyKey::Plain(grants::rekey_material());
            grant.keys.rekey = Some(responder::RekeyKeyGrant { spi, key });
            grant
        }),
        ("no Rekey SA key", || {
            let mut grant = grants::plain();
            grant.keys.rekey = None;
            grant
        }),
        ("more Sender-IDs than asked for", || {
            let mut grant = grants::plain();
            grant.keys.sender_ids = vec![5, 6];
            grant
        }),
        ("a Sender-ID wider than announced", || {
            let mut grant = grants::plain();
            grant.keys.sender_ids = vec![1 << 24];
            grant
        }),
        ("Sender-IDs without a width", || {
            let mut grant = grants::plain();
            grant.gsa.group_wide = None;
            grant
        }),
        ("no SA at all", || {
            let mut grant = grants::plain();
            grant.gsa.policies.clear();
            grant.keys = responder::GrantKeys::default();
            grant
        }),
        ("64-bit sequence numbers", || {
            let mut grant = grants::plain();
            if let Some(gikev2::wire::SaPolicy::Data(policy)) = grant.gsa.policies.get_mut(1) {
                policy.transforms[1].id = 1;
            }
            grant
        }),
        ("a data SA with a cipher that is not authenticated", || {
            let mut grant = grants::plain();
            if let Some(gikev2::wire::SaPolicy::Data(policy)) = grant.gsa.policies.get_mut(1) {
                policy.transforms[0].id = 12;
            }
            grant
        }),
        ("two data SAs with one SPI", || {
            let mut grant = grants::plain();
            let double = grant.gsa.policies[1].clone();
            grant.gsa.policies.push(double);
            grant
        }),
        ("a reserved SPI", || {
            let mut grant = grants::plain();
            if let Some(gikev2::wire::SaPolicy::Data(policy)) = grant.gsa.policies.get_mut(1) {
                policy.spi = Spi(255);
            }
            grant.keys.data[0].0 = Spi(255);
            grant
        }),
        ("selectors of two address families", || {
            let mut grant = grants::plain();
            if let Some(gikev2::wire::SaPolicy::Data(policy)) = grant.gsa.policies.get_mut(1) {
                policy.source.addresses = AddressRange::ANY_V6;
            }
            grant
        }),
    ];
    for (what, grant) in broken {
        let mut pair = Pair::new(member_config(), server_config());
        pair.decide = Box::new(move |_| Decision::accept(grant()));
        match pair.outcome() {
            Event::Unusable(_)
            | Event::Failed(InitiatorError::PayloadSet(_) | InitiatorError::Malformed(_)) => {}
            // What cannot even be written is refused by the key server itself.
            Event::Refused(Refusal::RegistrationFailed) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_member_that_cannot_use_the_policy_says_so_with_no_proposal_chosen() {
    const GSA_REGISTRATION: u8 = 40;
    for again in [false, true] {
        let mut pair = Pair::new(member_config(), server_config());
        if again {
            // Over an IKE SA that stands, too.
            pair.decide = Box::new(|_| Decision::accept(grants::plain()));
            pair.registered();
        }
        pair.decide = Box::new(|_| {
            let mut grant = grants::plain();
            if let Some(gikev2::wire::SaPolicy::Data(policy)) = grant.gsa.policies.get_mut(1) {
                // AES-CBC.
                policy.transforms[0].id = 12;
            }
            Decision::accept(grant)
        });
        if again {
            let parameters = crate::support::registration_parameters();
            assert!(
                pair.member
                    .register(pair.now, parameters, &mut pair.entropy)
            );
        }
        match pair.outcome() {
            Event::Unusable(rule) => assert_eq!(rule, "a data SA's cipher is not supported"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(pair.outcome(), Event::Left), "it was confirmed");
        let group = Identification::group(crate::support::GROUP);
        let told = pair.server_events.iter().any(|event| {
            matches!(event, responder::Event::Left { group: left, reason, .. }
                if *left == group && *reason == gikev2::wire::NotifyType::NO_PROPOSAL_CHOSEN)
        });
        assert!(told, "{:?}", pair.server_events);
        let last = |to_server| {
            let found = pair.wire.iter().rfind(|it| it.to_server == to_server);
            found.expect("a message").payload.clone()
        };
        let (request, answer) = (last(true), last(false));
        assert_eq!(
            (request[18], answer[18]),
            (GSA_REGISTRATION, GSA_REGISTRATION)
        );
        assert_eq!(answer[28], 0, "the answer has no payload inside");
        assert_eq!(pair.server.ike_sa_counts(), (1, 0), "the IKE SA is up");
    }
}

#[test]
fn a_receiver_only_member_gets_no_sender_ids() {
    let mut member = member_config();
    if let gikev2::initiator::Purpose::Registration(parameters) = &mut member.purpose {
        parameters.sender_ids = None;
    }
    let mut pair = Pair::new(member, server_config());
    pair.decide = Box::new(|request| {
        assert_eq!(request.sender_ids, None);
        let mut grant = grants::plain();
        grant.keys.sender_ids.clear();
        Decision::accept(grant)
    });
    assert!(pair.registered().sender_ids.is_empty());
}

#[test]
fn a_message_in_the_wrong_state_leaves_no_trace() {
    // Record a whole registration, then play its GSA_AUTH at a key server that has only seen IKE_SA_INIT of another
    // IKE SA, with the SPIs patched in.
    let mut recorded = Pair::new(member_config(), server_config());
    recorded.registered();
    let gsa_auth = recorded
        .wire
        .iter()
        .find(|s| s.to_server && s.payload[18] == 39)
        .expect("GSA_AUTH")
        .clone();

    let mut pair = Pair::with_seed(member_config(), server_config(), 2);
    pair.run_for(Duration::from_millis(8));
    let answer = pair
        .wire
        .iter()
        .find(|s| !s.to_server)
        .expect("IKE_SA_INIT answer")
        .payload
        .clone();
    let before = pair.wire.len();
    for message_id in 0..4u32 {
        for exchange in [34, 35, 36, 37, 39, 40, 41, 42, 43, 44, 240] {
            let mut forged = gsa_auth.payload.clone();
            forged[..16].copy_from_slice(&answer[..16]);
            forged[18] = exchange;
            forged[20..24].copy_from_slice(&message_id.to_be_bytes());
            pair.inject_to_server(member_address(), &forged);
        }
    }
    assert_eq!(pair.server.poll_transmit(), None);
    assert!(pair.server.poll_event().is_none());
    assert_eq!(pair.wire.len(), before);
    pair.registered();
}

#[test]
fn a_response_flag_or_the_wrong_direction_is_ignored() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    let request = pair
        .wire
        .iter()
        .rfind(|s| s.to_server)
        .expect("GSA_AUTH")
        .payload
        .clone();
    for flags in [0x00, 0x20, 0x28] {
        let mut forged = request.clone();
        forged[19] = flags;
        pair.inject_to_server(member_address(), &forged);
    }
    assert!(pair.server.poll_transmit().is_none());
    // The member's own requests thrown back at it.
    pair.inject_to_member(&request);
    assert!(pair.member.poll_transmit().is_none() && pair.member.poll_event().is_none());
}
