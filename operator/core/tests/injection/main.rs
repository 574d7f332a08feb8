//! Pods before and after the sidecar is put in.

#[path = "../support/mod.rs"]
mod support;

mod admission_policy;
mod decision;
mod golden;
mod property;

use std::sync::LazyLock;

use crds::Manifests;
use crds::v1alpha1::{GetVpnGroup, GroupMember, Resources, SecurityAssociation};
use operator_core::injection::{Addition, Catalog, Decision, Template, TunDevice, decide};
use serde_json::{Value, json};
use support::{association, group, load, member, permit};

/// The template of all tests.
pub(crate) fn template() -> Template {
    Template {
        image: "getvpn/gm-sidecar:0.1.0".to_owned(),
        image_pull_policy: "IfNotPresent".to_owned(),
        version: "0.1.0".to_owned(),
        tun: TunDevice::HostPath,
        resources: Resources::default(),
    }
}

/// Two groups that are apart, and GroupMembers that choose by label, by annotation only, and everything else needed.
pub(crate) fn objects() -> &'static Manifests {
    static OBJECTS: LazyLock<Manifests> = LazyLock::new(read);
    &OBJECTS
}

fn read() -> Manifests {
    load(
        &[
            group("voice", 1, ""),
            association("voice", "voice", 1, &[&permit("a", "10.1.0.0/16")], ""),
            group(
                "data",
                2,
                "  authentication: { mode: PreSharedKey, preSharedKeySecretRef: { name: data-psk } }\n",
            ),
            association("data", "data", 1, &[&permit("a", "10.2.0.0/16")], ""),
            group("clash", 3, ""),
            association("clash", "clash", 1, &[&permit("wide", "10.0.0.0/8")], ""),
            member("phones", "voice", "  podSelector: { matchLabels: { app: phone } }\n"),
            member("files", "data", "  sidecar: { logLevel: Debug, resources: { requests: { cpu: 50m, memory: 32Mi }, limits: { memory: 128Mi } } }\n"),
            member("broad", "clash", ""),
            member("open", "clash", "  failureMode: FailOpen\n"),
            member("other-nic", "clash", "  interfaces: [net1]\n"),
            member("again", "voice", ""),
            member("lost", "nowhere", ""),
        ]
        .concat(),
    )
}

/// What happens to a pod among [`objects`].
pub(crate) fn judge(pod: &Value, template: &Template) -> Decision {
    let objects = objects();
    let members: Vec<&GroupMember> = objects.members.iter().collect();
    let groups: Vec<&GetVpnGroup> = objects.groups.iter().collect();
    let associations: Vec<&SecurityAssociation> = objects.security_associations.iter().collect();
    let catalog = Catalog {
        members: &members,
        groups: &groups,
        associations: &associations,
    };
    decide(pod, &catalog, template)
}

/// A pod as another tool than ours leaves it after applying the operations.
pub(crate) fn patched(pod: &Value, operations: &[Addition]) -> Value {
    let operations: json_patch::Patch =
        serde_json::from_value(json!(operations)).expect("a JSON patch");
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &operations).expect("every operation has its place");
    pod
}

/// The operations of an injection.
pub(crate) fn operations(decision: Decision) -> Vec<Addition> {
    match decision {
        Decision::Inject(injection) => injection.patch,
        other => panic!("no injection: {other:?}"),
    }
}

/// A pod of the application that the first GroupMember chooses.
pub(crate) fn phone() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "phone-0", "namespace": "wan", "labels": { "app": "phone" } },
        "spec": { "containers": [{ "name": "app", "image": "phone:1" }] },
    })
}
