//! Both our ends against a stock strongSwan: IKE_SA_INIT and childless IKE_AUTH (RFC 6023), each way, by pre-shared
//! key and by certificate. G-IKEv2's own exchanges begin where these end.

#[path = "support/endpoint.rs"]
mod endpoint;
#[path = "support/namespaces.rs"]
mod namespaces;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/tools.rs"]
mod tools;

use std::net::{SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use e2e::strongswan::Charon;
use endpoint::{SystemEntropy, run_until};
use gikev2::Secret;
use gikev2::exchange::authentication::{Credentials, PreSharedKeys};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::initiator::{self, Initiator, InitiatorError, Purpose};
use gikev2::responder::{self, Responder};
use gikev2::wire::{IdType, Identification};
use namespaces::{Cable, OURS, THEIRS};
use pki::{Authority, Kind};

/// Who our key server, our member, and charon in either part are.
const SERVER: &str = "ks-0.keyserver.getvpn";
const MEMBER: &str = "m-1.member.getvpn";
const CHARON: &str = "charon.strongswan.getvpn";
const KEY: &str = "correct horse battery staple 0001";

fn available() -> bool {
    namespaces::available() && tools::installed(&["ip", "swanctl", "/usr/sbin/charon-systemd"])
}

/// A connection of charon with us. `ours` is our identity; `local` and `remote` are what charon's ends prove with.
fn connection(ours: &str, local: &str, remote: &str) -> String {
    format!(
        "connections {{
  getvpn {{
    version = 2
    local_addrs = {THEIRS}
    remote_addrs = {OURS}
    proposals = aes256gcm16-prfsha256-x25519
    childless = force
    mobike = no
    local {{
      id = {CHARON}
      {local}
    }}
    remote {{
      id = {ours}
      {remote}
    }}
  }}
}}
"
    )
}

fn charon_by_key(cable: &Cable, ours: &str, key: &str) -> Charon {
    let secrets =
        format!("secrets {{\n  ike-1 {{\n    id = {ours}\n    secret = \"{key}\"\n  }}\n}}\n");
    let configuration = connection(ours, "auth = psk", "auth = psk") + &secrets;
    Charon::start(cable.theirs(), &configuration, &[]).expect("charon starts")
}

fn charon_by_certificate(cable: &Cable, ours: &str, authority: &Authority, kind: Kind) -> Charon {
    let issued = authority.issue(CHARON, kind);
    let configuration = connection(
        ours,
        "auth = pubkey\n certs = charon.pem",
        "auth = pubkey\n cacerts = ca.pem",
    );
    let files = [
        ("x509/charon.pem", issued.pem()),
        ("private/charon.pem", issued.key_pem()),
        ("x509ca/ca.pem", authority.pem()),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_bytes()))
        .collect();
    Charon::start(cable.theirs(), &configuration, &files).expect("charon starts")
}

struct OneKey(Secret);

impl PreSharedKeys for OneKey {
    fn key(&self, identity: &Identification) -> Option<&Secret> {
        (identity == &Identification::fqdn(CHARON)).then_some(&self.0)
    }
}

/// Charon's name of the signature a certificate of that kind is used with.
fn signature(kind: Kind) -> &'static str {
    match kind {
        Kind::Rsa => "RSA_EMSA_PSS_SHA2_256_SALT_32",
        Kind::EcdsaP256 => "ECDSA_WITH_SHA256_DER",
    }
}

/// Both ends signed as they should, in charon's eyes.
fn both_signed(charon: &Charon, ours: &str, kind: Kind) {
    let log = charon.log();
    for who in [format!("'{ours}'"), format!("'{CHARON}' (myself)")] {
        let line = format!(
            "authentication of {who} with {} successful",
            signature(kind)
        );
        assert!(log.contains(&line), "no {line:?} in:\n{log}");
    }
}

fn sockets(cable: &Cable) -> [UdpSocket; 2] {
    [cable.socket(500), cable.socket(4500)]
}

/// Waits until charon has logged `text`.
fn wait_for_log(charon: &Charon, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !charon.log().contains(text) {
        assert!(
            Instant::now() < deadline,
            "charon did not log {text:?}:\n{}",
            charon.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Charon calls our key server. Answers what `swanctl --initiate` and our end say.
fn charon_calls(
    cable: &Cable,
    charon: &Charon,
    config: responder::Config,
) -> (
    Result<String, String>,
    Result<Identification, responder::RejectReason>,
) {
    let sockets = sockets(cable);
    let mut server = Responder::new(config, Instant::now(), &mut SystemEntropy);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            charon
                .swanctl(&["--initiate", "--ike", "getvpn", "--timeout", "10"])
                .map_err(|error| error.to_string())
        });
        let outcome = run_until(&mut server, &sockets, |event| match event {
            responder::Event::Authenticated {
                identity, remote, ..
            } => {
                assert_eq!(remote.ip(), THEIRS);
                ControlFlow::Break(Ok(identity))
            }
            responder::Event::Rejected { reason, .. } => ControlFlow::Break(Err(reason)),
            other => ControlFlow::Continue(other),
        });
        (call.join().expect("no panic"), outcome)
    })
}

