//! Proof of identity in GSA_AUTH and IKE_AUTH: pre-shared keys and certificates (RFC 7296 §2.15, RFC 7427).
//!
//! What is proven is always the whole opening of the IKE SA: the prover's IKE_SA_INIT message, the other's nonce, the
//! prover's identity and every IKE_INTERMEDIATE message. NULL authentication, SHA-1 and PKCS#1 signatures do not
//! exist here.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::Secret;
use crate::crypto::certificate::{CertificateError, PeerCertificate, TrustAnchors};
use crate::crypto::signature::Signer;
use crate::wire::{
    Authentication, AuthenticationMethod, Certificate, CertificateEncoding, CertificateRequest,
    HashAlgorithmId, Identification,
};

use super::key_schedule::{KeySchedule, Role};

/// What a pre-shared key is padded with (RFC 7296 §2.15).
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// Hashes of signatures we can verify (RFC 7427 §4); Identity stands for Ed25519 (RFC 8420).
pub(crate) const VERIFIABLE_HASHES: [HashAlgorithmId; 4] = [
    HashAlgorithmId::SHA2_256,
    HashAlgorithmId::SHA2_384,
    HashAlgorithmId::SHA2_512,
    HashAlgorithmId::IDENTITY,
];

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
    pub signer: Arc<dyn Signer>,
    /// Authorities whose certificates we accept from the peer.
    pub trust_anchors: Arc<TrustAnchors>,
}

impl CertificateCredentials {
    /// The certificate request that names the authorities we trust.
    pub(crate) fn certificate_request(&self) -> CertificateRequest {
        CertificateRequest {
            encoding: CertificateEncoding::X509_SIGNATURE,
            authorities: self.trust_anchors.key_hashes(),
        }
    }
}

/// How a member proves who it is, and how it checks the key server in return.
pub enum Credentials {
    /// One key shared with the key servers; both sides prove that they know it.
    PreSharedKey(Secret),
    /// A certificate; the key server must prove itself with one as well.
    Certificate(CertificateCredentials),
}

/// Why a proof of identity was refused, or could not be made. For our own records; a peer hears none of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// There is no AUTH or identification payload.
    #[error("no proof of identity")]
    Missing,
    /// The method is not one we accept.
    #[error("authentication method {0} is not accepted")]
    Method(AuthenticationMethod),
    /// There is no pre-shared key for the identity.
    #[error("unknown identity")]
    UnknownIdentity,
    /// The pre-shared keys differ.
    #[error("wrong pre-shared key")]
    SharedKey,
    /// The certificate, its chain or its name is not acceptable.
    #[error("certificate not accepted")]
    Certificate(#[source] CertificateError),
    /// The signature does not verify, or its algorithm is not accepted.
    #[error("wrong signature")]
    Signature,
    /// The identity is proven, but it is not that of a key server we may listen to.
    #[error("the identity is not one of the allowed key servers")]
    IdentityNotAllowed,
    /// The peer cannot verify what our key signs, or signing failed.
    #[error("we cannot prove our own identity to this peer")]
    Own,
}

/// The two IKE_SA_INIT messages, octet by octet as sent and received.
pub(crate) struct Transcript {
    /// The last request.
    pub(crate) request: Vec<u8>,
    /// The answer to it.
    pub(crate) response: Vec<u8>,
}

impl Transcript {
    /// Forgets both, once authentication has used them.
    pub(crate) fn clear(&mut self) {
        self.request = Vec::new();
        self.response = Vec::new();
    }
}

/// What every proof in one IKE SA rests on.
pub(crate) struct Proofs<'a> {
    /// Keys and nonces.
    pub(crate) schedule: &'a KeySchedule,
    /// IKE_SA_INIT.
    pub(crate) transcript: &'a Transcript,
    /// Message ID of the authenticating exchange.
    pub(crate) message_id: u32,
}

/// A peer's signature with all it is checked against.
pub(crate) struct SignedProof<'a> {
    /// Whose proof it is.
    pub(crate) prover: Role,
    /// The identity that is claimed.
    pub(crate) identity: &'a Identification,
    /// The peer's CERT payloads, its own first.
    pub(crate) certificates: &'a [Certificate],
    /// Whom we trust.
    pub(crate) anchors: &'a TrustAnchors,
    /// Now.
    pub(crate) unix_time: u64,
    /// Algorithm of the AUTH payload.
    pub(crate) algorithm_identifier: &'a [u8],
    /// Signature value of the AUTH payload.
    pub(crate) signature: &'a [u8],
}

