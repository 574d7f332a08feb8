//! The configuration of a member, and what nodes, pods and Services contribute to it.

mod support;

use std::net::IpAddr;

use crds::Manifests;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use operator_api::services::{Service as Translated, Services};
use operator_core::member::Surroundings;
use operator_core::member_configuration::{
    KeyServer, Membership, PodIdentity, Unready, configuration,
};
use operator_core::surroundings::{name_servers, place, probe_ports, probe_sources, service_ends};
use serde_json::{Value, json};
use support::{group, load, member};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn surroundings() -> Surroundings {
    Surroundings {
        node_addresses: vec![address("192.0.2.1")],
        probe_ports: vec![8080, 9000],
        dns_servers: vec![address("10.96.0.10")],
        api_servers: vec![(address("10.96.0.1"), 443)],
        registration_port: 0,
    }
}

fn key_servers() -> Vec<KeyServer> {
    [(0, "10.244.0.10"), (1, "10.244.1.10"), (2, "10.244.2.10")]
        .map(|(ordinal, text)| KeyServer {
            ordinal,
            addresses: vec![address(text)],
        })
        .to_vec()
}

struct World {
    objects: Manifests,
    key_servers: Vec<KeyServer>,
    register: Vec<IpAddr>,
    surroundings: Surroundings,
    services: Services,
    addresses: Vec<IpAddr>,
    receivers: Vec<IpAddr>,
}

impl World {
    fn new(text: &[String]) -> Self {
        Self {
            objects: load(&text.concat()),
            key_servers: key_servers(),
            register: vec![address("10.96.0.20")],
            surroundings: surroundings(),
            services: Services::default(),
            addresses: vec![address("10.244.0.3")],
            receivers: Vec::new(),
        }
    }

    fn built(&self) -> Result<operator_api::enrolment::WatchAnswer, Unready> {
        let memberships: Vec<Membership<'_>> = self
            .objects
            .members
            .iter()
            .map(|member| {
                let named = |name: &str| {
                    let mut groups = self.objects.groups.iter();
                    groups
                        .find(|group| group.metadata.name.as_deref() == Some(name))
                        .expect("a group")
                };
                let group = named(&member.spec.group_ref.name);
                let host = match &group.spec.key_servers_from {
                    Some(from) => named(&from.group_ref.name),
                    None => group,
                };
                Membership {
                    member,
                    group,
                    host,
                    key_servers: &self.key_servers,
                    register: &self.register,
                    receivers: &self.receivers,
                }
            })
            .collect();
        let pod = PodIdentity {
            name: "web-0",
            namespace: "wan",
            addresses: &self.addresses,
        };
        configuration(pod, &memberships, &self.surroundings, &self.services)
    }

    fn document(&self) -> Value {
        self.built().expect("everything is there").configuration
    }
}

fn plain() -> World {
    World::new(&[group("voice", 7, ""), member("phones", "voice", "")])
}

fn flow_names(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list").iter();
    list.map(|flow| flow["name"].as_str().expect("a name"))
        .collect()
}

#[test]
fn a_member_of_one_group_gets_a_whole_configuration() {
    let document = plain().document();
    let presets = json!([
        { "name": "preset.kubelet-probes-0", "protocol": 6, "destination": "192.0.2.1/32", "sourcePorts": ["8080", "9000"] },
        { "name": "preset.cluster-dns-0", "protocol": 17, "destination": "10.96.0.10/32", "destinationPorts": ["53"] },
        { "name": "preset.cluster-dns-1", "protocol": 6, "destination": "10.96.0.10/32", "destinationPorts": ["53"] },
        { "name": "preset.kubernetes-api-0", "protocol": 6, "destination": "10.96.0.1/32", "destinationPorts": ["443"] },
    ]);
    assert_eq!(
        document,
        json!({
            "name": "pod",
            "interfaces": ["eth0"],
            "tunDevice": "getvpn0",
            "controlSocket": "/run/getvpn/state/control.sock",
            "metrics": { "listen": "0.0.0.0:9446" },
            "identity": { "type": "FQDN", "value": "web-0.wan.member.getvpn" },
            "mtuBytes": 0,
            "failureMode": "FailClosed",
            "allowClear": presets,
            "localBypass": "Exclude",
            "ike": { "port": 10848 },
            "groups": [{
                "groupID": 7,
                "keyServers": ["10.244.0.10:848", "10.244.1.10:848", "10.244.2.10:848", "10.96.0.20:848"],
                "keyServerIdentities": [{ "type": "FQDN", "value": "voice-ks.wan.keyserver.getvpn" }],
                "authentication": { "certificate": {
                    "chainFile": "voice/chain.pem", "keyFile": "member.key", "trustFile": "voice/trust.pem",
                } },
                "bypass": presets,
                "direction": "Inherit",
            }],
        })
    );
}

