//! The key server's side of a group, as far as a member can see it: keys with times, one Rekey SA.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use gikev2::Secret;
use gikev2::crypto::aead::AeadAlgorithm;
use gikev2::crypto::signature::{PrivateKey, Signer};
use gikev2::keys::group::RekeySaKeys;
use gikev2::rekey::sender::{KeyUpdate, NewRekeyKey, RekeyMessage, build};
use gikev2::responder::{Grant, GrantKeys, InbandRekey, RekeyKey, RekeyKeyGrant};
use gikev2::wire::{
    AccessAction, AccessEntry, AccessList, AddressRange, DataSaPolicy, Delete, Direction,
    EncryptionId, GroupSecurityAssociation, GroupWidePolicy, KeyWrapId, PortRange, RekeySaPolicy,
    RekeySpi, SaPolicy, SequenceNumbersId, Spi, TrafficSelector, Transform,
};

/// The private key of RFC 8410 §10.3.
const SIGNING_KEY: &str = "302e020100300506032b657004220420\
                           d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";

/// Most octets of one rekey datagram.
const FRAGMENT_SIZE: usize = 1280;

/// One TEK.
pub(crate) struct Tek {
    pub(crate) spi: u32,
    pub(crate) activation: Instant,
    pub(crate) end: Instant,
    pub(crate) encryption: Transform,
    pub(crate) key: u8,
    pub(crate) association: u16,
    pub(crate) window_ms: Option<u32>,
}

/// One group.
pub(crate) struct Group {
    pub(crate) id: u32,
    pub(crate) start: Instant,
    pub(crate) teks: Vec<Tek>,
    pub(crate) deactivation_delay: u16,
    pub(crate) direction: Direction,
    pub(crate) access_list: AccessList,
    pub(crate) sender_id_bits: u16,
    pub(crate) kek_end: Instant,
    /// Whether registrations bring a Rekey SA.
    pub(crate) rekeys: bool,
    /// Whether registrations bring a Sender-ID.
    pub(crate) grants_sender_ids: bool,
    next_sender_id: u32,
    rekey_spi: u8,
    message_id: u32,
    signer: PrivateKey,
}

/// What a rekey message says besides new keys.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) deletes: Vec<Delete>,
    pub(crate) new_rekey_sa: bool,
}

impl Group {
    pub(crate) fn new(id: u32, now: Instant) -> Self {
        let pkcs8 = hex::decode(SIGNING_KEY.replace(' ', "")).expect("hex");
        Self {
            id,
            start: now,
            teks: Vec::new(),
            deactivation_delay: 2,
            direction: Direction::Both,
            access_list: AccessList {
                entries: vec![permit([10, 1, 0, 0], 16)],
            },
            sender_id_bits: 24,
            kek_end: now + Duration::from_secs(86_400),
            rekeys: true,
            grants_sender_ids: true,
            next_sender_id: 0,
            rekey_spi: 1,
            message_id: 0,
            signer: PrivateKey::from_pkcs8(&pkcs8).expect("the RFC's example key"),
        }
    }

    /// Adds a TEK of an hour unless its end is set afterwards.
    pub(crate) fn add_tek(&mut self, spi: u32, activation: Instant, lifetime: Duration) {
        self.teks.push(Tek {
            spi,
            activation,
            end: activation + lifetime,
            encryption: Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            key: spi.to_be_bytes()[3],
            association: 1,
            window_ms: None,
        });
    }

    /// From now on rekeys are signed by a key that no member was told of.
    pub(crate) fn sign_with_another_key(&mut self) {
        let mut pkcs8 = hex::decode(SIGNING_KEY.replace(' ', "")).expect("hex");
        *pkcs8.last_mut().expect("a key") ^= 1;
        self.signer = PrivateKey::from_pkcs8(&pkcs8).expect("any 32 octets are a key");
    }

