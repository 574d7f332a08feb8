//! Registration with certificates (RFC 7427), over every kind of key, and the ways it must fail.

use gikev2::crypto::certificate::CertificateError;
use gikev2::exchange::authentication::{AuthenticationError, CertificateCredentials, Credentials};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::exchange::proposal::KeyExchangeChoice;
use gikev2::initiator::{Event, InitiatorError};
use gikev2::responder::RejectReason;
use gikev2::wire::{IdType, Identification};

use crate::support::pki::{Authority, EXPIRED, Kind, NOW};
use crate::support::{Pair, member_config, server_config};

const MEMBER: &str = "m-1.member.getvpn";
const SERVER: &str = "ks-0.keyserver.getvpn";

fn pair(member: CertificateCredentials, server: CertificateCredentials) -> Pair {
    pair_over(KeyExchangeChoice::X25519, member, server)
}

fn pair_over(
    choice: KeyExchangeChoice,
    member: CertificateCredentials,
    server: CertificateCredentials,
) -> Pair {
    let mut member_side = member_config();
    member_side.credentials = Credentials::Certificate(member);
    member_side.key_exchanges = vec![choice];
    let mut server_side = server_config();
    server_side.pre_shared_keys = None;
    server_side.certificate = Some(server);
    Pair::new(member_side, server_side)
}

fn registers(kind: Kind, choice: KeyExchangeChoice) {
    let authority = Authority::new("getvpn test authority");
    let member = authority.issue(MEMBER, kind, NOW, authority.anchors());
    let server = authority.issue(SERVER, kind, NOW, authority.anchors());
    let mut pair = pair_over(choice, member, server);
    let registration = pair.registered();
    assert_eq!(registration.peer, Identification::fqdn(SERVER));
    let request = &pair.open_registrations[0].1;
    let certificate = request
        .certificate
        .as_ref()
        .expect("the member's certificate");
    assert_eq!(certificate.names(), [Identification::fqdn(MEMBER)]);
}

#[test]
fn both_ends_prove_themselves_with_rsa_pss() {
    registers(Kind::RsaPss, KeyExchangeChoice::X25519MlKem768);
    registers(Kind::RsaPss, KeyExchangeChoice::P256);
}

#[test]
fn both_ends_prove_themselves_with_ecdsa_p256() {
    registers(Kind::EcdsaP256, KeyExchangeChoice::X25519MlKem768);
    registers(Kind::EcdsaP256, KeyExchangeChoice::P384);
}

#[test]
fn both_ends_prove_themselves_with_ecdsa_p384() {
    registers(Kind::EcdsaP384, KeyExchangeChoice::X25519MlKem768);
    registers(Kind::EcdsaP384, KeyExchangeChoice::X25519);
}

#[test]
fn both_ends_prove_themselves_with_ed25519() {
    registers(Kind::Ed25519, KeyExchangeChoice::X25519MlKem768);
    registers(Kind::Ed25519, KeyExchangeChoice::X25519);
}

fn server_refuses(mut pair: Pair) -> AuthenticationError {
    match pair.outcome() {
        Event::Failed(InitiatorError::RefusedByPeer) => {}
        other => panic!("{other:?}"),
    }
    assert!(
        pair.open_registrations.is_empty(),
        "the owner never hears of it"
    );
    match pair.rejections().as_slice() {
        [RejectReason::Authentication(error)] => error.clone(),
        other => panic!("{other:?}"),
    }
}

