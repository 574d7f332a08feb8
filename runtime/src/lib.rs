//! What every getvpn process has: clock, entropy, logging, health, metrics endpoint, shutdown,
//! process hardening and TLS.
//!
//! The pure crates take time and randomness as arguments; this crate is the one place that reads
//! them from the operating system.

pub mod clock;
pub mod entropy;
pub mod exit;
pub mod hardening;
pub mod health;
pub mod https;
pub mod logging;
pub mod observability;
pub mod shutdown;
pub mod tls;
