//! OpenSSL verifies the signature of our GSA_REKEY and opens the signing key our key server exports.
//!
//! What is signed is rebuilt here from the octets on the wire, with nothing of our own protocol library.

#[path = "support/filter.rs"]
mod filter;
#[path = "support/group.rs"]
mod group;
#[path = "support/tools.rs"]
mod tools;

use std::fs;
use std::process::Command;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use gikev2::crypto::signature::PrivateKey;
use keyserver::signing_key::{self, SigningKeyMaterial};
use keyserver_api::policy::SignatureAlgorithm;

/// Larger than any message: no fragments.
const WHOLE: usize = 65_000;

/// A signature, taken out of a GSA_REKEY message.
struct Signed {
    /// DER AlgorithmIdentifier in the AUTH payload.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    /// `A | P` of RFC 9838 §2.4.1.1, the signature zeroed.
    octets: Vec<u8>,
}

/// Decrypts a GSA_REKEY message and finds what its signature covers.
fn take_apart(message: &[u8]) -> Signed {
    const HEADER: usize = 28 + 4;
    const AUTHENTICATION: u8 = 39;
    const DIGITAL_SIGNATURE: u8 = 14;
    assert_eq!(
        (message[16], message[18]),
        (46, 41),
        "an SK payload in a GSA_REKEY"
    );

    let material = group::rekey_material();
    let (key, salt) = material[..36].split_at(32);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key"));
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(salt);
    nonce[4..].copy_from_slice(&message[HEADER..HEADER + 8]);
    let mut text = message[HEADER + 8..].to_vec();
    let length = key
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&message[..HEADER]),
            &mut text,
        )
        .expect("the ICV is good")
        .len();
    text.truncate(length);
    let padding = usize::from(*text.last().expect("a Pad Length"));
    let mut chain = text[..length - 1 - padding].to_vec();

    let mut next = message[28];
    let mut at = 0;
    while next != AUTHENTICATION {
        assert_ne!(next, 0, "no AUTH payload");
        next = chain[at];
        at += usize::from(u16::from_be_bytes([chain[at + 2], chain[at + 3]]));
    }
    let end = at + usize::from(u16::from_be_bytes([chain[at + 2], chain[at + 3]]));
    assert_eq!(
        (chain[at], end),
        (0, chain.len()),
        "AUTH is the last payload"
    );
    assert_eq!(chain[at + 4], DIGITAL_SIGNATURE);
    let algorithm_end = at + 9 + usize::from(chain[at + 8]);
    let algorithm = chain[at + 9..algorithm_end].to_vec();
    let signature = chain[algorithm_end..].to_vec();
    chain[algorithm_end..].fill(0);

    let mut octets = message[..HEADER].to_vec();
    let length = HEADER + chain.len();
    octets[24..28].copy_from_slice(&u32::try_from(length).expect("a message").to_be_bytes());
    octets[30..32].copy_from_slice(
        &u16::try_from(4 + chain.len())
            .expect("a payload")
            .to_be_bytes(),
    );
    octets.extend_from_slice(&chain);
    Signed {
        algorithm,
        signature,
        octets,
    }
}

/// Whether OpenSSL finds `signature` good for `octets` under a SubjectPublicKeyInfo.
fn openssl_verifies(
    algorithm: SignatureAlgorithm,
    public_key: &[u8],
    signature: &[u8],
    octets: &[u8],
) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    };
    let mut command = Command::new("openssl");
    command.args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]);
    if algorithm == SignatureAlgorithm::RsaPss3072 {
        command.args(["-digest", "sha256"]);
        for option in [
            "rsa_padding_mode:pss",
            "rsa_pss_saltlen:32",
            "rsa_mgf1_md:sha256",
        ] {
            command.args(["-pkeyopt", option]);
        }
    }
    let output = command
        .arg("-inkey")
        .arg(file("key", public_key))
        .arg("-sigfile")
        .arg(file("signature", signature))
        .arg("-in")
        .arg(file("octets", octets))
        .output()
        .expect("openssl starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    // Any other complaint would be about how it was called.
    let verdict = printed.contains("Signature Verified Successfully");
    assert!(
        verdict || printed.contains("Signature Verification Failure"),
        "{printed}"
    );
    assert_eq!(output.status.success(), verdict, "{printed}");
    verdict
}

fn openssl(arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new("openssl");
    command.args(arguments).env("PASSPHRASE", PASSPHRASE);
    String::from_utf8(filter::run(&mut command, input)).expect("openssl prints text")
}

const PASSPHRASE: &str = "a long passphrase for tests";

fn key(algorithm: SignatureAlgorithm) -> SigningKeyMaterial {
    signing_key::generate(algorithm).expect("a key")
}

fn openssl_verifies_a_rekey(algorithm: SignatureAlgorithm, name: &str) {
    if !tools::installed(&["openssl"]) {
        return;
    }
    let key = key(algorithm);
    let signer = PrivateKey::from_pkcs8(&key.private_key).expect("a key that signs");
    let datagrams = group::rekey(&signer, WHOLE);
    let [message] = datagrams.as_slice() else {
        panic!("one datagram")
    };
    let signed = take_apart(message);
    let identifier = openssl(&["asn1parse", "-inform", "DER"], &signed.algorithm);
    assert!(identifier.contains(name), "{identifier}");
    assert!(openssl_verifies(
        algorithm,
        &key.public_key,
        &signed.signature,
        &signed.octets
    ));

    let mut changed = signed.octets.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    assert!(!openssl_verifies(
        algorithm,
        &key.public_key,
        &signed.signature,
        &changed
    ));
    let other = signing_key::generate(algorithm).expect("a key");
    assert!(!openssl_verifies(
        algorithm,
        &other.public_key,
        &signed.signature,
        &signed.octets
    ));
}

#[test]
fn openssl_verifies_the_rsa_pss_signature_of_a_rekey() {
    openssl_verifies_a_rekey(SignatureAlgorithm::RsaPss3072, "rsassaPss");
}

#[test]
fn openssl_verifies_the_ed25519_signature_of_a_rekey() {
    openssl_verifies_a_rekey(SignatureAlgorithm::Ed25519, "ED25519");
}

#[test]
fn openssl_opens_an_exported_signing_key_and_finds_the_announced_public_key_in_it() {
    if !tools::installed(&["openssl"]) {
        return;
    }
    for algorithm in [SignatureAlgorithm::RsaPss3072, SignatureAlgorithm::Ed25519] {
        let key = key(algorithm);
        let exported = signing_key::export(&key.private_key, PASSPHRASE).expect("an export");
        assert!(
            exported.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            "{exported}"
        );
        let opened = openssl(&["pkcs8", "-passin", "env:PASSPHRASE"], exported.as_bytes());
        let mut public = Command::new("openssl");
        public.args(["pkey", "-pubout", "-outform", "DER"]);
        assert_eq!(
            filter::run(&mut public, opened.as_bytes()),
            key.public_key,
            "{algorithm:?}"
        );
        let checked = openssl(&["pkey", "-check", "-noout"], opened.as_bytes());
        assert!(checked.contains("Key is valid"), "{checked}");
    }
}
