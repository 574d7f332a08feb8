//! Algorithms against published vectors, and against implementations that share no code with the one in use.

use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use gikev2::Entropy;
use gikev2::crypto::aead::{AeadAlgorithm, AeadKey, OpenError};
use gikev2::crypto::digest::sha256;
use gikev2::crypto::key_exchange::{KeyExchangeError, PendingKeyExchange, is_supported, respond};
use gikev2::crypto::prf::Prf;
use gikev2::wire::{Attribute, EncryptionId, KeyExchangeMethod, PrfId, private};

/// Gives out prepared octets, and then zeros.
struct Prepared(Vec<u8>);

impl Entropy for Prepared {
    fn fill(&mut self, out: &mut [u8]) {
        let length = out.len().min(self.0.len());
        let (given, rest) = self.0.split_at(length);
        out.fill(0);
        out[..length].copy_from_slice(given);
        self.0 = rest.to_vec();
    }
}

fn octets(text: &str) -> Vec<u8> {
    let digits: String = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .collect();
    hex::decode(digits).expect("hexadecimal")
}

fn prepared(text: &str) -> Prepared {
    Prepared(octets(text))
}

#[test]
fn pseudorandom_functions_pass_case_2_of_rfc_4231() {
    for (prf, expected) in [
        (
            Prf::HmacSha256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            Prf::HmacSha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            Prf::HmacSha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        assert!(prf.verify(b"Jefe", &parts, &octets(expected)), "{prf:?}");
        assert!(!prf.verify(b"Jefe", &parts[..1], &octets(expected)));
        assert_eq!(prf.length(), octets(expected).len());
        assert_eq!(Prf::from_id(prf.id()), Some(prf));
    }
    assert_eq!(Prf::from_id(PrfId(2)), None, "SHA-1 does not exist here");
}

#[test]
fn expanded_keys_are_chained_blocks_of_which_there_are_at_most_255() {
    let prf = Prf::HmacSha256;
    let expanded = prf.plus(b"key", &[b"se", b"ed"], 80).expect("3 blocks");
    let first = prf.compute(b"key", &[b"seed", &[1]]);
    let second = prf.compute(b"key", &[first.as_bytes(), b"seed", &[2]]);
    let third = prf.compute(b"key", &[second.as_bytes(), b"seed", &[3]]);
    let mut expected = [first.as_bytes(), second.as_bytes(), third.as_bytes()].concat();
    expected.truncate(80);
    assert!(expanded.matches(&expected));
    assert_eq!(
        prf.plus(b"key", &[], 255 * 32).map(|key| key.len()),
        Ok(255 * 32)
    );
    assert!(prf.plus(b"key", &[], 255 * 32 + 1).is_err());
}

/// Both halves of a published exchange, each against the other's public value.
fn check_published(method: KeyExchangeMethod, ours: [&str; 2], theirs: [&str; 2], shared: &str) {
    for ([private, public], [_, peer]) in [(ours, theirs), (theirs, ours)] {
        let (public, peer, shared) = (octets(public), octets(peer), octets(shared));
        let pending = PendingKeyExchange::new(method, &mut prepared(private)).expect("a key");
        assert_eq!(hex::encode(pending.public_value()), hex::encode(&public));
        let secret = pending.finish(&peer).expect("a valid value");
        assert_eq!(hex::encode(secret.as_bytes()), hex::encode(&shared));
        let (value, secret) = respond(method, &peer, &mut prepared(private)).expect("an answer");
        assert_eq!(value, public);
        assert!(secret.matches(&shared));
    }
}

/// Bob's half of the example.
#[test]
fn x25519_gives_the_result_of_rfc_7748_section_6() {
    let bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
    let alice = octets("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    let (public, shared) =
        respond(KeyExchangeMethod::CURVE25519, &alice, &mut prepared(bob)).expect("a valid value");
    assert_eq!(
        hex::encode(public),
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    );
    assert_eq!(
        hex::encode(shared.as_bytes()),
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    );
}

#[test]
fn p256_gives_the_result_of_rfc_5903_section_8_1() {
    check_published(
        KeyExchangeMethod::ECP_256,
        [
            "C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433",
            "DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180
             5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3",
        ],
        [
            "C6EF9C5D 78AE012A 011164AC B397CE20 88685D8F 06BF9BE0 B283AB46 476BEE53",
            "D12DFB52 89C8D4F8 1208B702 70398C34 2296970A 0BCCB74C 736FC755 4494BF63
             56FBF3CA 366CC23E 8157854C 13C58D6A AC23F046 ADA30F83 53E74F33 039872AB",
        ],
        "D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE",
    );
}

#[test]
fn p384_gives_the_result_of_rfc_5903_section_8_2() {
    check_published(
        KeyExchangeMethod::ECP_384,
        [
            "099F3C70 34D4A2C6 99884D73 A375A67F 7624EF7C 6B3C0F16
             0647B674 14DCE655 E35B5380 41E649EE 3FAEF896 783AB194",
            "667842D7 D180AC2C DE6F74F3 7551F557 55C7645C 20EF73E3
             1634FE72 B4C55EE6 DE3AC808 ACB4BDB4 C88732AE E95F41AA
             9482ED1F C0EEB9CA FC498462 5CCFC23F 65032149 E0E144AD
             A0241815 35A0F38E EB9FCFF3 C2C947DA E69B4C63 4573A81C",
        ],
        [
            "41CB0779 B4BDB85D 47846725 FBEC3C94 30FAB46C C8DC5060
             855CC9BD A0AA2942 E0308312 916B8ED2 960E4BD5 5A7448FC",
            "E558DBEF 53EECDE3 D3FCCFC1 AEA08A89 A987475D 12FD950D
             83CFA417 32BC509D 0D1AC43A 0336DEF9 6FDA41D0 774A3571
             DCFBEC7A ACF31964 72169E83 8430367F 66EEBE3C 6E70C416
             DD5F0C68 759DD1FF F83FA401 42209DFF 5EAAD96D B9E6386C",
        ],
        "11187331 C279962D 93D60424 3FD592CB 9D0A926F 422E4718
         7521287E 7156C5C4 D6031355 69B9E9D0 9CF5D4A2 70F59746",
    );
}

#[test]
fn degenerate_public_values_are_refused() {
    use KeyExchangeMethod as Method;
    let pending = |method| PendingKeyExchange::new(method, &mut Prepared(vec![0x11; 96]));
    for (method, length) in [
        (Method::CURVE25519, 32),
        (Method::ECP_256, 64),
        (Method::ECP_384, 96),
    ] {
        let ours = pending(method).expect("a key");
        // Zero is of small order on Curve25519 and not on the other curves at all.
        for value in [vec![0; length], vec![0xff; length]] {
            if method == Method::CURVE25519 && value[0] == 0xff {
                continue;
            }
            let refused = KeyExchangeError::InvalidPublicValue(method);
            assert_eq!(ours.finish(&value).err(), Some(refused));
            let answer = respond(method, &value, &mut Prepared(vec![0x22; 96]));
            assert_eq!(answer.err(), Some(refused));
        }
        for wrong in [0, length - 1, length + 1] {
            let refused = KeyExchangeError::Length {
                method,
                expected: length,
                found: wrong,
            };
            assert_eq!(ours.finish(&vec![1; wrong]).err(), Some(refused));
        }
    }
    let unsupported = pending(Method::MODP_2048).err();
    assert_eq!(
        unsupported,
        Some(KeyExchangeError::Unsupported(Method::MODP_2048))
    );
    assert!(!is_supported(Method::MODP_2048) && is_supported(Method::ML_KEM_768));
}

#[test]
fn a_private_scalar_outside_of_the_group_is_drawn_again() {
    let method = KeyExchangeMethod::ECP_256;
    let good = [7; 32];
    let mut entropy = Prepared([[0xff; 32], [0; 32], good].concat());
    let drawn = PendingKeyExchange::new(method, &mut entropy).expect("the third one");
    let direct = PendingKeyExchange::new(method, &mut Prepared(good.to_vec())).expect("valid");
    assert_eq!(drawn.public_value(), direct.public_value());
    assert_eq!(
        PendingKeyExchange::new(method, &mut Prepared(Vec::new())).err(),
        Some(KeyExchangeError::Entropy(method)),
        "a broken random source ends in an error, not in a loop"
    );
}

/// ML-KEM-768 of another library at the other end, in both roles.
#[test]
fn ml_kem_agrees_with_an_independent_implementation() {
    let method = KeyExchangeMethod::ML_KEM_768;
    let pending = PendingKeyExchange::new(method, &mut Prepared((0..64).collect())).expect("keys");
    assert_eq!(pending.public_value().len(), 1184);
    let theirs = EncapsulationKey::new(&ML_KEM_768, pending.public_value()).expect("a key");
    let (ciphertext, secret) = theirs.encapsulate().expect("encapsulated");
    let ours = pending.finish(ciphertext.as_ref()).expect("decapsulated");
    assert!(ours.matches(secret.as_ref()));

    let theirs = DecapsulationKey::generate(&ML_KEM_768).expect("a key");
    let public = theirs.encapsulation_key().expect("a key");
    let public = public.key_bytes().expect("octets");
    let (ciphertext, ours) =
        respond(method, public.as_ref(), &mut Prepared(vec![9; 32])).expect("encapsulated");
    assert_eq!(ciphertext.len(), 1088);
    let secret = theirs
        .decapsulate(Ciphertext::from(ciphertext.as_slice()))
        .expect("decapsulated");
    assert!(ours.matches(secret.as_ref()));
}

#[test]
fn ml_kem_refuses_invalid_keys_and_hides_invalid_ciphertexts() {
    let method = KeyExchangeMethod::ML_KEM_768;
    let mut entropy = Prepared(vec![3; 32]);
    // FIPS 203 §7.2: coefficients must be below the modulus.
    assert_eq!(
        respond(method, &[0xff; 1184], &mut entropy).err(),
        Some(KeyExchangeError::InvalidPublicValue(method))
    );
    let pending = PendingKeyExchange::new(method, &mut Prepared((0..64).collect())).expect("keys");
    let (mut ciphertext, secret) =
        respond(method, pending.public_value(), &mut entropy).expect("encapsulated");
    ciphertext[17] ^= 1;
    let other = pending.finish(&ciphertext).expect("implicit rejection");
    assert!(!other.matches(secret.as_bytes()));
    for length in [0, 1087, 1089] {
        assert!(pending.finish(&vec![0; length]).is_err());
    }
    for length in [0, 1183, 1185] {
        assert!(respond(method, &vec![0; length], &mut entropy).is_err());
    }
}

fn check_cipher(
    algorithm: AeadAlgorithm,
    material: &str,
    iv: &str,
    aad: &str,
    plain: &[u8],
    tag: &str,
) {
    let key = AeadKey::new(algorithm, &octets(material)).expect("the right length");
    let iv: [u8; 8] = octets(iv).try_into().expect("8 octets");
    let mut sealed = plain.to_vec();
    key.seal(iv, &octets(aad), &mut sealed).expect("short");
    assert_eq!(hex::encode(&sealed[plain.len()..]), tag);
    let opened = key.open(iv, &octets(aad), &sealed);
    assert_eq!(opened.as_deref().map(Vec::as_slice), Ok(plain));
    for position in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[position] ^= 0x80;
        assert_eq!(key.open(iv, &octets(aad), &changed), Err(OpenError));
    }
    assert_eq!(key.open(iv, b"", &sealed), Err(OpenError));
    assert_eq!(key.open([0; 8], &octets(aad), &sealed), Err(OpenError));
}

/// Case 4 of the GCM specification's appendix B.
#[test]
fn aes_gcm_gives_the_published_tag() {
    let plain = octets(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    check_cipher(
        AeadAlgorithm::AesGcm128,
        "feffe9928665731c6d6a8f9467308308 cafebabe",
        "facedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        &plain,
        "5bc94fbc3221a5db94fae95ae7121a47",
    );
}

/// RFC 8439 §2.8.2; its constant and IV are our salt and IV.
#[test]
fn chacha20_poly1305_gives_the_published_tag() {
    check_cipher(
        AeadAlgorithm::ChaCha20Poly1305,
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f 07000000",
        "4041424344454647",
        "50515253c0c1c2c3c4c5c6c7",
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the \
          future, sunscreen would be it.",
        "1ae10b594f09e26a7e902ecbd0600691",
    );
}

#[test]
fn only_known_ciphers_with_their_own_key_length_are_taken() {
    for algorithm in [
        AeadAlgorithm::AesGcm128,
        AeadAlgorithm::AesGcm256,
        AeadAlgorithm::ChaCha20Poly1305,
    ] {
        assert_eq!(
            AeadAlgorithm::from_transform(&algorithm.transform()),
            Some(algorithm)
        );
        for length in [
            0,
            algorithm.key_length(),
            algorithm.keying_material_length() + 1,
        ] {
            assert!(AeadKey::new(algorithm, &vec![0; length]).is_err());
        }
    }
    let mut strange = AeadAlgorithm::AesGcm256.transform();
    strange.attributes.push(Attribute::Short {
        attribute_type: 99,
        value: 1,
    });
    assert_eq!(AeadAlgorithm::from_transform(&strange), None);
    for (id, bits) in [
        (EncryptionId::AES_GCM_16, None),
        (EncryptionId::AES_GCM_16, Some(192)),
        (EncryptionId::AES_GCM_8, Some(256)),
        (EncryptionId::AES_CBC, Some(256)),
        (EncryptionId::CHACHA20_POLY1305, Some(256)),
        (EncryptionId::AES_GCM_16_IIV, Some(256)),
    ] {
        assert_eq!(AeadAlgorithm::from_id(id, bits), None, "{id} {bits:?}");
    }
}

#[test]
fn the_vendor_id_is_the_hash_of_its_text() {
    let hash = sha256(&[private::VENDOR_ID_TEXT.as_bytes()]);
    assert_eq!(hash[..16], private::VENDOR_ID);
}
