//! The API server's checks without an API server: the schema's structure, its bounds, its defaults and its CEL rules.
//!
//! Objects are judged against the schema of the manifest itself, so that what passes here passes in a cluster.

mod structure;

use std::fmt;

use kube::core::cel::{Validator, apply_defaults};
use serde_json::Value;

use crate::kind::Kind;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Where, such as `spec.rules[0].source`; empty for the object as a whole.
    pub field: String,
    /// What, in words that follow the field's name.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// The object with the defaults of its schema filled in.
#[must_use]
pub fn with_defaults(kind: Kind, object: &Value) -> Value {
    apply_defaults(kind.schema(), object)
}

/// Checks a new object.
///
/// # Errors
/// Everything that is wrong with it: with its structure, or if that is sound, with its meaning (the CEL rules).
pub fn create(kind: Kind, object: &Value) -> Result<(), Vec<Violation>> {
    check(kind, object, None)
}

/// Checks a changed object against what it was before.
///
/// # Errors
/// As [`create`], and changes to what cannot be changed.
pub fn update(kind: Kind, object: &Value, old: &Value) -> Result<(), Vec<Violation>> {
    check(kind, object, Some(old))
}

fn check(kind: Kind, object: &Value, old: Option<&Value>) -> Result<(), Vec<Violation>> {
    let schema = kind.schema();
    let mut violations = structure::violations(schema, object);
    if violations.is_empty()
        && let Err(errors) = Validator::new().validate(schema, object, old)
    {
        violations = errors
            .into_vec()
            .into_iter()
            // A rule on the object as a whole leaves the dot of its relative path in front.
            .map(|error| Violation {
                field: error.field_path.trim_start_matches('.').to_owned(),
                message: error.message,
            })
            .collect();
    }
    if violations.is_empty() {
        return Ok(());
    }
    violations.sort();
    violations.dedup();
    Err(violations)
}
