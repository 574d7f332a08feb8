//! What a group asks for that is not done as asked is said in its condition.

mod support;

use operator_core::conditions::{find, time_from_millis};
use operator_core::key_server::observed::Observed;
use operator_core::key_server::status::{Facts, Host, Members, POLICY_ACCEPTED, status};
use operator_core::policy::Summary;
use support::load;

/// The message of the condition `PolicyAccepted` of a group with this spec, which must be true.
fn said(spec: &str) -> String {
    let text = format!(
        "apiVersion: getvpn.dev/v1alpha1\nkind: GetVpnGroup\nmetadata: {{ name: voice }}\nspec:\n  groupID: 1\n{spec}"
    );
    let objects = load(&text);
    let observed = Observed::default();
    let status = status(&Facts {
        group: &objects.groups[0],
        previous: None,
        now: time_from_millis(0).expect("a time"),
        paused: false,
        refusals: &[],
        rejections: &[],
        warnings: &[],
        policy: Some(Summary {
            permit_rules: 1,
            security_associations: 2,
            implicit_rules: 0,
            revision: "abc".to_owned(),
        }),
        policy_in_force: None,
        policy_refused: None,
        host: Some(Host {
            group: "voice",
            replicas: 1,
            observed: &observed,
            step: None,
            growing: Vec::new(),
        }),
        members: Members::default(),
        failure: None,
        retried: None,
        signing_key_fault: None,
        handled_rekey_request: None,
    });
    let condition = find(&status.conditions, POLICY_ACCEPTED).expect("a condition");
    assert_eq!(condition.status, "True");
    condition.message.clone()
}

// GET VPN row 216
#[test]
fn a_watch_among_key_servers_is_ignored_with_a_note_when_there_is_one() {
    for set in [
        "periodSeconds: 20",
        "retryPeriodSeconds: 3",
        "mode: OnDemand",
    ] {
        let spec = format!("  keyServers: {{ replicas: 1, deadPeerDetection: {{ {set} }} }}\n");
        assert_eq!(
            said(&spec),
            "revision abc; `keyServers.deadPeerDetection` is ignored: there is one key server, so none watches it"
        );
    }
    assert_eq!(said("  keyServers: { replicas: 1 }\n"), "revision abc");
}

// GET VPN row 220
#[test]
fn a_watch_that_is_not_periodic_among_several_key_servers_is_warned_of() {
    let with_mode = |mode: &str| {
        said(&format!(
            "  keyServers: {{ replicas: 3, deadPeerDetection: {{ mode: {mode} }} }}\n"
        ))
    };
    for mode in ["OnDemand", "Disabled"] {
        let message = with_mode(mode);
        let wanted = format!("`keyServers.deadPeerDetection.mode` '{mode}' is not followed");
        assert!(message.contains(&wanted), "{message}");
        assert!(message.ends_with("set it to 'Periodic'"), "{message}");
    }
    assert_eq!(with_mode("Periodic"), "revision abc");
}

#[test]
fn fields_that_nothing_acts_on_are_named_when_they_are_set() {
    let other = said("  keyServers: { deadPeerDetection: { periodSeconds: 30 } }\n");
    assert!(other.contains("has no effect"), "{other}");
    assert_eq!(
        said(
            "  keyServers: {}\n  registration: { requestLimit: 500, resourceThresholdPercent: 50 }\n"
        ),
        "revision abc; of `registration` nothing acts on requestLimit, resourceThresholdPercent in this version"
    );
    assert_eq!(
        said("  keyServers: {}\n  registration: { requestLimit: 0 }\n"),
        "revision abc"
    );
}
