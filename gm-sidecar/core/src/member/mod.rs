//! The group member's control side: registration, keys over time, merged policy.
//!
//! Everything here is a function of events, `now` and lent randomness. Sockets, kernel rules and
//! routes belong to the process around it.
//!
//! * [`group_member`] is the whole member, [`membership`] one group of it,
//! * [`traffic_plan`] and [`crate::DataPlane`] are what comes out: one for the kernel, one for the
//!   packet path,
//! * [`event`] and [`status`] are what people see,
//! * [`jitter`] spreads what would otherwise happen everywhere at once.

mod capabilities;
pub mod event;
pub mod flow;
pub mod group_member;
pub mod jitter;
mod key_servers;
pub mod membership;
mod policy;
mod pseudotime;
pub mod settings;
mod skew;
pub mod status;
mod traffic_keys;
pub mod traffic_plan;

pub use event::{FailureKind, MemberEvent, MemberEventKind, RegistrationReason};
pub use group_member::{GroupMember, Reconfigured};
pub use membership::Membership;
pub use settings::{DirectionOverride, FailureMode, GroupSettings, Timing};
pub use status::{KeyPhase, MembershipStatus, TrafficKeyStatus};
pub use traffic_plan::TrafficPlan;
