//! What the key servers take: the policy of one group, from its accepted resources.

use std::net::IpAddr;

use crds::v1alpha1::{
    AntiReplayMode, AuthorizationMode, Direction as ResourceDirection, Encapsulation as Form,
    Encryption, RekeySignature, RekeyTransport as Transport, SecurityAssociation,
};
use ipnet::IpNet;
use keyserver_api::identity::{IdentityKind, IdentityPattern};
use keyserver_api::policy::{
    Action, AntiReplay, Authorization, Direction, Encapsulation, EspEncryption, GroupPolicy,
    PolicyError, RekeyPolicy, RekeyTransport, Rule, SecurityAssociationPolicy, SignatureAlgorithm,
};

use crate::expand::both_ways;
use crate::fingerprint;
use crate::flow::{self, ValueError};
use crate::group::ValidatedGroup;

/// Window of time-based anti-replay when none is set, in milliseconds.
const DEFAULT_WINDOW_MS: u32 = 5_000;
/// Name of the rule that keeps rekeys themselves in clear.
pub const REKEY_EXEMPTION: &str = "implicit.rekey-address";
/// What the names of rules that were added by themselves begin with. No name a user may write has a dot.
const IMPLICIT_PREFIX: &str = "implicit.";

/// A field whose value cannot be carried over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A rule has a value that no admission rule lets through.
    #[error("SecurityAssociation `{association}`: rule `{rule}`: `{field}`: {cause}")]
    Rule {
        /// The object.
        association: String,
        /// The rule.
        rule: String,
        /// The field of the rule.
        field: &'static str,
        /// What is wrong.
        cause: ValueError,
    },
    /// A number is outside the range of its field.
    #[error("`{field}` is {value}, which is outside its range")]
    Number {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// The multicast address is none.
    #[error("`rekey.multicast.address` is `{0}`, which is no IP address")]
    Address(String),
    /// Something required is missing.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// The key servers would refuse the policy.
    #[error("the key servers would refuse the policy: {}", join(.0))]
    Refused(Vec<PolicyError>),
}

fn join(errors: &[PolicyError]) -> String {
    let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
    words.join("; ")
}

/// Builds the policy. The same resources always give the same policy.
///
/// # Errors
/// [`BuildError`], only for objects that never passed admission.
pub fn build(validated: &ValidatedGroup<'_>) -> Result<GroupPolicy, BuildError> {
    let spec = &validated.group.spec;
    let rekey = rekey(validated)?;
    let mut associations = validated
        .associations
        .iter()
        .map(|association| security_association(validated, association))
        .collect::<Result<Vec<_>, _>>()?;
    // Rekeys must never be encrypted with the keys they bring: their address stays clear, in front of everything.
    if let (RekeyTransport::Multicast { address, .. }, Some(first)) =
        (&rekey.transport, associations.first_mut())
    {
        first.rules.insert(0, exemption(*address));
    }
    let policy = GroupPolicy {
        name: validated
            .group
            .metadata
            .name
            .clone()
            .ok_or(BuildError::Missing("metadata.name"))?,
        group_id: number("groupID", spec.group_id)?,
        direction: match spec.direction {
            ResourceDirection::Bidirectional => Direction::Both,
            ResourceDirection::ReceiveOnly => Direction::ReceiveOnly,
        },
        sender_id_bits: number("traffic.senderIDBits", spec.traffic.sender_id_bits)?,
        prestaged_keys: number("traffic.prestagedKeys", spec.traffic.prestaged_keys)?,
        activation_delay_ms: milliseconds(
            "traffic.activationDelaySeconds",
            spec.traffic.activation_delay_seconds,
        )?,
        deactivation_delay_ms: milliseconds(
            "traffic.deactivationDelaySeconds",
            spec.traffic.deactivation_delay_seconds,
        )?,
        authorization: authorization(validated)?,
        rekey,
        security_associations: associations,
    };
    policy.validate().map_err(BuildError::Refused)?;
    Ok(policy)
}

/// A policy in figures, for a group's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Rules that encrypt, reverse rules included.
    pub permit_rules: usize,
    /// IPsec SAs every member holds: one each way for each of these rules.
    pub security_associations: usize,
    /// Rules that were added by themselves.
    pub implicit_rules: usize,
    /// Short name of this version of the policy.
    pub revision: String,
}

/// Sums a policy up.
#[must_use]
pub fn summary(policy: &GroupPolicy) -> Summary {
    let rules = || {
        policy
            .security_associations
            .iter()
            .flat_map(|association| &association.rules)
    };
    let permit_rules = rules().filter(|rule| rule.action == Action::Permit).count();
    Summary {
        permit_rules,
        security_associations: 2 * permit_rules,
        implicit_rules: rules()
            .filter(|rule| rule.name.starts_with(IMPLICIT_PREFIX))
            .count(),
        revision: revision(policy),
    }
}

/// Short name of a policy: equal policies have equal names on every machine and in every version of the operator.
#[must_use]
pub fn revision(policy: &GroupPolicy) -> String {
    fingerprint::of(policy)
}

fn number<T: TryFrom<i32>>(field: &'static str, value: i32) -> Result<T, BuildError> {
    T::try_from(value).map_err(|_| BuildError::Number {
        field,
        value: value.into(),
    })
}

fn milliseconds(field: &'static str, seconds: i32) -> Result<u32, BuildError> {
    number::<u32>(field, seconds)?
        .checked_mul(1000)
        .ok_or(BuildError::Number {
            field,
            value: seconds.into(),
        })
}