fn charon_is_admitted(cable: &Cable, charon: &Charon, config: responder::Config) {
    let (charon_says, we_say) = charon_calls(cable, charon, config);
    assert_eq!(
        we_say.expect("we admit charon"),
        Identification::fqdn(CHARON)
    );
    let printed = charon_says.expect("charon is content");
    assert!(
        printed.contains("initiate completed successfully"),
        "{printed}"
    );
    let log = charon.log();
    assert!(
        log.contains(&format!(
            "established between {THEIRS}[{CHARON}]...{OURS}[{SERVER}]"
        )),
        "{log}"
    );
}

#[test]
fn charon_authenticates_to_our_key_server_by_pre_shared_key() {
    if !available() {
        return;
    }
    let cable = Cable::lay();
    let charon = charon_by_key(&cable, SERVER, KEY);
    let mut config = responder::Config::new(Identification::fqdn(SERVER));
    config.pre_shared_keys = Some(Box::new(OneKey(Secret::from_slice(KEY.as_bytes()))));
    charon_is_admitted(&cable, &charon, config);
}

#[test]
fn charon_with_a_wrong_pre_shared_key_is_refused_by_our_key_server() {
    if !available() {
        return;
    }
    let cable = Cable::lay();
    let charon = charon_by_key(&cable, SERVER, "another key, just as long as ours");
    let mut config = responder::Config::new(Identification::fqdn(SERVER));
    config.pre_shared_keys = Some(Box::new(OneKey(Secret::from_slice(KEY.as_bytes()))));
    let (charon_says, we_say) = charon_calls(&cable, &charon, config);
    we_say.expect_err("we refuse charon");
    let error = charon_says.expect_err("charon hears it");
    assert!(error.contains("AUTHENTICATION_FAILED"), "{error}");
}

#[test]
fn charon_authenticates_to_our_key_server_by_certificate() {
    if !available() {
        return;
    }
    for kind in [Kind::Rsa, Kind::EcdsaP256] {
        let cable = Cable::lay();
        let authority = Authority::new();
        let charon = charon_by_certificate(&cable, SERVER, &authority, kind);
        let mut config = responder::Config::new(Identification::fqdn(SERVER));
        config.certificate = Some(authority.credentials(SERVER, kind));
        charon_is_admitted(&cable, &charon, config);
        both_signed(&charon, SERVER, kind);
    }
}

/// Our member calls charon.
fn we_call(cable: &Cable, credentials: Credentials) -> Result<Identification, InitiatorError> {
    let sockets = sockets(cable);
    let config = initiator::Config::new(
        Identification::fqdn(MEMBER),
        credentials,
        vec![IdentityPattern::new(IdType::FQDN, CHARON)],
        Purpose::ChildlessAuthentication,
    );
    let [local, remote] = [OURS, THEIRS].map(|address| SocketAddr::new(address, 500));
    let mut member = Initiator::new(config, local, remote, Instant::now(), &mut SystemEntropy);
    run_until(&mut member, &sockets, |event| match event {
        initiator::Event::Authenticated { peer } => ControlFlow::Break(Ok(peer)),
        initiator::Event::Failed(error) => ControlFlow::Break(Err(error)),
        other => ControlFlow::Continue(other),
    })
}

fn we_are_admitted(cable: &Cable, charon: &Charon, credentials: Credentials) {
    let peer = we_call(cable, credentials)
        .unwrap_or_else(|error| panic!("not authenticated: {error}\n{}", charon.log()));
    assert_eq!(peer, Identification::fqdn(CHARON));
    wait_for_log(
        charon,
        &format!("established between {THEIRS}[{CHARON}]...{OURS}[{MEMBER}]"),
    );
}

#[test]
fn our_member_authenticates_to_charon_by_pre_shared_key() {
    if !available() {
        return;
    }
    let cable = Cable::lay();
    let charon = charon_by_key(&cable, MEMBER, KEY);
    we_are_admitted(
        &cable,
        &charon,
        Credentials::PreSharedKey(Secret::from_slice(KEY.as_bytes())),
    );
}

#[test]
fn our_member_with_a_wrong_pre_shared_key_is_refused_by_charon() {
    if !available() {
        return;
    }
    let cable = Cable::lay();
    let charon = charon_by_key(&cable, MEMBER, "another key, just as long as ours");
    let error = we_call(
        &cable,
        Credentials::PreSharedKey(Secret::from_slice(KEY.as_bytes())),
    )
    .expect_err("charon refuses us");
    assert!(
        matches!(error, InitiatorError::RefusedByPeer),
        "{error:?}\n{}",
        charon.log()
    );
}

#[test]
fn our_member_authenticates_to_charon_by_certificate() {
    if !available() {
        return;
    }
    for kind in [Kind::Rsa, Kind::EcdsaP256] {
        let cable = Cable::lay();
        let authority = Authority::new();
        let charon = charon_by_certificate(&cable, MEMBER, &authority, kind);
        we_are_admitted(
            &cable,
            &charon,
            Credentials::Certificate(authority.credentials(MEMBER, kind)),
        );
        both_signed(&charon, MEMBER, kind);
    }
}
