use std::time::Duration;

use gikev2::responder::Refusal;
use gikev2::wire::{EncryptionId, KeyWrapId, Proposal, ProtocolId, Transform};
use keyserver_api::identity::{IdentityKind, IdentityPattern};

use crate::world::{GROUP, Member, World, policy};

#[test]
fn a_member_gets_the_current_and_the_staged_key_from_any_key_server() {
    let mut world = World::new(3, 1);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    for number in 1..=3 {
        assert_eq!(world.member(number).keys.len(), 2);
        assert_eq!(world.member(number).sender_ids.len(), 1);
    }
    let now = world.now;
    let first = world.member(1).outbound(now, 1).expect("a usable key");
    assert_eq!(world.member(2).outbound(now, 1), Some(first));
    assert!(world.member(3).opens(now, first));
}

#[test]
fn prestaged_keys_decide_how_many_keys_a_member_holds() {
    for prestaged in 0..=3 {
        let mut world = World::new(1, 2);
        let mut policy = policy();
        policy.prestaged_keys = prestaged;
        policy.security_associations[0].lifetime_ms = 30_000;
        world.put_policy(&policy).expect("accepted");
        world.join(1);
        assert_eq!(world.member(1).keys.len(), 1 + usize::from(prestaged));
    }
}

#[test]
fn every_registration_gets_fresh_sender_ids_and_replaces_the_earlier_one() {
    let mut world = World::new(2, 3);
    world.put_policy(&policy()).expect("accepted");
    world.join(2);
    let before = world.member(1).sender_ids.clone();
    world.register_again(1, 1);
    world.settle();
    let after = world.member(1).sender_ids.clone();
    assert_ne!(before, after);
    let members = world.primary().members(GROUP).expect("the group");
    assert_eq!(members.len(), 2);
    assert!(members.iter().any(|row| row.sender_ids == after));
}

#[test]
fn a_receiver_gets_no_sender_id() {
    let mut world = World::new(1, 4);
    world.put_policy(&policy()).expect("accepted");
    let mut member = Member::new(1);
    member.sender = false;
    world.add(member, 0);
    world.settle();
    assert_eq!(world.member(1).registrations, 1);
    assert!(world.member(1).sender_ids.is_empty());
    assert_eq!(world.status().sender_ids_used, 0);
}

#[test]
fn only_authorised_identities_and_addresses_are_admitted() {
    let mut world = World::new(1, 5);
    let mut policy = policy();
    let pattern = IdentityPattern {
        kind: IdentityKind::Fqdn,
        value: "m-1.*".to_owned(),
    };
    policy.authorization.identities = vec![pattern];
    world.put_policy(&policy).expect("accepted");
    world.add(Member::new(1), 0);
    world.add(Member::new(2), 0);
    world.settle();
    assert_eq!(world.member(1).registrations, 1);
    assert_eq!(world.member(2).refusal, Some(Refusal::AuthorizationFailed));

    policy.authorization.identities.clear();
    policy.authorization.addresses = vec!["10.1.2.0/24".parse().expect("a network")];
    world.put_policy(&policy).expect("accepted");
    world.register_again(1, 0);
    world.register_again(2, 0);
    world.settle();
    assert_eq!(world.member(1).refusal, Some(Refusal::AuthorizationFailed));
    assert_eq!(world.member(2).registrations, 1);
}

#[test]
fn a_member_without_the_groups_cipher_hears_no_proposal_chosen() {
    let mut world = World::new(1, 6);
    world.put_policy(&policy()).expect("accepted");
    let offering = |cipher| {
        vec![
            Proposal::new(1, ProtocolId::ESP, vec![cipher]),
            Proposal::new(
                1,
                ProtocolId::GIKE_UPDATE,
                vec![Transform::key_wrap(KeyWrapId::KW_5649_256)],
            ),
        ]
    };
    let mut poor = Member::new(1);
    poor.capabilities = offering(Transform::encryption(EncryptionId::AES_GCM_16, Some(128)));
    let mut able = Member::new(2);
    able.capabilities = offering(Transform::encryption(EncryptionId::AES_GCM_16, Some(256)));
    world.add(poor, 0);
    world.add(able, 0);
    world.settle();
    assert_eq!(world.member(1).refusal, Some(Refusal::NoProposalChosen));
    assert_eq!(world.member(2).registrations, 1);
}

