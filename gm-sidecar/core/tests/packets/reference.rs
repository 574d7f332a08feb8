//! The ESP packet of the protocol reference, whose values were checked with tshark.

use std::time::Instant;

use gm_core::DropReason;
use gm_core::data_plane::Family;
use gm_core::esp::AeadProvider;
use gm_core::esp::iv::IvFormat;
use gm_core::esp::open::{Envelope, open};
use gm_core::esp::seal::Sealer;
use gm_core::sad::{Algorithm, KeyMaterial, SenderId, Spi};

use super::cipher::RustCrypto;
use super::packet::Plan;
use super::world::{Member, outer};

const INNER: &str = "450000211234000010117d59c6336407ef01020313881389000d000068656c6c6f";
const PACKET: &str = "c0ffee01000000010050000000000001\
    579f8fd5e8a8f0abf3df16ee6d83c6a84359105d2c625f27fc7c561b77409894706854f7\
    30837b6dd4e27dc16d49e85f79ee2ca8";

fn key() -> KeyMaterial {
    let material: Vec<u8> = (0x80..=0xa3).collect();
    KeyMaterial::new(Algorithm::Aes256Gcm, &material).expect("36 octets")
}

fn sealer() -> Sealer {
    Sealer {
        spi: Spi(0xc0ff_ee01),
        salt: key().salt(),
        iv: IvFormat::new(12).expect("12 bits"),
        sender: SenderId(5),
        family: Family::V4,
        pseudotime: None,
    }
}

#[test]
fn the_reference_packet_is_sealed_octet_by_octet() {
    let inner = hex::decode(INNER).expect("hex");
    let layout = sealer().layout();
    let mut packet = vec![0xee; layout.sealed_length(inner.len())];
    packet[layout.inner_offset()..][..inner.len()].copy_from_slice(&inner);
    sealer().seal(&*RustCrypto.expand(&key()), 1, inner.len(), &mut packet);
    assert_eq!(hex::encode(packet), PACKET);
}

#[test]
fn the_reference_packet_is_opened_and_any_flipped_bit_is_noticed() {
    let aead = RustCrypto.expand(&key());
    let sealed = hex::decode(PACKET).expect("hex");
    let try_open = |mut packet: Vec<u8>| {
        let envelope = Envelope::parse(&packet).expect("long enough");
        open(
            &*aead,
            key().salt(),
            &envelope,
            Family::V4,
            false,
            &mut packet,
        )
        .map(|opened| hex::encode(&packet[opened.inner]))
    };
    assert_eq!(try_open(sealed.clone()).as_deref(), Ok(INNER));
    for bit in 0..sealed.len() * 8 {
        let mut packet = sealed.clone();
        packet[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            try_open(packet),
            Err(DropReason::AuthenticationFailed),
            "bit {bit}"
        );
    }
}

#[test]
fn what_one_member_seals_another_opens_for_every_length() {
    let now = Instant::now();
    let (mut left, mut right) = (Member::new(1, now), Member::new(2, now));
    for v6 in [false, true] {
        for length in 0..70 {
            let packet = Plan {
                v6,
                payload: vec![7; length],
                ..Plan::default()
            }
            .build();
            left.seal(&packet);
            let (route, sealed, _) = left.wire.trains.pop().expect("sealed");
            assert_eq!(sealed.len() % 4, 0);
            assert_eq!(right.open(&outer(&route), &sealed), Ok(packet));
        }
    }
}
