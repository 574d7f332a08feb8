//! The container and its volumes, and what makes a sidecar one that protects.

use crds::v1alpha1::{AuthenticationMode, FailureMode, GroupMember, LogLevel, Resources};
use operator_api::pod;
use serde_json::{Map, Value, json};

use super::Catalog;

/// Volume with what enrolment needs.
const ENROLMENT_VOLUME: &str = "getvpn-enrolment";
/// Volume in memory.
const STATE_VOLUME: &str = "getvpn-state";
/// Volume that is the TUN device.
const TUN_VOLUME: &str = "getvpn-tun";
/// Prefix of the volume with a group's pre-shared key; the group's name follows.
const PRE_SHARED_KEY_VOLUME: &str = "getvpn-psk-";
/// Seconds for which a token is valid; the kubelet renews it after four fifths of them.
const TOKEN_SECONDS: u32 = 3600;
/// Largest size of everything the member keeps in memory as files.
const STATE_SIZE: &str = "8Mi";

/// What is the same for all pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The sidecar's image.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Version of the product.
    pub version: String,
    /// Where the TUN device comes from.
    pub tun: TunDevice,
    /// What the container asks for when no GroupMember says so.
    pub resources: Resources,
}

/// Where the TUN device comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TunDevice {
    /// The node's `/dev/net/tun` is mounted. Needs no preparation of the node.
    #[default]
    HostPath,
    /// A device plugin hands it out under this resource name. Needs no hostPath volume.
    Resource(String),
    /// The container runtime provides it.
    Runtime,
}

impl std::str::FromStr for TunDevice {
    type Err = String;

    /// `HostPath`, `Runtime`, or the name of a device plugin's resource.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "HostPath" => Ok(Self::HostPath),
            "Runtime" => Ok(Self::Runtime),
            resource
                if resource
                    .split_once('/')
                    .is_some_and(|(domain, name)| !domain.is_empty() && !name.is_empty()) =>
            {
                Ok(Self::Resource(resource.to_owned()))
            }
            other => Err(format!(
                "`{other}` is none of `HostPath`, `Runtime` and the name of a device plugin's resource such as `example.com/tun`"
            )),
        }
    }
}

/// What is wrong with a sidecar. The same things are checked by the admission policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It is not there.
    #[error(
        "the sidecar `getvpn` was removed from `initContainers`; another webhook may have dropped it"
    )]
    Missing,
    /// Others start before it.
    #[error(
        "the sidecar `getvpn` must be the first of `initContainers`, or what comes before it would run unprotected"
    )]
    NotFirst,
    /// It would run once and end.
    #[error(
        "the sidecar `getvpn` must have `restartPolicy: Always`; another webhook may have dropped the field"
    )]
    RestartPolicy,
    /// It cannot install drop rules.
    #[error("the sidecar `getvpn` must have the capability NET_ADMIN")]
    Capability,
    /// Others would not wait for it.
    #[error("the sidecar `getvpn` must have a `startupProbe`, for which the other containers wait")]
    StartupProbe,
}

/// The first thing that is wrong with the sidecar of a pod.
#[must_use]
pub fn defect(pod: &Value) -> Option<Defect> {
    let containers = list(pod, "/spec/initContainers");
    let Some(at) = containers.iter().position(is_ours) else {
        return Some(Defect::Missing);
    };
    if at != 0 {
        return Some(Defect::NotFirst);
    }
    let container = containers.get(at)?;
    if container.get("restartPolicy").and_then(Value::as_str) != Some("Always") {
        return Some(Defect::RestartPolicy);
    }
    let added = list(container, "/securityContext/capabilities/add");
    if !added.iter().any(|name| name.as_str() == Some("NET_ADMIN")) {
        return Some(Defect::Capability);
    }
    let probe = container.get("startupProbe");
    if probe.is_none_or(Value::is_null) {
        return Some(Defect::StartupProbe);
    }
    None
}

