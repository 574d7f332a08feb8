//! Signatures of AUTH payloads: against another implementation of RSA, and refused for every wrong combination.

use gikev2::crypto::public_key::PublicKey;
use gikev2::crypto::signature::{PrivateKey, SignatureAlgorithm, SignatureError, Signer};
use gikev2::wire::HashAlgorithmId;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};
use rsa::Pss;
use rsa::pkcs8::der::{Decode, Encode};
use rsa::pkcs8::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::pss::get_default_pss_signature_algo_id;
use rsa::sha2::{Sha256, Sha384, Sha512};

const MESSAGE: &[u8] = b"InitiatorSignedOctets";

fn rsa_pkcs8() -> Vec<u8> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        .expect("a key pair")
        .serialize_der()
}

fn signer(der: &[u8]) -> PrivateKey {
    PrivateKey::from_pkcs8(der).expect("a key we can use")
}

fn public_key(signer: &PrivateKey) -> PublicKey {
    PublicKey::from_spki(signer.public_key_spki()).expect("a key we can use")
}

/// One key of each kind, with the algorithms it may verify.
fn kinds() -> [(PrivateKey, Vec<SignatureAlgorithm>); 4] {
    use SignatureAlgorithm as Algorithm;
    let generated = |algorithm| {
        let key = KeyPair::generate_for(algorithm).expect("a key pair");
        signer(key.serialized_der())
    };
    let ecdsa = vec![
        Algorithm::EcdsaSha256,
        Algorithm::EcdsaSha384,
        Algorithm::EcdsaSha512,
    ];
    let pss = vec![
        Algorithm::RsaPssSha256,
        Algorithm::RsaPssSha384,
        Algorithm::RsaPssSha512,
    ];
    [
        (signer(&rsa_pkcs8()), pss),
        (generated(&PKCS_ECDSA_P256_SHA256), ecdsa.clone()),
        (generated(&PKCS_ECDSA_P384_SHA384), ecdsa),
        (generated(&PKCS_ED25519), vec![Algorithm::Ed25519]),
    ]
}

#[test]
fn every_kind_of_key_verifies_its_own_signatures_and_nothing_else() {
    for (signer, _) in kinds() {
        let key = public_key(&signer);
        let identifier = signer.algorithm().algorithm_identifier();
        let signature = signer.sign(MESSAGE).expect("signed");
        assert!(signature.len() <= signer.signature_length());
        assert_eq!(key.verify(identifier, MESSAGE, &signature), Ok(()));
        let invalid = Err(SignatureError::Invalid);
        assert_eq!(
            key.verify(identifier, b"ResponderSignedOctets", &signature),
            invalid
        );
        assert_eq!(key.verify(identifier, MESSAGE, &[]), invalid);
        for position in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[position] ^= 1;
            assert_eq!(key.verify(identifier, MESSAGE, &changed), invalid);
        }
    }
}

#[test]
fn a_key_is_only_used_with_algorithms_of_its_kind() {
    for (signer, fitting) in kinds() {
        let key = public_key(&signer);
        for algorithm in SignatureAlgorithm::ALL {
            let identifier = algorithm.algorithm_identifier();
            assert_eq!(key.supports(identifier), fitting.contains(&algorithm));
            if !fitting.contains(&algorithm) {
                let refused = key.verify(identifier, MESSAGE, &[0; 64]);
                assert_eq!(refused, Err(SignatureError::Algorithm));
            }
        }
    }
}

#[test]
fn algorithms_outside_of_the_list_do_not_exist() {
    let rsa = public_key(&signer(&rsa_pkcs8()));
    let list = [
        ("PKCS#1 v1.5 with SHA-1", "300d06092a864886f70d0101050500"),
        ("PKCS#1 v1.5 with SHA-256", "300d06092a864886f70d01010b0500"),
        ("ECDSA with SHA-1", "300906072a8648ce3d0401"),
        (
            "RSASSA-PSS with default parameters, SHA-1",
            "300d06092a864886f70d01010a3000",
        ),
        ("Ed448", "300506032b6571"),
        ("Ed25519 with parameters", "300706032b65700500"),
        ("nothing", ""),
    ];
    for (name, identifier) in list {
        let identifier = hex::decode(identifier).expect("hexadecimal");
        assert_eq!(
            SignatureAlgorithm::from_algorithm_identifier(&identifier),
            None,
            "{name}"
        );
        assert_eq!(
            rsa.verify(&identifier, MESSAGE, &[0; 256]),
            Err(SignatureError::Algorithm),
            "{name}"
        );
    }
}

