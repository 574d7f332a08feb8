//! An authority and certificates, made by a library that is not ours.

use std::sync::Arc;

use gikev2::crypto::certificate::TrustAnchors;
use gikev2::crypto::signature::PrivateKey;
use gikev2::exchange::authentication::CertificateCredentials;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};

/// Kinds of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Signs with RSASSA-PSS.
    Rsa,
    /// Signs with ECDSA on P-256.
    EcdsaP256,
}

fn key_pair(kind: Kind) -> KeyPair {
    match kind {
        Kind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        Kind::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    }
    .expect("a key pair")
}

fn valid(mut parameters: CertificateParams, name: &str) -> CertificateParams {
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2024, 1, 1);
    parameters.not_after = date_time_ymd(2044, 1, 1);
    parameters
}

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Issued {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let name = "authority of the interoperability tests";
        let mut parameters = valid(
            CertificateParams::new(Vec::new()).expect("parameters"),
            name,
        );
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(
            CertifiedIssuer::self_signed(parameters, key_pair(Kind::EcdsaP256))
                .expect("a certificate"),
        )
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with `name` as its subject alternative name.
    pub(crate) fn issue(&self, name: &str, kind: Kind) -> Issued {
        let key = key_pair(kind);
        let parameters = valid(
            CertificateParams::new(vec![name.to_owned()]).expect("parameters"),
            name,
        );
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        Issued { key, certificate }
    }

    /// What one of our ends needs to prove that it is `name`.
    pub(crate) fn credentials(&self, name: &str, kind: Kind) -> CertificateCredentials {
        let issued = self.issue(name, kind);
        CertificateCredentials {
            chain: vec![issued.certificate.der().to_vec()],
            signer: Arc::new(
                PrivateKey::from_pkcs8(issued.key.serialized_der()).expect("a key we can use"),
            ),
            trust_anchors: Arc::new(
                TrustAnchors::new([self.0.der().to_vec()]).expect("an authority"),
            ),
        }
    }
}

impl Issued {
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}
