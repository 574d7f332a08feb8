//! The admission policies, evaluated without an API server.

use crds::v1alpha1::GroupMember;
use kube::core::cel::{KubeCelExt, cel};
use operator_core::injection::{ADMISSION_POLICIES, Decision, defect};
use serde_json::{Value, json};

use crate::{judge, objects, operations, patched, phone, template};

fn policy(name: &str) -> Value {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(ADMISSION_POLICIES).expect("well-formed YAML");
    documents
        .into_iter()
        .find(|document| {
            document["kind"] == "ValidatingAdmissionPolicy" && document["metadata"]["name"] == name
        })
        .expect("the policy is there")
}

/// What an expression gives. The evaluator for whole policies that the library has is of no use here: it renames keys
/// with a slash, which labels and annotations have.
fn evaluate(expression: &Value, pod: &Value, member: Option<&GroupMember>) -> cel::Value {
    let text = expression.as_str().expect("an expression");
    let mut context = cel::Context::default().with_all();
    let mut bind = |name: &str, value: Value| {
        context.add_variable(name, value).expect("plain data");
    };
    bind("object", pod.clone());
    if let Some(member) = member {
        bind("params", serde_json::to_value(member).expect("plain data"));
    }
    let program = cel::Program::compile(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let result = program.execute(&context);
    result.unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The messages of the validations that do not hold; `None` when the policy does not concern the pod.
fn verdict(policy: &Value, pod: &Value, member: Option<&GroupMember>) -> Option<Vec<String>> {
    let holds = |entry: &Value| match evaluate(&entry["expression"], pod, member) {
        cel::Value::Bool(holds) => holds,
        other => panic!("no truth value: {other:?}"),
    };
    let list = |field: &str| policy["spec"][field].as_array().cloned().expect("a list");
    if !list("matchConditions").iter().all(holds) {
        return None;
    }
    let failed = list("validations")
        .into_iter()
        .filter(|entry| !holds(entry));
    let message = |entry: Value| match entry["message"].as_str() {
        Some(message) => message.to_owned(),
        None => match evaluate(&entry["messageExpression"], pod, member) {
            cel::Value::String(message) => message.to_string(),
            other => panic!("no text: {other:?}"),
        },
    };
    Some(failed.map(message).collect())
}

fn injected() -> Value {
    patched(&phone(), &operations(judge(&phone(), &template())))
}

#[test]
fn an_intact_sidecar_passes_and_other_pods_are_no_concern() {
    let policy = policy("getvpn-intact-sidecar");
    assert_eq!(verdict(&policy, &injected(), None), Some(vec![]));
    assert_eq!(verdict(&policy, &phone(), None), None);
    let mut bare = phone();
    bare["metadata"]
        .as_object_mut()
        .expect("a map")
        .remove("labels");
    assert_eq!(verdict(&policy, &bare, None), None);
}

#[test]
fn each_damage_is_refused_with_its_own_message_as_the_webhook_does() {
    let policy = policy("getvpn-intact-sidecar");
    let sidecar = "/spec/initContainers/0";
    let cases: [(&str, &str, Value); 6] = [
        (
            "has no sidecar",
            "/spec/initContainers",
            json!([{ "name": "migrate" }]),
        ),
        (
            "must be the first",
            "/spec/initContainers",
            json!([{ "name": "early" }, "sidecar"]),
        ),
        ("restartPolicy: Always", "restartPolicy", Value::Null),
        (
            "capability NET_ADMIN",
            "/spec/initContainers/0/securityContext/capabilities/add",
            json!(["NET_RAW"]),
        ),
        ("capability NET_ADMIN", "securityContext", Value::Null),
        ("startupProbe", "startupProbe", Value::Null),
    ];
    for (word, place, value) in cases {
        let mut pod = injected();
        let container = pod.pointer(sidecar).cloned().expect("a sidecar");
        if place.starts_with('/') {
            let at = pod.pointer_mut(place).expect("a place");
            *at = value;
            if let Some(list) = at.as_array_mut() {
                for entry in list.iter_mut().filter(|entry| **entry == json!("sidecar")) {
                    *entry = container.clone();
                }
            }
        } else {
            let container = pod.pointer_mut(sidecar).expect("a sidecar");
            container.as_object_mut().expect("a map").remove(place);
        }
        let messages = verdict(&policy, &pod, None).expect("it says it has a sidecar");
        assert_eq!(messages.len(), 1, "{word}: {messages:?}");
        assert!(messages[0].contains(word), "{word}: {messages:?}");
        assert!(defect(&pod).is_some(), "{word}: the webhook sees it too");
    }
}

#[test]
fn a_chosen_pod_without_a_sidecar_is_refused_even_when_no_webhook_was_asked() {
    let policy = policy("getvpn-members-have-a-sidecar");
    let objects = objects();
    let by_name = |name: &str| {
        let member = objects
            .members
            .iter()
            .find(|member| member.metadata.name.as_deref() == Some(name));
        member.expect("a member")
    };
    let phones = by_name("phones");
    let messages = verdict(&policy, &phone(), Some(phones)).expect("concerned");
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("GroupMember `phones`"), "{messages:?}");
    assert_eq!(verdict(&policy, &injected(), Some(phones)), Some(vec![]));
    // Not chosen: by another label, by no selector at all.
    let mut fax = phone();
    fax["metadata"]["labels"] = json!({ "app": "fax" });
    assert_eq!(verdict(&policy, &fax, Some(phones)), Some(vec![]));
    assert_eq!(
        verdict(&policy, &phone(), Some(by_name("files"))),
        Some(vec![])
    );
    // An empty selector chooses everything, as in the webhook.
    let mut all = phones.clone();
    all.spec.pod_selector = Some(crds::v1alpha1::PodSelector::default());
    assert_eq!(
        verdict(&policy, &fax, Some(&all)).map(|messages| messages.len()),
        Some(1)
    );
}

#[test]
fn pods_that_the_webhook_lets_in_without_a_sidecar_pass() {
    let policy = policy("getvpn-members-have-a-sidecar");
    let objects = objects();
    let changes: [fn(&mut Value); 4] = [
        |pod| pod["spec"]["hostNetwork"] = json!(true),
        |pod| pod["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "1" }),
        |pod| pod["metadata"]["labels"]["getvpn.dev/inject"] = json!("disabled"),
        |pod| pod["metadata"]["labels"]["getvpn.dev/role"] = json!("key-server"),
    ];
    for change in changes {
        let mut pod = phone();
        change(&mut pod);
        assert!(matches!(
            judge(&pod, &template()),
            Decision::Skip { .. } | Decision::NotSelected
        ));
        assert_eq!(verdict(&policy, &pod, Some(&objects.members[0])), None);
    }
}
