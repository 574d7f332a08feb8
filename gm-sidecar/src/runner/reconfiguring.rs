//! A new configuration while traffic flows.

use gm_core::member::FailureMode as MemberFailureMode;
use runtime::clock;

use super::{Runner, SystemEntropy, Update};
use crate::config::{Config, FailureMode};
use crate::services;

/// Name of the readiness blocker for translations of Services.
const SERVICES: &str = "services";

impl Runner {
    /// Takes over what can change without a new start, and says what cannot.
    pub(super) fn reconfigure(&mut self, update: Update) {
        let Update { config, settings } = update;
        for field in fixed(&self.config, &config) {
            tracing::warn!(field, "this change takes effect at the member's next start");
        }
        let key_servers = config.key_servers();
        if let Err(error) = self.ike.reach(&key_servers) {
            tracing::error!(%error, "some key servers cannot be asked");
        }
        self.enforcement.set_peers(self.ike.ports(), key_servers);
        if config.services != self.config.services {
            match services::install(&self.config.name, &config.services) {
                Ok(()) => self.health.unblock(SERVICES),
                Err(error) => {
                    tracing::error!(%error, "Services could not be translated anew; the old translations stay");
                    self.health.block(SERVICES, error.to_string());
                }
            }
        }
        self.data_path.copy_multicast(config.multicast_copies());
        let changed = self.member.reconfigure(
            settings,
            match config.failure_mode {
                FailureMode::FailClosed => MemberFailureMode::Closed,
                FailureMode::FailOpen => MemberFailureMode::Open,
            },
            config.clear_before_registration(),
            clock::now(),
            &mut SystemEntropy,
        );
        tracing::info!(
            added = ?changed.added,
            removed = ?changed.removed,
            registering = ?changed.registering,
            "a new configuration is in force"
        );
        self.config = config;
    }
}

/// Fields that differ and need a new start.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut fields = Vec::new();
    let mut differs = |field, same: bool| {
        if !same {
            fields.push(field);
        }
    };
    differs("interfaces", old.interfaces == new.interfaces);
    differs("tunDevice", old.tun_device == new.tun_device);
    differs("mtuBytes", old.mtu_bytes == new.mtu_bytes);
    differs("ike", old.ike.port == new.ike.port);
    fields
}
