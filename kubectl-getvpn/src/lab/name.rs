//! The name of a lab and every path and namespace that follows from it.
//!
//! All that a lab creates can be found again from its name alone, so `lab down` works after a
//! crash that left no record behind.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Directory under which each lab keeps its files.
pub const STATE_ROOT: &str = "/run/getvpn-lab";

/// Directory where iproute2 keeps named network namespaces.
pub const NAMESPACE_ROOT: &str = "/run/netns";

/// First part of the name of each namespace of any lab.
const NAMESPACE_PREFIX: &str = "gvl-";

/// Last part of the name of the namespace that routes between the nodes.
const CORE: &str = "core";

/// Longest name of a lab, in characters.
pub const MAXIMUM_LENGTH: usize = 30;

/// A checked lab name: 1 to 30 of `a-z`, `0-9` and `-`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabName(String);

/// Why a text is no lab name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "lab name `{0}` must be 1 to {MAXIMUM_LENGTH} characters of a-z, 0-9 and `-`, and start with a letter or a digit"
)]
pub struct InvalidLabName(String);

impl FromStr for LabName {
    type Err = InvalidLabName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = !text.is_empty()
            && text.len() <= MAXIMUM_LENGTH
            && text.bytes().all(allowed)
            && !text.starts_with('-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidLabName(text.to_owned()))
        }
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl LabName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Directory of this lab's files (mode 0700).
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        Path::new(STATE_ROOT).join(&self.0)
    }

    /// File that records the lab's nodes and processes.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.directory().join("lab.json")
    }

    /// Namespace of one node.
    #[must_use]
    pub fn namespace(&self, node: &str) -> String {
        format!("{NAMESPACE_PREFIX}{}.{node}", self.0)
    }

    /// Namespace that routes between the nodes.
    #[must_use]
    pub fn core_namespace(&self) -> String {
        self.namespace(CORE)
    }

    /// Whether a namespace's name says that it belongs to this lab.
    #[must_use]
    pub fn owns_namespace(&self, namespace: &str) -> bool {
        Self::of_namespace(namespace).is_some_and(|owner| owner == *self)
    }

    /// The lab to which a namespace's name says it belongs.
    #[must_use]
    pub fn of_namespace(namespace: &str) -> Option<Self> {
        let (lab, _node) = namespace.strip_prefix(NAMESPACE_PREFIX)?.split_once('.')?;
        lab.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_the_state_directory_is_refused() {
        for text in ["", "..", "a/b", "Upper", "-x", "a b", &"x".repeat(31)] {
            assert!(text.parse::<LabName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_namespace_belongs_to_exactly_the_lab_that_named_it() {
        let short: LabName = "demo".parse().expect("valid");
        let long: LabName = "demo-core".parse().expect("valid");
        assert!(short.owns_namespace(&short.core_namespace()));
        assert!(!short.owns_namespace(&long.core_namespace()));
        assert!(!long.owns_namespace(&short.namespace("m-1")));
        assert!(!short.owns_namespace("demo.m-1"));
    }
}