impl Proofs<'_> {
    /// InitiatorSignedOctets or ResponderSignedOctets (RFC 7296 §2.15, RFC 9242 §3.3).
    fn octets(&self, prover: Role, identity: &Identification) -> Zeroizing<Vec<u8>> {
        let opening = self.schedule.opening();
        let (message, nonce) = match prover {
            Role::Initiator => (&self.transcript.request, &opening.responder_nonce),
            Role::Responder => (&self.transcript.response, &opening.initiator_nonce),
        };
        let mut octets = Zeroizing::new(message.clone());
        octets.extend_from_slice(nonce);
        let mac = self
            .schedule
            .prf()
            .compute(self.schedule.proof_key(prover), &[&identity.body()]);
        octets.extend_from_slice(mac.as_bytes());
        octets.extend_from_slice(&self.schedule.intermediate_authentication(self.message_id));
        octets
    }

    fn mic(&self, prover: Role, identity: &Identification, key: &Secret) -> Secret {
        let prf = self.schedule.prf();
        let padded = prf.compute(key.as_bytes(), &[KEY_PAD]);
        prf.compute(padded.as_bytes(), &[&self.octets(prover, identity)])
    }

    /// Our proof with a pre-shared key.
    pub(crate) fn prove_shared_key(
        &self,
        prover: Role,
        identity: &Identification,
        key: &Secret,
    ) -> Authentication {
        Authentication::SharedKey(self.mic(prover, identity, key).as_bytes().to_vec())
    }

    /// Checks the peer's proof with a pre-shared key, in constant time.
    pub(crate) fn verify_shared_key(
        &self,
        prover: Role,
        identity: &Identification,
        key: &Secret,
        mic: &[u8],
    ) -> Result<(), AuthenticationError> {
        if self.mic(prover, identity, key).matches(mic) {
            Ok(())
        } else {
            Err(AuthenticationError::SharedKey)
        }
    }

    /// Our proof with a certificate, for a peer that can verify signatures over `hashes`.
    pub(crate) fn prove_certificate(
        &self,
        prover: Role,
        identity: &Identification,
        credentials: &CertificateCredentials,
        hashes: &[HashAlgorithmId],
    ) -> Result<(Vec<Certificate>, Authentication), AuthenticationError> {
        let algorithm = credentials.signer.algorithm();
        if !hashes.contains(&algorithm.hash()) {
            return Err(AuthenticationError::Own);
        }
        let octets = self.octets(prover, identity);
        let signature = credentials
            .signer
            .sign(&octets)
            .map_err(|_| AuthenticationError::Own)?;
        let algorithm_identifier = algorithm.algorithm_identifier().to_vec();
        let certificates = credentials
            .chain
            .iter()
            .map(|der| Certificate::x509(der))
            .collect();
        Ok((
            certificates,
            Authentication::Signature {
                algorithm_identifier,
                signature,
            },
        ))
    }

    /// Checks the peer's certificate, that it covers the identity, and the signature.
    pub(crate) fn verify_certificate(
        &self,
        proof: &SignedProof<'_>,
    ) -> Result<PeerCertificate, AuthenticationError> {
        let chain: Vec<&[u8]> = proof
            .certificates
            .iter()
            .filter(|certificate| certificate.encoding == CertificateEncoding::X509_SIGNATURE)
            .map(|certificate| certificate.data.as_slice())
            .collect();
        let certificate = proof
            .anchors
            .verify(&chain, proof.unix_time)
            .map_err(AuthenticationError::Certificate)?;
        certificate
            .covers(proof.identity)
            .map_err(AuthenticationError::Certificate)?;
        let octets = self.octets(proof.prover, proof.identity);
        certificate
            .public_key()
            .verify(proof.algorithm_identifier, &octets, proof.signature)
            .map_err(|_| AuthenticationError::Signature)?;
        Ok(certificate)
    }
}
