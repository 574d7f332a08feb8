use std::time::Duration;

use gikev2::responder::Refusal;
use gikev2::wire::{
    EncryptionId, Identification, KeyWrapId, Proposal, ProtocolId, Transform, TransformType,
};
use keyserver_api::identity::{IdentityKind, IdentityPattern};
use keyserver_core::audit::{AuditEvent, RefusalCause};

use crate::world::{GROUP, Member, World, policy};

// GET VPN row 66
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

// GET VPN row 24
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
    assert!(world.member(1).keys.is_empty(), "no key is sent");
    assert!(world.audit.iter().any(|event| matches!(event,
        AuditEvent::Refused { identity, cause: RefusalCause::Capabilities, .. }
            if identity == "FQDN:m-1.member.getvpn")));
    assert_eq!(world.member(2).registrations, 1);
}

/// Whether a member with these capabilities may join.
fn joins(capabilities: Vec<Proposal>) -> bool {
    let mut world = World::new(1, 11);
    world.put_policy(&policy()).expect("accepted");
    let mut member = Member::new(1);
    member.capabilities = capabilities;
    world.add(member, 0);
    world.settle();
    let member = world.member(1);
    assert_eq!(
        member.refusal.is_none(),
        member.registrations == 1,
        "admitted or refused"
    );
    assert!(matches!(
        member.refusal,
        None | Some(Refusal::NoProposalChosen)
    ));
    member.registrations == 1
}

fn aes_256_and_key_wrap(esp: u8, rekey: u8) -> Vec<Proposal> {
    let cipher = Transform::encryption(EncryptionId::AES_GCM_16, Some(256));
    let wrap = Transform::key_wrap(KeyWrapId::KW_5649_256);
    vec![
        Proposal::new(esp, ProtocolId::ESP, vec![cipher]),
        Proposal::new(rekey, ProtocolId::GIKE_UPDATE, vec![wrap]),
    ]
}

#[test]
fn an_spi_in_the_capabilities_is_ignored() {
    let mut capabilities = aes_256_and_key_wrap(1, 1);
    capabilities[0].spi = vec![1, 2, 3, 4];
    capabilities[1].spi = vec![5; 16];
    assert!(joins(capabilities));
}

#[test]
fn transform_types_that_do_not_belong_to_a_protocol_are_ignored() {
    let mut capabilities = aes_256_and_key_wrap(1, 1);
    capabilities[0]
        .transforms
        .push(Transform::new(TransformType(200), 7));
    capabilities[0]
        .transforms
        .push(Transform::key_wrap(KeyWrapId(1)));
    capabilities[1]
        .transforms
        .push(Transform::new(TransformType(200), 7));
    assert!(joins(capabilities));
    // A key wrap algorithm counts for the Rekey SA alone, and only there.
    let mut misplaced = aes_256_and_key_wrap(1, 1);
    let wrap = misplaced[1].transforms.remove(0);
    misplaced[0].transforms.push(wrap);
    assert!(!joins(misplaced));
}

#[test]
fn capabilities_are_taken_from_proposals_of_one_number() {
    let poor = |number, protocol, transform| Proposal::new(number, protocol, vec![transform]);
    let other_cipher = || Transform::encryption(EncryptionId::AES_GCM_16, Some(128));
    let other_wrap = || Transform::key_wrap(KeyWrapId(1));
    // The cipher is in set 1 and the key wrap in set 2, each beside something that does not help.
    let mut apart = aes_256_and_key_wrap(1, 2);
    apart.push(poor(1, ProtocolId::GIKE_UPDATE, other_wrap()));
    apart.push(poor(2, ProtocolId::ESP, other_cipher()));
    assert!(!joins(apart.clone()));
    apart.extend(aes_256_and_key_wrap(3, 3));
    assert!(joins(apart));
}

#[test]
fn who_leaves_is_removed_from_that_group_and_no_other() {
    const OTHER: &str = "branch-data";
    let mut world = World::new(1, 12);
    world.put_policy(&policy()).expect("accepted");
    let mut other = policy();
    (other.name, other.group_id) = (OTHER.to_owned(), 4321);
    world.put_policy(&other).expect("accepted");
    world.join(2);
    let mut elsewhere = Member::new(3);
    elsewhere.group = 4321;
    elsewhere.identity = world.member(1).identity.clone();
    world.add(elsewhere, 0);
    world.settle();
    let count = |world: &mut World, group| world.primary().members(group).expect("a group").len();
    assert_eq!((count(&mut world, GROUP), count(&mut world, OTHER)), (2, 1));
    let now = world.now;
    let mut entropy = crate::world::Seeded::new(99);
    let initiator = world.member(1).initiator.as_mut().expect("an IKE SA");
    let group = Identification::group(crate::world::GROUP_ID);
    assert!(initiator.leave(now, &group, false, &mut entropy));
    world.settle();
    assert_eq!((count(&mut world, GROUP), count(&mut world, OTHER)), (1, 1));
    let left = world.primary().members(GROUP).expect("the group");
    assert!(left.iter().all(|row| !row.identity.contains("m-1.")));
}

#[test]
fn who_cannot_use_the_policy_is_removed_and_the_audit_trail_says_why() {
    for policy_unusable in [true, false] {
        let mut world = World::new(1, 14);
        world.put_policy(&policy()).expect("accepted");
        world.join(2);
        let (now, mut entropy) = (world.now, crate::world::Seeded::new(99));
        let initiator = world.member(1).initiator.as_mut().expect("an IKE SA");
        let group = Identification::group(crate::world::GROUP_ID);
        assert!(initiator.leave(now, &group, policy_unusable, &mut entropy));
        world.settle();
        assert_eq!(world.primary().members(GROUP).expect("the group").len(), 1);
        let left = world
            .audit
            .iter()
            .find(|event| matches!(event, AuditEvent::Left { .. }));
        let left = left.expect("an audit record");
        let AuditEvent::Left {
            group,
            identity,
            policy_unusable: found,
            ..
        } = left
        else {
            panic!("{left:?}");
        };
        assert_eq!(group, GROUP);
        assert!(identity.contains("m-1."), "{identity}");
        assert_eq!(*found, policy_unusable);
        let code = if policy_unusable {
            "policy_unusable"
        } else {
            "member_left"
        };
        assert_eq!(left.code(), code);
    }
}

#[test]
fn the_width_of_sender_ids_is_told_to_senders_only() {
    let mut world = World::new(1, 13);
    world.put_policy(&policy()).expect("accepted");
    let mut receiver = Member::new(2);
    receiver.sender = false;
    world.add(Member::new(1), 0);
    world.add(receiver, 0);
    world.settle();
    assert_eq!(world.member(1).sender_id_bits, Some(24));
    assert_eq!(world.member(2).registrations, 1);
    assert_eq!(world.member(2).sender_id_bits, None);
}

// GET VPN row 23
#[test]
fn an_unknown_group_and_a_missing_quorum_are_refused() {
    let mut world = World::new(1, 7);
    world.add(Member::new(1), 0);
    world.settle();
    assert_eq!(world.member(1).refusal, Some(Refusal::InvalidGroupId));
    assert!(world.member(1).keys.is_empty() && world.member(1).receiver.is_none());
    assert!(world.audit.iter().any(|event| matches!(event,
        AuditEvent::Refused { group, cause: RefusalCause::Group, .. } if group == "1234")));
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
            fragmentation: true,
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
