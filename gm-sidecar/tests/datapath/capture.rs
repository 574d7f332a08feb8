//! What was on the cable, seen by tcpdump.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pair::{End, SPI_V4, SPI_V6};

/// A running capture.
pub(crate) struct Capture {
    child: Child,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

/// An Ethernet frame, its header cut off.
pub(crate) struct Frame {
    ether_type: u16,
    packet: Vec<u8>,
}

impl Capture {
    /// Captures at one end of the cable; returns when tcpdump listens.
    pub(crate) fn start(end: &End) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("cable.pcap");
        let line = format!(
            "tcpdump -Z root -i eth0 -n -U --immediate-mode -s 0 -B 16384 -w {}",
            file.display()
        );
        let mut child = end
            .command(&line)
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump runs");
        let said = BufReader::new(child.stderr.take().expect("piped"));
        let listening = said
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("listening on"));
        assert!(listening, "tcpdump listens");
        Self {
            child,
            file,
            _directory: directory,
        }
    }

    /// Ends the capture and reads it.
    pub(crate) fn stop(mut self) -> Vec<Frame> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process number"));
        kill(pid, Signal::SIGTERM).expect("tcpdump is ours");
        self.child.wait().expect("its end");
        let octets = std::fs::read(&self.file).expect("the capture");
        let word = |at: usize| {
            u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets")) as usize
        };
        let mut frames = Vec::new();
        let mut at = 24;
        while at + 16 <= octets.len() {
            let length = word(at + 8);
            let Some(frame) = octets.get(at + 16..at + 16 + length) else {
                break;
            };
            frames.push(Frame {
                ether_type: u16::from_be_bytes([frame[12], frame[13]]),
                packet: frame[14..].to_vec(),
            });
            at += 16 + length;
        }
        frames
    }
}

impl Frame {
    /// Offset of the upper layer and its protocol.
    fn upper(&self) -> (usize, u8) {
        match self.ether_type {
            0x0800 => (usize::from(self.packet[0] & 15) * 4, self.packet[9]),
            0x86dd => (40, self.packet[6]),
            _ => (0, 0),
        }
    }

    /// The ESP packet (or train of them) in this frame, whichever way it is carried.
    pub(crate) fn esp(&self) -> Option<&[u8]> {
        let esp = match self.upper() {
            (at, 50) => self.packet.get(at..),
            (at, 17) if self.packet.get(at + 2..at + 4)? == 4500u16.to_be_bytes() => {
                self.packet.get(at + 8..)
            }
            _ => None,
        }?;
        let spi = u32::from_be_bytes(*esp.first_chunk()?);
        [SPI_V4, SPI_V6].contains(&spi).then_some(esp)
    }

    /// Source, destination and protocol of the outermost header, for IPv4.
    pub(crate) fn outer_v4(&self) -> Option<(IpAddr, IpAddr, u8)> {
        if self.ether_type != 0x0800 {
            return None;
        }
        let address = |at: usize| -> Option<IpAddr> {
            let octets: [u8; 4] = self.packet.get(at..at + 4)?.try_into().ok()?;
            Some(octets.into())
        };
        Some((address(12)?, address(16)?, *self.packet.get(9)?))
    }

    /// Address resolution, neighbour discovery and group membership: the link's own business.
    fn is_link_business(&self) -> bool {
        match self.upper() {
            _ if self.ether_type == 0x0806 => true,
            (_, 2) => true,                                                   // IGMP
            (at, 58) => self.packet.get(at).is_some_and(|kind| *kind >= 130), // ND, MLD
            (at, 0) => self.packet.get(at).is_some_and(|next| *next == 58), // MLD after hop-by-hop
            _ => false,
        }
    }

    pub(crate) fn contains(&self, text: &[u8]) -> bool {
        self.packet.windows(text.len()).any(|window| window == text)
    }
}

/// Asserts that nothing but ESP and the link's own business was on the cable, and no `secret`.
pub(crate) fn assert_only_esp(frames: &[Frame], secret: &[u8]) {
    assert!(
        frames.iter().any(|frame| frame.esp().is_some()),
        "the capture saw the traffic"
    );
    for frame in frames {
        let (at, protocol) = frame.upper();
        assert!(
            frame.esp().is_some() || frame.is_link_business(),
            "in clear: ether type {:#06x}, protocol {protocol}, {:02x?}",
            frame.ether_type,
            frame.packet.get(at..at + 12)
        );
        assert!(!frame.contains(secret), "the secret is readable");
    }
}
