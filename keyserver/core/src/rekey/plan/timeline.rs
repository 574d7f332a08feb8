//! Places traffic keys in time: which chain gets how many keys, and when each becomes current.

use gikev2::Entropy;
use keyserver_api::policy::{GroupPolicy, SecurityAssociationPolicy};

use super::Planner;
use crate::command::{NewTrafficKey, Rekey, Rescheduled};
use crate::error::PlanError;
use crate::log_time::LogTime;
use crate::rekey::schedule;
use crate::secret::SecretBytes;
use crate::state::spi::DataSpi;
use crate::state::traffic_key::{Associations, Chain};

/// Chains due within this fraction of their period are served by one rekey …
const TOGETHER_FRACTION: u64 = 20;
/// … but never earlier than this, in milliseconds.
const TOGETHER_MS: u64 = 1_000;

/// Adds traffic keys to a rekey.
pub(super) struct Timeline<'a> {
    time: LogTime,
    spis: Box<dyn Iterator<Item = DataSpi> + 'a>,
    rekey: &'a mut Rekey,
    policy: &'a GroupPolicy,
    entropy: &'a mut dyn Entropy,
}

/// A chain to add keys to.
struct Slot<'a> {
    policy: &'a SecurityAssociationPolicy,
    number: u16,
    family: u8,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(
        planner: &'a Planner<'_>,
        rekey: &'a mut Rekey,
        policy: &'a GroupPolicy,
        entropy: &'a mut dyn Entropy,
    ) -> Self {
        let spis = Box::new(planner.state.spis().upcoming().map(|(spi, _)| spi));
        Self {
            time: planner.time,
            spis,
            rekey,
            policy,
            entropy,
        }
    }

    /// A first key that activates at `first` and staged ones after it, for every chain in force.
    pub(super) fn every_chain(
        self,
        associations: &Associations,
        first: LogTime,
    ) -> Result<(), PlanError> {
        self.chains_of(associations, first, |_| true)
    }

    /// The same for the chains of the associations that `wanted` picks by number.
    pub(super) fn chains_of(
        mut self,
        associations: &Associations,
        first: LogTime,
        wanted: impl Fn(u16) -> bool,
    ) -> Result<(), PlanError> {
        for (policy, number, family, _) in schedule::chains_in_force(associations) {
            if wanted(number) {
                let slot = Slot {
                    policy,
                    number,
                    family,
                };
                let ends = self.add(&slot, first)?;
                self.stage(&slot, ends, 0, usize::from(self.policy.prestaged_keys))?;
            }
        }
        Ok(())
    }

    /// Further keys for the chains that are due, or will be within a moment.
    pub(super) fn due_chains(mut self, associations: &Associations) -> Result<(), PlanError> {
        for (policy, number, family, chain) in schedule::chains_in_force(associations) {
            let together = TOGETHER_MS.min(policy.lifetime_ms / TOGETHER_FRACTION);
            let horizon = self.time.plus_millis(together);
            if schedule::chain_due(self.policy, chain) > horizon {
                continue;
            }
            let slot = Slot {
                policy,
                number,
                family,
            };
            let usable = chain.is_some_and(|chain| {
                chain
                    .keys()
                    .iter()
                    .any(|key| key.retired.is_none() && key.gone() > self.time)
            });
            let last = chain.and_then(Chain::last).filter(|_| usable);
            let staged = chain.map_or(0, |chain| chain.staged(horizon).count());
            let wanted = usize::from(self.policy.prestaged_keys);
            match last {
                Some(last) => self.stage(&slot, last.ends, staged, wanted.max(1))?,
                None => {
                    // Members have nothing to use: every moment of delay is traffic dropped.
                    let ends = self.add(&slot, self.time)?;
                    self.stage(&slot, ends, 0, wanted)?;
                }
            }
        }
        Ok(())
    }

    /// The next staged key of each chain becomes current after the activation delay; those behind it follow at their
    /// usual distance, and the staged number is restored.
    pub(super) fn bring_forward(mut self, associations: &Associations) -> Result<(), PlanError> {
        let soon = self
            .time
            .plus_millis(u64::from(self.policy.activation_delay_ms));
        for (policy, number, family, chain) in schedule::chains_in_force(associations) {
            let slot = Slot {
                policy,
                number,
                family,
            };
            // A key that was brought forward a moment ago stays where it is.
            let mut last = None;
            let mut staged = 0;
            for key in chain.into_iter().flat_map(|chain| chain.staged(soon)) {
                let activates = last.map_or(soon, |ends| schedule::succession(self.policy, ends));
                let ends = activates.plus_millis(policy.lifetime_ms);
                staged += usize::from(last.is_some());
                last = Some(ends);
                let spi = key.spi;
                self.rekey.rescheduled.push(Rescheduled {
                    spi,
                    activates,
                    ends,
                });
            }
            let last = match last {
                Some(ends) => ends,
                None => self.add(&slot, soon)?,
            };
            self.stage(&slot, last, staged, usize::from(self.policy.prestaged_keys))?;
        }
        Ok(())
    }

    /// Adds keys after one that ends at `last` until `wanted` are staged.
    fn stage(
        &mut self,
        slot: &Slot<'_>,
        mut last: LogTime,
        staged: usize,
        wanted: usize,
    ) -> Result<(), PlanError> {
        let earliest = self
            .time
            .plus_millis(u64::from(self.policy.activation_delay_ms));
        for _ in staged..wanted {
            last = self.add(slot, schedule::succession(self.policy, last).max(earliest))?;
        }
        Ok(())
    }

    /// Adds one key; answers when it ends.
    fn add(&mut self, slot: &Slot<'_>, activates: LogTime) -> Result<LogTime, PlanError> {
        let spi = self.spis.next().ok_or(PlanError::NumbersExhausted)?;
        let ends = activates.plus_millis(slot.policy.lifetime_ms);
        let octets = slot.policy.encryption.keying_material_octets();
        self.rekey.traffic_keys.push(NewTrafficKey {
            association: slot.number,
            family: slot.family,
            spi,
            keying_material: SecretBytes::random(octets, self.entropy),
            activates,
            ends,
        });
        Ok(ends)
    }
}