/// Whether any container of the pod has the sidecar's name.
pub(super) fn present(pod: &Value) -> bool {
    ["/spec/initContainers", "/spec/containers"]
        .iter()
        .any(|place| list(pod, place).iter().any(is_ours))
}

fn is_ours(container: &Value) -> bool {
    container.get("name").and_then(Value::as_str) == Some(pod::CONTAINER)
}

/// The list at a place; empty when there is none.
pub(super) fn list<'a>(value: &'a Value, place: &str) -> &'a [Value] {
    value
        .pointer(place)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// What people should know of these members, none longer than 120 characters.
pub(super) fn warnings(members: &[&GroupMember]) -> Vec<String> {
    let mut warnings = Vec::new();
    let open = |member: &&&GroupMember| member.spec.failure_mode == FailureMode::FailOpen;
    if members.iter().find(open).is_some() {
        warnings.push(
            "getvpn: `failureMode` is 'FailOpen': until the pod has keys its traffic goes in clear"
                .to_owned(),
        );
    }
    let stated: Vec<&Resources> = members
        .iter()
        .map(|member| &member.spec.sidecar.resources)
        .filter(|resources| !resources.is_empty())
        .collect();
    if stated.windows(2).any(|pair| pair[0] != pair[1]) {
        warnings.push(
            "getvpn: the pod's GroupMembers differ in `sidecar.resources`; the first by name decides"
                .to_owned(),
        );
    }
    warnings
}

/// The container.
pub(super) fn container(
    members: &[&GroupMember],
    catalog: &Catalog<'_>,
    template: &Template,
) -> Value {
    let mut container = json!({
        "name": pod::CONTAINER,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "restartPolicy": "Always",
        "args": pod::ARGUMENTS,
        "env": environment(members),
        "ports": [{
            "name": pod::METRICS_PORT_NAME,
            "containerPort": pod::METRICS_PORT,
            "protocol": "TCP",
        }],
        "resources": resources(members, template),
        "securityContext": {
            // A user other than 0 would get none of the capabilities (ADR 8).
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        // The other containers start when this one succeeded; the container is given an hour, as a pod may have to wait
        // for the operator or for key servers.
        "startupProbe": probe("startup", 1, 3600),
        "readinessProbe": probe("ready", 5, 2),
        "livenessProbe": probe("live", 10, 6),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(members, catalog, template),
    });
    if let (TunDevice::Resource(name), Some(resources)) =
        (&template.tun, container.get_mut("resources"))
    {
        // Devices are asked for by limits alone.
        resources["limits"][name] = json!("1");
    }
    container
}

/// The volumes, in order.
pub(super) fn volumes(
    members: &[&GroupMember],
    catalog: &Catalog<'_>,
    template: &Template,
) -> Vec<Value> {
    let files = [pod::TRUST_FILE, pod::ENDPOINT_FILE, pod::SERVER_NAME_FILE]
        .map(|file| json!({ "key": file, "path": file }));
    let mut volumes = vec![
        json!({
            "name": ENROLMENT_VOLUME,
            "projected": {
                "defaultMode": 0o400,
                "sources": [
                    { "serviceAccountToken": {
                        "audience": pod::TOKEN_AUDIENCE,
                        "expirationSeconds": TOKEN_SECONDS,
                        "path": pod::TOKEN_FILE,
                    } },
                    { "configMap": {
                        "name": pod::ENROLMENT_CONFIG_MAP,
                        "items": files,
                    } },
                ],
            },
        }),
        json!({
            "name": STATE_VOLUME,
            "emptyDir": { "medium": "Memory", "sizeLimit": STATE_SIZE },
        }),
    ];
    if template.tun == TunDevice::HostPath {
        volumes.push(json!({
            "name": TUN_VOLUME,
            "hostPath": { "path": pod::TUN_DEVICE, "type": "CharDevice" },
        }));
    }
    for (group, secret) in pre_shared_keys(members, catalog) {
        volumes.push(json!({
            "name": format!("{PRE_SHARED_KEY_VOLUME}{group}"),
            "secret": {
                "secretName": secret,
                "defaultMode": 0o400,
                "items": [{
                    "key": pod::PRE_SHARED_KEY_ENTRY,
                    "path": pod::PRE_SHARED_KEY_ENTRY,
                }],
            },
        }));
    }
    volumes
}

fn mounts(members: &[&GroupMember], catalog: &Catalog<'_>, template: &Template) -> Vec<Value> {
    let mut mounts = vec![
        json!({ "name": ENROLMENT_VOLUME, "mountPath": pod::ENROLMENT_DIRECTORY, "readOnly": true }),
        json!({ "name": STATE_VOLUME, "mountPath": pod::STATE_DIRECTORY }),
    ];
    if template.tun == TunDevice::HostPath {
        mounts.push(json!({ "name": TUN_VOLUME, "mountPath": pod::TUN_DEVICE }));
    }
    for (group, _) in pre_shared_keys(members, catalog) {
        mounts.push(json!({
            "name": format!("{PRE_SHARED_KEY_VOLUME}{group}"),
            "mountPath": format!("{}/{group}", pod::PRE_SHARED_KEY_DIRECTORY),
            "readOnly": true,
        }));
    }
    mounts
}

/// Groups that authenticate by pre-shared key, and their Secrets.
fn pre_shared_keys<'a>(members: &[&GroupMember], catalog: &Catalog<'a>) -> Vec<(&'a str, &'a str)> {
    members
        .iter()
        .filter_map(|member| catalog.group_of(member))
        .filter(|group| group.spec.authentication.mode == AuthenticationMode::PreSharedKey)
        .filter_map(|group| {
            let secret = group
                .spec
                .authentication
                .pre_shared_key_secret_ref
                .as_ref()?;
            Some((group.metadata.name.as_deref()?, secret.name.as_str()))
        })
        .collect()
}

