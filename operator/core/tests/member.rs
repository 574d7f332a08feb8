//! What a member needs to know.

mod support;

use crds::v1alpha1::{FailureMode, Flow, GroupMember, Preset};
use operator_core::flow;
use operator_core::member::{Surroundings, expand, settings};
use support::{load, member};

fn one(more: &str) -> GroupMember {
    load(&member("phones", "voice", more)).members.remove(0)
}

fn names(flows: &[Flow]) -> Vec<&str> {
    flows.iter().map(|flow| flow.name.as_str()).collect()
}

fn cluster() -> Surroundings {
    Surroundings {
        node_addresses: vec![
            "192.0.2.1".parse().expect("an address"),
            "2001:db8::1".parse().expect("an address"),
        ],
        probe_ports: vec![8080],
        dns_servers: vec!["10.96.0.10".parse().expect("an address")],
        api_servers: vec![("10.96.0.1".parse().expect("an address"), 443)],
        registration_port: 848,
    }
}

#[test]
fn every_preset_is_written_out_by_default() {
    let all = settings(&one(""), &cluster()).allow_clear;
    assert_eq!(
        names(&all),
        [
            "preset.kubelet-probes-0",
            "preset.kubelet-probes-1",
            "preset.cluster-dns-0",
            "preset.cluster-dns-1",
            "preset.kubernetes-api-0",
            "preset.registration-transit-0",
        ]
    );
    let ends = |flow: &Flow| {
        (
            flow.source.as_ref().map(|end| end.0.clone()),
            flow.destination.as_ref().map(|end| end.0.clone()),
        )
    };
    assert_eq!(ends(&all[1]), (None, Some("2001:db8::1/128".to_owned())));
    assert_eq!(
        (
            flow::ports(&all[1].source_ports),
            all[1].destination_ports.len()
        ),
        (Ok(vec![(8080, 8080)]), 0),
        "what the pod sends to the node is the answer of a probed port"
    );
    assert_eq!(ends(&all[2]), (None, Some("10.96.0.10/32".to_owned())));
    assert_eq!(
        flow::ports(&all[5].destination_ports),
        Ok(vec![(848, 848), (4500, 4500)])
    );
    for flow in &all {
        for end in flow.source.iter().chain(&flow.destination) {
            flow::prefix(end).expect("a prefix");
        }
    }
}

#[test]
fn nothing_is_written_out_where_there_is_nothing() {
    for preset in Preset::ALL {
        assert_eq!(expand(preset, &Surroundings::default()), [], "{preset:?}");
    }
}

#[test]
fn a_pod_without_probed_ports_opens_nothing_to_its_node() {
    let quiet = Surroundings {
        probe_ports: Vec::new(),
        ..cluster()
    };
    assert_eq!(expand(Preset::KubeletProbes, &quiet), []);
}

// GET VPN row 170
#[test]
fn what_the_user_wrote_comes_first_and_bypass_counts_unless_excluded() {
    let wrote = "  bypass: [{ name: nfs, protocol: TCP, destinationPorts: [\"2049\"] }]\n  failClosed: { allowClear: [{ name: ssh, protocol: TCP, sourcePorts: [\"22\"] }], presets: [ClusterDNS]";
    let included = settings(&one(&format!("{wrote} }}\n")), &cluster());
    assert_eq!(
        names(&included.allow_clear),
        ["ssh", "nfs", "preset.cluster-dns-0", "preset.cluster-dns-1"]
    );
    assert_eq!(names(&included.bypass), ["nfs"]);
    let excluded = settings(
        &one(&format!("{wrote}, localBypass: Exclude }}\n")),
        &cluster(),
    );
    assert_eq!(
        names(&excluded.allow_clear),
        ["ssh", "preset.cluster-dns-0", "preset.cluster-dns-1"]
    );
}

#[test]
fn the_order_of_presets_does_not_show() {
    let in_order = |presets: &str| {
        settings(
            &one(&format!("  failClosed: {{ presets: [{presets}] }}\n")),
            &cluster(),
        )
    };
    assert_eq!(
        in_order("KubernetesAPI, ClusterDNS"),
        in_order("ClusterDNS, KubernetesAPI")
    );
}

#[test]
fn with_fail_open_there_is_nothing_to_allow() {
    let open = settings(
        &one("  failureMode: FailOpen\n  bypass: [{ name: nfs }]\n"),
        &cluster(),
    );
    assert_eq!(
        (open.failure_mode, open.allow_clear.len(), open.bypass.len()),
        (FailureMode::FailOpen, 0, 1)
    );
}

#[test]
fn order_interfaces_and_mtu_arrive() {
    let plain = settings(&one(""), &Surroundings::default());
    assert_eq!(
        (plain.mtu, plain.interfaces, plain.key_server_order),
        (None, vec!["eth0".to_owned()], Vec::new())
    );
    let set = settings(
        &one(
            "  interfaces: [eth0, net1]\n  localInterface: net1\n  keyServerOrder: [2, 0]\n  sidecar: { mtuBytes: 1400 }\n",
        ),
        &Surroundings::default(),
    );
    assert_eq!(
        (set.mtu, set.interfaces.len(), set.key_server_order),
        (Some(1400), 2, vec![2, 0])
    );
}
