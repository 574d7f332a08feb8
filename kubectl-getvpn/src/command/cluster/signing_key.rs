//! The key that signs rekeys: shown, exported, imported.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use keyserver_api::request::{
    SigningKeyExportRequest, SigningKeyImportRequest, SigningKeyRotationRequest,
};
use kubectl_getvpn::cli::RsaCommand;
use kubectl_getvpn::cluster::error::ClusterError;
use kubectl_getvpn::cluster::table::page;
use zeroize::{Zeroize, Zeroizing};

use super::Session;
use crate::command::Failure;

/// Shortest passphrase that key servers take.
const SHORTEST: usize = 12;

impl Session {
    pub(super) async fn signing_key(&self, command: RsaCommand) -> Result<ExitCode, Failure> {
        match command {
            RsaCommand::Show { group } => {
                let servers = self.key_servers(&group).await?;
                let status = servers
                    .ask(async |client| client.group(&group).await)
                    .await?;
                let Some(key) = status.signing_key else {
                    say!("{group} has no signing key yet");
                    return Ok(ExitCode::SUCCESS);
                };
                let lines = [
                    ("Label", key.label),
                    ("Algorithm", key.algorithm),
                    ("Fingerprint", key.fingerprint),
                ];
                say_text!("{}", page(&format!("Signing key of {group}"), &lines));
            }
            RsaCommand::Export { group } => {
                let servers = self.key_servers(&group).await?;
                let mut request = SigningKeyExportRequest {
                    passphrase: passphrase()?.to_string(),
                };
                let answer = servers
                    .ask(async |client| client.export_signing_key(&group, &request).await)
                    .await;
                request.passphrase.zeroize();
                let export = answer?;
                eprintln!("label {}, {}", export.label, export.fingerprint);
                say_text!("{}", export.encrypted_pem);
            }
            RsaCommand::Rotate { group, label } => {
                let servers = self.key_servers(&group).await?;
                let request = SigningKeyRotationRequest { label };
                let status = servers
                    .ask(async |client| client.rotate_signing_key(&group, &request).await)
                    .await?;
                say!(
                    "{group} will sign with {} ({}, {}) after a rekey that is under way",
                    status.label,
                    status.algorithm,
                    status.fingerprint
                );
            }
            RsaCommand::Import {
                group,
                file,
                label,
                overwrite,
            } => {
                let encrypted_pem =
                    std::fs::read_to_string(&file).map_err(|source| ClusterError::File {
                        action: "read",
                        path: file,
                        source,
                    })?;
                let servers = self.key_servers(&group).await?;
                let mut request = SigningKeyImportRequest {
                    label,
                    encrypted_pem,
                    passphrase: passphrase()?.to_string(),
                    overwrite,
                };
                let answer = servers
                    .ask(async |client| client.import_signing_key(&group, &request).await)
                    .await;
                request.passphrase.zeroize();
                let status = answer?;
                say!(
                    "{group} signs with {} ({}, {})",
                    status.label,
                    status.algorithm,
                    status.fingerprint
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A passphrase from the terminal, where it is not shown, or the first line of standard input. Never an argument: those
/// can be read by every user of the machine.
fn passphrase() -> Result<Zeroizing<String>, ClusterError> {
    let stdin = std::io::stdin();
    let mut line = Zeroizing::new(String::new());
    let hidden = stdin.is_terminal().then(Hidden::new);
    if hidden.is_some() {
        eprint!("Passphrase: ");
        // A prompt that cannot be written does not keep anybody from typing.
        let _ = std::io::stderr().flush();
    }
    let read = stdin.lock().read_line(&mut line);
    if hidden.is_some() {
        eprintln!();
    }
    drop(hidden);
    read.map_err(|source| ClusterError::File {
        action: "read",
        path: "the passphrase from standard input".into(),
        source,
    })?;
    let passphrase = Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned());
    if passphrase.chars().count() < SHORTEST {
        return Err(ClusterError::Usage(format!(
            "the passphrase has fewer than {SHORTEST} characters"
        )));
    }
    Ok(passphrase)
}

/// The terminal without echo until this is dropped.
struct Hidden(Option<nix::sys::termios::Termios>);

impl Hidden {
    fn new() -> Self {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Self(None);
        };
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        match tcsetattr(&stdin, SetArg::TCSANOW, &silent) {
            Ok(()) => Self(Some(before)),
            Err(_) => Self(None),
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        if let Some(before) = &self.0 {
            // The shell restores it when this fails.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
