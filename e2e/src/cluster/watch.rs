//! A capture on every bridge and wire of the nodes, judged while it runs.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow};
use kubectl_getvpn::lab::capture::LiveCapture;

use super::Cluster;
use crate::traffic::CANARY;

/// UDP ports of ESP with IKE, and of IKE alone.
const ENCAPSULATED: u16 = 4500;
const IKE: u16 = 848;

/// What was seen among the members.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// ESP in UDP between members.
    pub esp: u64,
    /// Anything else between members.
    pub clear: u64,
    /// Packets with the canary of [`crate::traffic`], between whomever.
    pub canary: u64,
    /// Some of the clear packets: source, destination, protocol, ports.
    pub examples: BTreeSet<String>,
}

struct Shared {
    members: Mutex<BTreeSet<IpAddr>>,
    seen: Mutex<Seen>,
    first_esp: Mutex<Option<Instant>>,
    packets: AtomicU64,
}

/// A capture under way.
pub struct ClusterWatch {
    captures: Vec<LiveCapture<()>>,
    shared: Arc<Shared>,
}

impl ClusterWatch {
    /// Starts on all nodes. Addresses of members can be added later.
    ///
    /// # Errors
    /// When a capture does not start.
    pub fn start(cluster: &Cluster, nodes: &[&str]) -> Result<Self> {
        let shared = Arc::new(Shared {
            members: Mutex::default(),
            seen: Mutex::default(),
            first_esp: Mutex::default(),
            packets: AtomicU64::new(0),
        });
        let mut captures = Vec::new();
        for node in nodes {
            let shared = Arc::clone(&shared);
            let namespace = e2e_cluster::names::of(&cluster.place, node);
            captures.push(
                LiveCapture::start(&namespace, (), move |(), frame| {
                    shared.judge(frame.bytes);
                    Ok(())
                })
                .map_err(|error| anyhow!("{error}"))?,
            );
        }
        Ok(Self { captures, shared })
    }

    /// Between these addresses, and those named before, everything has to be encrypted from now on.
    pub fn protect(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.shared
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(addresses);
    }

    /// When the first ESP packet was seen.
    #[must_use]
    pub fn first_esp(&self) -> Option<Instant> {
        *self
            .shared
            .first_esp
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// When it failed on the way, or had no room for packets.
    pub fn finish(self) -> Result<Seen> {
        for capture in self.captures {
            let ((), dropped) = capture.finish().map_err(|error| anyhow!("{error}"))?;
            if dropped > 0 {
                return Err(anyhow!("the capture had no room for {dropped} packets"));
            }
        }
        Ok(self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone())
    }
}

impl Shared {
    fn judge(&self, frame: &[u8]) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        let canary = frame.windows(CANARY.len()).any(|window| window == CANARY);
        if canary {
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .canary += 1;
        }
        let Some(packet) = Packet::parse(frame) else {
            return;
        };
        let esp = packet.protocol == 17
            && packet
                .ports
                .is_some_and(|(from, to)| from == ENCAPSULATED || to == ENCAPSULATED);
        if esp {
            self.first_esp
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(Instant::now);
        }
        let among = {
            let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            members.contains(&packet.source) && members.contains(&packet.destination)
        };
        if !among {
            return;
        }
        let ike = packet.protocol == 17
            && packet
                .ports
                .is_some_and(|(from, to)| from == IKE || to == IKE);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if esp {
            seen.esp += 1;
        } else if !ike {
            seen.clear += 1;
            if seen.examples.len() < 20 {
                seen.examples.insert(format!("{packet:?}"));
            }
        }
    }
}

#[derive(Debug)]
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
}

impl Packet {
    /// An IPv4 packet in an Ethernet frame.
    fn parse(frame: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let octets: [u8; 2] = frame.get(at..at.checked_add(2)?)?.try_into().ok()?;
            Some(u16::from_be_bytes(octets))
        };
        let address = |at: usize| {
            let octets: [u8; 4] = frame.get(at..at.checked_add(4)?)?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        };
        if word(12)? != 0x0800 {
            return None;
        }
        let header = usize::from(frame.get(14)? & 0x0f) * 4;
        let protocol = *frame.get(23)?;
        let first = word(20)? & 0x1fff == 0;
        let ports = (first && matches!(protocol, 6 | 17))
            .then(|| Some((word(14 + header)?, word(16 + header)?)))
            .flatten();
        Some(Self {
            source: address(26)?,
            destination: address(30)?,
            protocol,
            ports,
        })
    }
}
