//! Load on real key servers: thousands of simulated members over real sockets, with the product's own member code.
//!
//! It lives here and not in `kubectl-getvpn` because the arrows of the architecture forbid the plugin to know
//! `gikev2`: who administers groups needs no key exchange, and the plugin stays small. The program is `getvpn-load`.
//!
//! Every member is one task with a socket and a loopback address of its own, so that key servers see as many sources
//! as there are members and count half-open IKE SAs as they would on a network. Members share this machine's
//! processors with the key servers: a rate measured this way holds for both ends together.

pub mod credentials;
pub mod figures;
pub mod fleet;
pub mod member;
mod ports;
pub mod process;
pub mod registrations;
pub mod rekey;
pub mod servers;

/// Number of the group that simulated members join.
pub const GROUP_ID: u32 = 8_008;
/// Its name.
pub const GROUP: &str = "load";
