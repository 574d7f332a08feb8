//! Certificate paths: authorities and certificates are made by a library that is not ours, once right and then wrong
//! in one way at a time.

use gikev2::crypto::certificate::{CertificateError, TrustAnchors};
use gikev2::wire::Identification;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PKCS_RSA_SHA512, RsaKeySize, SanType, SignatureAlgorithm, date_time_ymd,
};

/// 2027-01-15, inside of every validity below.
const NOW: u64 = 1_800_000_000;
const YEAR: u64 = 365 * 24 * 3600;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn ecdsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key pair")
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

fn authority_params(name: &str, constraint: BasicConstraints) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(constraint);
    params
}

fn root() -> Authority {
    let params = authority_params("root", BasicConstraints::Unconstrained);
    Authority::self_signed(params, ecdsa()).expect("a root")
}

fn intermediate(name: &str, constraint: BasicConstraints, issuer: &Authority) -> Authority {
    Authority::signed_by(authority_params(name, constraint), ecdsa(), issuer)
        .expect("an intermediate")
}

fn issue(params: &CertificateParams, issuer: &Authority) -> Vec<u8> {
    let key = ecdsa();
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    certificate.der().to_vec()
}

fn der(authority: &Authority) -> Vec<u8> {
    authority.der().to_vec()
}

fn verify(anchor: &Authority, chain: &[&[u8]], time: u64) -> Result<(), CertificateError> {
    TrustAnchors::new([der(anchor)])?
        .verify(chain, time)
        .map(|_| ())
}

#[test]
fn a_chain_leads_over_intermediates_in_any_order_to_the_anchor() {
    let root = root();
    let first = intermediate("first", BasicConstraints::Constrained(1), &root);
    let second = intermediate("second", BasicConstraints::Constrained(0), &first);
    let own = issue(&params("m-1"), &second);
    let (first, second) = (der(&first), der(&second));
    assert_eq!(verify(&root, &[&own, &second, &first], NOW), Ok(()));
    assert_eq!(verify(&root, &[&own, &first, &second], NOW), Ok(()));
    assert!(matches!(
        verify(&root, &[&own, &first], NOW),
        Err(CertificateError::UnknownIssuer { subject, issuer })
            if subject == "CN=m-1" && issuer == "CN=second"
    ));
}

#[test]
fn authorities_may_sign_with_any_accepted_algorithm() {
    let kinds: [(&'static SignatureAlgorithm, Option<RsaKeySize>); 5] = [
        (&PKCS_ECDSA_P256_SHA256, None),
        (&PKCS_ECDSA_P384_SHA384, None),
        (&PKCS_ED25519, None),
        (&PKCS_RSA_SHA256, Some(RsaKeySize::_2048)),
        (&PKCS_RSA_SHA512, Some(RsaKeySize::_2048)),
    ];
    for (algorithm, size) in kinds {
        let key = match size {
            Some(size) => KeyPair::generate_rsa_for(algorithm, size),
            None => KeyPair::generate_for(algorithm),
        };
        let params_of_root = authority_params("root", BasicConstraints::Unconstrained);
        let root = Authority::self_signed(params_of_root, key.expect("a key pair"));
        let root = root.expect("a root");
        let own = issue(&params("m-1"), &root);
        assert_eq!(verify(&root, &[&own], NOW), Ok(()), "{algorithm:?}");
    }
}

#[test]
fn time_is_checked_at_every_link() {
    let root = root();
    let mut young = authority_params("first", BasicConstraints::Unconstrained);
    young.not_before = date_time_ymd(2028, 1, 1);
    let young = Authority::signed_by(young, ecdsa(), &root).expect("an intermediate");
    let own = issue(&params("m-1"), &young);
    let young = der(&young);
    let at = |time| verify(&root, &[&own, &young], time);
    assert!(matches!(
        at(NOW),
        Err(CertificateError::NotYetValid { subject, not_before: 1_830_297_600 }) if subject == "CN=first"
    ));
    assert_eq!(at(NOW + 2 * YEAR), Ok(()));
    let over = at(NOW + 4 * YEAR).expect_err("its time is over");
    assert!(matches!(
        &over,
        CertificateError::Expired { subject, not_after: 1_893_456_000 } if subject == "CN=m-1"
    ));
    assert_eq!(
        over.to_string(),
        "`CN=m-1` expired on 2030-01-01 at 00:00 UTC"
    );
    assert!(at(u64::MAX).is_err());
}

#[test]
fn an_issuer_known_by_name_that_did_not_sign_is_told_apart_from_an_unknown_one() {
    let (ours, foreign) = (root(), root());
    let own = issue(&params("m-1"), &foreign);
    assert!(matches!(
        verify(&ours, &[&own], NOW),
        Err(CertificateError::BadSignature { .. })
    ));
    let mut changed = issue(&params("m-1"), &ours);
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert!(matches!(
        verify(&ours, &[&changed], NOW),
        Err(CertificateError::BadSignature { .. } | CertificateError::Malformed { .. })
    ));
    assert_eq!(
        verify(&ours, &[], NOW),
        Err(CertificateError::Missing),
        "no certificate at all"
    );
}

#[test]
fn only_an_authority_within_its_limits_may_issue() {
    let root = root();
    let short = intermediate("first", BasicConstraints::Constrained(0), &root);
    let second = intermediate("second", BasicConstraints::Unconstrained, &short);
    let own = issue(&params("m-1"), &second);
    assert!(matches!(
        verify(&root, &[&own, &der(&second), &der(&short)], NOW),
        Err(CertificateError::Purpose { subject, .. }) if subject == "CN=first"
    ));

    // A member that signs a certificate for somebody else.
    let mut no_authority = params("m-1");
    no_authority.is_ca = IsCa::ExplicitNoCa;
    let member = Authority::signed_by(no_authority, ecdsa(), &root).expect("a certificate");
    let own = issue(&params("m-2"), &member);
    assert!(matches!(
        verify(&root, &[&own, &der(&member)], NOW),
        Err(CertificateError::Purpose { subject, .. }) if subject == "CN=m-1"
    ));
    assert!(matches!(
        TrustAnchors::new([der(&member)]),
        Err(CertificateError::Purpose { .. })
    ));

    let mut wrong_usage = authority_params("first", BasicConstraints::Unconstrained);
    wrong_usage.key_usages = vec![KeyUsagePurpose::CrlSign];
    let wrong_usage = Authority::signed_by(wrong_usage, ecdsa(), &root).expect("an authority");
    let own = issue(&params("m-1"), &wrong_usage);
    assert!(matches!(
        verify(&root, &[&own, &der(&wrong_usage)], NOW),
        Err(CertificateError::Purpose { subject, .. }) if subject == "CN=first"
    ));
}

#[test]
fn a_certificate_that_restricts_its_use_must_allow_signatures() {
    let root = root();
    let mut signs = params("m-1");
    signs.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let mut agrees = params("m-1");
    agrees.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    assert_eq!(verify(&root, &[&issue(&signs, &root)], NOW), Ok(()));
    assert!(matches!(
        verify(&root, &[&issue(&agrees, &root)], NOW),
        Err(CertificateError::Purpose { .. })
    ));
}

#[test]
fn a_critical_extension_that_is_not_understood_is_refused_at_every_link() {
    let root = root();
    let mut strange = params("m-1");
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
    extension.set_criticality(true);
    strange.custom_extensions = vec![extension];
    assert!(matches!(
        verify(&root, &[&issue(&strange, &root)], NOW),
        Err(CertificateError::CriticalExtension { .. })
    ));
    // Name constraints are not implemented, so an authority that has them cannot be followed.
    let mut constrained = authority_params("first", BasicConstraints::Unconstrained);
    constrained.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("getvpn".into())],
        excluded_subtrees: Vec::new(),
    });
    let constrained = Authority::signed_by(constrained, ecdsa(), &root).expect("an authority");
    let own = issue(&params("m-1"), &constrained);
    assert!(matches!(
        verify(&root, &[&own, &der(&constrained)], NOW),
        Err(CertificateError::CriticalExtension { .. })
    ));
}