#[test]
fn an_unknown_group_and_a_missing_quorum_are_refused() {
    let mut world = World::new(1, 7);
    world.add(Member::new(1), 0);
    world.settle();
    assert_eq!(world.member(1).refusal, Some(Refusal::InvalidGroupId));
    world.put_policy(&policy()).expect("accepted");
    world.settle();
    world.elect(None);
    world.register_again(1, 0);
    world.settle();
    assert_eq!(world.member(1).refusal, Some(Refusal::RegistrationFailed));
    assert_eq!(world.member(1).registrations, 0);
}

#[test]
fn nothing_is_granted_before_it_is_committed() {
    let mut world = World::new(1, 8);
    world.put_policy(&policy()).expect("accepted");
    world.settle();
    world.commits = false;
    world.add(Member::new(1), 0);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.member(1).registrations, 0);
    world.commits = true;
    world.advance(Duration::from_secs(3));
    assert_eq!(world.member(1).registrations, 1);
    let status = world.primary();
    let used = status
        .state()
        .group(crate::world::GROUP_ID)
        .map(|group| group.sender_ids.used());
    assert_eq!(used, Some(1), "proposed several times, granted once");
}

#[test]
fn a_full_sender_id_space_begins_a_new_epoch_with_all_keys_new() {
    let mut world = World::new(1, 9);
    let mut policy = policy();
    policy.sender_id_bits = 8;
    world.put_policy(&policy).expect("accepted");
    world.join(1);
    let old: Vec<_> = world.member(1).keys.keys().copied().collect();
    for _ in 0..255 {
        world.register_again(1, 0);
        world.settle();
    }
    assert_eq!(world.member(1).registrations, 256);
    world.register_again(1, 0);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.member(1).refusal, Some(Refusal::RegistrationFailed));
    assert!(
        world.member(1).excluded,
        "everybody is told to register again"
    );
    world.register_again(1, 0);
    world.settle();
    assert_eq!(world.member(1).sender_ids, [0]);
    assert!(world.member(1).keys.keys().all(|spi| !old.contains(spi)));
    assert_eq!(world.status().epoch, 2);
}

#[test]
fn a_full_tree_refuses_until_the_places_of_those_that_left_are_free_again() {
    use keyserver_core::command::{Action, Command, CommandKey, Register};
    use keyserver_core::identity::MemberIdentity;
    use keyserver_core::outcome::{Outcome, Refused};
    use keyserver_core::secret::SecretBytes;
    use keyserver_core::server::AdminRequest;

    let mut world = World::new(1, 10);
    let mut policy = policy();
    policy.security_associations[0].lifetime_ms = 3_600_000;
    policy.rekey.batch_size = 1_000;
    policy.rekey.retransmit_attempts = 0;
    policy.rekey.eviction_threshold = 1;
    world.put_policy(&policy).expect("accepted");
    world.settle();
    let mut number = 0_u32;
    let mut time = world.primary().state().time();
    let mut register = |world: &mut World| {
        number += 1;
        time = time.plus_millis(1);
        let address = std::net::SocketAddr::from(([10, 200, 0, 1], 848));
        let mut key = [0; 16];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let action = Action::Register(Box::new(Register {
            group_id: crate::world::GROUP_ID,
            identity: MemberIdentity::new(
                &gikev2::wire::Identification::fqdn(&format!("m-{number}")),
                None,
            ),
            sender_ids: 1,
            local: address,
            remote: address,
            acknowledges: true,
            acknowledgement_key: SecretBytes::new(vec![0; 32]),
            tree_entropy: SecretBytes::random(224, &mut world.entropy),
            key_server: String::new(),
        }));
        let command = Command {
            key: CommandKey(key),
            time,
            unix_ms: 0,
            proposer: String::new(),
            action,
        };
        world.commit(&command)
    };
    for _ in 0..16_384 {
        assert!(matches!(register(&mut world), Outcome::Registered { .. }));
    }
    assert_eq!(register(&mut world), Outcome::Refused(Refused::GroupFull));
    // Nobody answers, so all are forgotten; the next key encryption key frees their leaves.
    let group = crate::world::GROUP.to_owned();
    let request = AdminRequest::Rekey {
        group,
        replace: false,
        key_encryption_key: false,
    };
    world.admin(request).expect("a rekey");
    world.advance(Duration::from_secs(3));
    assert_eq!(world.status().members, 0);
    assert_eq!(register(&mut world), Outcome::Refused(Refused::GroupFull));
    world.advance(Duration::from_secs(1));
    assert!(matches!(register(&mut world), Outcome::Registered { .. }));
}
