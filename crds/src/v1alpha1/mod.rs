//! Version `v1alpha1` of the three kinds.
//!
//! Rules that one object can be judged by are CEL rules on its schema, numbered C1 and up; the tests
//! in `tests/cel_rules.rs` hold one accepted and one refused object for each. Rules that need several
//! objects are decided by `operator-core`.

mod condition;
mod field;
mod group;
mod group_member;
mod security_association;

pub use condition::NEVER_OBSERVED;
pub use field::{Cidr, GroupRef, Ordinal, PortRange, Resources, SecretRef, StringMap};
pub use group::*;
pub use group_member::*;
pub use security_association::*;
