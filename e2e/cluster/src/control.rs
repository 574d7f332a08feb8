//! The control plane: etcd, the API server, the controllers, the scheduler.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::component::Component;
use crate::network::{CONTROL, PODS, SERVICES};
use crate::place::Place;

/// Name of the machine of the control plane.
pub(crate) const MACHINE: &str = "control";

/// Every request to the API server is logged without its body, so that a test can see which rules of a
/// role are used.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [\"system:apiserver\", \"system:kube-controller-manager\", \"system:kube-scheduler\", \"system:kube-proxy\"]
- level: None
  userGroups: [\"system:nodes\", \"system:serviceaccounts:kube-system\"]
- level: Metadata
";

/// Writes what the programs read.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_files(place: &Place) -> Result<()> {
    let file = place.state.join("audit-policy.yaml");
    fs::write(&file, AUDIT_POLICY).with_context(|| format!("cannot write {}", file.display()))
}

/// The control plane's programs, in the order in which they start.
pub(crate) fn components(place: &Place, programs: &Path) -> Vec<Component> {
    vec![
        etcd(),
        api_server(place, programs),
        controllers(place, programs),
        scheduler(place, programs),
    ]
}

fn etcd() -> Component {
    Component::new(MACHINE, "etcd", "/usr/bin/etcd".into())
        .option("--name", "control")
        .option("--data-dir", "/var/lib/etcd")
        .option("--listen-client-urls", "http://127.0.0.1:2379")
        .option("--advertise-client-urls", "http://127.0.0.1:2379")
        .option("--listen-peer-urls", "http://127.0.0.1:2380")
        .option("--initial-advertise-peer-urls", "http://127.0.0.1:2380")
        .option("--initial-cluster", "control=http://127.0.0.1:2380")
        // The data of this cluster is thrown away by `down`: it need not survive a power cut.
        .flag("--unsafe-no-fsync")
        .option("--auto-compaction-retention", "10m")
        .option("--quota-backend-bytes", "2147483648")
        .ready("http://127.0.0.1:2379/health", Duration::from_secs(30))
}

fn api_server(place: &Place, programs: &Path) -> Component {
    let key = |name: &str| place.keys().join(name).display().to_string();
    let issuer = "https://kubernetes.default.svc.cluster.local";
    Component::new(MACHINE, "kube-apiserver", programs.join("kube-apiserver"))
        .option("--etcd-servers", "http://127.0.0.1:2379")
        .option("--advertise-address", &CONTROL.to_string())
        .option("--secure-port", "6443")
        .option("--service-cluster-ip-range", SERVICES)
        .option("--client-ca-file", &key("ca.crt"))
        .option("--tls-cert-file", &key("apiserver.crt"))
        .option("--tls-private-key-file", &key("apiserver.key"))
        .option("--kubelet-certificate-authority", &key("ca.crt"))
        .option(
            "--kubelet-client-certificate",
            &key("apiserver-kubelet-client.crt"),
        )
        .option("--kubelet-client-key", &key("apiserver-kubelet-client.key"))
        .option("--kubelet-preferred-address-types", "InternalIP")
        .option("--service-account-issuer", issuer)
        .option("--api-audiences", issuer)
        .option("--service-account-key-file", &key("service-account.key"))
        .option(
            "--service-account-signing-key-file",
            &key("service-account.key"),
        )
        .option("--authorization-mode", "Node,RBAC")
        .option("--enable-admission-plugins", "NodeRestriction")
        .option("--requestheader-client-ca-file", &key("front-proxy-ca.crt"))
        .option("--requestheader-allowed-names", "front-proxy-client")
        .option("--requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .option("--requestheader-group-headers", "X-Remote-Group")
        .option("--requestheader-username-headers", "X-Remote-User")
        .option("--proxy-client-cert-file", &key("front-proxy-client.crt"))
        .option("--proxy-client-key-file", &key("front-proxy-client.key"))
        // No kube-proxy runs here: webhooks and aggregated APIs are called at their pods' addresses.
        .option("--enable-aggregator-routing", "true")
        .option("--allow-privileged", "true")
        .option("--profiling", "false")
        .option(
            "--audit-policy-file",
            &place.state.join("audit-policy.yaml").display().to_string(),
        )
        .option("--audit-log-path", "/var/log/audit.log")
        .option("--audit-log-maxsize", "100")
        .option("--audit-log-maxbackup", "2")
        .ready(
            &format!("https://127.0.0.1:{}/readyz", place.port),
            Duration::from_secs(120),
        )
}

fn controllers(place: &Place, programs: &Path) -> Component {
    let key = |name: &str| place.keys().join(name).display().to_string();
    let kubeconfig = key("kube-controller-manager.kubeconfig");
    Component::new(
        MACHINE,
        "kube-controller-manager",
        programs.join("kube-controller-manager"),
    )
    .option("--kubeconfig", &kubeconfig)
    .option("--authentication-kubeconfig", &kubeconfig)
    .option("--authorization-kubeconfig", &kubeconfig)
    .option("--bind-address", "127.0.0.1")
    .option("--leader-elect", "false")
    .option("--cluster-name", &place.name())
    .option("--cluster-cidr", PODS)
    .option("--service-cluster-ip-range", SERVICES)
    .option("--allocate-node-cidrs", "false")
    .option("--cluster-signing-cert-file", &key("ca.crt"))
    .option("--cluster-signing-key-file", &key("ca.key"))
    .option("--root-ca-file", &key("ca.crt"))
    .option(
        "--service-account-private-key-file",
        &key("service-account.key"),
    )
    .option("--use-service-account-credentials", "true")
    .option("--requestheader-client-ca-file", &key("front-proxy-ca.crt"))
    .option("--profiling", "false")
}

fn scheduler(place: &Place, programs: &Path) -> Component {
    let kubeconfig = place
        .keys()
        .join("kube-scheduler.kubeconfig")
        .display()
        .to_string();
    Component::new(MACHINE, "kube-scheduler", programs.join("kube-scheduler"))
        .option("--kubeconfig", &kubeconfig)
        .option("--authentication-kubeconfig", &kubeconfig)
        .option("--authorization-kubeconfig", &kubeconfig)
        .option("--bind-address", "127.0.0.1")
        .option("--leader-elect", "false")
        .option("--profiling", "false")
}
