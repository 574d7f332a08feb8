//! Making, exporting and importing the key that signs rekeys.
//!
//! The key is generated once and replicated. Outside it exists only as PKCS#8 (RFC 5958) encrypted
//! with PBES2 (PBKDF2 with HMAC-SHA-256, AES-256-CBC), which OpenSSL reads and writes.
//! All of this takes up to seconds: call it where blocking is allowed.

use std::convert::Infallible;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use keyserver_api::policy::SignatureAlgorithm;
use pkcs8::der::{Decode, SecretDocument};
use pkcs8::pkcs5::pbes2;
use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef,
    SubjectPublicKeyInfoRef,
};
use rsa::PrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts;
use zeroize::Zeroizing;

/// Bits of a generated RSA key.
pub const RSA_BITS: usize = 3072;
const SMALLEST_RSA_BITS: usize = 2048;
const LARGEST_RSA_BITS: usize = 4096;
const SHORTEST_PASSPHRASE: usize = 12;
/// What OWASP recommends for PBKDF2 with HMAC-SHA-256.
const ITERATIONS: u32 = 600_000;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// DER of a SubjectPublicKeyInfo of Ed25519, before the 32 octets of the key (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A key that can sign rekeys.
pub struct SigningKeyMaterial {
    /// Algorithm it signs with.
    pub algorithm: SignatureAlgorithm,
    /// PKCS#8 DER.
    pub private_key: Zeroizing<Vec<u8>>,
    /// DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
}

/// Why a signing key cannot be made, exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The passphrase is too short to protect a key.
    #[error("passphrase: it has {0} characters, at least {SHORTEST_PASSPHRASE} are needed")]
    Passphrase(usize),
    /// The text is no encrypted PKCS#8 file.
    #[error(
        "encryptedPem: {0}; expected is a PEM file that begins with -----BEGIN ENCRYPTED PRIVATE KEY-----"
    )]
    Format(String),
    /// The passphrase does not open the file.
    #[error(
        "encryptedPem: it cannot be decrypted; the passphrase is another one, or the file is damaged"
    )]
    Decrypt,
    /// The key is too small or too large.
    #[error(
        "encryptedPem: an RSA key of {0} bits; from {SMALLEST_RSA_BITS} to {LARGEST_RSA_BITS} are accepted, {RSA_BITS} are recommended"
    )]
    Size(usize),
    /// The key is of another kind.
    #[error("encryptedPem: a key of algorithm {0}; RSA and Ed25519 keys can sign rekeys")]
    Algorithm(String),
    /// The key contradicts itself.
    #[error("encryptedPem: the key is not valid: {0}")]
    Invalid(String),
    /// The library could not make a key.
    #[error("the key cannot be generated: {0}")]
    Generate(String),
}

/// Makes a key for `algorithm`.
///
/// # Errors
/// [`SigningKeyError::Generate`].
pub fn generate(algorithm: SignatureAlgorithm) -> Result<SigningKeyMaterial, SigningKeyError> {
    let failed = |error: &dyn std::fmt::Display| SigningKeyError::Generate(error.to_string());
    match algorithm {
        SignatureAlgorithm::RsaPss3072 => {
            let key =
                PrivateKey::new(&mut KernelRandom, RSA_BITS).map_err(|error| failed(&error))?;
            let private_key = key.to_pkcs8_der().map_err(|error| failed(&error))?;
            rsa_material(&key, private_key.as_bytes())
        }
        SignatureAlgorithm::Ed25519 => {
            let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
                .map_err(|error| failed(&error))?;
            ed25519_material(document.as_ref())
        }
    }
}

/// Encrypts `private_key` (PKCS#8 DER) under `passphrase`, as PEM.
///
/// # Errors
/// [`SigningKeyError`].
pub fn export(private_key: &[u8], passphrase: &str) -> Result<String, SigningKeyError> {
    check_passphrase(passphrase)?;
    let invalid = |error: &dyn std::fmt::Display| SigningKeyError::Invalid(error.to_string());
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(
        ITERATIONS,
        &runtime::entropy::bytes::<16>(),
        runtime::entropy::bytes(),
    )
    .map_err(|error| invalid(&error))?;
    let info = PrivateKeyInfoRef::try_from(private_key).map_err(|error| invalid(&error))?;
    let pem = info
        .encrypt_with_params(parameters, passphrase)
        .and_then(|document| Ok(document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?))
        .map_err(|error| invalid(&error))?;
    Ok(pem.to_string())
}

/// Opens what [`export`] or `openssl pkcs8 -topk8` wrote.
///
/// # Errors
/// [`SigningKeyError`], which says what is wrong with the file.
pub fn import(
    encrypted_pem: &str,
    passphrase: &str,
) -> Result<SigningKeyMaterial, SigningKeyError> {
    let (label, document) = SecretDocument::from_pem(encrypted_pem)
        .map_err(|error| SigningKeyError::Format(error.to_string()))?;
    if label != "ENCRYPTED PRIVATE KEY" {
        return Err(SigningKeyError::Format(format!("it holds a {label}")));
    }
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes())
        .map_err(|error| SigningKeyError::Format(error.to_string()))?;
    let document = encrypted
        .decrypt(passphrase)
        .map_err(|_| SigningKeyError::Decrypt)?;
    let info =
        PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| SigningKeyError::Decrypt)?;
    let algorithm = info.algorithm.oid;
    if algorithm == RSA_ENCRYPTION {
        let key = PrivateKey::from_pkcs8_der(document.as_bytes())
            .map_err(|error| SigningKeyError::Invalid(error.to_string()))?;
        let bits = key.n().bit_width_vartime() as usize;
        if !(SMALLEST_RSA_BITS..=LARGEST_RSA_BITS).contains(&bits) {
            return Err(SigningKeyError::Size(bits));
        }
        rsa_material(&key, document.as_bytes())
    } else if algorithm == ED25519 {
        ed25519_material(document.as_bytes())
    } else {
        Err(SigningKeyError::Algorithm(algorithm.to_string()))
    }
}

