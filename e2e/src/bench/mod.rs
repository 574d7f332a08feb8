//! How fast the data path is, next to other VPNs on the same machine. The program is `getvpn-bench`.
//!
//! Two network namespaces are joined by one veth pair. A *data path* is brought up between them, every *load* is put
//! on it, it is torn down, and the next one follows; after the last one the next round begins, so that slow drift of
//! the machine hits all of them alike. Both ends, and what makes the load, share this machine's processors: the figures
//! compare data paths on one machine and are no limits of a product.
//!
//! Nothing here limits what a product may do to be fast, and nothing is tuned for one of them: every data path is
//! started with the options that its own documentation gives, and with an AEAD of 256-bit keys.

mod child;
mod daemons;
mod datagrams;
pub mod install;
mod libipsec;
mod link;
pub mod machine;
pub mod measure;
mod nebula;
mod openvpn;
pub mod plot;
mod product;
mod quiet;
pub mod report;
mod round_trip;
pub mod rounds;
mod search;
mod statistics;
mod stream;
pub mod table;
mod tunnel;
mod wireguard;

pub use self::install::Peer;
pub use self::tunnel::DataPath;

use std::net::Ipv4Addr;

/// One of the two ends between which is measured.
#[derive(Debug)]
struct End {
    /// Letter in names of files and devices.
    letter: &'static str,
    /// Its namespace.
    namespace: &'static str,
    /// Its address on the veth pair.
    outer: Ipv4Addr,
    /// Its address in the tunnel of a data path that gives out addresses.
    inner: Ipv4Addr,
}

/// Where all loads start.
const NEAR: End = End {
    letter: "a",
    namespace: "getvpn-bench-a",
    outer: Ipv4Addr::new(10, 201, 0, 1),
    inner: Ipv4Addr::new(10, 209, 0, 1),
};
/// Where they arrive.
const FAR: End = End {
    letter: "b",
    namespace: "getvpn-bench-b",
    outer: Ipv4Addr::new(10, 201, 0, 2),
    inner: Ipv4Addr::new(10, 209, 0, 2),
};
/// Each end with the one it speaks to.
const ENDS: [(&End, &End); 2] = [(&NEAR, &FAR), (&FAR, &NEAR)];
/// The veth pair's device at each end.
const WIRE: &str = "wire";