fn environment(members: &[&GroupMember]) -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } });
    let mut interfaces: Vec<&str> = members
        .iter()
        .flat_map(|member| &member.spec.interfaces)
        .map(String::as_str)
        .collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    let closed = members
        .iter()
        .all(|member| member.spec.failure_mode == FailureMode::FailClosed);
    let level = members
        .iter()
        .map(|member| member.spec.sidecar.log_level)
        .max_by_key(|level| verbosity(*level))
        .unwrap_or_default();
    json!([
        field(pod::POD_NAME, "metadata.name"),
        field(pod::POD_NAMESPACE, "metadata.namespace"),
        { "name": pod::INTERFACES, "value": interfaces.join(",") },
        { "name": pod::FAILURE_MODE, "value": if closed { "FailClosed" } else { "FailOpen" } },
        { "name": "GETVPN_LOG", "value": word(level) },
        { "name": "GETVPN_LOG_FORMAT", "value": "json" },
    ])
}

fn verbosity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 0,
        LogLevel::Warn => 1,
        LogLevel::Info => 2,
        LogLevel::Debug => 3,
        LogLevel::Trace => 4,
    }
}

fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn resources(members: &[&GroupMember], template: &Template) -> Value {
    let stated = members
        .iter()
        .map(|member| &member.spec.sidecar.resources)
        .find(|resources| !resources.is_empty())
        .unwrap_or(&template.resources);
    let mut value = Map::new();
    for (field, map) in [("limits", &stated.limits), ("requests", &stated.requests)] {
        if !map.is_empty() {
            value.insert(field.to_owned(), json!(map));
        }
    }
    Value::Object(value)
}

fn probe(what: &str, period_seconds: u32, failure_threshold: u32) -> Value {
    json!({
        "exec": { "command": [pod::PROGRAM, pod::PROBE, what] },
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failure_threshold,
    })
}
