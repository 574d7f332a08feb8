//! Metadata that all objects of a group have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::key_server::inputs::Inputs;
use crate::labels;

/// Name, namespace, labels and owner of an object.
pub(super) fn meta(inputs: &Inputs, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(inputs.namespace.clone()),
        labels: Some(labels::of_group(&inputs.group)),
        owner_references: Some(vec![owner(&inputs.group, &inputs.uid)]),
        ..ObjectMeta::default()
    }
}

/// The reference that makes an object go with its group.
#[must_use]
pub fn owner(group: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", crds::GROUP, crds::VERSION),
        kind: "GetVpnGroup".to_owned(),
        name: group.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Chooses the key servers of the group.
pub(super) fn selector(inputs: &Inputs) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels::key_servers(&inputs.group)),
        match_expressions: None,
    }
}
