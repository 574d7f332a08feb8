//! Several groups on the same key servers, of which each is for itself.

use std::time::Duration;

use gikev2::initiator::Refusal;
use keyserver_api::identity::{IdentityKind, IdentityPattern};
use keyserver_api::policy::GroupPolicy;
use keyserver_api::status::GroupStatus;
use keyserver_core::audit::{AuditEvent, RefusalCause};
use keyserver_core::server::AdminRequest;

use crate::world::{Member, World, policy};

const NAMES: [&str; 3] = ["first", "second", "third"];

/// The policy of the group with this number, from 0; keys that no test outlives.
fn numbered(number: u32) -> GroupPolicy {
    let mut policy = policy();
    policy.name = NAMES[number as usize].to_owned();
    policy.group_id = 100 + number;
    policy.security_associations[0].lifetime_ms = 3_600_000;
    policy
}

fn status(world: &mut World, name: &str) -> GroupStatus {
    let now = world.now;
    world.primary().group_status(now, name).expect("the group")
}

/// What must not change because of another group.
fn essence(world: &mut World, name: &str) -> (Vec<String>, Option<(String, u32)>, Vec<String>) {
    let status = status(world, name);
    let rows = world.primary().members(name).expect("the group");
    (
        status.traffic_keys.into_iter().map(|key| key.spi).collect(),
        status.rekey_sa.map(|sa| (sa.spi, sa.next_message_id)),
        rows.into_iter().map(|row| row.registration_id).collect(),
    )
}

// GET VPN row 14
#[test]
fn rekeying_or_deleting_one_group_leaves_the_others_as_they_are() {
    let mut world = World::new(3, 80);
    for number in 0..3 {
        world.put_policy(&numbered(number)).expect("accepted");
    }
    for number in 0..3_u8 {
        let mut member = Member::new(number + 1);
        member.group = 100 + u32::from(number);
        world.add(member, usize::from(number));
    }
    world.settle();
    let before = [essence(&mut world, "first"), essence(&mut world, "third")];
    let second = essence(&mut world, "second");
    let request = AdminRequest::Rekey {
        group: "second".to_owned(),
        replace: true,
        key_encryption_key: true,
    };
    world.admin(request).expect("a rekey");
    world.advance(Duration::from_secs(5));
    assert_ne!(essence(&mut world, "second"), second);
    assert_eq!(
        [essence(&mut world, "first"), essence(&mut world, "third")],
        before
    );
    let request = AdminRequest::DeleteGroup {
        group: "second".to_owned(),
    };
    world.admin(request).expect("deleted");
    world.advance(Duration::from_secs(5));
    assert_eq!(world.primary().group_names(), ["first", "third"]);
    assert_eq!(
        [essence(&mut world, "first"), essence(&mut world, "third")],
        before
    );
    for number in [1, 3] {
        assert_eq!(world.member(number).registrations, 1);
        assert!(world.member(number).rekeys.is_empty());
    }
}

// GET VPN row 46
#[test]
fn who_may_join_one_group_may_not_join_another() {
    let mut world = World::new(1, 81);
    for (number, member) in [(0, "m-1.*"), (1, "m-2.*")] {
        let mut policy = numbered(number);
        policy.authorization.identities = vec![IdentityPattern {
            kind: IdentityKind::Fqdn,
            value: member.to_owned(),
        }];
        world.put_policy(&policy).expect("accepted");
    }
    let before = essence(&mut world, "second");
    let mut member = Member::new(1);
    member.group = 101;
    world.add(member, 0);
    world.settle();
    assert_eq!(world.member(1).refusal, Some(Refusal::AuthorizationFailed));
    assert!(world.member(1).keys.is_empty());
    assert!(world.audit.iter().any(|event| matches!(event,
        AuditEvent::Refused { group, identity, cause: RefusalCause::Identity, .. }
            if group == "second" && identity == "FQDN:m-1.member.getvpn")));
    assert_eq!(essence(&mut world, "second"), before);
    world.member(1).group = 100;
    world.register_again(1, 0);
    world.settle();
    assert_eq!(world.member(1).registrations, 1, "its own group is open");
}
