//! What holds for every pod, whatever else is in it.

use std::collections::BTreeMap;

use operator_core::injection::Decision;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{judge, operations, patched, template};

/// Any JSON, not too deep.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z/~.]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Fields no version of ours knows: their names cannot meet a real one.
fn unknown_fields() -> impl Strategy<Value = BTreeMap<String, Value>> {
    prop::collection::btree_map("x-[a-z~/]{1,6}", any_value(), 0..4)
}

fn strings() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z]{1,6}(/[a-z~]{1,6})?", "[ -~]{0,8}", 0..4)
}

fn containers(prefix: &'static str) -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(unknown_fields(), 0..3).prop_map(move |list| {
        list.into_iter()
            .enumerate()
            .map(|(index, fields)| {
                let mut container: Map<String, Value> = fields.into_iter().collect();
                container.insert("name".to_owned(), json!(format!("{prefix}-{index}")));
                Value::Object(container)
            })
            .collect()
    })
}

fn pods() -> impl Strategy<Value = Value> {
    (
        (unknown_fields(), unknown_fields(), unknown_fields()),
        (strings(), prop::option::of(strings())),
        (
            containers("app"),
            prop::option::of(containers("init")),
            prop::option::of(containers("volume")),
        ),
    )
        .prop_map(|((top, metadata, spec), (labels, annotations), lists)| {
            let (main, init, volumes) = lists;
            let mut pod: Map<String, Value> = top.into_iter().collect();
            let mut metadata: Map<String, Value> = metadata.into_iter().collect();
            let mut labels: BTreeMap<String, String> = labels;
            labels.insert("app".to_owned(), "phone".to_owned());
            metadata.insert("labels".to_owned(), json!(labels));
            if let Some(annotations) = annotations {
                metadata.insert("annotations".to_owned(), json!(annotations));
            }
            let mut spec: Map<String, Value> = spec.into_iter().collect();
            spec.insert("containers".to_owned(), json!(main));
            if let Some(init) = init {
                spec.insert("initContainers".to_owned(), json!(init));
            }
            if let Some(volumes) = volumes {
                spec.insert("volumes".to_owned(), json!(volumes));
            }
            pod.insert("metadata".to_owned(), Value::Object(metadata));
            pod.insert("spec".to_owned(), Value::Object(spec));
            Value::Object(pod)
        })
}

/// `after` without what the sidecar brought must be `before`, in every field and every order.
fn without_sidecar(mut after: Value, before: &Value) -> Value {
    let ours = |value: &Value| {
        value["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("getvpn"))
    };
    for list in ["initContainers", "volumes"] {
        let Some(values) = after["spec"][list].as_array_mut() else {
            continue;
        };
        values.retain(|value| !ours(value));
        if before["spec"].get(list).is_none() {
            after["spec"].as_object_mut().expect("a map").remove(list);
        }
    }
    for map in ["labels", "annotations"] {
        let Some(values) = after["metadata"][map].as_object_mut() else {
            continue;
        };
        values.retain(|key, _| !key.contains("getvpn.dev/"));
        if before["metadata"].get(map).is_none() {
            after["metadata"]
                .as_object_mut()
                .expect("a map")
                .remove(map);
        }
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn injecting_twice_changes_nothing_the_second_time(pod in pods()) {
        let once = patched(&pod, &operations(judge(&pod, &template())));
        prop_assert_eq!(judge(&once, &template()), Decision::AlreadyInjected);
    }

    #[test]
    fn the_same_pod_always_gives_the_same_octets(pod in pods()) {
        let first = serde_json::to_vec(&operations(judge(&pod, &template()))).expect("plain data");
        let second = serde_json::to_vec(&operations(judge(&pod, &template()))).expect("plain data");
        prop_assert_eq!(first, second);
    }

    #[test]
    fn every_field_survives_and_the_sidecar_comes_first(pod in pods()) {
        let after = patched(&pod, &operations(judge(&pod, &template())));
        prop_assert_eq!(&after["spec"]["initContainers"][0]["name"], "getvpn");
        prop_assert_eq!(without_sidecar(after, &pod), pod);
    }

    #[test]
    fn any_json_is_judged_without_a_panic(value in any_value()) {
        let _ = judge(&value, &template());
    }
}
