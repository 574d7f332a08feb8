//! The key servers of a group: their objects, how they change without losing quorum, and what is reported.

pub mod advice;
pub mod build;
pub mod certificates;

pub mod events;
pub mod inputs;
pub mod observed;
pub mod pre_shared_keys;
pub mod rollout;
pub mod status;

pub mod storage;
