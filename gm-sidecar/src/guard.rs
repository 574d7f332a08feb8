//! Drop rules in the kernel (nftables): what keeps protected traffic from ever leaving or
//! entering in clear, whether or not this process lives.
//!
//! The rules are installed before any other action of the process and every change replaces the
//! whole table in one transaction, so there is no moment without them. They stay when the process
//! ends, however it ends; `gm-sidecar cleanup` removes them. Our own packets are told apart by
//! their socket mark, never by a port.

mod ruleset;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use gm_core::member::traffic_plan::TrafficPlan;

/// Beginning of the names of counters of packets that may be clear.
const BYPASS: &str = "bypass_";
/// Beginning of the names of counters of packets that are clear because no policy is known and the member fails open.
const EXPOSED: &str = "exposed_";

/// What the rules need to know besides the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Name of the member in the kernel; the table is `inet getvpn_<member>`.
    pub member: String,
    /// Protected interfaces.
    pub interfaces: Vec<String>,
    /// Mark of our own sockets.
    pub mark: u32,
    /// Our ports of registration, where unicast rekeys arrive; none while the kernel has not chosen one.
    pub ike_ports: Vec<u16>,
    /// Key servers of all groups; their answers are let in.
    pub key_servers: Vec<SocketAddr>,
    /// Multicast addresses on which rekeys arrive.
    pub rekey_groups: Vec<SocketAddr>,
    /// Where certificates and configuration come from; its answers are let in.
    pub operator: Option<SocketAddr>,
}

/// Why the rules could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The program `nft` is not there.
    #[error("drop rules: the program `nft` was not found; install the nftables package")]
    ProgramMissing,
    /// The program could not be run.
    #[error("drop rules: `nft` cannot be run")]
    Run(#[source] std::io::Error),
    /// Not enough privileges.
    #[error(
        "drop rules: the kernel refused the change for lack of privileges; run as root or with \
         the capability CAP_NET_ADMIN"
    )]
    Forbidden,
    /// The kernel or `nft` refused the rules.
    #[error("drop rules: `nft` refused: {0}")]
    Refused(String),
}

impl Guard {
    /// Puts the rules for `plan` in force, replacing those of an earlier plan or process in one
    /// transaction.
    ///
    /// # Errors
    /// [`GuardError`]; the earlier rules are then still in force.
    pub fn install(&self, plan: &TrafficPlan) -> Result<(), GuardError> {
        nft(&["-f", "-"], &self.ruleset(plan)).map(drop)
    }

    /// How many verdicts the rules for `plan` give: what a listing that was never seen before must show, too.
    pub fn verdicts(&self, plan: &TrafficPlan) -> usize {
        verdicts(&self.ruleset(plan))
    }

    /// Asks the kernel whether it would accept the rules for `plan`, changing nothing.
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn check(&self, plan: &TrafficPlan) -> Result<(), GuardError> {
        nft(&["-c", "-f", "-"], &self.ruleset(plan)).map(drop)
    }

    /// What is in force in the kernel; `None` when the table is gone.
    ///
    /// # Errors
    /// [`GuardError`] when that cannot be found out.
    pub fn inspect(&self) -> Result<Option<Inspection>, GuardError> {
        match nft(&["list", "table", "inet", &table(&self.member)], "") {
            Ok(output) => {
                let listing = String::from_utf8_lossy(&output.stdout);
                Ok(Some(Inspection::parse(&listing)))
            }
            Err(GuardError::Refused(message)) if message.contains("No such file") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the rules of `member`; does nothing when there are none.
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn remove(member: &str) -> Result<(), GuardError> {
        // Declaring the table first makes the deletion succeed whether or not it existed.
        let name = table(member);
        nft(
            &["-f", "-"],
            &format!("table inet {name}\ndelete table inet {name}\n"),
        )
        .map(drop)
    }
}

/// The rules in force, as the kernel lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The listing without the counters' values: two equal ones are the same rules.
    pub rules: String,
    /// Verdicts that the rules give, as [`Guard::verdicts`] counts them.
    pub verdicts: usize,
    /// Packets counted by each counter since the rules were last replaced; [`is_drop`] tells which were dropped.
    pub counters: BTreeMap<String, u64>,
}

impl Inspection {
    fn parse(listing: &str) -> Self {
        let mut inspection = Self::default();
        let mut counter = None;
        for line in listing.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (words.as_slice(), &counter) {
                (["packets", packets, ..], Some(name)) => {
                    let packets = packets.parse().unwrap_or(0);
                    inspection.counters.insert(String::clone(name), packets);
                    counter = None;
                }
                (words, _) => {
                    counter = match words {
                        ["counter", name, "{"] => Some((*name).to_owned()),
                        _ => None,
                    };
                    inspection.rules.push_str(line);
                    inspection.rules.push('\n');
                }
            }
        }
        inspection.verdicts = verdicts(&inspection.rules);
        inspection
    }
}

/// Verdicts in rules as we write them and as the kernel lists them; each of our rules but that of exposure has one.
fn verdicts(rules: &str) -> usize {
    rules
        .split_whitespace()
        .filter(|word| matches!(*word, "accept" | "drop" | "return" | "jump"))
        .count()
}

/// Whether a counter of this name counts dropped packets; the others count packets that went in clear by an entry of
/// the access list.
pub fn is_drop(counter: &str) -> bool {
    !counter.starts_with(BYPASS) && !counter.starts_with(EXPOSED)
}

/// Whether a counter of this name counts packets that were clear because no policy was known.
pub fn is_exposure(counter: &str) -> bool {
    counter.starts_with(EXPOSED)
}

/// Name of the table of `member`.
fn table(member: &str) -> String {
    format!("getvpn_{member}")
}

pub(crate) fn nft(arguments: &[&str], input: &str) -> Result<Output, GuardError> {
    let spawn = |program: &str| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    // The folder of system programs is not on every user's search path.
    let mut child = match spawn("nft") {
        Err(error) if error.kind() == ErrorKind::NotFound => spawn("/usr/sbin/nft"),
        other => other,
    }
    .map_err(|error| match error.kind() {
        ErrorKind::NotFound => GuardError::ProgramMissing,
        _ => GuardError::Run(error),
    })?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends before reading everything says why on its error output.
        match pipe.write_all(input.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                return Err(GuardError::Run(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let output = child.wait_with_output().map_err(GuardError::Run)?;
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    if message.contains("Operation not permitted") {
        return Err(GuardError::Forbidden);
    }
    let first_line = message.lines().next().unwrap_or("no reason given");
    Err(GuardError::Refused(first_line.to_owned()))
}

#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
