//! What is added to a pod, as operations of a JSON Patch (RFC 6902) of the one kind `add`.

use crds::v1alpha1::GroupMember;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Map, Value, json};

use super::selection::name;
use super::{Catalog, Template, record, sidecar};
use crate::labels;

/// One operation: `value` is put at `path`; into a list before what is there, at a field in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Addition {
    /// Where (RFC 6901).
    pub path: String,
    /// What.
    pub value: Value,
}

impl Serialize for Addition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut operation = serializer.serialize_struct("Addition", 3)?;
        operation.serialize_field("op", "add")?;
        operation.serialize_field("path", &self.path)?;
        operation.serialize_field("value", &self.value)?;
        operation.end()
    }
}

/// Everything that makes the pod a member.
///
/// # Errors
/// What to say when a name that the sidecar needs is taken.
pub(super) fn additions(
    pod: &Value,
    members: &[&GroupMember],
    catalog: &Catalog<'_>,
    template: &Template,
) -> Result<Vec<Addition>, String> {
    if sidecar::present(pod) {
        return Err(format!(
            "the pod has a container `{}` of its own; give it another name",
            operator_api::pod::CONTAINER
        ));
    }
    let container = sidecar::container(members, catalog, template);
    let volumes = sidecar::volumes(members, catalog, template);
    // A pod that lost its container to another webhook may have kept its volumes.
    let again = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(labels::INJECTED))
        .is_some();
    let taken = |volume: &&Value| {
        let theirs = sidecar::list(pod, "/spec/volumes");
        theirs
            .iter()
            .any(|other| other.get("name") == volume.get("name"))
    };
    if let Some(volume) = volumes.iter().find(taken)
        && !again
    {
        return Err(format!(
            "the pod has a volume {} of its own; give it another name",
            volume.get("name").unwrap_or(&Value::Null)
        ));
    }
    let names: Vec<String> = members.iter().map(|member| name(member)).collect();
    let content = json!([container, volumes]);
    let annotation = record(&names, &content, &template.version);

    let mut patch = Vec::new();
    insert_first(&mut patch, pod, "/spec/initContainers", container);
    let missing = volumes.iter().filter(|volume| !taken(volume)).cloned();
    append(&mut patch, pod, "/spec/volumes", missing.collect());
    let mut own_labels: Vec<(String, String)> = names
        .iter()
        .map(|name| (labels::membership(name), String::new()))
        .collect();
    own_labels.push((labels::ROLE.to_owned(), labels::MEMBER.to_owned()));
    put(&mut patch, pod, "/metadata/labels", own_labels);
    put(
        &mut patch,
        pod,
        "/metadata/annotations",
        vec![(labels::INJECTED.to_owned(), annotation)],
    );
    Ok(patch)
}

/// What lets a pod without a sidecar be counted by the GroupMembers that choose it.
pub(super) fn mark_outsider(pod: &Value, members: &[&GroupMember]) -> Vec<Addition> {
    let mut patch = Vec::new();
    let role = pod
        .pointer("/metadata/labels")
        .and_then(|map| map.get(labels::ROLE))
        .and_then(Value::as_str);
    if role != Some(labels::OUTSIDER) && !members.is_empty() {
        let label = vec![(labels::ROLE.to_owned(), labels::OUTSIDER.to_owned())];
        put(&mut patch, pod, "/metadata/labels", label);
    }
    patch
}

/// Whether there is something at `place` that values can be added to.
fn exists(pod: &Value, place: &str) -> bool {
    pod.pointer(place).is_some_and(|value| !value.is_null())
}

fn insert_first(patch: &mut Vec<Addition>, pod: &Value, place: &str, value: Value) {
    patch.push(if exists(pod, place) {
        Addition {
            path: format!("{place}/0"),
            value,
        }
    } else {
        Addition {
            path: place.to_owned(),
            value: Value::Array(vec![value]),
        }
    });
}

fn append(patch: &mut Vec<Addition>, pod: &Value, place: &str, values: Vec<Value>) {
    if values.is_empty() {
        return;
    }
    if exists(pod, place) {
        patch.extend(values.into_iter().map(|value| Addition {
            path: format!("{place}/-"),
            value,
        }));
    } else {
        patch.push(Addition {
            path: place.to_owned(),
            value: Value::Array(values),
        });
    }
}

fn put(patch: &mut Vec<Addition>, pod: &Value, place: &str, entries: Vec<(String, String)>) {
    if exists(pod, place) {
        patch.extend(entries.into_iter().map(|(key, value)| Addition {
            path: format!("{place}/{}", escaped(&key)),
            value: Value::String(value),
        }));
    } else {
        let map: Map<String, Value> = entries
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect();
        patch.push(Addition {
            path: place.to_owned(),
            value: Value::Object(map),
        });
    }
}

/// A key as part of a path (RFC 6901 §3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