fn member_refuses(mut pair: Pair) -> AuthenticationError {
    match pair.outcome() {
        Event::Failed(InitiatorError::Authentication(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_expired_member_certificate_is_refused() {
    let authority = Authority::new("getvpn test authority");
    let member = authority.issue(MEMBER, Kind::Ed25519, EXPIRED, authority.anchors());
    let server = authority.issue(SERVER, Kind::Ed25519, NOW, authority.anchors());
    let error = server_refuses(pair(member, server));
    assert!(
        matches!(
            error,
            AuthenticationError::Certificate(CertificateError::Expired { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn a_member_certificate_of_a_foreign_authority_is_refused() {
    let (ours, foreign) = (
        Authority::new("getvpn test authority"),
        Authority::new("getvpn test authority"),
    );
    let member = foreign.issue(MEMBER, Kind::Ed25519, NOW, ours.anchors());
    let server = ours.issue(SERVER, Kind::Ed25519, NOW, ours.anchors());
    let error = server_refuses(pair(member, server));
    assert!(
        matches!(error, AuthenticationError::Certificate(_)),
        "{error:?}"
    );
}

#[test]
fn an_identity_the_certificate_does_not_cover_is_refused() {
    let authority = Authority::new("getvpn test authority");
    let member = authority.issue("m-2.member.getvpn", Kind::Ed25519, NOW, authority.anchors());
    let server = authority.issue(SERVER, Kind::Ed25519, NOW, authority.anchors());
    let error = server_refuses(pair(member, server));
    let expected = matches!(
        error,
        AuthenticationError::Certificate(CertificateError::NameNotCovered { .. })
    );
    assert!(expected, "{error:?}");
}

#[test]
fn a_signature_of_another_key_than_the_certificates_is_refused() {
    let authority = Authority::new("getvpn test authority");
    let mut member = authority.issue(MEMBER, Kind::Ed25519, NOW, authority.anchors());
    member.signer = authority
        .issue(MEMBER, Kind::Ed25519, NOW, authority.anchors())
        .signer;
    let server = authority.issue(SERVER, Kind::Ed25519, NOW, authority.anchors());
    assert_eq!(
        server_refuses(pair(member, server)),
        AuthenticationError::Signature
    );
}

#[test]
fn a_key_server_of_a_foreign_authority_is_refused() {
    let (ours, foreign) = (
        Authority::new("getvpn test authority"),
        Authority::new("somebody else"),
    );
    let member = ours.issue(MEMBER, Kind::Ed25519, NOW, ours.anchors());
    let server = foreign.issue(SERVER, Kind::Ed25519, NOW, ours.anchors());
    assert!(matches!(
        member_refuses(pair(member, server)),
        AuthenticationError::Certificate(_)
    ));
}

#[test]
fn an_expired_key_server_certificate_is_refused() {
    let authority = Authority::new("getvpn test authority");
    let member = authority.issue(MEMBER, Kind::Ed25519, NOW, authority.anchors());
    let server = authority.issue(SERVER, Kind::Ed25519, EXPIRED, authority.anchors());
    let error = member_refuses(pair(member, server));
    assert!(
        matches!(
            error,
            AuthenticationError::Certificate(CertificateError::Expired { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn another_member_cannot_play_the_key_server() {
    let authority = Authority::new("getvpn test authority");
    let member = authority.issue(MEMBER, Kind::Ed25519, NOW, authority.anchors());
    let impostor = authority.issue("m-2.member.getvpn", Kind::Ed25519, NOW, authority.anchors());
    let mut pair = {
        let mut member_side = member_config();
        member_side.credentials = Credentials::Certificate(member);
        let mut server_side = server_config();
        server_side.identity = Identification::fqdn("m-2.member.getvpn");
        server_side.certificate = Some(impostor);
        Pair::new(member_side, server_side)
    };
    match pair.outcome() {
        Event::Failed(InitiatorError::Authentication(AuthenticationError::IdentityNotAllowed)) => {}
        other => panic!("{other:?}"),
    }
    // Well before an idle IKE SA would be closed.
    pair.run_for(std::time::Duration::from_secs(7));
    let told = pair
        .server_events
        .iter()
        .any(|event| matches!(event, gikev2::responder::Event::Closed { .. }));
    assert!(told, "the impostor is told and loses the IKE SA");
}

#[test]
fn a_distinguished_name_is_an_identity_too() {
    let authority = Authority::new("getvpn test authority");
    let member = authority.issue(MEMBER, Kind::EcdsaP256, NOW, authority.anchors());
    let server = authority.issue(SERVER, Kind::EcdsaP256, NOW, authority.anchors());
    // CN=ks-0.keyserver.getvpn as rcgen writes it: SET, SEQUENCE, commonName, UTF8String.
    let mut name = vec![
        0x30, 32, 0x31, 30, 0x30, 28, 0x06, 3, 0x55, 0x04, 0x03, 0x0c, 21,
    ];
    name.extend_from_slice(SERVER.as_bytes());
    let mut member_side = member_config();
    member_side.credentials = Credentials::Certificate(member);
    member_side.key_server_identities =
        vec![IdentityPattern::new(IdType::DER_ASN1_DN, name.clone())];
    let mut server_side = server_config();
    server_side.identity = Identification::distinguished_name(&name);
    server_side.certificate = Some(server);
    let registration = Pair::new(member_side, server_side).registered();
    assert_eq!(registration.peer.id_type, IdType::DER_ASN1_DN);
}

#[test]
fn a_member_with_a_pre_shared_key_does_not_accept_a_certificate_in_return() {
    let authority = Authority::new("getvpn test authority");
    let server = authority.issue(SERVER, Kind::Ed25519, NOW, authority.anchors());
    let mut server_side = server_config();
    server_side.pre_shared_keys = None;
    server_side.certificate = Some(server);
    let mut pair = Pair::new(member_config(), server_side);
    assert!(matches!(
        pair.outcome(),
        Event::Failed(InitiatorError::RefusedByPeer)
    ));
}