    /// The answer to a registration at `now`.
    pub(crate) fn grant(&mut self, now: Instant) -> Grant {
        let live: Vec<&Tek> = self.teks.iter().filter(|tek| now < tek.end).collect();
        let mut rekey = self.rekey_policy(now, true);
        rekey.initial_message_id = (self.message_id != 0).then_some(self.message_id);
        let mut policies = Vec::new();
        if self.rekeys {
            policies.push(SaPolicy::Rekey(rekey));
        }
        policies.extend(live.iter().map(|tek| SaPolicy::Data(data_policy(tek, now))));
        let keys = GrantKeys {
            rekey: self.rekeys.then(|| RekeyKeyGrant {
                spi: self.rekey_spi(),
                key: RekeyKey::Plain(self.rekey_material()),
            }),
            data: live
                .iter()
                .map(|tek| (Spi(tek.spi), material(tek)))
                .collect(),
            auth_key: Some(self.signer.public_key_spki().to_vec()),
            sender_ids: self
                .grants_sender_ids
                .then_some(self.next_sender_id)
                .into_iter()
                .collect(),
            ..GrantKeys::default()
        };
        self.next_sender_id += 1;
        Grant {
            gsa: GroupSecurityAssociation {
                policies,
                group_wide: Some(self.group_wide(now, true)),
            },
            keys,
            registration_id: 77,
        }
    }

    /// The datagrams of a rekey built at `now` with the TEKs named.
    pub(crate) fn rekey(&mut self, now: Instant, spis: &[u32], extra: &Extra) -> Vec<Vec<u8>> {
        let carrier = self.rekey_spi();
        let carrier_keys = self.rekey_keys();
        let message_id = self.message_id;
        self.message_id += 1;
        if extra.new_rekey_sa {
            self.rekey_spi += 1;
            self.message_id = 0;
        }
        let named: Vec<&Tek> = self
            .teks
            .iter()
            .filter(|tek| spis.contains(&tek.spi))
            .collect();
        let mut policies: Vec<SaPolicy> = Vec::new();
        let new_material = self.rekey_material();
        let mut keys = KeyUpdate::default();
        if extra.new_rekey_sa {
            policies.push(SaPolicy::Rekey(self.rekey_policy(now, false)));
            keys.rekey = Some((self.rekey_spi(), NewRekeyKey::Plain(&new_material)));
        }
        policies.extend(
            named
                .iter()
                .map(|tek| SaPolicy::Data(data_policy(tek, now))),
        );
        let materials: Vec<(Spi, Secret)> = named
            .iter()
            .map(|tek| (Spi(tek.spi), material(tek)))
            .collect();
        keys.data = materials.iter().map(|(spi, key)| (*spi, key)).collect();
        let gsa = GroupSecurityAssociation {
            policies,
            group_wide: Some(self.group_wide(now, false)),
        };
        let states_policy = !gsa.policies.is_empty();
        let message = RekeyMessage {
            spi: carrier,
            message_id,
            gsa: states_policy.then_some(&gsa),
            keys,
            deletes: &extra.deletes,
            notifies: &[],
        };
        build(&message, &carrier_keys, &self.signer, Some(FRAGMENT_SIZE)).expect("a valid message")
    }

    /// The TEKs named as a key server tells them over the IKE SA, with a new Rekey SA or without.
    pub(crate) fn inband(&mut self, now: Instant, spis: &[u32], new_rekey_sa: bool) -> InbandRekey {
        if new_rekey_sa {
            self.rekey_spi += 1;
            self.message_id = 0;
        }
        let mut policies: Vec<SaPolicy> = Vec::new();
        if new_rekey_sa {
            policies.push(SaPolicy::Rekey(self.rekey_policy(now, false)));
        }
        let named = self.teks.iter().filter(|tek| spis.contains(&tek.spi));
        let mut data = Vec::new();
        for tek in named {
            policies.push(SaPolicy::Data(data_policy(tek, now)));
            data.push((Spi(tek.spi), material(tek)));
        }
        InbandRekey::Keys {
            gsa: GroupSecurityAssociation {
                policies,
                group_wide: Some(self.group_wide(now, false)),
            },
            rekey: new_rekey_sa.then(|| (self.rekey_spi(), self.rekey_material())),
            data,
        }
    }

