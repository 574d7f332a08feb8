//! Captures in the core what crosses the lab's wires, and judges it.
//!
//! Each packet is seen once, where it enters the core from the node that sent it.

mod audit;
mod classify;
mod file;
mod frame;
mod live;
mod offload;

pub use audit::{Audit, AuditReport, ClearFlow};
pub use classify::{Classifier, Kind};
pub use file::CaptureFile;
pub use frame::{Packet, protocol};
pub use live::{Frame, LiveCapture};
