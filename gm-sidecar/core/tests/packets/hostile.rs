//! Input that means harm: nothing panics, nothing passes that should not.

use std::time::Instant;

use gm_core::data_plane::Encapsulation;
use gm_core::ip::coalesce::next_run;
use gm_core::ip::virtio;
use gm_core::sad::{Outcome, Outer};
use proptest::prelude::*;

use super::segments::{ALL, plans, super_packet};
use super::world::Member;

proptest! {
    #[test]
    fn any_octets_from_the_tun_are_handled(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut member = Member::new(1, Instant::now());
        let mut read = octets;
        member.outbound.handle(&member.installed, member.now, &mut read, &mut member.wire);
        member.outbound.flush(member.now, &mut member.wire);
    }

    #[test]
    fn a_spoilt_super_packet_is_handled(
        plan in plans(), size in 0usize..2000,
        spoils in proptest::collection::vec((0usize..120, any::<u8>()), 0..6), cut in 0usize..100,
    ) {
        let (virtio, packet) = super_packet(&plan, size);
        let mut read = virtio.write().to_vec();
        read.extend(packet);
        for (at, octet) in spoils {
            let at = at % read.len();
            read[at] = octet;
        }
        read.truncate(read.len() - cut.min(read.len()));
        let mut member = Member::new(1, Instant::now());
        let outcome = member.outbound.handle(&member.installed, member.now, &mut read, &mut member.wire);
        member.outbound.flush(member.now, &mut member.wire);
        if let Outcome::Sealed(count) = outcome {
            prop_assert_eq!(member.wire.packets().len(), count);
            prop_assert!(member.wire.packets().iter().all(|packet| packet.len() + 28 <= 1500));
        }
    }

    #[test]
    fn no_octets_from_the_wire_pass_without_the_key(
        mut octets in proptest::collection::vec(any::<u8>(), 0..300), known: bool, v6: bool
    ) {
        if let (true, Some(spi)) = (known, octets.first_chunk_mut::<4>()) {
            *spi = if v6 { 0x6002u32 } else { 0x4001 }.to_be_bytes();
        }
        let address = |last| if v6 { [0xfd, last].repeat(8).try_into().map(<[u8; 16]>::into).expect("16") } else { [10, 0, 0, last].into() };
        let outer = Outer {
            source: address(1), destination: address(2), traffic_class: 0, encapsulation: Encapsulation::Udp,
        };
        let mut member = Member::new(1, Instant::now());
        prop_assert!(member.open(&outer, &octets).is_err());
    }

    #[test]
    fn any_octets_of_a_member_are_joined_or_left_alone(
        packets in proptest::collection::vec((plans(), proptest::collection::vec((0usize..70, any::<u8>()), 0..3)), 1..6)
    ) {
        let mut buffer = Vec::new();
        let mut places = Vec::new();
        for (plan, spoils) in packets {
            let mut packet = plan.build();
            for (at, octet) in spoils {
                let at = at % packet.len();
                packet[at] = octet;
            }
            places.push(buffer.len()..buffer.len() + packet.len());
            buffer.extend(packet);
        }
        let run = next_run(&buffer, &places, ALL);
        prop_assert!(run.packets >= 1 && run.packets <= places.len());
        prop_assert!(run.head().len() >= virtio::LENGTH);
        prop_assert!(places[..run.packets].iter().all(|place| place.len() >= run.skip));
    }
}
