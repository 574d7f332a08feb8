//! Rules about names and references.

use serde_json::json;

use crate::support::{group, member, security_association, with};
use crate::{case, run, run_update};

#[test]
fn references_to_a_group_do_not_change() {
    for old in [security_association(), member()] {
        run_update(
            "C25",
            &old,
            &old,
            &with(&old, "/spec/groupRef/name", json!("other")),
            &["spec.groupRef: is immutable"],
        );
    }
}

#[test]
fn names_leave_room_for_what_is_made_from_them() {
    let longest = "a".repeat(49);
    let long = "a".repeat(50);
    run(vec![
        case(
            "C13",
            &group(),
            &[("/metadata/name", json!(longest))],
            &[("/metadata/name", json!(long))],
            &["metadata.name: name must be no more than 49 characters"],
        ),
        case(
            "C13, form",
            &group(),
            &[("/metadata/name", json!("branch-2"))],
            &[("/metadata/name", json!("2-branch"))],
            &[
                "metadata.name: name must start with a letter and contain only lower-case letters, digits and '-'",
            ],
        ),
        case(
            "C48",
            &security_association(),
            &[("/metadata/name", json!("a".repeat(63)))],
            &[("/metadata/name", json!("web.v2"))],
            &[
                "metadata.name: name must be no more than 63 characters, start with a letter and contain only lower-case letters, digits and '-'",
            ],
        ),
        case(
            "C49",
            &member(),
            &[("/metadata/name", json!("a".repeat(63)))],
            &[("/metadata/name", json!("a".repeat(64)))],
            &[
                "metadata.name: name must be no more than 63 characters, start with a letter and contain only lower-case letters, digits and '-'",
            ],
        ),
    ]);
}