fn exemption(address: IpAddr) -> Rule {
    let any: IpNet = match address {
        IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
    };
    Rule {
        name: REKEY_EXEMPTION.to_owned(),
        action: Action::Deny,
        protocol: Some(17),
        source: any,
        destination: IpNet::from(address),
        source_ports: Vec::new(),
        destination_ports: Vec::new(),
    }
}

fn authorization(validated: &ValidatedGroup<'_>) -> Result<Authorization, BuildError> {
    let authorization = &validated.group.spec.authorization;
    let identities = match authorization.mode {
        AuthorizationMode::Disabled => Vec::new(),
        AuthorizationMode::Certificate => {
            patterns(IdentityKind::DistinguishedName, &authorization.subjects)
        }
        AuthorizationMode::PreSharedKey => patterns(IdentityKind::Fqdn, &authorization.hostnames),
    };
    let addresses = authorization
        .addresses
        .iter()
        .map(|cidr| flow::prefix(cidr).map_err(|_| BuildError::Address(cidr.0.clone())))
        .collect::<Result<_, _>>()?;
    Ok(Authorization {
        identities,
        addresses,
    })
}

fn patterns(kind: IdentityKind, values: &[String]) -> Vec<IdentityPattern> {
    values
        .iter()
        .map(|value| IdentityPattern {
            kind,
            value: value.clone(),
        })
        .collect()
}

fn rekey(validated: &ValidatedGroup<'_>) -> Result<RekeyPolicy, BuildError> {
    let rekey = &validated.group.spec.rekey;
    let transport = match rekey.transport {
        Transport::Unicast => RekeyTransport::Unicast,
        Transport::Multicast => {
            let multicast = rekey
                .multicast
                .as_ref()
                .ok_or(BuildError::Missing("rekey.multicast"))?;
            RekeyTransport::Multicast {
                address: multicast
                    .address
                    .parse()
                    .map_err(|_| BuildError::Address(multicast.address.clone()))?,
                port: number("rekey.multicast.port", multicast.port)?,
                hop_limit: number("rekey.multicast.hopLimit", multicast.hop_limit)?,
            }
        }
    };
    Ok(RekeyPolicy {
        transport,
        kek_lifetime_seconds: number("rekey.kekLifetimeSeconds", rekey.kek_lifetime_seconds)?,
        lead_time_seconds: number("rekey.leadTimeSeconds", rekey.lead_time_seconds)?,
        retransmit_attempts: number("rekey.retransmit.attempts", rekey.retransmit.attempts)?,
        retransmit_period_ms: milliseconds(
            "rekey.retransmit.periodSeconds",
            rekey.retransmit.period_seconds,
        )?,
        batch_size: number("rekey.unicast.batchSize", rekey.unicast.batch_size)?,
        acknowledgement_timeout_ms: milliseconds(
            "rekey.unicast.acknowledgementTimeoutSeconds",
            rekey.unicast.acknowledgement_timeout_seconds,
        )?,
        eviction_threshold: number(
            "rekey.unicast.evictionThreshold",
            rekey.unicast.eviction_threshold,
        )?,
        signature: match rekey.signature {
            RekeySignature::RsaPss3072 => SignatureAlgorithm::RsaPss3072,
            RekeySignature::Ed25519 => SignatureAlgorithm::Ed25519,
        },
    })
}

fn security_association(
    validated: &ValidatedGroup<'_>,
    association: &SecurityAssociation,
) -> Result<SecurityAssociationPolicy, BuildError> {
    let (spec, traffic) = (&association.spec, &validated.group.spec.traffic);
    let name = association
        .metadata
        .name
        .clone()
        .ok_or(BuildError::Missing("metadata.name"))?;
    let mut rules = Vec::new();
    for rule in &spec.rules {
        let wrong = |(field, cause)| BuildError::Rule {
            association: name.clone(),
            rule: rule.name.clone(),
            field,
            cause,
        };
        rules.extend(both_ways(rule).map_err(wrong)?);
    }
    let seconds = spec.lifetime_seconds.unwrap_or(traffic.lifetime_seconds);
    let kilobytes = spec
        .lifetime_kilobytes
        .unwrap_or(traffic.lifetime_kilobytes);
    Ok(SecurityAssociationPolicy {
        name,
        order: number("order", spec.order)?,
        encryption: match spec.transform.encryption {
            Encryption::Aes256Gcm => EspEncryption::Aes256Gcm,
            Encryption::Aes128Gcm => EspEncryption::Aes128Gcm,
            Encryption::ChaCha20Poly1305 => EspEncryption::ChaCha20Poly1305,
        },
        lifetime_ms: u64::from(milliseconds("lifetimeSeconds", seconds)?),
        lifetime_kilobytes: u64::try_from(kilobytes).map_err(|_| BuildError::Number {
            field: "lifetimeKilobytes",
            value: kilobytes,
        })?,
        anti_replay: match spec.anti_replay.mode {
            AntiReplayMode::Disabled => AntiReplay::Disabled,
            AntiReplayMode::Counter => AntiReplay::Counter,
            AntiReplayMode::TimeBased => AntiReplay::TimeBased {
                window_ms: window(association)?,
            },
        },
        encapsulation: match spec.transform.encapsulation {
            Form::Udp => Encapsulation::Udp,
            Form::Esp => Encapsulation::Raw,
        },
        rules,
    })
}

fn window(association: &SecurityAssociation) -> Result<u32, BuildError> {
    let anti_replay = &association.spec.anti_replay;
    match (anti_replay.window_seconds, anti_replay.window_milliseconds) {
        (Some(seconds), _) => milliseconds("antiReplay.windowSeconds", seconds),
        (None, Some(window)) => number("antiReplay.windowMilliseconds", window),
        (None, None) => Ok(DEFAULT_WINDOW_MS),
    }
}
