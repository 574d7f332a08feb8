//! Rules about a GroupMember.

use serde_json::{Value, json};

use crate::support::member;
use crate::{case, run};

// GET VPN rows 113, 151
#[test]
fn settings_of_a_member_fit_together() {
    let base = member();
    let flow = |more: Value| {
        let mut flow = json!({ "name": "flow" });
        for (key, value) in more.as_object().expect("an object") {
            flow[key] = value.clone();
        }
        ("/spec/bypass", json!([flow]))
    };
    run(vec![
        case(
            "C22",
            &base,
            &[
                ("/spec/interfaces", json!(["eth0", "net1"])),
                ("/spec/localInterface", json!("net1")),
            ],
            &[("/spec/interfaces", json!(["eth0", "net1"]))],
            &[
                "spec.localInterface: `localInterface` must be set when more than one interface is listed",
            ],
        ),
        case(
            "C22, one of them",
            &base,
            &[("/spec/localInterface", json!("eth0"))],
            &[("/spec/localInterface", json!("net1"))],
            &["spec.localInterface: `localInterface` must be one of `interfaces`"],
        ),
        case(
            "C23",
            &base,
            &[("/spec/failClosed", json!({}))],
            &[
                ("/spec/failureMode", json!("FailOpen")),
                ("/spec/failClosed", json!({})),
            ],
            &["spec.failClosed: `failClosed` may be set only when `failureMode` is 'FailClosed'"],
        ),
        case(
            "C24",
            &base,
            &[("/spec/keyServerOrder", json!([2, 0]))],
            &[("/spec/keyServerOrder", json!([2, 0, 2]))],
            &["spec.keyServerOrder: must not contain duplicates"],
        ),
        case(
            "C43",
            &base,
            &[("/spec/bypass", json!([{ "name": "a" }, { "name": "b" }]))],
            &[("/spec/bypass", json!([{ "name": "a" }, { "name": "a" }]))],
            &["spec.bypass: flow names must be unique"],
        ),
        case(
            "C43, before registration",
            &base,
            &[(
                "/spec/failClosed",
                json!({ "allowClear": [{ "name": "a" }] }),
            )],
            &[(
                "/spec/failClosed",
                json!({ "allowClear": [{ "name": "a" }, { "name": "a" }] }),
            )],
            &["spec.failClosed.allowClear: flow names must be unique"],
        ),
        case(
            "C44",
            &base,
            &[flow(
                json!({ "source": "fd00::/8", "destination": "fd00::/8" }),
            )],
            &[flow(
                json!({ "source": "fd00::/8", "destination": "10.0.0.0/8" }),
            )],
            &[
                "spec.bypass[0].destination: `source` and `destination` must be of the same IP family",
            ],
        ),
        case(
            "C45",
            &base,
            &[flow(
                json!({ "protocol": "TCP", "destinationPorts": ["2049"] }),
            )],
            &[flow(json!({ "destinationPorts": ["2049"] }))],
            &[
                "spec.bypass[0].destinationPorts: `destinationPorts` may be set only when `protocol` is 'TCP' or 'UDP'",
            ],
        ),
        case(
            "C46",
            &base,
            &[flow(json!({ "protocolNumber": 112 }))],
            &[flow(json!({ "protocol": "GRE", "protocolNumber": 112 }))],
            &[
                "spec.bypass[0].protocolNumber: `protocolNumber` may be set only when `protocol` is 'Any'",
            ],
        ),
        case(
            "C52",
            &base,
            &[flow(json!({ "action": "Deny", "protocol": "OSPF" }))],
            &[flow(json!({ "action": "Permit", "protocol": "OSPF" }))],
            &[
                "spec.bypass[0].action: may not be 'Permit': a member's list only leaves flows in clear, and no key server makes keys for it; write a rule with `action` 'Permit' in a SecurityAssociation",
            ],
        ),
        case(
            "C47",
            &base,
            &[("/spec/sidecar", json!({ "mtuBytes": 1280 }))],
            &[("/spec/sidecar", json!({ "mtuBytes": 1279 }))],
            &["spec.sidecar.mtuBytes: `mtuBytes` must be 0 or greater than or equal to 1280"],
        ),
    ]);
}
