//! OpenVPN: TLS with pinned certificates, AES-256-GCM in UDP, without the kernel's data channel.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use runtime::shutdown::Shutdown;

use super::ENDS;
use super::child::run;
use super::daemons::Daemons;

/// How long a certificate may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Brings a tunnel up between both ends.
///
/// # Errors
/// When a program fails.
pub(super) fn up(program: &Path, shutdown: &Shutdown) -> Result<Daemons> {
    let mut daemons = Daemons::none()?;
    let directory = daemons.directory().to_owned();
    let openssl = |arguments: String| {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split_whitespace())
            .current_dir(&directory);
        run(&mut command, LIMIT, shutdown)
    };
    let mut fingerprints = Vec::new();
    for (end, _) in ENDS {
        let letter = end.letter;
        openssl(format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={letter} \
             -keyout {letter}.key -out {letter}.pem"
        ))?;
        let told = openssl(format!("x509 -in {letter}.pem -noout -fingerprint -sha256"))?;
        let (_, fingerprint) = told.trim().split_once('=').context("a fingerprint")?;
        fingerprints.push(fingerprint.to_owned());
    }
    let roles = ["--tls-client", "--tls-server --dh none"];
    let others = fingerprints.iter().rev();
    for (((end, other), fingerprint), role) in ENDS.into_iter().zip(others).zip(roles) {
        let (letter, outer) = (end.letter, other.outer);
        let (own, theirs) = (end.inner, other.inner);
        let file = |kind: &str| directory.join(format!("{letter}.{kind}"));
        let (certificate, key) = (file("pem"), file("key"));
        let line = format!(
            "--dev ovpn-{letter} --dev-type tun --proto udp --remote {outer} --port 1194 --ifconfig {own} {theirs} \
             {role} --cert {} --key {} --peer-fingerprint {fingerprint} --data-ciphers AES-256-GCM \
             --cipher AES-256-GCM --disable-dco --verb 1 --sndbuf 4194304 --rcvbuf 4194304 --txqueuelen 1000",
            certificate.display(),
            key.display(),
        );
        let arguments: Vec<&str> = line.split_whitespace().collect();
        daemons.start(end, program, &arguments, &[])?;
    }
    Ok(daemons)
}
