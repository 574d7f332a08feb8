//! What a message says about a group: GSA policies for its keys at one moment (RFC 9838 §4.4).

use gikev2::wire::{AddressRange, PortRange};
use gikev2::wire::{
    DataSaPolicy, Direction, Encapsulation, EncryptionId, GroupSecurityAssociation,
    GroupWidePolicy, KeyWrapId, RekeySaPolicy, SaPolicy, TrafficSelector, Transform,
};
use keyserver_api::policy::{self, AntiReplay, GroupPolicy, RekeyTransport};

use crate::log_time::LogTime;
use crate::policy_terms;
use crate::state::rekey_sa::RekeySa;
use crate::state::traffic_key::{Association, Associations, Chain, TrafficKey};

/// The key wrap algorithm of every Rekey SA, as of every IKE SA: no cipher here has a longer key (RFC 9838 §3.1).
const KEY_WRAP: KeyWrapId = KeyWrapId::KW_5649_256;

/// Octets of a Rekey SA's keying material: GSK_e of AES-GCM-256 with its salt, and GSK_w of KW_5649_256.
pub const REKEY_KEYING_MATERIAL_OCTETS: usize = 36 + 32;

/// UDP port of G-IKEv2.
const PORT: u16 = 848;
/// IP protocol number of UDP.
const UDP: u8 = 17;

/// A traffic key with what a policy has to say about it.
#[derive(Clone, Copy)]
pub struct KeyOfGroup<'a> {
    /// The association it belongs to.
    pub association: &'a Association,
    /// 4 or 6.
    pub family: u8,
    /// The key.
    pub key: &'a TrafficKey,
}

/// The keys a member must hold at `time`: of each chain in force the current one and all staged ones.
pub fn current_and_staged(associations: &Associations, time: LogTime) -> Vec<KeyOfGroup<'_>> {
    let keys_of = |chain: &Chain| -> Vec<usize> {
        let current = chain.current(time).map(|key| key.number);
        chain
            .keys()
            .iter()
            .enumerate()
            .filter(|(_, key)| {
                Some(key.number) == current || (key.activates > time && key.retired.is_none())
            })
            .map(|(index, _)| index)
            .collect()
    };
    associations
        .chains()
        .filter(|(association, _, _)| !association.removed)
        .flat_map(|(association, family, chain)| {
            keys_of(chain).into_iter().map(move |index| KeyOfGroup {
                association,
                family,
                key: &chain.keys()[index],
            })
        })
        .collect()
}

/// The GSA policy of a traffic key at `time`.
pub fn data_policy(entry: &KeyOfGroup<'_>, time: LogTime) -> SaPolicy {
    let policy = &entry.association.policy;
    let (source, destination) = policy_terms::selectors(policy, entry.family);
    let transforms = policy_terms::data_transforms(policy.encryption);
    let mut data = DataSaPolicy::esp(entry.key.spi.into(), source, destination, transforms);
    data.lifetime_seconds = Some(seconds_up(entry.key.gone().millis_since(time)));
    data.activation_delay_ms = Some(saturating(entry.key.activates.millis_since(time)));
    data.association = Some(entry.association.number);
    data.pseudotime_window_ms = match policy.anti_replay {
        AntiReplay::TimeBased { window_ms } => Some(window_ms),
        AntiReplay::Disabled | AntiReplay::Counter => None,
    };
    data.encapsulation = Some(match policy.encapsulation {
        policy::Encapsulation::Udp => Encapsulation::Udp,
        policy::Encapsulation::Raw => Encapsulation::Raw,
    });
    data.lifetime_kilobytes = (policy.lifetime_kilobytes > 0).then_some(policy.lifetime_kilobytes);
    SaPolicy::Data(data)
}

/// The GSA policy of a Rekey SA at `time`. `signature` is the DER AlgorithmIdentifier of the signatures: given at
/// registration, absent in rekeys (RFC 9838 §4.4.2.1.1).
pub fn rekey_policy(
    sa: &RekeySa,
    group: &GroupPolicy,
    time: LogTime,
    signature: Option<&[u8]>,
) -> SaPolicy {
    let mut transforms = vec![
        Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
        Transform::key_wrap(KEY_WRAP),
    ];
    transforms.extend(signature.map(Transform::digital_signature));
    let (address, port) = match &group.rekey.transport {
        RekeyTransport::Multicast { address, port, .. } => (*address, *port),
        // A selector names one destination; with unicast it is each member's own address, so none is named.
        RekeyTransport::Unicast => (policy_terms::unspecified(4), PORT),
    };
    let source = if address.is_ipv4() {
        AddressRange::ANY_V4
    } else {
        AddressRange::ANY_V6
    };
    SaPolicy::Rekey(RekeySaPolicy {
        spi: sa.spi.into(),
        source: TrafficSelector {
            protocol: UDP,
            ports: PortRange::ANY,
            addresses: source,
        },
        destination: TrafficSelector {
            protocol: UDP,
            ports: PortRange::single(port),
            addresses: AddressRange::single(address),
        },
        transforms,
        lifetime_seconds: Some(seconds_up(sa.ends.millis_since(time))),
        initial_message_id: (sa.next_message_id > 0).then_some(sa.next_message_id),
        next_spis: Vec::new(),
        unknown: Vec::new(),
    })
}

