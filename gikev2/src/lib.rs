//! G-IKEv2 (RFC 9838) protocol library: no I/O, no clock, no entropy of its own.
