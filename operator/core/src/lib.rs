//! Custom resources to validated group policy, pure.
//!
//! [`namespace::validate`] judges all objects together, which no admission rule can, and says of each whether it is
//! accepted; [`group::validate`] does so for one group and the SecurityAssociations that name it. [`policy::build`] turns
//! what was accepted into the policy that the key servers take. [`member::settings`] turns a GroupMember into what a
//! member needs to know; [`injection`] puts the member into a pod.

mod advice;
pub mod association;
pub mod conditions;
pub mod expand;
pub mod explain;
pub mod fingerprint;
pub mod flow;
pub mod group;
pub mod group_member;
pub mod injection;
pub mod key_server;
pub mod labels;
pub mod member;
pub mod member_configuration;
pub mod names;
pub mod namespace;
pub mod policy;
pub mod rbac;
mod rejection;
pub mod services;
pub mod surroundings;
pub mod versions;
