//! What crossed the lab's core, packet by packet, for tests that ask more than the audit answers.

use std::net::IpAddr;

use kubectl_getvpn::lab::capture::{Classifier, Kind, LiveCapture, Packet, protocol};
use kubectl_getvpn::lab::state::Lab;

/// Port on which IKE and ESP carry a marker that tells them apart.
const NAT_TRAVERSAL_PORT: u16 = 4500;

/// One packet, seen where it entered the core from the node that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Source and destination port, for TCP and UDP.
    pub ports: Option<(u16, u16)>,
    /// Whether it is ESP, in whatever form.
    pub esp: bool,
    /// Exchange type of an IKE message.
    pub exchange: Option<u8>,
    /// Octets of TCP payload.
    pub tcp_octets: usize,
}

impl Seen {
    /// Reads a frame; `None` for what is no IP packet.
    fn read(classifier: &Classifier, frame: &[u8]) -> Option<Self> {
        let packet = Packet::parse(frame)?;
        let kind = classifier.classify(&packet);
        let exchange = (kind == Kind::Ike).then(|| exchange(&packet)).flatten();
        let tcp_header = || {
            let words = packet.payload.get(12).map_or(0, |octet| octet >> 4);
            usize::from(words) * 4
        };
        Some(Self {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ports: packet.ports(),
            esp: matches!(kind, Kind::Esp { .. }),
            exchange,
            tcp_octets: if packet.protocol == protocol::TCP {
                packet.payload.len().saturating_sub(tcp_header())
            } else {
                0
            },
        })
    }

    /// Whether it goes from one address to another.
    #[must_use]
    pub fn is_between(&self, source: IpAddr, destination: IpAddr) -> bool {
        (self.source, self.destination) == (source, destination)
    }
}

/// The exchange type of an IKE message (RFC 7296 §3.1), behind the marker where there is one.
fn exchange(packet: &Packet<'_>) -> Option<u8> {
    let (source, destination) = packet.ports()?;
    let marked = [source, destination].contains(&NAT_TRAVERSAL_PORT);
    let at = if marked { 4 + 18 } else { 18 };
    packet.udp_payload()?.get(at).copied()
}

/// A capture that keeps every packet.
pub struct Recording(LiveCapture<Vec<Seen>>);

impl Recording {
    /// Starts it; it listens when this returns.
    ///
    /// # Errors
    /// When the core cannot be entered.
    pub fn start(lab: &Lab) -> anyhow::Result<Self> {
        let classifier = Classifier::new(lab);
        let core = lab.lab_name().core_namespace();
        let live = LiveCapture::start(&core, Vec::new(), move |seen, frame| {
            seen.extend(Seen::read(&classifier, frame.bytes));
            Ok(())
        })?;
        Ok(Self(live))
    }

    /// Ends it: everything that was seen.
    ///
    /// # Errors
    /// When the capture failed or missed packets.
    pub fn finish(self) -> anyhow::Result<Vec<Seen>> {
        let (seen, dropped) = self.0.finish()?;
        anyhow::ensure!(dropped == 0, "the capture missed {dropped} packets");
        Ok(seen)
    }
}
