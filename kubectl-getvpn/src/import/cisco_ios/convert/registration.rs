//! IKE policies as the proposals and lifetimes of registration.

use crate::import::cisco_ios::device::{Device, IkePolicy};
use crate::import::cisco_ios::note::{Notes, Weight};
use crate::import::yaml::Node;

/// Limits of lifetimes in seconds; those of a single key server are not shorter than a minute.
const SECONDS: (i64, i64) = (60, 86_400);
const DEFAULT_KEY_SERVER: i64 = 86_400;
const DEFAULT_MEMBER: i64 = 3_600;
/// Most proposals.
const MOST_PROPOSALS: usize = 8;

/// `registration`, when something about it is not the default.
pub(super) fn node(
    device: &Device,
    members: &[&Device],
    several: bool,
    notes: &mut Notes,
) -> Option<Node> {
    let proposals = proposals(device, notes);
    let lifetime = |device: &Device| {
        device
            .ike
            .policies
            .iter()
            .find_map(|policy| Some((policy.line, policy.lifetime?)))
    };
    let own = lifetime(device);
    let key_server = own.map_or(DEFAULT_KEY_SERVER, |(_, seconds)| {
        seconds.clamp(SECONDS.0, SECONDS.1)
    });
    let of_members = members.iter().find_map(|member| lifetime(member));
    let mut member = of_members.map_or(DEFAULT_MEMBER, |(_, seconds)| {
        seconds.clamp(SECONDS.0, SECONDS.1)
    });
    if several && member > key_server {
        let message = format!(
            "members keep the association of a registration {key_server} s, not longer than the key servers"
        );
        notes.add(
            device.source,
            own.map_or(0, |(line, _)| line),
            Weight::Changed,
            message,
        );
        member = key_server;
    }
    Node::fields()
        .with_some("proposals", Node::list(proposals).unless_empty())
        .with_some(
            "keyServerLifetimeSeconds",
            (key_server != DEFAULT_KEY_SERVER).then_some(key_server),
        )
        .with_some(
            "memberLifetimeSeconds",
            (member != DEFAULT_MEMBER).then_some(member),
        )
        .unless_empty()
}

/// The policies that have a counterpart. Without any, the defaults hold, which are stronger.
fn proposals(device: &Device, notes: &mut Notes) -> Vec<Node> {
    let mut proposals: Vec<(&'static str, &'static str)> = Vec::new();
    for policy in &device.ike.policies {
        let group = match policy.group {
            Some(19) => "ECP256",
            Some(20) => "ECP384",
            Some(31) => "X25519",
            other => {
                let group = other.map_or_else(|| "1".to_owned(), |group| group.to_string());
                let message = format!(
                    "Diffie-Hellman group {group} is not offered; registration uses X25519 with ML-KEM-768, X25519 or P-384"
                );
                notes.add(device.source, policy.line, Weight::Changed, message);
                continue;
            }
        };
        let prf = prf(policy);
        cipher(device, policy, notes);
        if !proposals.contains(&(prf, group)) {
            proposals.push((prf, group));
        }
    }
    proposals
        .into_iter()
        .take(MOST_PROPOSALS)
        .map(|(prf, group)| {
            Node::fields()
                .with("encryption", "AES256GCM")
                .with("prf", prf)
                .with("dhGroup", group)
        })
        .collect()
}

fn prf(policy: &IkePolicy) -> &'static str {
    match policy.hash.as_deref() {
        Some("sha512") => "SHA512",
        Some("sha256") => "SHA256",
        _ => "SHA384",
    }
}

fn cipher(device: &Device, policy: &IkePolicy, notes: &mut Notes) {
    let same = matches!(policy.encryption.as_deref(), Some("aes-gcm-256"));
    if !same {
        let was = policy.encryption.as_deref().unwrap_or("des");
        let message = format!("`encryption {was}`: registration is encrypted with AES-256-GCM");
        notes.add(device.source, policy.line, Weight::Changed, message);
    }
    if !matches!(policy.hash.as_deref(), Some("sha256" | "sha384" | "sha512")) {
        let was = policy.hash.as_deref().unwrap_or("sha");
        let message = format!("`hash {was}`: the pseudorandom function is HMAC with SHA-384");
        notes.add(device.source, policy.line, Weight::Changed, message);
    }
}