/// `sha256:` and the hash of a SubjectPublicKeyInfo in hexadecimal.
pub fn fingerprint(public_key: &[u8]) -> String {
    format!(
        "sha256:{}",
        hex::encode(digest::digest(&digest::SHA256, public_key))
    )
}

fn check_passphrase(passphrase: &str) -> Result<(), SigningKeyError> {
    let length = passphrase.chars().count();
    if length < SHORTEST_PASSPHRASE {
        return Err(SigningKeyError::Passphrase(length));
    }
    Ok(())
}

fn rsa_material(key: &PrivateKey, der: &[u8]) -> Result<SigningKeyMaterial, SigningKeyError> {
    let public_key = key
        .to_public_key()
        .to_public_key_der()
        .map_err(|error| SigningKeyError::Invalid(error.to_string()))?;
    Ok(SigningKeyMaterial {
        algorithm: SignatureAlgorithm::RsaPss3072,
        private_key: Zeroizing::new(der.to_vec()),
        public_key: public_key.as_bytes().to_vec(),
    })
}

fn ed25519_material(der: &[u8]) -> Result<SigningKeyMaterial, SigningKeyError> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
        .map_err(|error| SigningKeyError::Invalid(error.to_string()))?;
    let mut public_key = ED25519_SPKI.to_vec();
    public_key.extend_from_slice(pair.public_key().as_ref());
    SubjectPublicKeyInfoRef::from_der(&public_key)
        .map_err(|error| SigningKeyError::Invalid(error.to_string()))?;
    Ok(SigningKeyMaterial {
        algorithm: SignatureAlgorithm::Ed25519,
        private_key: Zeroizing::new(der.to_vec()),
        public_key,
    })
}

/// The kernel's random numbers for the RSA library.
struct KernelRandom;

impl TryRng for KernelRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(runtime::entropy::bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(runtime::entropy::bytes()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        runtime::entropy::fill(out);
        Ok(())
    }
}

impl TryCryptoRng for KernelRandom {}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "correct horse battery";

    fn refused(result: Result<SigningKeyMaterial, SigningKeyError>) -> SigningKeyError {
        match result {
            Ok(_) => panic!("it was accepted"),
            Err(error) => error,
        }
    }

    // GET VPN row 205
    #[test]
    fn an_exported_key_imports_as_the_same_key() {
        for algorithm in [SignatureAlgorithm::RsaPss3072, SignatureAlgorithm::Ed25519] {
            let key = generate(algorithm).expect("generated");
            let pem = export(&key.private_key, PASSPHRASE).expect("exported");
            assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
            let imported = import(&pem, PASSPHRASE).expect("imported");
            assert_eq!(imported.algorithm, algorithm);
            assert_eq!(imported.public_key, key.public_key);
            assert_eq!(imported.private_key, key.private_key);
            assert!(matches!(
                refused(import(&pem, "another passphrase")),
                SigningKeyError::Decrypt
            ));
        }
    }

    /// Runs `openssl` on `input` and gives its output; it must be installed.
    fn openssl(arguments: &[&str], input: &str) -> String {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut process = Command::new("openssl")
            .args(arguments)
            .env("PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let mut stdin = process.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("written");
        drop(stdin);
        let output = process.wait_with_output().expect("ended");
        assert!(output.status.success(), "openssl {arguments:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn openssl_opens_an_exported_key_and_we_open_what_openssl_wrote() {
        let key = generate(SignatureAlgorithm::RsaPss3072).expect("generated");
        let pem = export(&key.private_key, PASSPHRASE).expect("exported");
        let plain = openssl(&["pkey", "-passin", "env:PASSPHRASE"], &pem);
        let public = openssl(&["pkey", "-pubout"], &plain);
        let (_, document) = pkcs8::Document::from_pem(&public).expect("a public key");
        assert_eq!(document.as_bytes(), key.public_key);
        let again = openssl(
            &[
                "pkcs8",
                "-topk8",
                "-v2",
                "aes-256-cbc",
                "-passout",
                "env:PASSPHRASE",
            ],
            &plain,
        );
        assert_eq!(
            import(&again, PASSPHRASE).expect("imported").public_key,
            key.public_key
        );
    }

    #[test]
    fn a_short_passphrase_and_other_texts_are_refused() {
        let key = generate(SignatureAlgorithm::Ed25519).expect("generated");
        assert!(matches!(
            export(&key.private_key, "short"),
            Err(SigningKeyError::Passphrase(5))
        ));
        assert!(matches!(
            refused(import("no pem", PASSPHRASE)),
            SigningKeyError::Format(_)
        ));
    }

    // GET VPN row 205
    #[test]
    fn an_rsa_key_under_2048_bits_is_refused() {
        let small = PrivateKey::new(&mut KernelRandom, 1024).expect("generated");
        let der = small.to_pkcs8_der().expect("encoded");
        let pem = export(der.as_bytes(), PASSPHRASE).expect("exported");
        assert!(matches!(
            refused(import(&pem, PASSPHRASE)),
            SigningKeyError::Size(1024)
        ));
    }
}
