//! Every rule that one object is judged by: an object it accepts, one it refuses, and the exact words.
//!
//! Each object goes through the manifest's schema, as in an API server, and through the typed `validate_cel` and
//! `validate_cel_update` that the operator uses; both must say the same. So must a real API server where there is one
//! to ask: `cargo xtask test --only cluster`.

mod access;
mod group;
mod key_servers;
mod member;
mod names;
mod security_association;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use support::{create, update, with};

/// One rule with an object that keeps it, one that breaks it, and what is said about the latter.
pub(crate) struct Case {
    pub(crate) rule: &'static str,
    pub(crate) accepted: Value,
    pub(crate) refused: Value,
    says: &'static [&'static str],
}

/// A case whose objects differ from `base` by what is written at each pointer.
pub(crate) fn case(
    rule: &'static str,
    base: &Value,
    accepted: &[(&str, Value)],
    refused: &[(&str, Value)],
    says: &'static [&'static str],
) -> Case {
    let apply = |changes: &[(&str, Value)]| {
        changes
            .iter()
            .fold(base.clone(), |object, (pointer, value)| {
                with(&object, pointer, value.clone())
            })
    };
    Case {
        rule,
        accepted: apply(accepted),
        refused: apply(refused),
        says,
    }
}

pub(crate) fn run(cases: Vec<Case>) {
    for case in cases {
        assert_eq!(
            create(&case.accepted),
            Vec::<String>::new(),
            "{} accepts {}",
            case.rule,
            case.accepted
        );
        assert_eq!(
            create(&case.refused),
            case.says,
            "{} refuses {}",
            case.rule,
            case.refused
        );
    }
}

/// A rule that compares an object with what it was before.
pub(crate) fn run_update(
    rule: &str,
    old: &Value,
    accepted: &Value,
    refused: &Value,
    says: &[&str],
) {
    assert_eq!(
        update(accepted, old),
        Vec::<String>::new(),
        "{rule} accepts {accepted}"
    );
    assert_eq!(update(refused, old), says, "{rule} refuses {refused}");
}
