//! Nebula: certificates of its own authority, AES-256-GCM in UDP.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use runtime::shutdown::Shutdown;

use super::child::run;
use super::daemons::Daemons;
use super::{ENDS, End};

/// UDP port of both ends.
const PORT: u16 = 4242;
/// How long a certificate may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Brings a tunnel up between both ends.
///
/// # Errors
/// When a program fails.
pub(super) fn up(program: &Path, shutdown: &Shutdown) -> Result<Daemons> {
    let mut daemons = Daemons::none()?;
    let directory = daemons.directory().to_owned();
    let certificates = |arguments: &[&str]| {
        let mut command = Command::new("nebula-cert");
        command.args(arguments).current_dir(&directory);
        run(&mut command, LIMIT, shutdown)
    };
    certificates(&["ca", "-name", "getvpn-bench"])?;
    for (end, _) in ENDS {
        let address = format!("{}/24", end.inner);
        certificates(&["sign", "-name", end.letter, "-ip", &address])?;
    }
    for (end, other) in ENDS {
        let text = configuration(end, other, &directory);
        let file = daemons.write(&format!("{}.yaml", end.letter), &text)?;
        let file = file.to_str().context("a path of letters")?;
        daemons.start(end, program, &["-config", file], &[])?;
    }
    Ok(daemons)
}

fn configuration(end: &End, other: &End, directory: &Path) -> String {
    let (letter, directory) = (end.letter, directory.display());
    let (inner, outer) = (other.inner, other.outer);
    format!(
        "pki:
  ca: {directory}/ca.crt
  cert: {directory}/{letter}.crt
  key: {directory}/{letter}.key
static_host_map: {{ \"{inner}\": [\"{outer}:{PORT}\"] }}
lighthouse: {{ am_lighthouse: false }}
listen: {{ host: 0.0.0.0, port: {PORT}, batch: 64 }}
tun: {{ dev: nebula-{letter}, mtu: 1400, tx_queue: 500 }}
cipher: aes
logging: {{ level: error }}
firewall:
  outbound: [{{ port: any, proto: any, host: any }}]
  inbound: [{{ port: any, proto: any, host: any }}]
"
    )
}
