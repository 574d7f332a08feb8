//! Rules about the keys of a group.

use serde_json::json;

use crate::support::{create, group, with};
use crate::{case, run, run_update};

#[test]
fn a_group_keeps_its_number_and_its_storage_class_and_its_volumes_do_not_shrink() {
    let old = group();
    let described = with(&old, "/spec/description", json!("another"));
    run_update(
        "C1",
        &old,
        &described,
        &with(&old, "/spec/groupID", json!(2)),
        &["spec.groupID: is immutable"],
    );
    run_update(
        "C7",
        &old,
        &with(&old, "/spec/keyServers/storage", json!({ "size": "2Gi" })),
        &with(&old, "/spec/keyServers/storage", json!({ "size": "512Mi" })),
        &["spec.keyServers.storage.size: may not be decreased; volumes cannot shrink"],
    );
    let classed = with(
        &old,
        "/spec/keyServers/storage",
        json!({ "className": "fast" }),
    );
    for refused in [
        &old,
        &with(
            &old,
            "/spec/keyServers/storage",
            json!({ "className": "slow" }),
        ),
    ] {
        run_update(
            "C8",
            &classed,
            &classed,
            refused,
            &["spec.keyServers.storage.className: `className` is immutable"],
        );
    }
    run_update(
        "C8",
        &old,
        &old,
        &classed,
        &["spec.keyServers.storage.className: `className` is immutable"],
    );
}

// GET VPN row 87
#[test]
fn rekeys_and_lifetimes_of_a_group_fit_together() {
    let base = group();
    let multicast = json!({ "address": "232.1.1.1" });
    run(vec![
        case(
            "C2",
            &base,
            &[(
                "/spec/rekey",
                json!({ "transport": "Multicast", "multicast": multicast }),
            )],
            &[("/spec/rekey", json!({ "transport": "Multicast" }))],
            &[
                "spec.rekey.multicast: `multicast` must be set when `transport` is 'Multicast' and may not be set otherwise",
            ],
        ),
        case(
            "C2, the other way round",
            &base,
            &[("/spec/rekey", json!({ "transport": "Unicast" }))],
            &[("/spec/rekey", json!({ "multicast": multicast }))],
            &[
                "spec.rekey.multicast: `multicast` must be set when `transport` is 'Multicast' and may not be set otherwise",
            ],
        ),
        case(
            "C9",
            &base,
            &[
                ("/spec/traffic", json!({ "lifetimeSeconds": 300 })),
                ("/spec/rekey", json!({ "kekLifetimeSeconds": 300 })),
            ],
            &[
                ("/spec/traffic", json!({ "lifetimeSeconds": 301 })),
                ("/spec/rekey", json!({ "kekLifetimeSeconds": 300 })),
            ],
            &[
                "spec.rekey.kekLifetimeSeconds: `rekey.kekLifetimeSeconds` must be greater than or equal to `traffic.lifetimeSeconds`",
            ],
        ),
        case(
            "C10",
            &base,
            &[("/spec/traffic", json!({ "lifetimeSeconds": 141 }))],
            &[("/spec/traffic", json!({ "lifetimeSeconds": 140 }))],
            &[
                "spec.rekey.leadTimeSeconds: `rekey.leadTimeSeconds` plus retransmissions must be less than `traffic.lifetimeSeconds`",
            ],
        ),
        case(
            "C26",
            &base,
            &[(
                "/spec/rekey",
                json!({ "signingKey": { "source": "Secret", "secretRef": { "name": "rekey-rsa" } } }),
            )],
            &[(
                "/spec/rekey",
                json!({ "signingKey": { "source": "Secret" } }),
            )],
            &[
                "spec.rekey.signingKey.secretRef: `secretRef` must be set when `source` is 'Secret' and may not be set otherwise",
            ],
        ),
        case(
            "C27",
            &base,
            &[(
                "/spec/rekey",
                json!({ "signingKey": { "rotationPeriodDays": 30 } }),
            )],
            &[(
                "/spec/rekey",
                json!({ "signingKey": { "rotationPeriodDays": 29 } }),
            )],
            &[
                "spec.rekey.signingKey.rotationPeriodDays: `rotationPeriodDays` must be 0 or greater than or equal to 30",
            ],
        ),
        case(
            "C30",
            &base,
            &[("/spec/traffic", json!({ "activationDelaySeconds": 14 }))],
            &[("/spec/traffic", json!({ "activationDelaySeconds": 15 }))],
            &[
                "spec.traffic.deactivationDelaySeconds: `deactivationDelaySeconds` must be greater than `activationDelaySeconds`",
            ],
        ),
        case(
            "C31",
            &base,
            &[(
                "/spec/traffic",
                json!({ "lifetimeSeconds": 181, "activationDelaySeconds": 60, "deactivationDelaySeconds": 120 }),
            )],
            &[(
                "/spec/traffic",
                json!({ "lifetimeSeconds": 180, "activationDelaySeconds": 60, "deactivationDelaySeconds": 120 }),
            )],
            &[
                "spec.traffic.deactivationDelaySeconds: `activationDelaySeconds` plus `deactivationDelaySeconds` must be less than `lifetimeSeconds`",
            ],
        ),
    ]);
}

// GET VPN row 87
#[test]
fn multicast_rekeys_go_to_a_routable_multicast_address() {
    let rekey =
        |address: &str| json!({ "transport": "Multicast", "multicast": { "address": address } });
    let says = "spec.rekey.multicast.address: must be a routable multicast address: IPv4 in 224.0.1.0-239.255.255.255 or IPv6 in ff00::/8";
    for accepted in ["224.0.1.0", "239.255.255.255", "ff3e::1234"] {
        assert_eq!(
            create(&with(&group(), "/spec/rekey", rekey(accepted))),
            Vec::<String>::new(),
            "C3 {accepted}"
        );
    }
    for refused in [
        "224.0.0.5",
        "10.0.0.1",
        "240.0.0.1",
        "fd00::1",
        "voice.example",
        "232.1.1.0/24",
    ] {
        assert_eq!(
            create(&with(&group(), "/spec/rekey", rekey(refused))),
            [says],
            "C3 {refused}"
        );
    }
}
