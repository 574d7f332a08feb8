//! IKE: policies, proposals, keys and identities. Keys are seen, and never kept.

use super::Reader;
use crate::import::cisco_ios::device::{CryptoIdentity, IkePolicy, Keepalive};
use crate::import::cisco_ios::statement::Statement;

/// Number given to proposals of IKEv2, which have names only: they come after numbered policies.
const UNNUMBERED: u32 = 100_000;

impl Reader<'_> {
    /// `crypto isakmp …`.
    pub(super) fn isakmp(&mut self, statement: &Statement) {
        match statement.word(2).to_ascii_lowercase().as_str() {
            "policy" => self.isakmp_policy(statement),
            "key" => self.device.ike.pre_shared_keys.push(statement.line),
            "identity" => {
                self.device.ike.identity = Some(statement.word(3).to_ascii_lowercase());
            }
            "keepalive" => self.keepalive(statement),
            "profile" => self.lost(
                statement,
                "there are no profiles; everything about registration is in the GetVpnGroup",
            ),
            "invalid-spi-recovery" => self.hint(
                statement,
                "not needed: members register again by themselves when they meet an SPI they do not know",
            ),
            // `enable`, `nat`, `aggressive-mode`, `fragmentation` and the like.
            _ => {}
        }
    }

    fn isakmp_policy(&mut self, statement: &Statement) {
        let mut policy = IkePolicy {
            line: statement.line,
            number: statement.parse(3).unwrap_or(UNNUMBERED),
            // What IOS takes when a policy does not say.
            pre_shared: Some(false),
            ..IkePolicy::default()
        };
        for line in &statement.below {
            let rest = || {
                line.words
                    .get(1..)
                    .unwrap_or_default()
                    .join(" ")
                    .to_ascii_lowercase()
            };
            match line.word(0).to_ascii_lowercase().as_str() {
                "encr" | "encryption" => policy.encryption = Some(rest()),
                "hash" => policy.hash = Some(rest()),
                "authentication" => match rest().as_str() {
                    "pre-share" => policy.pre_shared = Some(true),
                    "rsa-sig" | "ecdsa-sig" => policy.pre_shared = Some(false),
                    _ => self.lost(
                        line,
                        "members prove themselves by certificate or by pre-shared key",
                    ),
                },
                "group" => policy.group = line.parse(1),
                "lifetime" => policy.lifetime = line.parse(1),
                _ => self.not_understood(line),
            }
        }
        self.device.ike.policies.push(policy);
    }

    /// `crypto ikev2 proposal NAME`: several values a line stand for every combination; the first counts.
    pub(super) fn ikev2_proposal(&mut self, statement: &Statement) {
        let mut policy = IkePolicy {
            line: statement.line,
            number: UNNUMBERED.saturating_add(u32::try_from(statement.line).unwrap_or(0)),
            ..IkePolicy::default()
        };
        for line in &statement.below {
            let first = || Some(line.word(1).to_ascii_lowercase());
            match line.word(0).to_ascii_lowercase().as_str() {
                "encryption" => policy.encryption = first(),
                "prf" => policy.hash = first(),
                "integrity" => policy.hash = policy.hash.take().or_else(first),
                "group" => policy.group = line.parse(1),
                _ => self.not_understood(line),
            }
        }
        self.device.ike.policies.push(policy);
    }

    /// `crypto ikev2 keyring NAME`: whether there are pre-shared keys.
    pub(super) fn ikev2_keyring(&mut self, statement: &Statement) {
        let keys = statement
            .below
            .iter()
            .filter(|line| line.is(0, "pre-shared-key"));
        self.device
            .ike
            .pre_shared_keys
            .extend(keys.map(|line| line.line));
    }

    /// `crypto isakmp keepalive SECONDS [RETRY] [periodic | on-demand]`.
    fn keepalive(&mut self, statement: &Statement) {
        let Some(seconds) = statement.parse(3) else {
            return self.not_understood(statement);
        };
        self.device.ike.keepalive = Some(Keepalive {
            line: statement.line,
            seconds,
            retry: statement.parse(4),
            periodic: statement
                .words
                .iter()
                .any(|word| word.eq_ignore_ascii_case("periodic")),
        });
    }

    /// `crypto identity NAME`.
    pub(super) fn crypto_identity(&mut self, statement: &Statement) {
        let mut identity = CryptoIdentity::default();
        for line in &statement.below {
            if line.is(0, "dn") {
                let attributes = line.words.get(1..).unwrap_or_default().join(" ");
                identity.attributes.extend(
                    attributes
                        .split(',')
                        .map(str::trim)
                        .filter(|attribute| attribute.contains('='))
                        .map(str::to_owned),
                );
            } else if line.is(0, "fqdn") {
                identity.domain = Some(line.word(1).to_owned());
            } else {
                self.not_understood(line);
            }
        }
        self.device
            .identities
            .insert(statement.word(2).to_owned(), identity);
    }
}
