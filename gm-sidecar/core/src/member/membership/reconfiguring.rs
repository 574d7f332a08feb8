//! New settings for a running membership: what changes at once, and what makes it register again.

use std::time::{Duration, Instant};

use gikev2::Entropy;
use gikev2::exchange::authentication::Credentials;

use super::Membership;
use crate::member::event::RegistrationReason;
use crate::member::settings::GroupSettings;

impl Membership {
    /// The membership of a group that is added to a member whose traffic flows: what the group protects is not known
    /// yet, and everything else goes on.
    pub(in crate::member) fn added_later(settings: GroupSettings, now: Instant) -> Self {
        Self {
            added_later: true,
            ..Self::new(settings, now)
        }
    }

    /// Takes over `settings`, which are of the same group; whether the membership registers again because of them.
    ///
    /// Keys and policy stay in force. A registration is void when we go by another name, or when the key server that
    /// made it is not one we would listen to now. New credentials, key servers and lists do not touch it: they are used
    /// from the next registration on, or at once.
    pub(in crate::member) fn reconfigure(
        &mut self,
        now: Instant,
        settings: GroupSettings,
        entropy: &mut dyn Entropy,
    ) -> bool {
        let old = &self.settings;
        let renamed = old.identity != settings.identity;
        let moved = old.key_servers != settings.key_servers;
        let helps = moved
            || old.key_server_identities != settings.key_server_identities
            || !same_credentials(&old.credentials, &settings.credentials);
        let applies = old.bypass != settings.bypass || old.direction != settings.direction;
        if renamed {
            // The key server may forget the old name now.
            self.leave(now, entropy);
        }
        self.settings = settings;
        self.changed |= applies;
        if moved {
            self.servers.replace(self.settings.key_servers.clone());
        }
        if renamed || self.is_distrusted() || (helps && self.is_waiting_in_vain()) {
            self.start_over(now);
            return true;
        }
        false
    }

    /// Whether the key server of the last registration is none we would listen to now.
    fn is_distrusted(&self) -> bool {
        let allowed = &self.settings.key_server_identities;
        self.registered.as_ref().is_some_and(|registered| {
            !allowed
                .iter()
                .any(|pattern| pattern.matches(&registered.identity))
        })
    }

    /// Whether a registration is tried, or waited for, that has not succeeded so far.
    fn is_waiting_in_vain(&self) -> bool {
        self.statistics.last_failure.is_some() || self.registered.is_none()
    }

    fn start_over(&mut self, now: Instant) {
        self.session = None;
        self.wanted = None;
        self.next_attempt = None;
        self.servers.restart();
        self.back_off.reset();
        self.request_registration(now, RegistrationReason::Reconfigured, Duration::ZERO);
    }
}

fn same_credentials(old: &Credentials, new: &Credentials) -> bool {
    match (old, new) {
        (Credentials::PreSharedKey(old), Credentials::PreSharedKey(new)) => old == new,
        (Credentials::Certificate(old), Credentials::Certificate(new)) => old.chain == new.chain,
        (Credentials::PreSharedKey(_), Credentials::Certificate(_))
        | (Credentials::Certificate(_), Credentials::PreSharedKey(_)) => false,
    }
}
