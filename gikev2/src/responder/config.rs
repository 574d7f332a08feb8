//! How a key server's end is set up.

use std::time::Duration;

use crate::exchange::authentication::{CertificateCredentials, PreSharedKeys};
use crate::exchange::proposal::KeyExchangeChoice;
use crate::exchange::retransmit::RetransmissionPolicy;
use crate::wire::Identification;

/// Configuration of a [`super::Responder`].
pub struct Config {
    /// Who we are (IDr).
    pub identity: Identification,
    /// Pre-shared keys of members; `None` refuses pre-shared key authentication.
    pub pre_shared_keys: Option<Box<dyn PreSharedKeys>>,
    /// Our certificate and the authorities whose members we accept; `None` refuses certificates.
    pub certificate: Option<CertificateCredentials>,
    /// Key exchanges we accept, the preferred one first.
    pub key_exchanges: Vec<KeyExchangeChoice>,
    /// Whether a stock IKEv2 peer may authenticate by childless IKE_AUTH (RFC 6023), without a key wrap algorithm.
    pub childless: bool,
    /// Whether to answer a member that announces our private extensions ([`crate::wire::private`]) with ours.
    pub private_extensions: bool,
    /// Most octets of one IKE message when the peer can take fragments (RFC 7383). Excludes IP and UDP headers.
    pub fragment_size: usize,
    /// Caps and times.
    pub limits: Limits,
    /// Repetition of our own requests.
    pub retransmission: RetransmissionPolicy,
}

impl Config {
    /// A configuration with defaults for everything but the identity; it accepts nobody until keys are added.
    pub fn new(identity: Identification) -> Self {
        Self {
            identity,
            pre_shared_keys: None,
            certificate: None,
            key_exchanges: KeyExchangeChoice::PREFERENCE.to_vec(),
            childless: true,
            private_extensions: true,
            fragment_size: crate::exchange::protect::DEFAULT_FRAGMENT_SIZE,
            limits: Limits::default(),
            retransmission: RetransmissionPolicy::default(),
        }
    }

    /// Replaces identity, keys and certificate.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        let Credentials {
            identity,
            pre_shared_keys,
            certificate,
        } = credentials;
        self.identity = identity;
        self.pre_shared_keys = pre_shared_keys;
        self.certificate = certificate;
    }
}

/// Who a key server is and how members prove who they are: what may be replaced while it runs.
pub struct Credentials {
    /// Who we are (IDr).
    pub identity: Identification,
    /// Pre-shared keys of members; `None` refuses pre-shared key authentication.
    pub pre_shared_keys: Option<Box<dyn PreSharedKeys>>,
    /// Our certificate and the authorities whose members we accept; `None` refuses certificates.
    pub certificate: Option<CertificateCredentials>,
}

/// Caps and times that keep a key server answering under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Half-open IKE SAs at which a cookie is demanded from everybody (RFC 7296 §2.6).
    pub cookie_threshold: usize,
    /// Half-open IKE SAs of one source address at which a cookie is demanded from that address.
    pub cookie_threshold_per_source: usize,
    /// Most half-open IKE SAs.
    pub half_open: usize,
    /// Most half-open IKE SAs of one source address.
    pub half_open_per_source: usize,
    /// How long an IKE SA may stay half-open.
    pub half_open_lifetime: Duration,
    /// How long a cookie secret is used for new cookies. The one before it is accepted as long again.
    pub cookie_secret_lifetime: Duration,
    /// Most authenticated IKE SAs.
    pub ike_sas: usize,
    /// How long an authenticated IKE SA may be idle before we delete it (RFC 9838 §2.3.3: the key server closes).
    pub idle_grace: Duration,
    /// How long an IKE SA of a stock peer, authenticated by childless IKE_AUTH, may be idle.
    pub childless_idle: Duration,
    /// How long the owner may take to answer a registration before the IKE SA is dropped.
    pub decision_time: Duration,
    /// Most INVALID_IKE_SPI answers per second.
    pub invalid_ike_spi_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cookie_threshold: 64,
            cookie_threshold_per_source: 3,
            half_open: 4096,
            half_open_per_source: 64,
            half_open_lifetime: Duration::from_secs(30),
            cookie_secret_lifetime: Duration::from_secs(60),
            ike_sas: 32_768,
            idle_grace: Duration::from_secs(10),
            childless_idle: Duration::from_secs(300),
            decision_time: Duration::from_secs(30),
            invalid_ike_spi_per_second: 10,
        }
    }
}