/// The identifiers of RFC 7427 Appendix A, made here by another library's encoder.
#[test]
fn pss_identifiers_are_those_of_another_encoder() {
    let encoded = |identifier: AlgorithmIdentifierOwned| identifier.to_der().expect("encodable");
    let sha256 = encoded(get_default_pss_signature_algo_id::<Sha256>().expect("parameters"));
    let sha384 = encoded(get_default_pss_signature_algo_id::<Sha384>().expect("parameters"));
    let sha512 = encoded(get_default_pss_signature_algo_id::<Sha512>().expect("parameters"));
    for (algorithm, expected) in [
        (SignatureAlgorithm::RsaPssSha256, sha256),
        (SignatureAlgorithm::RsaPssSha384, sha384),
        (SignatureAlgorithm::RsaPssSha512, sha512),
    ] {
        assert_eq!(
            hex::encode(algorithm.algorithm_identifier()),
            hex::encode(expected)
        );
    }
}

#[test]
fn pss_signatures_of_both_implementations_verify_with_the_other() {
    let der = rsa_pkcs8();
    let ours = signer(&der);
    let theirs = rsa::PrivateKey::from_pkcs8_der(&der).expect("a key");
    let their_public = rsa::PublicKey::from_public_key_der(ours.public_key_spki()).expect("a key");
    let signature = ours.sign(MESSAGE).expect("signed");
    assert_eq!(signature.len(), 256);
    assert_eq!(
        their_public.pss_verify::<Sha256>(MESSAGE, &signature),
        Ok(())
    );

    let key = public_key(&ours);
    let verify = |algorithm: SignatureAlgorithm, signature: &[u8]| {
        key.verify(algorithm.algorithm_identifier(), MESSAGE, signature)
    };
    let sha256 = theirs.pss_sign::<Sha256>(MESSAGE).expect("signed");
    let sha384 = theirs.pss_sign::<Sha384>(MESSAGE).expect("signed");
    let sha512 = theirs.pss_sign::<Sha512>(MESSAGE).expect("signed");
    assert_eq!(verify(SignatureAlgorithm::RsaPssSha256, &sha256), Ok(()));
    assert_eq!(verify(SignatureAlgorithm::RsaPssSha384, &sha384), Ok(()));
    assert_eq!(verify(SignatureAlgorithm::RsaPssSha512, &sha512), Ok(()));
    assert_eq!(
        verify(SignatureAlgorithm::RsaPssSha256, &sha384),
        Err(SignatureError::Invalid)
    );

    // A salt of another length than the identifier says.
    let hash = <Sha256 as rsa::sha2::Digest>::digest(MESSAGE);
    let salted = theirs
        .sign(Pss::<Sha256>::new_with_salt(20), &hash)
        .expect("signed");
    assert_eq!(
        verify(SignatureAlgorithm::RsaPssSha256, &salted),
        Err(SignatureError::Invalid)
    );
}

