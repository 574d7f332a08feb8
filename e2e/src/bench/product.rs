//! Our own data path: `e2e/bench/product-up.sh` brings two members and their key server up.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use runtime::shutdown::Shutdown;

use super::child::run;
use super::{FAR, NEAR, WIRE};

/// How long the script may take: it waits for each step itself, for up to 20 s.
const LIMIT: Duration = Duration::from_secs(90);

/// How ESP travels, in the words of the group's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encapsulation {
    /// In UDP port 4500.
    Udp,
    /// As IP protocol 50.
    Raw,
}

/// Two members and their key server, until this is dropped.
pub(super) struct Members {
    destination: Ipv4Addr,
    ids: Vec<u32>,
}

impl Members {
    /// Brings them up, from the programs in this directory.
    ///
    /// # Errors
    /// What the script says.
    pub(super) fn up(
        programs: &Path,
        encapsulation: Encapsulation,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        // Made first: whatever happens from here on, `down` runs.
        let mut members = Self {
            destination: FAR.outer,
            ids: Vec::new(),
        };
        let mut command = script("up");
        command
            .args([NEAR.outer, FAR.outer].map(|address| address.to_string()))
            .env("GETVPN_BIN_DIR", programs)
            .env("INTERFACE_A", WIRE)
            .env("INTERFACE_B", WIRE)
            .env(
                "ENCAPSULATION",
                match encapsulation {
                    Encapsulation::Udp => "Udp",
                    Encapsulation::Raw => "Raw",
                },
            );
        let told = run(&mut command, LIMIT, shutdown)?;
        (members.ids, members.destination) =
            read(&told).with_context(|| format!("product-up.sh says {told:?}"))?;
        Ok(members)
    }

    /// The members' processes; the key server's carries no traffic.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.ids.clone()
    }

    /// The far member's address.
    pub(super) fn destination(&self) -> Ipv4Addr {
        self.destination
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        // Also when the user wants to end: this is how it ends.
        let (_trigger, never) = Shutdown::manual();
        if let Err(error) = run(&mut script("down"), LIMIT, &never) {
            eprintln!("the members could not be taken down: {error:#}");
        }
    }
}

fn script(action: &str) -> Command {
    let mut command =
        Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/product-up.sh"));
    command.args([action, NEAR.namespace, FAR.namespace]);
    command
}

/// Lines `pid N`, then the address to measure to.
fn read(told: &str) -> Option<(Vec<u32>, Ipv4Addr)> {
    let ids: Vec<u32> = told
        .lines()
        .filter_map(|line| line.strip_prefix("pid ")?.parse().ok())
        .collect();
    let address = told.lines().last()?.trim().parse().ok()?;
    (!ids.is_empty()).then_some((ids, address))
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn the_script_names_processes_and_an_address() {
        let told = "pid 17\npid 18\n10.201.0.2\n";
        assert_eq!(
            read(told),
            Some((vec![17, 18], Ipv4Addr::new(10, 201, 0, 2)))
        );
        assert_eq!(read("10.201.0.2\n"), None);
        assert_eq!(read("pid 17\n"), None);
    }
}
