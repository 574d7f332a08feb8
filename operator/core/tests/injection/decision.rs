//! Which pods get a sidecar, and what is said to those that do not.

use operator_core::injection::{Decision, Reason, TunDevice, defect};
use serde_json::{Value, json};

use crate::{judge, operations, patched, phone, template};

fn refusal(pod: &Value) -> (Reason, String) {
    match judge(pod, &template()) {
        Decision::Refuse(notice) => (notice.reason, notice.message),
        other => panic!("not refused: {other:?}"),
    }
}

fn named(members: &str) -> Value {
    let mut pod = phone();
    pod["metadata"]["labels"] = json!({});
    pod["metadata"]["annotations"] = json!({ "getvpn.dev/group-members": members });
    pod
}

#[test]
fn a_pod_that_no_member_chooses_is_left_alone() {
    let mut pod = phone();
    pod["metadata"]["labels"] = json!({ "app": "fax" });
    assert_eq!(judge(&pod, &template()), Decision::NotSelected);
    assert_eq!(judge(&named(" , "), &template()), Decision::NotSelected);
}

#[test]
fn a_pod_that_opts_out_and_a_key_server_are_left_alone() {
    for (label, value) in [
        ("getvpn.dev/inject", "disabled"),
        ("getvpn.dev/role", "key-server"),
    ] {
        let mut pod = phone();
        pod["metadata"]["labels"][label] = json!(value);
        pod["metadata"]["annotations"] = json!({ "getvpn.dev/group-members": "nobody" });
        assert_eq!(judge(&pod, &template()), Decision::NotSelected, "{label}");
    }
}

#[test]
fn an_annotation_that_names_nobody_is_refused_with_the_name() {
    let (reason, message) = refusal(&named("files, phnoes"));
    assert_eq!(reason, Reason::UnknownGroupMember);
    assert!(message.contains("`phnoes`"), "{message}");
}

#[test]
fn a_member_of_a_group_that_is_not_there_is_refused() {
    let (reason, message) = refusal(&named("lost"));
    assert_eq!(reason, Reason::GroupNotFound);
    assert!(message.contains("GetVpnGroup `nowhere`"), "{message}");
}

#[test]
fn members_that_contradict_each_other_are_refused_and_both_are_named() {
    for (members, parts) in [
        ("files,open", ["`files` and `open`", "spec.failureMode"]),
        (
            "files,other-nic",
            ["`files` and `other-nic`", "spec.interfaces"],
        ),
        ("phones,again", ["`again` and `phones`", "group `voice`"]),
        (
            "files,broad",
            ["`clash` and `data`", "rule `wide` overlaps rule `a`"],
        ),
    ] {
        let (reason, message) = refusal(&named(members));
        assert_eq!(reason, Reason::ConflictingMembers, "{members}");
        for part in parts {
            assert!(message.contains(part), "{members}: {message}");
        }
    }
}

#[test]
fn groups_whose_rules_are_apart_go_together() {
    let injected = judge(&named("files,phones"), &template());
    let Decision::Inject(injection) = injected else {
        panic!("{injected:?}")
    };
    assert_eq!(injection.members, ["files", "phones"]);
    assert_eq!(injection.warnings, Vec::<String>::new());
}

#[test]
fn a_pod_in_the_network_of_its_node_is_let_in_and_marked_once() {
    let mut pod = phone();
    pod["spec"]["hostNetwork"] = json!(true);
    let Decision::Skip { notice, patch } = judge(&pod, &template()) else {
        panic!("not skipped")
    };
    assert_eq!(notice.reason, Reason::HostNetwork);
    assert!(
        notice.message.contains("GroupMember phones"),
        "{}",
        notice.message
    );
    let marked = patched(&pod, &patch);
    assert_eq!(marked["metadata"]["labels"]["getvpn.dev/role"], "outsider");
    assert_eq!(marked["spec"], pod["spec"]);
    let Decision::Skip { patch, .. } = judge(&marked, &template()) else {
        panic!("not skipped")
    };
    assert_eq!(patch, []);
}