/// An RSA key whose own parameters say RSASSA-PSS with SHA-256 (RFC 4055 §3.1).
#[test]
fn a_key_bound_to_pss_with_sha_256_is_held_to_it() {
    let ours = signer(&rsa_pkcs8());
    let mut spki = SubjectPublicKeyInfoOwned::from_der(ours.public_key_spki()).expect("a key");
    spki.algorithm = get_default_pss_signature_algo_id::<Sha256>().expect("parameters");
    let bound = PublicKey::from_spki(&spki.to_der().expect("encodable")).expect("a bound key");
    let [sha256, sha384] = [
        SignatureAlgorithm::RsaPssSha256,
        SignatureAlgorithm::RsaPssSha384,
    ]
    .map(SignatureAlgorithm::algorithm_identifier);
    let signature = ours.sign(MESSAGE).expect("signed");
    assert_eq!(bound.verify(sha256, MESSAGE, &signature), Ok(()));
    assert!(bound.supports(sha256) && !bound.supports(sha384));

    spki.algorithm.parameters = None;
    let without = PublicKey::from_spki(&spki.to_der().expect("encodable"));
    assert_eq!(
        without,
        Err(SignatureError::PublicKey),
        "parameters must be present"
    );
}

/// DER INTEGER of `bits` ones, and an RSAPublicKey around it.
fn spki_of_modulus(bits: usize) -> Vec<u8> {
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&[tag, 0x82], length.as_slice(), content].concat()
    }
    let modulus = [vec![0], vec![0xff; bits / 8]].concat();
    let key = tlv(0x30, &[tlv(2, &modulus), vec![2, 3, 1, 0, 1]].concat());
    let algorithm = hex::decode("300d06092a864886f70d0101010500").expect("hexadecimal");
    let bits = tlv(3, &[vec![0], key].concat());
    tlv(0x30, &[algorithm, bits].concat())
}

#[test]
fn rsa_keys_have_at_least_2048_and_at_most_8192_bits() {
    for bits in [1024, 2040] {
        assert_eq!(
            PublicKey::from_spki(&spki_of_modulus(bits)),
            Err(SignatureError::WeakKey { bits })
        );
    }
    for bits in [2048, 3072, 4096, 8192] {
        assert!(
            PublicKey::from_spki(&spki_of_modulus(bits)).is_ok(),
            "{bits} bits"
        );
    }
    for bits in [8200, 16_384] {
        let refused = PublicKey::from_spki(&spki_of_modulus(bits));
        assert_eq!(refused, Err(SignatureError::PublicKey), "{bits} bits");
    }
}

#[test]
fn keys_of_other_kinds_and_damaged_keys_are_refused() {
    for (signer, _) in kinds() {
        let spki = signer.public_key_spki();
        for length in 0..spki.len() {
            assert!(PublicKey::from_spki(&spki[..length]).is_err());
        }
        let longer = [spki, &[0]].concat();
        assert_eq!(
            PublicKey::from_spki(&longer),
            Err(SignatureError::PublicKey)
        );
    }
    // P-521 and X25519.
    let p521 = [
        hex::decode("30819b301006072a8648ce3d020106052b8104002303818600").expect("hexadecimal"),
        vec![4; 133],
    ]
    .concat();
    let x25519 = [
        hex::decode("302a300506032b656e032100").expect("hexadecimal"),
        vec![9; 32],
    ]
    .concat();
    for spki in [p521, x25519] {
        assert_eq!(PublicKey::from_spki(&spki), Err(SignatureError::PublicKey));
    }
    for der in [&b""[..], b"0", &[0x30, 0x00]] {
        assert_eq!(
            PrivateKey::from_pkcs8(der).err(),
            Some(SignatureError::PrivateKey)
        );
    }
}

#[test]
fn every_algorithm_names_the_hash_a_peer_must_have_announced() {
    for algorithm in SignatureAlgorithm::ALL {
        let identifier = algorithm.algorithm_identifier();
        assert!(
            identifier.len() <= 255,
            "the ASN.1 Length of an AUTH payload is one octet"
        );
        assert_eq!(
            SignatureAlgorithm::from_algorithm_identifier(identifier),
            Some(algorithm)
        );
        assert_ne!(algorithm.hash(), HashAlgorithmId::SHA1);
    }
    assert_eq!(
        SignatureAlgorithm::Ed25519.hash(),
        HashAlgorithmId::IDENTITY
    );
    assert_eq!(
        SignatureAlgorithm::RsaPssSha512.hash(),
        HashAlgorithmId::SHA2_512
    );
}
