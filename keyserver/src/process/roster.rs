//! Follows the configuration file while the key server runs: who the key servers are.

use std::path::PathBuf;

use tokio::sync::watch;

use super::watched::{PERIOD, Watched};
use crate::config::{Config, Environment};
use crate::raft::Roster;

/// Reads the file again whenever it changes, and passes on who the key servers are. Everything
/// else in it takes effect at the next start; a file that cannot be used changes nothing.
pub(super) async fn follow(
    path: PathBuf,
    environment: Environment,
    mut watched: Watched,
    running: Config,
    roster: watch::Sender<Roster>,
) {
    let mut refused: Option<String> = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        if !watched.changed() && refused.is_none() {
            continue;
        }
        match Config::load(&path, &environment) {
            Ok(config) => {
                refused = None;
                take(config, &running, &roster);
            }
            Err(error) => {
                let words = error.to_string();
                if refused.as_ref() != Some(&words) {
                    tracing::warn!(
                        error = words,
                        "the changed configuration cannot be used; the old one stays in force"
                    );
                }
                refused = Some(words);
            }
        }
    }
}

fn take(config: Config, running: &Config, roster: &watch::Sender<Roster>) {
    let new = config.roster();
    let changed = roster.send_if_modified(|current| {
        let changed = *current != new;
        *current = new;
        changed
    });
    if changed {
        let names: Vec<&str> = config
            .cooperative
            .initial_members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        tracing::info!(
            key_servers = names.join(", "),
            priority = config.priority,
            "the configuration names the key servers anew"
        );
    }
    if !config.differs_only_in_roster(running) {
        tracing::warn!(
            "the configuration changed in more than cooperative.initialMembers, cooperative.domain, admin.address and priority; the rest takes effect at the next start"
        );
    }
}
