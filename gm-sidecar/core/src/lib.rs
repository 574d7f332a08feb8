//! The group member's decisions: registration, SAs, policy, ESP; pure.
//!
//! Nothing in this crate opens a socket, reads a clock or draws a random number. The packet path
//! (`sad`, `spd`, `esp`, `ip`) works in buffers its caller lends and reports every packet it does
//! not pass on with a [`DropReason`].

pub mod data_plane;
pub mod drop_reason;
pub mod esp;
pub mod ip;
pub mod member;
pub mod sad;
pub mod spd;

pub use data_plane::DataPlane;
pub use drop_reason::DropReason;
