//! What a group member in a pod and the operator say to each other. Types only.
//!
//! The member connects by TLS to the operator's enrolment endpoint, proves with its pod's projected service-account
//! token which pod it is, and receives certificates and its whole configuration. It then waits for changes with
//! [`enrolment::WatchRequest`]. Key servers never take part, and a member that cannot reach the operator goes on with
//! what it has.

pub mod enrolment;
pub mod pod;
pub mod services;
