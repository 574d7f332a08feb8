//! Secrets, certificates and configuration files of a lab's nodes.

pub mod certificates;
