//! Key wrapping against RFC 5649 as written: its algorithm, spelled out below on top of a bare block cipher, must pass
//! the RFC's own vectors (which use a 192-bit key), and ours must agree with it for the key sizes in use.

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey,
};
use gikev2::Secret;
use gikev2::keys::wrap::{MOST_WRAPPED, unwrap, wrap};
use proptest::prelude::*;

/// One block with a bare block cipher.
fn encrypt_block(key: &[u8], block: [u8; 16]) -> [u8; 16] {
    let algorithm = match key.len() {
        16 => &AES_128,
        24 => &AES_192,
        _ => &AES_256,
    };
    let key = UnboundCipherKey::new(algorithm, key).expect("a key");
    let mut block = block;
    let key = EncryptingKey::ecb(key).expect("a key");
    key.encrypt(&mut block).expect("one block");
    block
}

fn decrypt_block(key: &[u8], mut block: [u8; 16]) -> [u8; 16] {
    let key = UnboundCipherKey::new(&AES_256, key).expect("a key");
    let key = DecryptingKey::ecb(key).expect("a key");
    key.decrypt(&mut block, DecryptionContext::None)
        .expect("one block");
    block
}

/// RFC 5649 §4.1, with RFC 3394 §2.2.1 inside, for an alternative initial value of any kind.
fn wrap_as_written(key: &[u8], initial: [u8; 8], padded: &[u8]) -> Vec<u8> {
    let mut block = [0; 16];
    if padded.len() == 8 {
        block[..8].copy_from_slice(&initial);
        block[8..].copy_from_slice(padded);
        return encrypt_block(key, block).to_vec();
    }
    let mut a = initial;
    let mut r: Vec<[u8; 8]> = padded
        .chunks_exact(8)
        .map(|chunk| chunk.try_into().expect("8 octets"))
        .collect();
    let mut t: u64 = 0;
    for _ in 0..6 {
        for register in &mut r {
            t += 1;
            block[..8].copy_from_slice(&a);
            block[8..].copy_from_slice(register);
            block = encrypt_block(key, block);
            a.copy_from_slice(&block[..8]);
            a = (u64::from_be_bytes(a) ^ t).to_be_bytes();
            register.copy_from_slice(&block[8..]);
        }
    }
    std::iter::once(a).chain(r).flatten().collect()
}

fn initial_value(length: usize) -> [u8; 8] {
    let length = u32::try_from(length).expect("short").to_be_bytes();
    let mut initial = [0xa6, 0x59, 0x59, 0xa6, 0, 0, 0, 0];
    initial[4..].copy_from_slice(&length);
    initial
}

fn padded(plain: &[u8]) -> Vec<u8> {
    let mut padded = plain.to_vec();
    padded.resize(plain.len().next_multiple_of(8), 0);
    padded
}

fn reference(key: &[u8], plain: &[u8]) -> Vec<u8> {
    wrap_as_written(key, initial_value(plain.len()), &padded(plain))
}

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hexadecimal")
}

#[test]
fn the_algorithm_as_written_passes_the_vectors_of_rfc_5649_section_6() {
    let key = octets("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
    assert_eq!(
        hex::encode(reference(
            &key,
            &octets("c37b7e6492584340bed12207808941155068f738")
        )),
        "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"
    );
    assert_eq!(
        hex::encode(reference(&key, &octets("466f7250617369"))),
        "afbeb0f07dfbf5419200f2ccb50bb24f"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ours_is_the_algorithm_as_written_and_unwraps_again(
        long in any::<bool>(),
        key in any::<[u8; 32]>(),
        plain in prop::collection::vec(any::<u8>(), 1..=256),
    ) {
        let key = if long { &key[..] } else { &key[..16] };
        let secret = Secret::from_slice(key);
        let wrapped = wrap(&secret, &plain).expect("fits");
        prop_assert_eq!(&wrapped, &reference(key, &plain));
        prop_assert!(wrapped.len() <= MOST_WRAPPED);
        let again = unwrap(&secret, &wrapped);
        prop_assert!(again.is_ok_and(|again| again.matches(&plain)));
        let other = Secret::new(vec![0x5a; key.len()]);
        prop_assert!(unwrap(&other, &wrapped).is_err());
    }

    #[test]
    fn arbitrary_octets_never_unwrap(wrapped in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(unwrap(&Secret::new(vec![1; 32]), &wrapped).is_err());
    }
}

/// Everything RFC 5649 §3 asks to be checked, each broken on its own by somebody who holds the key.
#[test]
fn a_wrong_initial_value_length_or_padding_is_refused() {
    let key = [7; 32];
    let secret = Secret::from_slice(&key);
    let plain = [0x11; 20];
    let right = wrap_as_written(&key, initial_value(20), &padded(&plain));
    assert!(unwrap(&secret, &right).is_ok_and(|found| found.matches(&plain)));

    let mut other_constant = initial_value(20);
    other_constant[0] ^= 1;
    let mut dirty = padded(&plain);
    dirty[23] = 1;
    let cases = [
        (
            "another constant",
            wrap_as_written(&key, other_constant, &padded(&plain)),
        ),
        (
            "RFC 3394's constant",
            wrap_as_written(&key, [0xa6; 8], &padded(&plain)),
        ),
        (
            "a length in the block before",
            wrap_as_written(&key, initial_value(16), &padded(&plain)),
        ),
        (
            "a length beyond the blocks",
            wrap_as_written(&key, initial_value(25), &padded(&plain)),
        ),
        (
            "a length of zero",
            wrap_as_written(&key, initial_value(0), &padded(&plain)),
        ),
        (
            "a padding that is not zero",
            wrap_as_written(&key, initial_value(20), &dirty),
        ),
    ];
    for (what, wrapped) in cases {
        assert!(unwrap(&secret, &wrapped).is_err(), "{what}");
    }
}

#[test]
fn a_key_of_one_block_is_one_encryption() {
    let key = [9; 32];
    let wrapped = wrap(&Secret::from_slice(&key), b"12345678").expect("fits");
    let block: [u8; 16] = wrapped.try_into().expect("one block");
    let mut expected = initial_value(8).to_vec();
    expected.extend_from_slice(b"12345678");
    assert_eq!(decrypt_block(&key, block).to_vec(), expected);
}
