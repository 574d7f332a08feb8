//! Delivery of rekeys by the primary: from commit to the last acknowledgement.

use std::net::SocketAddr;
use std::time::Instant;

use gikev2::exchange::datagram::with_marker;
use gikev2::{Entropy, Transmit};
use keyserver_api::policy::RekeyTransport;

use super::{KeyServer, Role};
use crate::audit::AuditEvent;
use crate::command::{Action, Rekey};
use crate::outcome::Outcome;
use crate::rekey::delivery::Recipient;
use crate::state::group::Group;

impl KeyServer {
    /// Tells the audit trail about a rekey, and starts its delivery when this is the primary.
    pub(super) fn announce(&mut self, now: Instant, rekey: &Rekey, outcome: &Outcome) {
        let Outcome::Rekeyed {
            number: Some(number),
            ..
        } = outcome
        else {
            return;
        };
        let Some(group) = self.state.group(rekey.group_id) else {
            return;
        };
        let Some(sent) = group.sent.get(*number) else {
            return;
        };
        self.audit.push_back(AuditEvent::Rekeyed {
            group: group.policy.name.clone(),
            reason: sent.reason,
            message_id: sent.message.message_id,
            members: sent.addressed,
            datagrams: sent.message.datagrams.len(),
        });
        if self.role != Role::Primary {
            return;
        }
        if group.policy.rekey.transport == RekeyTransport::Unicast {
            let excluded = rekey.rekey_sa.iter().flat_map(|sa| &sa.excluded);
            let told: Vec<Transmit> = excluded
                .flat_map(|it| self.addressed(it.remote, it.local.port(), &sent.message.datagrams))
                .collect();
            self.transmits.extend(told);
        }
        if !sent.delivered {
            let work = self.work.entry(rekey.group_id).or_default();
            work.all_acknowledged = false;
            work.delivery.begin(now, sent, group);
        }
    }

    /// Delivers again whatever may not have reached everybody: this key server just became primary.
    pub(super) fn resume_deliveries(&mut self, now: Instant) {
        for (group_id, group) in self.state.groups() {
            let work = self.work.entry(*group_id).or_default();
            work.all_acknowledged = group
                .sent
                .last()
                .is_none_or(|sent| sent.delivered && sent.silent == 0);
            group
                .sent
                .undelivered()
                .for_each(|sent| work.delivery.begin(now, sent, group));
        }
    }

    /// Sends what is due of every rekey that is being delivered.
    pub(super) fn deliver(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let groups: Vec<u32> = self.work.keys().copied().collect();
        for group_id in groups {
            let Some(group) = self.state.group(group_id) else {
                continue;
            };
            let Some(work) = self.work.get_mut(&group_id) else {
                continue;
            };
            let mut delivery = std::mem::take(&mut work.delivery);
            let mut outgoing = Vec::new();
            let finished = delivery.handle_timeout(now, group, &mut |recipient, sent| {
                outgoing.extend(self.datagrams(group, &recipient, &sent.message.datagrams));
            });
            self.transmits.extend(outgoing);
            if let Some(work) = self.work.get_mut(&group_id) {
                work.delivery = delivery;
            }
            for over in finished {
                if self
                    .state
                    .group(group_id)
                    .and_then(|group| group.sent.get(over.number))
                    .is_some()
                {
                    let action = Action::Delivered {
                        group_id,
                        number: over.number,
                        silent: over.silent,
                    };
                    self.propose(now, action, entropy);
                }
            }
        }
    }

    fn datagrams(
        &self,
        group: &Group,
        recipient: &Recipient<'_>,
        datagrams: &[Vec<u8>],
    ) -> Vec<Transmit> {
        match (recipient, &group.policy.rekey.transport) {
            (Recipient::Member(member), _) => {
                self.addressed(member.remote, member.local.port(), datagrams)
            }
            (Recipient::Group, RekeyTransport::Multicast { address, port, .. }) => {
                self.addressed(SocketAddr::new(*address, *port), self.own.port, datagrams)
            }
            (Recipient::Group, RekeyTransport::Unicast) => Vec::new(),
        }
    }

    /// Datagrams from this key server's own address and `port`; none when it has no address of that family.
    fn addressed(&self, remote: SocketAddr, port: u16, datagrams: &[Vec<u8>]) -> Vec<Transmit> {
        let Some(local) = self.source_for(remote, port) else {
            return Vec::new();
        };
        let payloads = datagrams
            .iter()
            .map(|datagram| with_marker(local, remote, datagram.clone()));
        payloads
            .map(|payload| Transmit {
                local,
                remote,
                payload,
            })
            .collect()
    }

    pub(super) fn finish_delivery(
        &mut self,
        now: Instant,
        group_id: u32,
        number: u64,
        silent: &[u64],
        entropy: &mut dyn Entropy,
    ) {
        let Some(group) = self.state.group(group_id) else {
            return;
        };
        if let Some(sent) = group.sent.get(number) {
            self.audit.push_back(AuditEvent::Delivered {
                group: group.policy.name.clone(),
                message_id: sent.message.message_id,
                addressed: sent.addressed,
                silent: sent.silent,
            });
            // Without acknowledgements nobody knows what arrived.
            let all_answer = group
                .members
                .iter()
                .filter(|member| sent.addresses(member))
                .all(|it| it.acknowledges);
            let unicast = group.policy.rekey.transport == RekeyTransport::Unicast;
            if let Some(work) = self.work.get_mut(&group_id) {
                work.all_acknowledged =
                    silent.is_empty() && all_answer && unicast && work.delivery.is_idle();
            }
        }
        if self.role != Role::Primary {
            return;
        }
        let threshold = u32::from(group.policy.rekey.eviction_threshold);
        let registration_ids: Vec<u64> = group
            .members
            .iter()
            .filter(|member| member.missed_rekeys >= threshold)
            .map(|member| member.registration_id)
            .collect();
        if !registration_ids.is_empty() {
            self.propose(
                now,
                Action::RemoveMembers {
                    group_id,
                    registration_ids,
                },
                entropy,
            );
        }
    }

    pub(super) fn next_delivery(&self) -> Option<Instant> {
        self.work
            .values()
            .filter_map(|work| work.delivery.poll_timeout())
            .min()
    }
}
