//! The pods of the key servers and their volumes.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    Resources, Retention, TaintEffect, TolerationOperator, TopologySpread, WhenUnsatisfiable,
};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, Sysctl, Toleration, TopologySpreadConstraint,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::{container, meta, volumes};
use crate::fingerprint;
use crate::key_server::inputs::{Certificate, Inputs};
use crate::{labels, names};

/// User and group of the key servers: nobody in particular, and not root.
const USER: i64 = 65_532;
/// How long a key server has to hand over and end, in seconds.
const TERMINATION_SECONDS: i64 = 30;
/// Raised by whoever changes the template in a way that running key servers must not miss.
const TEMPLATE_GENERATION: u32 = 1;

/// The StatefulSet with as many replicas as there should be in the end.
pub(super) fn build(inputs: &Inputs) -> StatefulSet {
    StatefulSet {
        metadata: meta::meta(inputs, names::key_servers(&inputs.group)),
        spec: Some(StatefulSetSpec {
            service_name: Some(names::key_servers(&inputs.group)),
            replicas: Some(count(inputs.replicas)),
            // They form the group together: none is ready before the others are there.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            selector: meta::selector(inputs),
            template: template(inputs),
            volume_claim_templates: Some(vec![claim(inputs)]),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(
                        match inputs.key_servers.storage.retention {
                            Retention::Retain => "Retain",
                            Retention::Delete => "Delete",
                        }
                        .to_owned(),
                    ),
                    // A key server that was removed never comes back with its old state.
                    when_scaled: Some("Delete".to_owned()),
                },
            ),
            revision_history_limit: Some(2),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// `stateful_set` with another number of replicas: while key servers are removed one by one.
#[must_use]
pub fn with_replicas(mut stateful_set: StatefulSet, replicas: usize) -> StatefulSet {
    if let Some(spec) = &mut stateful_set.spec {
        spec.replicas = Some(count(replicas));
    }
    stateful_set
}

/// Names what the group's resource says about the pods. Pods of another name are replaced.
///
/// It does not depend on how the template is written: a new version of the operator alone replaces no pod.
#[must_use]
pub fn template_hash(inputs: &Inputs) -> String {
    let key_servers = &inputs.key_servers;
    fingerprint::of(&json!([
        TEMPLATE_GENERATION,
        inputs.image,
        inputs.port,
        inputs.nat_traversal_port,
        match &inputs.certificate {
            None => None,
            Some(Certificate::Internal) => Some(""),
            Some(Certificate::Secret(name)) => Some(name.as_str()),
        },
        inputs.pre_shared_keys.is_some(),
        key_servers.priority_class_name,
        key_servers.resources,
        key_servers.pod_metadata,
        key_servers.placement,
    ]))
}

fn count(replicas: usize) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

fn template(inputs: &Inputs) -> PodTemplateSpec {
    let key_servers = &inputs.key_servers;
    let mut pod_labels = key_servers.pod_metadata.labels.clone();
    pod_labels.extend(labels::of_group(&inputs.group));
    pod_labels.extend(labels::key_servers(&inputs.group));
    let mut annotations = key_servers.pod_metadata.annotations.clone();
    annotations.insert(labels::TEMPLATE_HASH.to_owned(), template_hash(inputs));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(names::key_servers(&inputs.group)),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(TERMINATION_SECONDS),
            priority_class_name: key_servers.priority_class_name.clone(),
            node_selector: (!key_servers.placement.node_selector.is_empty())
                .then(|| key_servers.placement.node_selector.clone()),
            tolerations: tolerations(inputs),
            topology_spread_constraints: Some(spread(inputs)),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                fs_group_change_policy: Some("OnRootMismatch".to_owned()),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                // Port 848 without a privilege.
                sysctls: Some(vec![Sysctl {
                    name: "net.ipv4.ip_unprivileged_port_start".to_owned(),
                    value: "0".to_owned(),
                }]),
                ..PodSecurityContext::default()
            }),
            containers: vec![container::build(inputs)],
            volumes: Some(volumes::build(inputs)),
            ..PodSpec::default()
        }),
    }
}

fn tolerations(inputs: &Inputs) -> Option<Vec<Toleration>> {
    let tolerations = &inputs.key_servers.placement.tolerations;
    let convert = |toleration: &crds::v1alpha1::Toleration| Toleration {
        key: toleration.key.clone(),
        operator: Some(
            match toleration.operator {
                TolerationOperator::Exists => "Exists",
                TolerationOperator::Equal => "Equal",
            }
            .to_owned(),
        ),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| {
            match effect {
                TaintEffect::NoSchedule => "NoSchedule",
                TaintEffect::PreferNoSchedule => "PreferNoSchedule",
                TaintEffect::NoExecute => "NoExecute",
            }
            .to_owned()
        }),
        toleration_seconds: None,
    };
    (!tolerations.is_empty()).then(|| tolerations.iter().map(convert).collect())
}

/// As the group says; else over nodes where possible.
fn spread(inputs: &Inputs) -> Vec<TopologySpreadConstraint> {
    let convert = |spread: &TopologySpread| TopologySpreadConstraint {
        topology_key: spread.topology_key.clone(),
        max_skew: spread.max_skew,
        when_unsatisfiable: match spread.when_unsatisfiable {
            WhenUnsatisfiable::ScheduleAnyway => "ScheduleAnyway",
            WhenUnsatisfiable::DoNotSchedule => "DoNotSchedule",
        }
        .to_owned(),
        label_selector: Some(meta::selector(inputs)),
        ..TopologySpreadConstraint::default()
    };
    let wanted = &inputs.key_servers.placement.topology_spread;
    if !wanted.is_empty() {
        return wanted.iter().map(convert).collect();
    }
    vec![convert(&TopologySpread {
        topology_key: "kubernetes.io/hostname".to_owned(),
        max_skew: 1,
        when_unsatisfiable: WhenUnsatisfiable::ScheduleAnyway,
    })]
}

fn claim(inputs: &Inputs) -> PersistentVolumeClaim {
    let storage = &inputs.key_servers.storage;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::VOLUME.to_owned()),
            labels: Some(labels::of_group(&inputs.group)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(storage.size.clone()),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// What the group says; else a small request, so that the scheduler knows something is there.
pub(super) fn resources(wanted: &Resources) -> ResourceRequirements {
    let convert = |map: &BTreeMap<String, String>| {
        let quantities = map.iter();
        quantities
            .map(|(name, value)| (name.clone(), Quantity(value.clone())))
            .collect::<BTreeMap<_, _>>()
    };
    if wanted.is_empty() {
        let small = [("cpu", "50m"), ("memory", "64Mi")];
        return ResourceRequirements {
            requests: Some(
                small
                    .map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())))
                    .into(),
            ),
            ..ResourceRequirements::default()
        };
    }
    ResourceRequirements {
        requests: (!wanted.requests.is_empty()).then(|| convert(&wanted.requests)),
        limits: (!wanted.limits.is_empty()).then(|| convert(&wanted.limits)),
        claims: None,
    }
}
