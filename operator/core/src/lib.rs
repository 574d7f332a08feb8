//! Custom resources to validated group policy, pure.
//!
//! [`group::validate`] looks at a group and the SecurityAssociations that name it together, which no admission rule
//! can, and says of each object whether it is accepted. [`policy::build`] turns what was accepted into the policy that
//! the key servers take. [`member::settings`] turns a GroupMember into what a member needs to know.

pub mod flow;
pub mod group;
pub mod member;
pub mod policy;
