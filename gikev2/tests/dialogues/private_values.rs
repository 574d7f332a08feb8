//! Private-use numbers travel only between ends that announced our Vendor ID to each other.

use gikev2::crypto::signature::Signer;
use gikev2::rekey::receiver::Receiver;
use gikev2::rekey::sender::KeyUpdate;
use gikev2::responder::Grant;
use gikev2::wire::private::{PrivateUse, VENDOR_ID};
use gikev2::wire::{
    AccessList, Attribute, Direction, Encapsulation, GroupSecurityAssociation, GroupWidePolicy,
    SaPolicy, Spi,
};

use crate::support::group::{accepted, build, ed25519_private_key, new_data_sa};
use crate::support::{Decision, Pair, grants, member_config, server_config};

const PRIVATE: Attribute = Attribute::Short {
    attribute_type: 20_000,
    value: 1,
};

/// Sets every private attribute.
fn fill(gsa: &mut GroupSecurityAssociation) {
    for policy in &mut gsa.policies {
        match policy {
            SaPolicy::Rekey(policy) => policy.unknown = vec![PRIVATE],
            SaPolicy::Data(policy) => {
                policy.activation_delay_ms = Some(1_000);
                policy.association = Some(1);
                policy.pseudotime_window_ms = Some(5_000);
                policy.encapsulation = Some(Encapsulation::Raw);
                policy.lifetime_kilobytes = Some(1 << 20);
                policy.unknown = vec![PRIVATE];
            }
        }
    }
    let group_wide = gsa.group_wide.get_or_insert_with(GroupWidePolicy::default);
    group_wide.pseudotime_ms = Some(1);
    group_wide.access_list = Some(AccessList::default());
    group_wide.direction = Some(Direction::ReceiveOnly);
    group_wide.policy_revision = Some(3);
    group_wide.unknown = vec![PRIVATE];
}

fn grant(signer: &dyn Signer) -> Grant {
    let algorithm = signer.algorithm().algorithm_identifier();
    let mut grant = grants::signed_by(algorithm, signer.public_key_spki().to_vec());
    fill(&mut grant.gsa);
    grant
}

fn announced(pair: &Pair, to_server: bool) -> bool {
    pair.wire
        .iter()
        .filter(|it| it.to_server == to_server)
        .any(|it| {
            it.payload
                .windows(VENDOR_ID.len())
                .any(|octets| octets == VENDOR_ID)
        })
}

#[test]
fn a_member_without_the_vendor_id_gets_no_private_value_and_gives_none() {
    let mut member = member_config();
    member.private_extensions = false;
    let mut pair = Pair::new(member, server_config());
    pair.decide = Box::new(|request| {
        assert!(
            !request.acknowledges,
            "it cannot ask for what it does not know"
        );
        Decision::accept(grant(&ed25519_private_key()))
    });
    let registration = pair.registered();
    assert!(!announced(&pair, true) && !announced(&pair, false));
    // What it does not know would show among the unknown attributes.
    assert_eq!(registration.gsa, grants::plain().gsa);
    assert_eq!(registration.registration_id, None);

    // The same from one that has it, for comparison.
    let mut pair = Pair::new(member_config(), server_config());
    pair.decide = Box::new(|_| Decision::accept(grant(&ed25519_private_key())));
    let registration = pair.registered();
    assert!(announced(&pair, true) && announced(&pair, false));
    let mut filled = grants::plain().gsa;
    fill(&mut filled);
    assert_eq!(registration.gsa, filled);
    assert_eq!(registration.registration_id, Some(grants::REGISTRATION_ID));
}

/// A GSA_REKEY is one message for everybody, so a group of both has private attributes in it. They are nothing to a
/// member whose key server did not send the Vendor ID.
#[test]
fn private_values_in_the_rekeys_of_another_make_are_not_taken() {
    for ours in [true, false] {
        let mut server = server_config();
        server.private_extensions = ours;
        let mut pair = Pair::new(member_config(), server);
        pair.decide = Box::new(|_| Decision::accept(grant(&ed25519_private_key())));
        let mut registration = pair.registered();
        assert_eq!(registration.private, PrivateUse::of_peer(ours));
        let mut receiver = Receiver::from_registration(pair.now, &mut registration)
            .expect("usable")
            .expect("a Rekey SA");
        let spi = Spi(0xc0ff_ee02);
        let mut gsa = new_data_sa(spi);
        fill(&mut gsa);
        let key = grants::counting(7, 36);
        let keys = KeyUpdate {
            data: vec![(spi, &key)],
            ..KeyUpdate::default()
        };
        let rekey = build(0, Some(&gsa), keys, &[], &ed25519_private_key());
        let message = accepted(&mut receiver, pair.now, &[rekey]);
        assert_eq!(message.acknowledgement.is_some(), ours);
        let taken = message.gsa.expect("a policy");
        if ours {
            assert_eq!(taken, gsa);
        } else {
            let policy = taken.data().next().expect("a data SA");
            assert_eq!(
                (policy.association, policy.activation_delay_ms),
                (None, None)
            );
            assert_eq!(
                (policy.encapsulation, policy.pseudotime_window_ms),
                (None, None)
            );
            assert_eq!(taken.without_private_attributes(), new_data_sa(spi));
        }
    }
}
