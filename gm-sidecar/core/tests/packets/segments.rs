//! Super-packets, cut and joined, against a plain cutter.

use gm_core::ip::checksum;
use gm_core::ip::coalesce::{Accepts, next_run};
use gm_core::ip::header::Header;
use gm_core::ip::segment::Segments;
use gm_core::ip::virtio::{self, Segmentation, VirtioHeader};
use proptest::prelude::*;

use super::packet::Plan;

pub(crate) const ALL: Accepts = Accepts {
    tcp: true,
    udp: true,
};

/// What a sender without offload would have sent.
pub(crate) fn plain_cut(plan: &Plan, size: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = plan.payload.chunks(size).collect();
    let last = pieces.len() - 1;
    pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| {
            let mut flags = plan.flags;
            if at < last {
                flags &= !0x09; // FIN, PSH
            }
            if at > 0 {
                flags &= !0x80; // CWR
            }
            Plan {
                id: plan.id.wrapping_add(at as u16),
                sequence: plan.sequence.wrapping_add((at * size) as u32),
                flags,
                payload: piece.to_vec(),
                ..plan.clone()
            }
            .build()
        })
        .collect()
}

/// The super-packet a TUN would hand over: transport checksum left to us.
pub(crate) fn super_packet(plan: &Plan, size: usize) -> (VirtioHeader, Vec<u8>) {
    let transport: u16 = if plan.v6 { 40 } else { 20 };
    let virtio = VirtioHeader {
        needs_checksum: true,
        segmentation: match (plan.tcp, plan.v6) {
            (false, _) => Segmentation::Udp,
            (true, false) => Segmentation::TcpV4,
            (true, true) => Segmentation::TcpV6,
        },
        header_length: 0,
        segment_size: size as u16,
        checksum_start: transport,
        checksum_offset: if plan.tcp { 16 } else { 6 },
    };
    (virtio, plan.build())
}

fn cut(packet: &[u8], virtio: &VirtioHeader, largest: usize) -> Vec<Vec<u8>> {
    let header = Header::parse(packet).expect("well formed");
    let segments = Segments::new(packet, &header, virtio, largest).expect("sound");
    (0..segments.count())
        .map(|at| {
            let mut out = vec![0xee; segments.length(at)];
            segments.write(at, &mut out);
            out
        })
        .collect()
}

/// Everything that `next_run` says about these packets, as the TUN would see it.
fn join(packets: &[Vec<u8>], accepts: Accepts) -> Vec<Vec<u8>> {
    let mut buffer = Vec::new();
    let places: Vec<_> = packets
        .iter()
        .map(|packet| {
            buffer.extend([0xaa; 5]);
            buffer.extend(packet);
            buffer.len() - packet.len()..buffer.len()
        })
        .collect();
    let mut written = Vec::new();
    let mut rest = &places[..];
    while !rest.is_empty() {
        let run = next_run(&buffer, rest, accepts);
        let mut octets = run.head().to_vec();
        for place in &rest[..run.packets] {
            octets.extend(&buffer[place.start + run.skip..place.end]);
        }
        written.push(octets);
        rest = &rest[run.packets..];
    }
    written
}

prop_compose! {
    pub(crate) fn plans()(
        v6: bool, tcp: bool, class: u8, id: u16, sequence: u32, push: bool, options in 0usize..4,
        payload in proptest::collection::vec(any::<u8>(), 1..9000),
    ) -> Plan {
        Plan {
            v6, tcp, class, id, sequence, payload,
            flags: if push { 0x18 } else { 0x10 },
            options: vec![1; if tcp { options * 4 } else { 0 }],
            ..Plan::default()
        }
    }
}

