//! What the status of a group says when something is not as it should be.

mod support;

use crds::v1alpha1::SigningKeyStatus;
use operator_core::conditions::{READY, find, time_from_millis};
use operator_core::key_server::observed::Observed;
use operator_core::key_server::status::{
    Facts, Host, Members, SIGNING_KEY_READY, rotation_due, status,
};
use support::{group, load};

#[test]
fn a_generated_signing_key_is_replaced_when_it_reaches_its_age_and_not_twice() {
    let day = 86_400_000;
    let at = |days: u64| time_from_millis(days * day).expect("a time");
    let known = SigningKeyStatus {
        fingerprint: "sha256:aa".to_owned(),
        bits: 3072,
        created_time: Some(at(100)),
    };
    let due = |days, present, now| rotation_due(&known, days, present, &at(now));
    assert!(due(30, Some("sha256:aa"), 130));
    assert!(!due(30, Some("sha256:aa"), 129));
    // A key that the status does not know yet is counted from when it does.
    assert!(!due(30, Some("sha256:bb"), 130));
    assert!(!due(30, None, 130));
    assert!(!due(0, Some("sha256:aa"), 9_000));
}

// GET VPN row 200
#[test]
fn two_different_signing_keys_block_the_group_until_somebody_decides() {
    let objects = load(&group("voice", 1, ""));
    let observed = Observed::default();
    let judge = |fault: Option<(&'static str, String)>| {
        status(&Facts {
            group: &objects.groups[0],
            previous: None,
            now: time_from_millis(0).expect("a time"),
            paused: false,
            refusals: &[],
            rejections: &[],
            warnings: &[],
            policy: None,
            policy_in_force: None,
            policy_refused: None,
            host: Some(Host {
                group: "voice",
                replicas: 3,
                observed: &observed,
                step: None,
                growing: Vec::new(),
            }),
            members: Members::default(),
            failure: None,
            retried: None,
            signing_key_fault: fault,
            handled_rekey_request: None,
        })
    };
    let words = "another key of this label is in force".to_owned();
    let blocked = judge(Some(("SecretConflict", words.clone())));
    let condition = find(&blocked.conditions, SIGNING_KEY_READY).expect("a condition");
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "SecretConflict")
    );
    assert_eq!(condition.message, words);
    let ready = find(&blocked.conditions, READY).expect("a condition");
    assert_eq!(ready.status, "False");
    assert_eq!(ready.reason, "SecretConflict");
    let free = judge(None);
    let condition = find(&free.conditions, SIGNING_KEY_READY).expect("a condition");
    assert_ne!(condition.status, "False");
}