#[test]
fn copies_of_multicast_go_to_every_other_pod_of_the_group_where_the_group_says_so() {
    let others = ["10.244.1.9", "10.244.0.3", "10.244.0.7", "10.244.1.9"].map(address);
    let of = |spec: &str| {
        let mut world = World::new(&[group("voice", 7, spec), member("phones", "voice", "")]);
        world.receivers = others.to_vec();
        world.document()
    };
    let copied = of("  multicastDelivery: HeadEndReplication\n");
    assert_eq!(
        copied["groups"][0]["multicastReceivers"],
        json!(["10.244.0.7", "10.244.1.9"])
    );
    assert_eq!(of("")["groups"][0].get("multicastReceivers"), None);
    let config =
        gm_sidecar::config::Config::parse(&copied.to_string(), std::path::Path::new("enrolment"))
            .expect("accepted");
    assert_eq!(config.multicast_copies().0.len(), 1);
}

#[test]
fn the_member_itself_accepts_the_document() {
    let mut world = World::new(&[
        group("voice", 7, ""),
        group(
            "data",
            8,
            "  authentication: { mode: PreSharedKey, preSharedKeySecretRef: { name: s } }\n",
        ),
        member(
            "phones",
            "voice",
            "  bypass: [{ name: nfs, protocol: TCP, destination: 10.9.0.0/16, destinationPorts: [\"2049\", \"100-200\"] }]\n  failClosed: { allowClear: [{ name: ospf, protocol: OSPF }] }\n",
        ),
        member("files", "data", "  direction: InboundOptional\n"),
    ]);
    world.addresses = vec![address("fd00::3")];
    let text = world.document().to_string();
    let config = gm_sidecar::config::Config::parse(&text, std::path::Path::new("enrolment"))
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(config.groups.len(), 2);
    // Of the presets and the flow, in both families where neither end is named.
    assert_eq!(config.groups[0].bypass_selectors().len(), 2 + 3 + 2);
    assert_eq!(config.groups[1].bypass_selectors().len(), 0);
}