proptest! {
    #[test]
    fn cutting_equals_the_plain_cutter(plan in plans(), size in 40usize..1500, fin: bool, cwr: bool) {
        let mut plan = plan;
        plan.flags |= u8::from(fin) | if cwr { 0x80 } else { 0 };
        let (virtio, packet) = super_packet(&plan, size);
        prop_assert_eq!(cut(&packet, &virtio, 65_535), plain_cut(&plan, size));
    }

    #[test]
    fn joining_undoes_cutting(plan in plans(), size in 200usize..1500) {
        let pieces = plain_cut(&plan, size);
        prop_assume!(pieces.len() > 1);
        let joined = join(&pieces, ALL);
        prop_assert_eq!(joined.len(), 1);
        let (head, packet) = joined[0].split_first_chunk::<{ virtio::LENGTH }>().expect("a header");
        let virtio = VirtioHeader::parse(head).expect("sound");
        prop_assert!(virtio.needs_checksum);
        prop_assert_eq!(usize::from(virtio.segment_size), size);
        prop_assert_eq!(cut(packet, &virtio, 65_535), pieces);
    }

    /// Packets of several flows, some spoilt, in any order: what is written, cut again, is exactly
    /// what came, so nothing is lost, reordered or made valid that was not. The flows share their
    /// ports, so that two of one kind and class are one flow with jumps in its identification.
    #[test]
    fn joining_never_changes_what_a_receiver_sees(
        flows in proptest::collection::vec((plans(), 300usize..1500), 1..4),
        picks in proptest::collection::vec((0usize..4, any::<u16>(), 0usize..80, any::<u8>()), 1..60),
        accepts_udp: bool,
    ) {
        let mut pieces: Vec<std::collections::VecDeque<Vec<u8>>> =
            flows.iter().map(|(plan, size)| plain_cut(plan, *size).into()).collect();
        let mut packets = Vec::new();
        for (flow, spoil, at, xor) in picks {
            let flow = flow % pieces.len();
            let Some(mut packet) = pieces[flow].pop_front() else { continue };
            if spoil < 6000 {
                let at = at % packet.len();
                packet[at] ^= xor;
            }
            packets.push(packet);
        }
        let accepts = Accepts { tcp: true, udp: accepts_udp };
        let mut seen = Vec::new();
        for octets in join(&packets, accepts) {
            let (head, packet) = octets.split_first_chunk::<{ virtio::LENGTH }>().expect("a header");
            let virtio = VirtioHeader::parse(head).expect("sound");
            if virtio.segmentation == Segmentation::None {
                seen.push(packet.to_vec());
            } else {
                seen.extend(cut(packet, &virtio, 65_535));
            }
        }
        let meaning = |packets: Vec<Vec<u8>>| packets.into_iter().map(without_identification).collect::<Vec<_>>();
        prop_assert_eq!(meaning(seen), meaning(packets));
    }
}

/// The identification of a packet that is never fragmented means nothing (RFC 6864 §4.1), and a
/// kernel that cuts a super-packet counts its own. A header that is spoilt stays as it is.
fn without_identification(mut packet: Vec<u8>) -> Vec<u8> {
    let header = &mut packet[..20];
    let right = checksum::fold(checksum::sum(header)) == 0xffff;
    if header[0] == 0x45 && right && header[6] & 0x40 != 0 {
        header[4..6].fill(0);
        header[10..12].fill(0);
        let sum = checksum::finish(checksum::sum(header));
        header[10..12].copy_from_slice(&sum);
    }
    packet
}

#[test]
fn datagrams_that_are_never_fragmented_are_joined_across_a_jump_of_their_identification() {
    let datagram = |id, dont_fragment| {
        Plan {
            tcp: false,
            id,
            dont_fragment,
            payload: vec![1; 500],
            ..Plan::default()
        }
        .build()
    };
    let runs = |dont_fragment| join(&[7, 300].map(|id| datagram(id, dont_fragment)), ALL).len();
    assert_eq!(runs(true), 1);
    assert_eq!(runs(false), 2, "fragments of the two could be mixed up");
}

#[test]
fn tcp_segments_become_smaller_for_a_smaller_path_and_datagrams_do_not() {
    let plan = Plan {
        tcp: true,
        payload: vec![1; 5000],
        ..Plan::default()
    };
    let (virtio, packet) = super_packet(&plan, 1400);
    assert_eq!(cut(&packet, &virtio, 1000), plain_cut(&plan, 960));
    let plan = Plan { tcp: false, ..plan };
    let (virtio, packet) = super_packet(&plan, 1400);
    assert_eq!(cut(&packet, &virtio, 1000), plain_cut(&plan, 1400));
}

#[test]
fn a_packet_whose_header_checksum_is_wrong_is_not_joined() {
    let plan = Plan {
        payload: vec![1; 3000],
        ..Plan::default()
    };
    for spoilt in 0..3 {
        let mut pieces = plain_cut(&plan, 1000);
        pieces[spoilt][10] ^= 1;
        assert!(join(&pieces, ALL).len() > 1, "piece {spoilt}");
    }
}
