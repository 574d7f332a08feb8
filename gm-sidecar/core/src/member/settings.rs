//! What a member is told about the groups it should join.

use std::net::SocketAddr;
use std::time::Duration;

use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::identity::IdentityPattern;
use gikev2::wire::Identification;

use crate::spd::Selector;

/// What happens to traffic before the first registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureMode {
    /// Everything but explicitly allowed flows is dropped.
    Closed,
    /// Everything goes in clear.
    Open,
}

/// Which way a group's SAs are used by this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectionOverride {
    /// As the group's policy says.
    #[default]
    Inherit,
    /// Encrypts, and accepts only encrypted packets.
    Bidirectional,
    /// Sends in clear; accepts encrypted and clear packets.
    InboundOnly,
    /// Encrypts; accepts encrypted and clear packets.
    InboundOptional,
}

/// One group to join.
pub struct GroupSettings {
    /// The group identification number.
    pub group_id: u32,
    /// Key servers, the preferred one first.
    pub key_servers: Vec<SocketAddr>,
    /// Who we are.
    pub identity: Identification,
    /// Who may be a key server of this group.
    pub key_server_identities: Vec<IdentityPattern>,
    /// How we prove who we are, and check the key server.
    pub credentials: Credentials,
    /// Flows that always stay clear, from our point of view; they come before the group's list.
    pub bypass: Vec<Selector>,
    /// Which way we use the group's SAs.
    pub direction: DirectionOverride,
    /// Waiting times.
    pub timing: Timing,
}

/// Waiting times of a membership. The defaults suit a group of thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// First wait after every key server was tried in vain; doubles from there.
    pub retry_first: Duration,
    /// Longest wait between rounds.
    pub retry_most: Duration,
    /// Wait after a key server said that we are not authorised; another attempt needs a change
    /// there.
    pub retry_unauthorized: Duration,
    /// Longest random delay before registering again on a trigger that all members see at once.
    pub jitter: Duration,
    /// Least time between two registrations caused by packets of unknown SAs, which anyone can
    /// forge; doubles while it brings nothing.
    pub unknown_spi_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(60),
            retry_unauthorized: Duration::from_secs(30),
            jitter: Duration::from_secs(3),
            unknown_spi_interval: Duration::from_secs(15),
        }
    }
}

impl GroupSettings {
    /// A second copy of the credentials, for another IKE SA.
    pub(super) fn duplicate_credentials(&self) -> Credentials {
        match &self.credentials {
            Credentials::PreSharedKey(key) => Credentials::PreSharedKey(key.duplicate()),
            Credentials::Certificate(certificate) => Credentials::Certificate(certificate.clone()),
        }
    }
}
