//! Custom resources to validated group policy, pure.
//!
//! [`namespace::validate`] judges all objects together, which no admission rule can, and says of each whether it is
//! accepted; [`group::validate`] does so for one group and the SecurityAssociations that name it. [`policy::build`] turns
//! what was accepted into the policy that the key servers take. [`member::settings`] turns a GroupMember into what a
//! member needs to know.

pub mod expand;
pub mod flow;
pub mod group;
pub mod member;
pub mod namespace;
pub mod policy;
mod rejection;
