//! GroupMembers: what is reported about the pods that take part.

pub mod advice;
pub mod pods;
pub mod status;
