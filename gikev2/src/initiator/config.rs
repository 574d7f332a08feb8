//! How a member's end is set up.

use crate::exchange::authentication::Credentials;
use crate::exchange::identity::IdentityPattern;
use crate::exchange::proposal::KeyExchangeChoice;
use crate::exchange::retransmit::RetransmissionPolicy;
use crate::wire::{Identification, Proposal};

/// Configuration of an [`super::Initiator`].
pub struct Config {
    /// Who we are (IDi).
    pub identity: Identification,
    /// How we prove it, and how the key server must.
    pub credentials: Credentials,
    /// Who may be the key server. An identity matching none of these is refused even with a good proof.
    pub key_server_identities: Vec<IdentityPattern>,
    /// What to do once keys are agreed.
    pub purpose: Purpose,
    /// Key exchanges to offer, the preferred one first.
    pub key_exchanges: Vec<KeyExchangeChoice>,
    /// Whether to announce our private extensions ([`crate::wire::private`]). Without them we are to the key server
    /// like a member of another make.
    pub private_extensions: bool,
    /// Whether to offer IKE fragmentation (RFC 7383).
    pub fragmentation: bool,
    /// Most octets of one IKE message when the peer can take fragments (RFC 7383). Excludes IP and UDP headers.
    pub fragment_size: usize,
    /// Repetition of requests.
    pub retransmission: RetransmissionPolicy,
}

impl Config {
    /// A configuration with defaults for algorithms, sizes and times.
    pub fn new(
        identity: Identification,
        credentials: Credentials,
        key_server_identities: Vec<IdentityPattern>,
        purpose: Purpose,
    ) -> Self {
        Self {
            identity,
            credentials,
            key_server_identities,
            purpose,
            key_exchanges: KeyExchangeChoice::PREFERENCE.to_vec(),
            private_extensions: true,
            fragmentation: true,
            fragment_size: crate::exchange::protect::DEFAULT_FRAGMENT_SIZE,
            retransmission: RetransmissionPolicy::default(),
        }
    }
}

/// What an IKE SA is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// Join a group with GSA_AUTH (RFC 9838 §2.3).
    Registration(RegistrationParameters),
    /// Authenticate only, by childless IKE_AUTH (RFC 6023). Works with stock IKEv2 responders.
    ChildlessAuthentication,
}

/// What to ask of the key server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationParameters {
    /// The group (IDg).
    pub group: Identification,
    /// GM Supported Transforms (SAg); empty sends none.
    pub capabilities: Vec<Proposal>,
    /// The number of Sender-IDs wanted; `None` for a member that only receives.
    pub sender_ids: Option<u32>,
    /// Whether we can acknowledge rekeys.
    pub acknowledges: bool,
}
