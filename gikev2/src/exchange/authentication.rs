//! Proof of identity in GSA_AUTH and IKE_AUTH: pre-shared keys and certificates (RFC 7296 §2.15, RFC 7427).

use std::sync::Arc;

use crate::Secret;
use crate::crypto::certificate::TrustAnchors;
use crate::crypto::signature::Signer;
use crate::wire::Identification;

/// Looks up a member's pre-shared key.
///
/// The look-up should take the same time for known and unknown identities as far as it can; what follows it does.
pub trait PreSharedKeys: Send + Sync {
    /// The key shared with `identity`, if there is one.
    fn key(&self, identity: &Identification) -> Option<&Secret>;
}

/// Our certificate with its key, and whom we trust.
#[derive(Clone)]
pub struct CertificateCredentials {
    /// DER certificates: ours first, then intermediates. The trust anchor itself is not sent.
    pub chain: Vec<Vec<u8>>,
    /// Signs with the key of the first certificate.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// Authorities whose certificates we accept from the peer.
    pub trust_anchors: TrustAnchors,
}

/// How a member proves who it is, and how it checks the key server in return.
pub enum Credentials {
    /// One key shared with the key servers; both sides prove that they know it.
    PreSharedKey(Secret),
    /// A certificate; the key server must prove itself with one as well.
    Certificate(CertificateCredentials),
}
