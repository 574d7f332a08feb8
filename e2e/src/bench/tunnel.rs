//! Data paths between the two namespaces, and how one is brought up.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use runtime::shutdown::Shutdown;

use super::child::{go_on, inside, run};
use super::daemons::Daemons;
use super::install::{Installed, Peer};
use super::product::{Encapsulation, Members};
use super::{FAR, NEAR, libipsec, nebula, openvpn, wireguard};

/// How long a data path may take to carry the first packets.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPath {
    /// The bare veth pair: what the machine itself can do.
    Veth,
    /// Two members of a group, ESP in UDP.
    Getvpn,
    /// Two members of a group, ESP as an IP protocol.
    GetvpnRaw,
    /// Another VPN.
    Peer(Peer),
}

impl DataPath {
    /// Its name in tables and in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Getvpn => "getvpn",
            Self::GetvpnRaw => "getvpn, raw ESP",
            Self::Peer(peer) => peer.name(),
        }
    }
}

impl fmt::Display for DataPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A data path that carries packets until it is dropped.
pub(super) struct Tunnel {
    /// Where packets of the near end have to go to come to the far end through it.
    pub(super) destination: Ipv4Addr,
    ends: Ends,
}

enum Ends {
    None,
    Ours(Members),
    Theirs(Daemons),
}

impl Tunnel {
    /// Brings a data path up over a fresh link and waits until it carries packets.
    ///
    /// # Errors
    /// When a program fails or no packet arrives.
    pub(super) fn up(
        path: DataPath,
        programs: &Path,
        peer: Option<&Installed>,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let tunnel = match path {
            DataPath::Veth => Self::without_daemons(),
            DataPath::Getvpn => Self::ours(programs, Encapsulation::Udp, shutdown)?,
            DataPath::GetvpnRaw => Self::ours(programs, Encapsulation::Raw, shutdown)?,
            DataPath::Peer(peer_kind) => {
                let installed = peer.context("it is not installed")?;
                Self::theirs(peer_kind, installed, shutdown)?
            }
        };
        tunnel.wait_for_packets(shutdown)?;
        Ok(tunnel)
    }

    /// The processes whose processor time is the data path's.
    pub(super) fn daemons(&self) -> Vec<u32> {
        match &self.ends {
            Ends::None => Vec::new(),
            Ends::Ours(members) => members.ids(),
            Ends::Theirs(daemons) => daemons.ids(),
        }
    }

    fn without_daemons() -> Self {
        Self {
            destination: FAR.outer,
            ends: Ends::None,
        }
    }

    fn ours(programs: &Path, encapsulation: Encapsulation, shutdown: &Shutdown) -> Result<Self> {
        let members = Members::up(programs, encapsulation, shutdown)?;
        Ok(Self {
            destination: members.destination(),
            ends: Ends::Ours(members),
        })
    }

    fn theirs(peer: Peer, installed: &Installed, shutdown: &Shutdown) -> Result<Self> {
        let program = &installed.program;
        let daemons = match peer {
            Peer::WireguardGo | Peer::Boringtun | Peer::Gotatun => {
                wireguard::up(peer, program, shutdown)?
            }
            Peer::Nebula => nebula::up(program, shutdown)?,
            Peer::Openvpn => openvpn::up(program, shutdown)?,
            Peer::Strongswan => libipsec::up(program, shutdown)?,
        };
        Ok(Self {
            destination: FAR.inner,
            ends: Ends::Theirs(daemons),
        })
    }

    /// Three echo requests have to be answered: a path that answers only some is not up yet.
    fn wait_for_packets(&self, shutdown: &Shutdown) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut ping = inside(NEAR.namespace, "ping");
            ping.args(["-c", "3", "-i", "0.2", "-W", "1", "-q"])
                .arg(self.destination.to_string());
            let answer = run(&mut ping, PATIENCE, shutdown);
            go_on(shutdown)?;
            match answer {
                Ok(text) if text.contains(" 0% packet loss") => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("it carries no packets");
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}
