//! Properties over all values and over all octets.

use gikev2::crypto::aead::{AeadAlgorithm, AeadKey};
use gikev2::crypto::certificate::TrustAnchors;
use gikev2::crypto::public_key::PublicKey;
use gikev2::wire::encrypted::{self, authenticated_octets};
use gikev2::wire::fragment::{FragmentNumber, seal_fragment};
use gikev2::wire::message::write_clear;
use gikev2::wire::reader::Reader;
use gikev2::wire::writer::Writer;
use gikev2::wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies::{payload, traffic_selector};

fn header() -> impl Strategy<Value = Header> {
    (
        any::<[u8; 8]>(),
        any::<[u8; 8]>(),
        any::<u8>(),
        any::<u8>(),
        any::<u32>(),
    )
        .prop_map(
            |(initiator, responder, exchange, flags, message_id)| Header {
                initiator_spi: IkeSpi(initiator),
                responder_spi: IkeSpi(responder),
                next_payload: PayloadType::NONE,
                exchange: ExchangeType(exchange),
                flags: Flags(flags),
                message_id,
            },
        )
}

fn key() -> AeadKey {
    AeadKey::new(AeadAlgorithm::AesGcm256, &[7; 36]).expect("the right length")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_reads_back_the_same(payloads in vec(payload(), 0..6)) {
        let chain = Chain::write(&payloads).expect("fits");
        prop_assert_eq!(chain.parse(), Ok(payloads));
    }

    #[test]
    fn no_part_of_a_chain_is_mistaken_for_the_whole(payloads in vec(payload(), 1..3), at in any::<prop::sample::Index>()) {
        let chain = Chain::write(&payloads).expect("fits");
        let cut = Chain {
            first: chain.first,
            octets: chain.octets[..at.index(chain.octets.len())].to_vec().into(),
        };
        prop_assert!(cut.parse().is_err());
        let mut longer = chain.clone();
        longer.octets.push(0);
        prop_assert!(longer.parse().is_err());
    }

    #[test]
    fn a_message_in_clear_reads_back_the_same(header in header(), payloads in vec(payload(), 0..4)) {
        let datagram = write_clear(&header, &payloads).expect("fits");
        let message = Message::parse(&datagram).expect("well-formed");
        prop_assert_eq!(&message.clear, &payloads);
        prop_assert!(message.protected.is_none());
        let next_payload = payloads.first().map_or(PayloadType::NONE, Payload::payload_type);
        prop_assert_eq!(message.header, Header { next_payload, ..header });
    }

    #[test]
    fn a_sealed_message_opens_to_the_same_and_any_changed_bit_is_noticed(
        header in header(),
        iv in any::<[u8; 8]>(),
        payloads in vec(payload(), 0..3),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let (key, chain) = (key(), Chain::write(&payloads).expect("fits"));
        let mut datagram = encrypted::seal(&header, &key, iv, &chain).expect("fits");
        let message = Message::parse(&datagram).expect("well-formed");
        let Some(Protected::Whole(payload)) = message.protected else { panic!("one SK payload") };
        prop_assert_eq!(payload.open(&key), Ok(chain));

        let at = at.index(datagram.len());
        datagram[at] ^= 1_u8 << bit;
        if let Ok(Message { protected: Some(Protected::Whole(payload)), .. }) = Message::parse(&datagram) {
            prop_assert!(payload.open(&key).is_err());
        }
    }

    #[test]
    fn a_sealed_fragment_opens_to_its_part(
        header in header(),
        total in 1_u16..=u16::MAX,
        number in any::<prop::sample::Index>(),
        part in vec(any::<u8>(), 0..300),
    ) {
        let key = key();
        let number = u16::try_from(number.index(usize::from(total)) + 1).expect("at most total");
        let position = FragmentNumber { number, total };
        let datagram =
            seal_fragment(&header, &key, [1; 8], PayloadType::DELETE, position, &part).expect("fits");
        let message = Message::parse(&datagram).expect("well-formed");
        let Some(Protected::Fragment(fragment)) = message.protected else { panic!("one SKF payload") };
        prop_assert_eq!(fragment.position, position);
        let first = if number == 1 { PayloadType::DELETE } else { PayloadType::NONE };
        prop_assert_eq!(fragment.first_inner, first);
        prop_assert_eq!(fragment.open(&key).map(|octets| octets.to_vec()), Ok(part));
    }

    /// RFC 9838 §2.4.1.1: lengths as if IV, padding and ICV were absent.
    #[test]
    fn authenticated_octets_are_header_and_chain_with_adjusted_lengths(
        header in header(),
        flags in any::<u8>(),
        payloads in vec(payload(), 1..3),
    ) {
        let chain = Chain::write(&payloads).expect("fits");
        let octets = authenticated_octets(&header, flags, &chain).expect("fits");
        prop_assert_eq!(octets.len(), 32 + chain.octets.len());
        let length = u32::try_from(octets.len()).expect("short").to_be_bytes();
        prop_assert_eq!(&octets[24..28], &length[..]);
        prop_assert_eq!((octets[16], octets[28], octets[29]), (46, chain.first.0, flags));
        let payload_length = u16::try_from(chain.octets.len() + 4).expect("short").to_be_bytes();
        prop_assert_eq!(&octets[30..32], &payload_length[..]);
        prop_assert_eq!(&octets[32..], &chain.octets[..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn arbitrary_octets_never_panic(
        octets in vec(any::<u8>(), 0..300),
        payload_type in prop_oneof![33_u8..=54, any::<u8>()],
    ) {
        let _ = Message::parse(&octets);
        let _ = AccessList::parse(&mut Reader::new(&octets));
        let _ = TrafficSelector::parse(&mut Reader::new(&octets));
        let _ = Attribute::parse(&mut Reader::new(&octets));
        let _ = PublicKey::from_spki(&octets);
        let _ = TrustAnchors::new([octets.clone()]);
        let chain = Chain { first: PayloadType(payload_type), octets: octets.into() };
        let _ = chain.parse();
        let _ = chain.signature_range();
    }

    /// A proper generic header first, so that the octets reach the payload's own parser; whatever it accepts must be
    /// writable, and then reads back the same.
    #[test]
    fn arbitrary_contents_never_panic_and_what_is_accepted_can_be_written(
        content in vec(any::<u8>(), 0..120),
        payload_type in 33_u8..=52,
    ) {
        let length = u16::try_from(content.len() + 4).expect("short").to_be_bytes();
        let octets = [&[0, 0], length.as_slice(), &content].concat();
        let chain = Chain { first: PayloadType(payload_type), octets: octets.into() };
        if let Ok(payloads) = chain.parse() {
            let again = Chain::write(&payloads).expect("what was read fits");
            prop_assert_eq!(again.parse(), Ok(payloads));
        }
    }

    /// One changed octet in a well-formed chain reaches deep into the nested structures.
    #[test]
    fn damaged_payloads_never_panic_and_what_is_accepted_can_be_written(
        payload in payload(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut chain = Chain::write(&[payload]).expect("fits");
        for (at, octet) in changes {
            let at = at.index(chain.octets.len());
            chain.octets[at] = octet;
        }
        let _ = chain.signature_range();
        if let Ok(payloads) = chain.parse() {
            let again = Chain::write(&payloads).expect("what was read fits");
            prop_assert_eq!(again.parse(), Ok(payloads));
        }
    }

    #[test]
    fn a_traffic_selector_has_the_length_it_says(selector in traffic_selector()) {
        let mut writer = Writer::new();
        selector.write(&mut writer);
        let octets = writer.finish();
        prop_assert_eq!(usize::from(u16::from_be_bytes([octets[2], octets[3]])), octets.len());
        prop_assert_eq!(TrafficSelector::parse(&mut Reader::new(&octets)), Ok(selector));
        prop_assert!(selector.addresses.covers(&AddressRange::single(selector.addresses.start())));
    }
}
