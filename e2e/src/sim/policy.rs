//! The policy of simulated groups: short lives, so that minutes see many rekeys.

use keyserver_api::policy::{
    Action, AntiReplay, Authorization, Direction, Encapsulation, EspEncryption, GroupPolicy,
    RekeyPolicy, Rule, SecurityAssociationPolicy, SignatureAlgorithm,
};

use super::chance::Chance;

/// Number of the group.
pub(super) const GROUP_ID: u32 = 1234;
/// Its name.
pub(super) const GROUP: &str = "simulated";

/// The policy of a world. Rekeys are signed with Ed25519: a signature of RSA costs as much as everything else together.
pub(super) fn policy(chance: &mut Chance) -> GroupPolicy {
    let anti_replay = match chance.below(3) {
        0 => AntiReplay::TimeBased { window_ms: 5_000 },
        _ => AntiReplay::Counter,
    };
    let prestaged = if chance.per_mille(800) { 1 } else { 2 };
    GroupPolicy {
        name: GROUP.to_owned(),
        group_id: GROUP_ID,
        direction: Direction::Both,
        sender_id_bits: if chance.per_mille(300) { 8 } else { 24 },
        prestaged_keys: prestaged,
        activation_delay_ms: 2_000,
        deactivation_delay_ms: 6_000,
        authorization: Authorization::default(),
        rekey: RekeyPolicy {
            signature: SignatureAlgorithm::Ed25519,
            kek_lifetime_seconds: 300,
            lead_time_seconds: 10,
            retransmit_attempts: 3,
            retransmit_period_ms: 1_000,
            acknowledgement_timeout_ms: 500,
            ..RekeyPolicy::default()
        },
        security_associations: vec![SecurityAssociationPolicy {
            name: "all".to_owned(),
            order: 100,
            encryption: EspEncryption::Aes256Gcm,
            lifetime_ms: 30_000,
            lifetime_kilobytes: 0,
            anti_replay,
            encapsulation: Encapsulation::Udp,
            rules: vec![Rule {
                name: "all".to_owned(),
                action: Action::Permit,
                protocol: None,
                source: "10.0.0.0/8".parse().expect("a network"),
                destination: "10.0.0.0/8".parse().expect("a network"),
                source_ports: Vec::new(),
                destination_ports: Vec::new(),
            }],
        }],
    }
}