#[test]
fn a_mirror_pod_is_let_in_as_it_is() {
    let mut pod = phone();
    pod["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "1" });
    let Decision::Skip { notice, patch } = judge(&pod, &template()) else {
        panic!("not skipped")
    };
    assert_eq!((notice.reason, patch), (Reason::MirrorPod, vec![]));
}

#[test]
fn a_pod_for_windows_is_refused_with_the_way_out() {
    for spec in [
        json!({ "os": { "name": "windows" }, "containers": [] }),
        json!({ "nodeSelector": { "kubernetes.io/os": "windows" }, "containers": [] }),
    ] {
        let mut pod = phone();
        pod["spec"] = spec;
        let (reason, message) = refusal(&pod);
        assert_eq!(reason, Reason::Windows);
        assert!(message.contains("getvpn.dev/inject: disabled"), "{message}");
    }
}

#[test]
fn a_name_the_sidecar_needs_may_not_be_taken() {
    let mut container = phone();
    container["spec"]["containers"][0]["name"] = json!("getvpn");
    let mut volume = phone();
    volume["spec"]["volumes"] = json!([{ "name": "getvpn-state", "emptyDir": {} }]);
    for pod in [container, volume] {
        assert_eq!(refusal(&pod).0, Reason::NameTaken);
    }
}

#[test]
fn what_is_no_pod_is_refused_and_never_half_done() {
    for (place, value) in [
        ("/metadata/labels", json!([])),
        ("/metadata/labels", json!({ "app": 1 })),
        ("/metadata/annotations", json!("text")),
    ] {
        let mut pod = phone();
        pod["metadata"]["annotations"] = json!({});
        *pod.pointer_mut(place).expect("a place") = value;
        assert_eq!(refusal(&pod).0, Reason::Malformed, "{place}");
    }
    for spec in [
        json!({ "initContainers": {} }),
        json!({ "volumes": 1 }),
        json!([]),
        json!(null),
    ] {
        let mut pod = phone();
        pod["spec"] = spec;
        assert_eq!(refusal(&pod).0, Reason::Malformed, "{}", pod["spec"]);
    }
}

#[test]
fn a_damaged_sidecar_is_refused_part_by_part() {
    let whole = patched(&phone(), &operations(judge(&phone(), &template())));
    assert_eq!(judge(&whole, &template()), Decision::AlreadyInjected);
    assert_eq!(defect(&whole), None);
    type Damage = (&'static str, fn(&mut Value));
    let damage: [Damage; 5] = [
        ("restartPolicy", |pod| {
            drop(
                pod["spec"]["initContainers"][0]
                    .as_object_mut()
                    .expect("a map")
                    .remove("restartPolicy"),
            );
        }),
        ("restartPolicy", |pod| {
            pod["spec"]["initContainers"][0]["restartPolicy"] = json!("Never")
        }),
        ("NET_ADMIN", |pod| {
            pod["spec"]["initContainers"][0]["securityContext"]["capabilities"]["add"] = json!([]);
        }),
        ("startupProbe", |pod| {
            drop(
                pod["spec"]["initContainers"][0]
                    .as_object_mut()
                    .expect("a map")
                    .remove("startupProbe"),
            );
        }),
        ("first", |pod| {
            let list = pod["spec"]["initContainers"]
                .as_array_mut()
                .expect("a list");
            list.insert(0, json!({ "name": "early" }));
        }),
    ];
    for (word, damage) in damage {
        let mut pod = whole.clone();
        damage(&mut pod);
        let (reason, message) = refusal(&pod);
        assert_eq!(reason, Reason::SidecarAltered);
        assert!(message.contains(word), "{message}");
        assert!(defect(&pod).is_some());
    }
}

#[test]
fn a_sidecar_that_another_webhook_removed_is_put_back_with_what_is_missing_of_the_rest() {
    let whole = patched(&phone(), &operations(judge(&phone(), &template())));
    let mut stripped = whole.clone();
    stripped["spec"]["initContainers"] = json!([]);
    let again = patched(&stripped, &operations(judge(&stripped, &template())));
    assert_eq!(again, whole);
}

#[test]
fn the_device_can_come_from_a_plugin_or_from_the_runtime() {
    for (tun, limit) in [
        (
            TunDevice::Resource("example.com/tun".to_owned()),
            json!("1"),
        ),
        (TunDevice::Runtime, Value::Null),
    ] {
        let template = operator_core::injection::Template { tun, ..template() };
        let pod = patched(&phone(), &operations(judge(&phone(), &template)));
        let container = &pod["spec"]["initContainers"][0];
        assert_eq!(container["resources"]["limits"]["example.com/tun"], limit);
        assert!(
            !pod.to_string().contains("hostPath"),
            "no volume of the node is left"
        );
    }
}

#[test]
fn people_are_warned_of_an_open_pod_in_short_words() {
    let Decision::Inject(injection) = judge(&named("open"), &template()) else {
        panic!("not injected")
    };
    assert_eq!(injection.warnings.len(), 1);
    assert!(
        injection
            .warnings
            .iter()
            .all(|warning| warning.len() <= 120)
    );
    let environment = &injection.patch[0].value[0]["env"];
    assert!(
        environment.to_string().contains("\"value\":\"FailOpen\""),
        "{environment}"
    );
}
