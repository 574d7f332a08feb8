//! A node: containerd, the kubelet and kube-proxy, with what they read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::component::Component;
use crate::host::{NETWORK_PLUGINS, group};
use crate::network::{DNS_SERVICE, Node, PODS};
use crate::place::Place;
use crate::standard_images::PAUSE;

/// Where containerd listens, inside a node.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Writes what a node's programs read.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_files(place: &Place, node: &Node) -> Result<()> {
    let directory = configuration(place, node);
    let networks = directory.join("net.d");
    fs::create_dir_all(&networks).with_context(|| format!("cannot make {}", networks.display()))?;
    let write = |file: PathBuf, text: String| {
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    write(
        directory.join("containerd.toml"),
        containerd_settings(&networks),
    )?;
    write(
        networks.join("10-pods.conflist"),
        format!("{:#}", network(node)),
    )?;
    write(
        directory.join("kubelet.yaml"),
        format!("{:#}", kubelet_settings(place, node)),
    )?;
    write(
        directory.join("kube-proxy.yaml"),
        format!("{:#}", proxy_settings(place, node)),
    )
}

/// A node's programs, in the order in which they start.
pub(crate) fn components(place: &Place, programs: &Path, node: &Node) -> Vec<Component> {
    let directory = configuration(place, node);
    let file = |name: &str| directory.join(name).display().to_string();
    vec![
        Component::new(&node.name, "containerd", "/usr/bin/containerd".into())
            .option("--config", &file("containerd.toml"))
            .socket(CONTAINERD_SOCKET, Duration::from_secs(30)),
        Component::new(&node.name, "kube-proxy", programs.join("kube-proxy"))
            .option("--config", &file("kube-proxy.yaml")),
        Component::new(&node.name, "kubelet", programs.join("kubelet"))
            .option("--config", &file("kubelet.yaml"))
            .option(
                "--kubeconfig",
                &place
                    .keys()
                    .join(format!("{}.kubeconfig", node.name))
                    .display()
                    .to_string(),
            )
            .option("--hostname-override", &node.name)
            .option("--node-ip", &node.address.to_string()),
    ]
}

fn configuration(place: &Place, node: &Node) -> PathBuf {
    place.machine(&node.name).join("etc")
}

fn containerd_settings(networks: &Path) -> String {
    // Without CAP_SYS_RESOURCE an OOM score cannot be lowered, and every sandbox would fail.
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  # The defaults of newer releases: any user may ping and listen on ports below 1024.
  enable_unprivileged_icmp = true
  enable_unprivileged_ports = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{NETWORK_PLUGINS}"
    conf_dir = "{networks}"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        networks = networks.display()
    )
}

/// The network of a node's pods: a bridge, addresses from the node's own range, no translation.
fn network(node: &Node) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isDefaultGateway": true,
            "hairpinMode": true,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": node.pods}]],
            },
        }],
    })
}

fn kubelet_settings(place: &Place, node: &Node) -> Value {
    let key = |name: &str| place.keys().join(name);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": key("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": group(place, &node.name),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        // A full disk of a developer's machine must not evict the pods of a test.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "memory.available": "100Mi"},
        // Version 1 of control groups is accepted.
        "failCgroupV1": false,
        "failSwapOn": false,
        // Images are loaded once and there is no registry to get them from again.
        "imageGCHighThresholdPercent": 100,
        "maxPods": 110,
        "oomScoreAdj": 0,
        "registerNode": true,
        "resolvConf": place.state.join("resolv.conf"),
        "tlsCertFile": key(&format!("{}-server.crt", node.name)),
        "tlsPrivateKeyFile": key(&format!("{}-server.key", node.name)),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    })
}

fn proxy_settings(place: &Place, node: &Node) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": node.name,
        "clientConnection": {
            "kubeconfig": place.keys().join("kube-proxy.kubeconfig"),
        },
        // Sizes of the connection table belong to the whole system.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    })
}
