//! Whether pods of a GroupMember can get sidecars: its condition `InjectionAllowed`.

use std::collections::BTreeMap;

use crate::labels;

/// The label by which a namespace demands a level of pod security (Kubernetes, Pod Security Admission).
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

/// What is known about the place of a GroupMember.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Labels of the namespace; `None` when they cannot be read, as the operator looks after some namespaces only.
    pub namespace: Option<&'a BTreeMap<String, String>>,
    /// Whether the webhook is served and known to the API server.
    pub webhook: bool,
    /// Pods that the GroupMember chooses and that use their node's network.
    pub host_network: usize,
    /// Pods whose sidecar found no TUN device.
    pub no_tun_device: usize,
}

/// The condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Its status.
    pub holds: bool,
    /// Its reason: `Allowed`, `WebhookDisabled`, `PodSecurityForbids`, `NoTunDevice` or `HostNetwork`.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// Judges the circumstances; what concerns every pod comes first.
#[must_use]
pub fn allowed(circumstances: &Circumstances<'_>) -> Allowed {
    let not = |reason, message| Allowed {
        holds: false,
        reason,
        message,
    };
    if !circumstances.webhook {
        return not(
            "WebhookDisabled",
            "the admission webhook does not run: pods get no sidecar unless their manifests have it".to_owned(),
        );
    }
    if let Some(namespace) = circumstances.namespace {
        let value = |label: &str| namespace.get(label).map(String::as_str);
        if value(labels::INJECTION) != Some(labels::ENABLED) {
            return not(
                "WebhookDisabled",
                format!(
                    "the namespace has no label `{}: {}`: its pods get no sidecar",
                    labels::INJECTION,
                    labels::ENABLED
                ),
            );
        }
        if let Some(level @ ("baseline" | "restricted")) = value(POD_SECURITY) {
            return not(
                "PodSecurityForbids",
                format!(
                    "the namespace enforces pod security level '{level}', which forbids the capability NET_ADMIN that a sidecar needs; only '{POD_SECURITY}: privileged' admits it"
                ),
            );
        }
    }
    if circumstances.no_tun_device > 0 {
        return not(
            "NoTunDevice",
            format!(
                "{} found no TUN device; the node must have /dev/net/tun and the container runtime must let it be opened",
                pods(circumstances.no_tun_device)
            ),
        );
    }
    if circumstances.host_network > 0 {
        return not(
            "HostNetwork",
            format!(
                "{} in the network of a node, without a sidecar: what they send is not encrypted",
                pods(circumstances.host_network)
            ),
        );
    }
    Allowed {
        holds: true,
        reason: "Allowed",
        message: "pods that are created get a sidecar".to_owned(),
    }
}

fn pods(count: usize) -> String {
    if count == 1 {
        "1 pod".to_owned()
    } else {
        format!("{count} pods")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_concerns_every_pod_comes_before_what_concerns_some() {
        let open = namespace(&[(labels::INJECTION, "enabled")]);
        let closed = namespace(&[]);
        let strict = namespace(&[(labels::INJECTION, "enabled"), (POD_SECURITY, "restricted")]);
        let permissive = namespace(&[(labels::INJECTION, "enabled"), (POD_SECURITY, "privileged")]);
        for (namespace, webhook, host_network, no_tun_device, expected) in [
            (Some(&open), true, 0, 0, "Allowed"),
            (Some(&permissive), true, 0, 0, "Allowed"),
            (None, true, 0, 0, "Allowed"),
            (Some(&open), true, 2, 0, "HostNetwork"),
            (Some(&open), true, 2, 1, "NoTunDevice"),
            (Some(&strict), true, 2, 1, "PodSecurityForbids"),
            (Some(&closed), true, 2, 1, "WebhookDisabled"),
            (Some(&open), false, 0, 0, "WebhookDisabled"),
        ] {
            let found = allowed(&Circumstances {
                namespace,
                webhook,
                host_network,
                no_tun_device,
            });
            assert_eq!(found.reason, expected);
            assert_eq!(found.holds, expected == "Allowed");
        }
    }
}
