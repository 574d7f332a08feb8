//! Authorities and certificates, made by a library that is not ours.

use std::sync::Arc;

use gikev2::crypto::certificate::TrustAnchors;
use gikev2::crypto::signature::PrivateKey;
use gikev2::exchange::authentication::CertificateCredentials;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
    date_time_ymd,
};

/// Kinds of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    RsaPss,
    EcdsaP256,
    EcdsaP384,
    Ed25519,
}

fn key_pair(kind: Kind) -> KeyPair {
    match kind {
        Kind::RsaPss => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        Kind::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        Kind::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        Kind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
    }
    .expect("a key pair")
}

/// A private key of ours of that kind.
pub(crate) fn private_key(kind: Kind) -> PrivateKey {
    PrivateKey::from_pkcs8(key_pair(kind).serialized_der()).expect("a key we can use")
}

/// The years in which a certificate is valid.
pub(crate) const NOW: (i32, i32) = (2025, 2030);
pub(crate) const EXPIRED: (i32, i32) = (2020, 2024);

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(NOW.0, 1, 1);
        params.not_after = date_time_ymd(NOW.1, 1, 1);
        Self(
            CertifiedIssuer::self_signed(params, key_pair(Kind::EcdsaP256)).expect("a certificate"),
        )
    }

    pub(crate) fn anchors(&self) -> Arc<TrustAnchors> {
        Arc::new(TrustAnchors::new([self.0.der().to_vec()]).expect("an authority"))
    }

    /// Credentials for `name` that trust `anchors`.
    pub(crate) fn issue(
        &self,
        name: &str,
        kind: Kind,
        years: (i32, i32),
        trust_anchors: Arc<TrustAnchors>,
    ) -> CertificateCredentials {
        let key = key_pair(kind);
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let signer = PrivateKey::from_pkcs8(key.serialized_der()).expect("a key we can use");
        CertificateCredentials {
            chain: vec![certificate.der().to_vec()],
            signer: Arc::new(signer),
            trust_anchors,
        }
    }
}