// GET VPN row 154
#[test]
fn the_order_of_key_servers_is_the_members_else_the_groups_and_the_service_comes_last() {
    let order = |group_order: &str, own: &str| {
        let world = World::new(&[
            group("voice", 7, group_order).replacen("  keyServers: {}\n", "", 1),
            member("phones", "voice", own),
        ]);
        let document = world.document();
        let servers = document["groups"][0]["keyServers"].as_array().cloned();
        servers
            .expect("a list")
            .iter()
            .map(|server| server.as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    let of_group =
        "  keyServers: { registration: { defaultOrder: [1] }, service: { port: 1848 } }\n";
    assert_eq!(
        order(of_group, ""),
        [
            "10.244.1.10:848",
            "10.244.0.10:848",
            "10.244.2.10:848",
            "10.96.0.20:1848"
        ]
    );
    assert_eq!(
        order(of_group, "  keyServerOrder: [2, 0]\n"),
        [
            "10.244.2.10:848",
            "10.244.0.10:848",
            "10.244.1.10:848",
            "10.96.0.20:1848"
        ]
    );
}

#[test]
fn addresses_of_the_pods_own_family_are_preferred() {
    let mut world = plain();
    world.key_servers = vec![KeyServer {
        ordinal: 0,
        addresses: vec![address("10.244.0.10"), address("fd00::10")],
    }];
    world.register = vec![address("10.96.0.20"), address("fd00:96::20")];
    world.addresses = vec![address("fd00::3"), address("10.244.0.3")];
    let document = world.document();
    assert_eq!(
        document["groups"][0]["keyServers"],
        json!(["[fd00::10]:848", "[fd00:96::20]:848"])
    );
    assert_eq!(document["metrics"]["listen"], "[::]:9446");
}

#[test]
fn at_most_eight_key_servers_are_named_and_the_service_is_one_of_them() {
    let mut world = plain();
    world.key_servers = (0..8)
        .map(|ordinal| KeyServer {
            ordinal,
            addresses: vec![IpAddr::from([10, 244, 0, 100 + ordinal as u8])],
        })
        .collect();
    let document = world.document();
    let servers = document["groups"][0]["keyServers"]
        .as_array()
        .cloned()
        .expect("a list");
    assert_eq!(servers.len(), 8);
    assert_eq!(servers[7], "10.96.0.20:848");
}

#[test]
fn without_any_address_of_a_key_server_or_of_the_pod_there_is_nothing_to_say() {
    let mut world = plain();
    world.key_servers.clear();
    assert_eq!(
        world.document()["groups"][0]["keyServers"],
        json!(["10.96.0.20:848"]),
        "the Service alone is enough"
    );
    world.register.clear();
    assert_eq!(
        world.built(),
        Err(Unready::NoKeyServers("voice".to_owned()))
    );
    let mut world = plain();
    world.addresses.clear();
    assert_eq!(world.built(), Err(Unready::NoAddress));
}

#[test]
fn presets_hold_after_registration_also_for_a_pod_that_fails_open() {
    let world = World::new(&[
        group("voice", 7, ""),
        member("phones", "voice", "  failureMode: FailOpen\n"),
    ]);
    let document = world.document();
    assert_eq!(document["failureMode"], "FailOpen");
    assert_eq!(document["allowClear"], json!([]));
    assert_eq!(flow_names(&document["groups"][0]["bypass"]).len(), 4);
}

#[test]
fn only_the_presets_that_were_asked_for_hold() {
    let world = World::new(&[
        group("voice", 7, ""),
        member(
            "phones",
            "voice",
            "  failClosed: { presets: [ClusterDNS] }\n",
        ),
    ]);
    let document = world.document();
    assert_eq!(
        flow_names(&document["groups"][0]["bypass"]),
        ["preset.cluster-dns-0", "preset.cluster-dns-1"]
    );
}

#[test]
fn a_bypass_that_is_excluded_before_registration_stands_in_one_list_only() {
    let world = World::new(&[
        group("voice", 7, ""),
        member(
            "phones",
            "voice",
            "  bypass: [{ name: nfs }]\n  failClosed: { presets: [], localBypass: Exclude }\n",
        ),
    ]);
    let document = world.document();
    assert_eq!(flow_names(&document["groups"][0]["bypass"]), ["nfs"]);
    assert_eq!(document["allowClear"], json!([]));
}

#[test]
fn a_group_that_goes_by_subject_gets_the_subject_of_the_certificate() {
    let world = World::new(&[
        group("voice", 7, "  identity: DistinguishedName\n"),
        member("phones", "voice", ""),
    ]);
    assert_eq!(
        world.document()["identity"],
        json!({
            "type": "DistinguishedName",
            "value": "CN=web-0.wan.member.getvpn,OU=wan.voice,O=getvpn",
        })
    );
}

#[test]
fn a_guest_group_is_served_by_the_key_servers_of_its_host() {
    let world = World::new(&[
        group(
            "host",
            1,
            "  authentication: { mode: PreSharedKey, preSharedKeySecretRef: { name: s } }\n  authorization: { mode: PreSharedKey, addresses: [10.0.0.0/8] }\n",
        ),
        group(
            "guest",
            2,
            "  keyServersFrom: { groupRef: { name: host } }\n  authentication: { mode: PreSharedKey, preSharedKeySecretRef: { name: s } }\n  authorization: { mode: PreSharedKey, addresses: [10.0.0.0/8] }\n",
        ),
        member("phones", "guest", ""),
    ]);
    let document = world.document();
    let group = &document["groups"][0];
    assert_eq!(group["groupID"], 2);
    assert_eq!(
        group["keyServerIdentities"][0]["value"],
        "host-ks.wan.keyserver.getvpn"
    );
    assert_eq!(
        group["authentication"],
        json!({ "preSharedKeyFile": "/run/getvpn/pre-shared-keys/guest/key" })
    );
}

#[test]
fn equal_configurations_have_equal_revisions_and_a_service_makes_another() {
    let mut world = plain();
    let first = world.built().expect("built");
    assert_eq!(world.built().expect("built"), first);
    world.services.services.push(Translated {
        name: "wan/web".to_owned(),
        addresses: vec![address("10.96.0.7")],
        affinity_seconds: None,
        ports: Vec::new(),
    });
    let second = world.built().expect("built");
    assert_ne!(second.revision, first.revision);
    assert_eq!(
        second.configuration["services"]["services"][0]["name"],
        "wan/web"
    );
}

fn node() -> Node {
    serde_json::from_value(json!({
        "metadata": {
            "name": "node-1",
            "labels": { "topology.kubernetes.io/zone": "a" },
            "annotations": { "network.cilium.io/ipv4-cilium-host": "10.0.1.7", "other": "10.0.1.8" },
        },
        "spec": { "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"] },
        "status": { "addresses": [
            { "type": "Hostname", "address": "node-1" },
            { "type": "InternalIP", "address": "192.0.2.1" },
        ] },
    }))
    .expect("a Node")
}

#[test]
fn probes_come_from_the_nodes_own_addresses_and_never_from_a_pod() {
    assert_eq!(
        probe_sources(&node(), &|_| false),
        ["10.0.1.7", "10.244.1.1", "192.0.2.1", "fd00:1::1"].map(address)
    );
    let taken = address("10.244.1.1");
    assert!(!probe_sources(&node(), &|candidate| candidate == taken).contains(&taken));
    let place = place(&node());
    assert_eq!(
        (place.node.as_str(), place.zone.as_deref()),
        ("node-1", Some("a"))
    );
    assert_eq!(place.node_addresses, [address("192.0.2.1")]);
}

#[test]
fn probed_ports_are_those_of_every_kind_of_probe_and_hook_but_exec() {
    let pod: Pod = serde_json::from_value(json!({ "spec": {
        "initContainers": [{ "name": "side", "startupProbe": { "tcpSocket": { "port": 7000 } } }],
        "containers": [
            {
                "name": "app",
                "ports": [{ "name": "web", "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "path": "/", "port": "web" } },
                "livenessProbe": { "grpc": { "port": 9090 } },
                "startupProbe": { "exec": { "command": ["true"] } },
                "lifecycle": { "preStop": { "httpGet": { "path": "/stop", "port": 8081 } } },
            },
            { "name": "other", "livenessProbe": { "httpGet": { "port": "unknown" } }, "readinessProbe": { "httpGet": { "port": "8082" } } },
        ],
    } }))
    .expect("a Pod");
    assert_eq!(probe_ports(&pod), [7000, 8080, 8081, 8082, 9090]);
    assert_eq!(probe_ports(&Pod::default()), Vec::<u16>::new());
}

#[test]
fn a_pod_asks_the_name_servers_of_its_policy() {
    let cluster = [address("10.96.0.10")];
    let servers = |spec: Value| {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod: Pod = serde_json::from_value(json!({ "spec": spec })).expect("a Pod");
        name_servers(&pod, &cluster)
    };
    let own = json!({ "nameservers": ["192.0.2.53"] });
    assert_eq!(servers(json!({})), cluster);
    assert_eq!(
        servers(json!({ "dnsPolicy": "ClusterFirst", "dnsConfig": own })),
        ["10.96.0.10", "192.0.2.53"].map(address)
    );
    assert_eq!(
        servers(json!({ "dnsPolicy": "None", "dnsConfig": own })),
        [address("192.0.2.53")]
    );
    assert_eq!(
        servers(json!({ "dnsPolicy": "Default" })),
        Vec::<IpAddr>::new()
    );
}

#[test]
fn a_service_is_seen_at_its_addresses_and_behind_them() {
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "kubernetes" },
        "spec": { "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 443 }] },
    }))
    .expect("a Service");
    let slice = |name: &str, end: &str| -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": { "labels": { "kubernetes.io/service-name": name } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": [end] }],
            "ports": [{ "port": 6443 }],
        }))
        .expect("an EndpointSlice")
    };
    let (own, other) = (slice("kubernetes", "192.0.2.9"), slice("else", "192.0.2.8"));
    assert_eq!(
        service_ends(&service, &[&own, &other]),
        [(address("10.96.0.1"), 443), (address("192.0.2.9"), 6443)]
    );
}