/// What a group-wide policy says besides delays.
#[derive(Clone, Copy)]
pub struct GroupWide<'a> {
    /// Policy in force when the message is applied.
    pub policy: &'a GroupPolicy,
    /// Its revision.
    pub revision: u64,
    /// Its associations.
    pub associations: &'a Associations,
    /// The group's pseudotime.
    pub pseudotime_ms: u64,
    /// Whether the receiver gets Sender-IDs: only in a registration of a sender.
    pub sender: bool,
    /// Whether the access list is repeated.
    pub complete: bool,
}

/// The group-wide policy of a message.
pub fn group_wide(content: &GroupWide<'_>) -> GroupWidePolicy {
    let policy = content.policy;
    GroupWidePolicy {
        activation_delay_seconds: Some(short_seconds(policy.activation_delay_ms)),
        deactivation_delay_seconds: Some(short_seconds(policy.deactivation_delay_ms)),
        sender_id_bits: content.sender.then(|| u16::from(policy.sender_id_bits)),
        pseudotime_ms: Some(content.pseudotime_ms),
        access_list: content
            .complete
            .then(|| policy_terms::access_list(policy, content.associations)),
        direction: content.complete.then_some(match policy.direction {
            policy::Direction::Both => Direction::Both,
            policy::Direction::ReceiveOnly => Direction::ReceiveOnly,
        }),
        policy_revision: Some(content.revision),
        unknown: Vec::new(),
    }
}

/// A GSA payload of these policies.
pub fn payload(policies: Vec<SaPolicy>, group_wide: GroupWidePolicy) -> GroupSecurityAssociation {
    GroupSecurityAssociation {
        policies,
        group_wide: Some(group_wide),
    }
}

/// Whole seconds, rounded up and at least one: an SA must not end early at the receiver, and zero is not a lifetime.
fn seconds_up(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(1_000).max(1)).unwrap_or(u32::MAX)
}

fn short_seconds(milliseconds: u32) -> u16 {
    u16::try_from(milliseconds.div_ceil(1_000)).unwrap_or(u16::MAX)
}

fn saturating(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gikev2::crypto::aead::AeadAlgorithm;
    use keyserver_api::policy::EspEncryption;

    #[test]
    fn the_key_wrap_key_is_not_shorter_than_any_cipher_key_of_a_group() {
        let ciphers = [
            EspEncryption::Aes256Gcm,
            EspEncryption::Aes128Gcm,
            EspEncryption::ChaCha20Poly1305,
        ];
        let mut transforms: Vec<Transform> = ciphers
            .into_iter()
            .flat_map(policy_terms::data_transforms)
            .collect();
        let sa = RekeySa {
            spi: crate::state::spi::RekeySaSpi([1; 16]),
            keying_material: crate::secret::SecretBytes::new(vec![0; REKEY_KEYING_MATERIAL_OCTETS]),
            next_message_id: 0,
            began: LogTime::ZERO,
            ends: LogTime::ZERO.plus_millis(60_000),
        };
        let group: GroupPolicy = serde_json::from_value(serde_json::json!({
            "name": "voice", "groupId": 7, "securityAssociations": [],
        }))
        .expect("a policy");
        let policy = rekey_policy(&sa, &group, LogTime::ZERO, None);
        transforms.extend_from_slice(policy.transforms());
        let wrap = policy
            .transforms()
            .iter()
            .find(|it| it.transform_type == gikev2::wire::TransformType::KEY_WRAP)
            .and_then(|it| KeyWrapId(it.id).key_length())
            .expect("a key wrap algorithm");
        let keys: Vec<usize> = transforms
            .iter()
            .filter_map(AeadAlgorithm::from_transform)
            .map(AeadAlgorithm::key_length)
            .collect();
        assert_eq!(keys.len(), 4, "three of data SAs and one of the Rekey SA");
        assert!(keys.iter().all(|length| *length <= wrap), "{keys:?}");
        assert_eq!(wrap + 36, REKEY_KEYING_MATERIAL_OCTETS);
    }
}
