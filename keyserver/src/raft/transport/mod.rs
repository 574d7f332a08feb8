//! Messages between key servers: mutual TLS, length-prefixed frames, separate lanes.

mod connection;
mod frame;
mod network;
mod peers;
mod resolver;
mod server;

pub use connection::CallError;
pub(crate) use frame::{Answer, Request};
pub use frame::{Applied, Hello, ProposalRefusal, Refusal};
pub use network::{Client, Network};
pub(crate) use peers::Lane;
pub use peers::Peers;
pub use server::{Service, serve};