#[test]
fn identities_are_matched_by_kind() {
    let root = root();
    let mut names = params("m-1");
    names.subject_alt_names = vec![
        SanType::DnsName("m-1.member.getvpn".try_into().expect("a name")),
        SanType::Rfc822Name("m-1@getvpn.example".try_into().expect("an address")),
        SanType::IpAddress("192.0.2.7".parse().expect("an address")),
        SanType::IpAddress("2001:db8::7".parse().expect("an address")),
    ];
    let own = issue(&names, &root);
    let anchors = TrustAnchors::new([der(&root)]).expect("an authority");
    let peer = anchors.verify(&[&own], NOW).expect("a valid chain");
    let address = |text: &str| Identification::address(text.parse().expect("an address"));
    for covered in [
        Identification::fqdn("M-1.member.getvpn"),
        Identification::mail("m-1@getvpn.example"),
        address("192.0.2.7"),
        address("2001:db8::7"),
        Identification::distinguished_name(peer.subject_der()),
    ] {
        assert_eq!(peer.covers(&covered), Ok(()), "{covered}");
    }
    for other in [
        Identification::fqdn("m-2.member.getvpn"),
        Identification::fqdn("m-1@getvpn.example"),
        Identification::fqdn("m-1"),
        Identification::mail("m-1.member.getvpn"),
        Identification::key_id(b"m-1.member.getvpn"),
        Identification::distinguished_name(b"m-1"),
        address("192.0.2.8"),
    ] {
        assert!(
            matches!(
                peer.covers(&other),
                Err(CertificateError::NameNotCovered { .. })
            ),
            "{other}"
        );
    }
}

#[test]
fn names_in_messages_carry_no_control_characters() {
    let (root, foreign) = (root(), root());
    let own = issue(&params("m-1\nERROR forged"), &foreign);
    let message = verify(&root, &[&own], NOW)
        .expect_err("a foreign authority")
        .to_string();
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

#[test]
fn every_truncation_and_every_changed_octet_is_refused() {
    let root = root();
    let own = issue(&params("m-1"), &root);
    let anchors = TrustAnchors::new([der(&root)]).expect("an authority");
    for length in 0..own.len() {
        assert!(anchors.verify(&[&own[..length]], NOW).is_err());
    }
    for position in 0..own.len() {
        let mut changed = own.clone();
        changed[position] ^= 0x04;
        assert!(
            anchors.verify(&[&changed], NOW).is_err(),
            "octet {position} of {}",
            own.len()
        );
    }
}
