//! The one closed list of reasons for which a packet is not passed on; also the metric label.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why a packet was dropped. Every drop of the packet path has exactly one of these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable label of this reason in metrics, logs and status.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

drop_reasons! {
    /// Outbound: not a well-formed IPv4 or IPv6 packet.
    OutboundMalformed = "outbound_malformed",
    /// Outbound: no rule of the access list matches.
    NoPolicy = "no_policy",
    /// Outbound: a rule says clear, but clear traffic never leaves through this path.
    PolicyClear = "policy_clear",
    /// Outbound: a rule says encrypt and the group is receive only.
    ReceiveOnly = "receive_only",
    /// Outbound: a rule says encrypt and no key is active (none yet, or all expired).
    NoSecurityAssociation = "no_security_association",
    /// Outbound: the Sender-ID's counter under this key is used up (RFC 6054).
    CounterExhausted = "counter_exhausted",
    /// Outbound: the SA needs pseudotime and the group has none.
    NoPseudotime = "no_pseudotime",
    /// Outbound: larger than the path carries and must not be fragmented; the sender was told.
    TooBig = "too_big",
    /// Outbound: the kernel refused the encrypted datagram (no route, no buffer, filtered).
    SendFailed = "send_failed",
    /// Inbound: shorter than the smallest ESP packet, or not a whole number of words.
    EspMalformed = "esp_malformed",
    /// Inbound: larger than the receive buffer.
    ReceiveTruncated = "receive_truncated",
    /// Inbound: an IKE datagram on the ESP port that nobody here wants.
    IkeDatagram = "ike_datagram",
    /// Inbound: no SA has this SPI.
    UnknownSpi = "unknown_spi",
    /// Inbound: the SA's time has passed.
    SecurityAssociationExpired = "security_association_expired",
    /// Inbound: the SA is used with the other encapsulation.
    WrongEncapsulation = "wrong_encapsulation",
    /// Inbound: the sender's counter was seen before or lies left of its window.
    Replayed = "replayed",
    /// Inbound: the ICV does not fit.
    AuthenticationFailed = "authentication_failed",
    /// Inbound: sent outside the pseudotime window (too old or ahead; not told apart).
    OutsideTimeWindow = "outside_time_window",
    /// Inbound: the pseudotime header is missing, unexpected or malformed.
    DelayHeader = "delay_header",
    /// Inbound: the ESP trailer is not well formed.
    BadPadding = "bad_padding",
    /// Inbound: the ESP next header does not fit the SA.
    UnexpectedNextHeader = "unexpected_next_header",
    /// Inbound: a dummy packet (RFC 4303 §2.6), dropped as it should be.
    Dummy = "dummy",
    /// Inbound: the inner packet is not a well-formed IP packet.
    InnerMalformed = "inner_malformed",
    /// Inbound: inner and outer addresses differ.
    AddressMismatch = "address_mismatch",
    /// Inbound: the access list does not let this packet use this SA.
    SelectorMismatch = "selector_mismatch",
    /// Inbound: congestion was marked on a packet whose sender does not understand it (RFC 6040).
    IllegalCongestionMark = "illegal_congestion_mark",
    /// Inbound: our own packet, reflected by a multicast network.
    OwnPacket = "own_packet",
    /// Inbound: the TUN device refused the packet.
    TunWriteFailed = "tun_write_failed",
}

/// One counter per [`DropReason`].
#[derive(Debug)]
pub struct DropCounters([AtomicU64; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl DropCounters {
    /// Counts `packets` dropped packets.
    pub fn add(&self, reason: DropReason, packets: u64) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(packets, Ordering::Relaxed);
        }
    }

    /// Packets dropped so far for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0
            .get(reason as usize)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.get(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_metric_names() {
        let mut labels: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| reason.label())
            .collect();
        assert!(
            labels
                .iter()
                .all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }

    #[test]
    fn each_reason_has_its_own_counter() {
        let counters = DropCounters::default();
        for (n, &reason) in DropReason::ALL.iter().enumerate() {
            counters.add(reason, n as u64 + 1);
        }
        for (n, &reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(counters.get(reason), n as u64 + 1, "{}", reason.label());
        }
    }
}
