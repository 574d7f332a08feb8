//! Rules about the key servers of a group.

use serde_json::{Value, json};

use crate::support::{group, with};
use crate::{case, run};

#[test]
fn key_servers_of_a_group_fit_together() {
    let base = group();
    let shared = json!({ "groupRef": { "name": "data" } });
    let registration = |server, member| json!({ "keyServerLifetimeSeconds": server, "memberLifetimeSeconds": member });
    run(vec![
        case(
            "C5",
            &base,
            &[("/spec/registration", registration(600, 600))],
            &[("/spec/registration", registration(600, 601))],
            &[
                "spec.registration.memberLifetimeSeconds: `memberLifetimeSeconds` must be less than or equal to `keyServerLifetimeSeconds` when more than one key server is configured",
            ],
        ),
        case(
            "C5 with one key server",
            &with(&base, "/spec/keyServers/replicas", json!(1)),
            &[("/spec/registration", registration(600, 601))],
            &[("/spec/registration", registration(600, 59))],
            &[
                "spec.registration.memberLifetimeSeconds: must be greater than or equal to 60 when `replicas` is 1",
            ],
        ),
        case(
            "C6",
            &with(&base, "/spec/keyServers/replicas", json!(1)),
            &[("/spec/registration", registration(60, 60))],
            &[("/spec/registration", registration(59, 60))],
            &[
                "spec.registration.keyServerLifetimeSeconds: must be greater than or equal to 60 when `replicas` is 1",
            ],
        ),
        case(
            "C12",
            &base,
            &[(
                "/spec/keyServers/priorities",
                json!([{ "ordinal": 2, "priority": 50 }]),
            )],
            &[(
                "/spec/keyServers/priorities",
                json!([{ "ordinal": 3, "priority": 50 }]),
            )],
            &[
                "spec.keyServers.priorities: each `priorities[].ordinal` must be less than `replicas`",
            ],
        ),
        case(
            "C14",
            &base,
            &[],
            &[("/spec/keyServers", Value::Null)],
            &["spec: exactly one of `keyServers` or `keyServersFrom` must be set"],
        ),
        case(
            "C14, not both",
            &with(
                &base,
                "/spec/authentication",
                json!({ "mode": "PreSharedKey", "preSharedKeySecretRef": { "name": "psk" } }),
            ),
            &[
                ("/spec/keyServers", Value::Null),
                ("/spec/keyServersFrom", shared.clone()),
                (
                    "/spec/authorization",
                    json!({ "mode": "PreSharedKey", "addresses": ["10.0.0.0/8"] }),
                ),
            ],
            &[
                ("/spec/keyServersFrom", shared.clone()),
                (
                    "/spec/authorization",
                    json!({ "mode": "PreSharedKey", "addresses": ["10.0.0.0/8"] }),
                ),
            ],
            &["spec: exactly one of `keyServers` or `keyServersFrom` must be set"],
        ),
        case(
            "C14, authorization",
            &base,
            &[],
            &[
                ("/spec/keyServers", Value::Null),
                ("/spec/keyServersFrom", shared),
            ],
            &[
                "spec.authorization.mode: `authorization.mode` may not be 'Disabled' when `keyServersFrom` is set",
            ],
        ),
        case(
            "C24, order of key servers",
            &base,
            &[(
                "/spec/keyServers/registration",
                json!({ "defaultOrder": [2, 0, 1] }),
            )],
            &[(
                "/spec/keyServers/registration",
                json!({ "defaultOrder": [2, 2] }),
            )],
            &["spec.keyServers.registration.defaultOrder: must not contain duplicates"],
        ),
        case(
            "C39",
            &base,
            &[(
                "/spec/keyServers/registration",
                json!({ "defaultOrder": [2] }),
            )],
            &[(
                "/spec/keyServers/registration",
                json!({ "defaultOrder": [3] }),
            )],
            &[
                "spec.keyServers.registration.defaultOrder: each number in `defaultOrder` must be less than `replicas`",
            ],
        ),
        case(
            "C40",
            &base,
            &[(
                "/spec/keyServers/placement",
                json!({ "tolerations": [{ "key": "wan", "operator": "Equal", "value": "x" }] }),
            )],
            &[(
                "/spec/keyServers/placement",
                json!({ "tolerations": [{ "key": "wan", "operator": "Equal" }] }),
            )],
            &[
                "spec.keyServers.placement.tolerations[0].value: `value` must be set when `operator` is 'Equal' and may not be set otherwise",
            ],
        ),
        case(
            "C50",
            &base,
            &[(
                "/spec/keyServers/resources",
                json!({ "requests": { "cpu": "500m", "memory": "1.5Gi" } }),
            )],
            &[("/spec/keyServers/storage", json!({ "size": "big" }))],
            &[
                "spec.keyServers.storage.size: must be a quantity greater than 0, for example '1Gi' or '500m'",
            ],
        ),
    ]);
}