    fn rekey_spi(&self) -> RekeySpi {
        let mut octets = [self.rekey_spi; 16];
        octets[0] = self.id.to_be_bytes()[3];
        RekeySpi(octets)
    }

    fn rekey_material(&self) -> Secret {
        Secret::new(vec![self.rekey_spi ^ 0x5a; 68])
    }

    fn rekey_keys(&self) -> RekeySaKeys {
        RekeySaKeys::new(AeadAlgorithm::AesGcm256, &self.rekey_material()).expect("68 octets")
    }

    fn rekey_policy(&self, now: Instant, registration: bool) -> RekeySaPolicy {
        let mut transforms = vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Transform::key_wrap(KeyWrapId::KW_5649_256),
        ];
        let algorithm = self.signer.algorithm().algorithm_identifier();
        transforms.extend(registration.then(|| Transform::digital_signature(algorithm)));
        RekeySaPolicy {
            spi: self.rekey_spi(),
            source: udp_848([172, 20, 0, 2]),
            destination: udp_848([239, 192, 0, 1]),
            transforms,
            lifetime_seconds: Some(seconds_between(now, self.kek_end)),
            initial_message_id: None,
            next_spis: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn group_wide(&self, now: Instant, registration: bool) -> GroupWidePolicy {
        let age = now.saturating_duration_since(self.start).as_millis();
        GroupWidePolicy {
            deactivation_delay_seconds: Some(self.deactivation_delay),
            sender_id_bits: registration.then_some(self.sender_id_bits),
            pseudotime_ms: u64::try_from(age).ok(),
            access_list: Some(self.access_list.clone()),
            direction: Some(self.direction),
            policy_revision: Some(3),
            ..GroupWidePolicy::default()
        }
    }
}

/// Encrypt between all addresses of a network, by association 1.
pub(crate) fn permit(network: [u8; 4], prefix: u8) -> AccessEntry {
    entry(AccessAction::Permit { association: 1 }, network, prefix)
}

/// Leave clear what goes between all addresses of a network.
pub(crate) fn deny(network: [u8; 4], prefix: u8) -> AccessEntry {
    entry(AccessAction::Deny, network, prefix)
}

fn entry(action: AccessAction, network: [u8; 4], prefix: u8) -> AccessEntry {
    let first = u32::from(Ipv4Addr::from(network));
    let last = first | (u32::MAX >> prefix);
    let range = AddressRange::V4(first.into(), last.into());
    AccessEntry {
        action,
        protocol: 0,
        source: range,
        destination: range,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
    }
}

fn udp_848(address: [u8; 4]) -> TrafficSelector {
    TrafficSelector {
        protocol: 17,
        ports: PortRange::single(848),
        addresses: AddressRange::single(IpAddr::V4(Ipv4Addr::from(address))),
    }
}

fn data_policy(tek: &Tek, now: Instant) -> DataSaPolicy {
    let any = TrafficSelector::addresses(AddressRange::ANY_V4);
    let transforms = vec![
        tek.encryption.clone(),
        Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
    ];
    let mut policy = DataSaPolicy::esp(Spi(tek.spi), any, any, transforms);
    policy.lifetime_seconds = Some(seconds_between(now, tek.end));
    let delay = tek.activation.saturating_duration_since(now).as_millis();
    policy.activation_delay_ms = u32::try_from(delay).ok();
    policy.association = Some(tek.association);
    policy.pseudotime_window_ms = tek.window_ms;
    policy
}

fn material(tek: &Tek) -> Secret {
    Secret::new(vec![tek.key; 36])
}

/// Whole seconds, rounded up.
fn seconds_between(now: Instant, end: Instant) -> u32 {
    let milliseconds = end.saturating_duration_since(now).as_millis();
    u32::try_from(milliseconds.div_ceil(1000)).expect("a short test")
}
