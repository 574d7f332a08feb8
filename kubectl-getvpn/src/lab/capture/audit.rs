//! Judges a stream of packets: nothing protected in clear, no initialisation vector used twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use serde::Serialize;

use super::classify::{Classifier, Kind};
use super::frame::Packet;
use crate::lab::state::Lab;

/// Flows in clear that a report names at most.
const NAMED_FLOWS: usize = 20;

/// A flow that should have been encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClearFlow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Source and destination port, when it has ports.
    pub ports: Option<(u16, u16)>,
}

/// What a capture showed.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// All packets.
    pub packets: u64,
    /// ESP inside UDP.
    pub esp_in_udp: u64,
    /// ESP as IP protocol 50.
    pub raw_esp: u64,
    /// IKE and rekeys.
    pub ike: u64,
    /// Packets in clear of flows that the policy protects.
    pub clear_protected: u64,
    /// Packets that hold the canary in clear.
    pub canary: u64,
    /// Everything else: cooperation of key servers, neighbour discovery, flows left clear.
    pub other: u64,
    /// Pairs of SPI and initialisation vector seen with two different packets.
    pub iv_reused: u64,
    /// ESP packets seen more than once, bit for bit.
    pub repeated: u64,
    /// Different SPIs seen.
    pub spis: usize,
    /// Packets that the capture had no room for; what it says about the rest still holds.
    pub capture_dropped: u64,
    /// Some of the flows in clear.
    pub clear_flows: Vec<ClearFlow>,
}

impl AuditReport {
    /// Whether nothing was seen that must not be, and nothing was missed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.clear_protected == 0
            && self.canary == 0
            && self.iv_reused == 0
            && self.capture_dropped == 0
    }
}

/// The judge of one capture.
pub struct Audit {
    classifier: Classifier,
    canary: Vec<u8>,
    report: AuditReport,
    /// For each SPI, the hash of the packet that used each initialisation vector.
    seen: HashMap<u32, HashMap<u64, u64>>,
}

impl Audit {
    /// A judge for one lab; packets that hold `canary` (unless empty) are counted as leaks.
    #[must_use]
    pub fn new(lab: &Lab, canary: &[u8]) -> Self {
        Self::with_classifier(Classifier::new(lab), canary)
    }

    fn with_classifier(classifier: Classifier, canary: &[u8]) -> Self {
        Self {
            classifier,
            canary: canary.to_vec(),
            report: AuditReport::default(),
            seen: HashMap::new(),
        }
    }

    /// Judges one Ethernet frame.
    pub fn frame(&mut self, frame: &[u8]) {
        self.report.packets += 1;
        if !self.canary.is_empty() && contains(frame, &self.canary) {
            self.report.canary += 1;
        }
        let Some(packet) = Packet::parse(frame) else {
            self.report.other += 1;
            return;
        };
        let kind = self.classifier.classify(&packet);
        match kind {
            Kind::Esp { in_udp: true, .. } => self.report.esp_in_udp += 1,
            Kind::Esp { in_udp: false, .. } => self.report.raw_esp += 1,
            Kind::Ike => self.report.ike += 1,
            Kind::Other => self.report.other += 1,
            Kind::ClearProtected => {
                self.report.clear_protected += 1;
                self.name_flow(&packet);
            }
        }
        if let (Kind::Esp { packet, .. }, Some((spi, iv))) = (kind, kind.spi_and_iv()) {
            self.initialisation_vector(spi, iv, packet);
        }
    }

    fn initialisation_vector(&mut self, spi: u32, iv: u64, packet: &[u8]) {
        let mut hasher = DefaultHasher::new();
        packet.hash(&mut hasher);
        let hash = hasher.finish();
        match self.seen.entry(spi).or_default().entry(iv) {
            Entry::Vacant(vacant) => {
                vacant.insert(hash);
            }
            Entry::Occupied(occupied) if *occupied.get() == hash => self.report.repeated += 1,
            Entry::Occupied(_) => self.report.iv_reused += 1,
        }
    }

    fn name_flow(&mut self, packet: &Packet<'_>) {
        let flow = ClearFlow {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ports: packet.ports(),
        };
        let flows = &mut self.report.clear_flows;
        if flows.len() < NAMED_FLOWS && !flows.contains(&flow) {
            flows.push(flow);
        }
    }

    /// The SPIs seen so far, sorted.
    #[must_use]
    pub fn spis(&self) -> Vec<u32> {
        let mut spis: Vec<u32> = self.seen.keys().copied().collect();
        spis.sort_unstable();
        spis
    }

    /// The report, with the number of packets that the capture had no room for.
    #[must_use]
    pub fn report(&self, capture_dropped: u64) -> AuditReport {
        AuditReport {
            spis: self.seen.len(),
            capture_dropped,
            ..self.report.clone()
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len().max(1))
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::super::frame::samples::{ipv4, udp};
    use super::super::protocol;
    use super::*;

    fn audit() -> Audit {
        Audit::with_classifier(Classifier::none(), b"canary")
    }

    fn esp(spi: u32, iv: u64, ciphertext: &[u8]) -> Vec<u8> {
        let mut packet = spi.to_be_bytes().to_vec();
        packet.extend([0; 4]);
        packet.extend(iv.to_be_bytes());
        packet.extend(ciphertext);
        ipv4(1, 2, protocol::UDP, &udp(4500, 4500, &packet))
    }

    #[test]
    fn an_initialisation_vector_used_for_two_packets_is_found() {
        let mut audit = audit();
        audit.frame(&esp(7, 1, b"one"));
        audit.frame(&esp(7, 2, b"two"));
        audit.frame(&esp(8, 1, b"other key"));
        audit.frame(&esp(7, 1, b"one"));
        assert!(audit.report(0).is_clean());
        audit.frame(&esp(7, 2, b"TWO"));
        let report = audit.report(0);
        assert_eq!((report.iv_reused, report.repeated, report.spis), (1, 1, 2));
        assert!(!report.is_clean());
    }

    #[test]
    fn the_canary_is_found_wherever_it_is() {
        let mut audit = audit();
        audit.frame(&ipv4(1, 2, protocol::UDP, &udp(1, 2, b"a canary!")));
        assert_eq!(audit.report(0).canary, 1);
    }

    #[test]
    fn a_capture_that_missed_packets_proves_nothing() {
        assert!(!audit().report(1).is_clean());
    }
}
