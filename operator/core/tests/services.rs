//! Which Services a member translates, and where to.

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crds::v1alpha1::GroupMember;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use operator_api::services::{EndpointState, ServiceProtocol, Services};
use operator_core::services::{MemberPod, Place, candidates, for_place};
use serde_json::{Value, json};
use support::{load, member};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn service(name: &str, spec: Value) -> Service {
    let mut spec = spec;
    let defaults = json!({
        "clusterIPs": ["10.96.0.7"],
        "selector": { "app": name },
        "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
    });
    for (field, value) in defaults.as_object().expect("a map") {
        if spec.get(field).is_none() {
            spec[field] = value.clone();
        }
    }
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "shop" },
        "spec": spec,
    }))
    .expect("a Service")
}

fn slice(service: &str, endpoints: Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": { "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    }))
    .expect("an EndpointSlice")
}

fn place() -> Place {
    Place {
        node: "node-1".to_owned(),
        zone: Some("a".to_owned()),
        node_addresses: vec![address("192.0.2.1")],
    }
}

/// Judges with one member pod at 10.244.0.3, labelled `app: web`.
fn judge(services: &[Service], slices: &[EndpointSlice], more: &str) -> Services {
    let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let pods = [MemberPod {
        labels: &labels,
        addresses: vec![address("10.244.0.3")],
    }];
    let objects = load(&member("webs", "voice", more));
    let members: Vec<&GroupMember> = objects.members.iter().collect();
    let services: Vec<&Service> = services.iter().collect();
    let slices: Vec<&EndpointSlice> = slices.iter().collect();
    for_place(&candidates(&services, &slices, &pods, &members), &place())
}

fn names(services: &Services) -> Vec<&str> {
    services
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect()
}

fn ends(services: &Services) -> Vec<(String, u16, EndpointState)> {
    services.services[0].ports[0]
        .endpoints
        .iter()
        .map(|end| (end.address.to_string(), end.port, end.state))
        .collect()
}

#[test]
fn a_service_counts_by_an_endpoint_by_a_pod_or_by_what_its_selector_can_only_fit() {
    let selector = json!({ "selector": { "tier": "front" } });
    let by_endpoint = service("a", selector.clone());
    let by_pod = service("b", json!({ "selector": { "app": "web" } }));
    let by_choice = service("c", json!({ "selector": { "tier": "back", "team": "x" } }));
    let stranger = service("d", selector);
    let without_selector = service("e", json!({ "selector": {} }));
    let slices = [
        slice("a", json!([{ "addresses": ["10.244.0.9", "10.244.0.3"] }])),
        slice("d", json!([{ "addresses": ["10.244.0.9"] }])),
        slice("e", json!([{ "addresses": ["10.244.0.9"] }])),
    ];
    let found = judge(
        &[stranger, by_choice, without_selector, by_pod, by_endpoint],
        &slices,
        "  podSelector: { matchLabels: { tier: back } }\n",
    );
    assert_eq!(names(&found), ["shop/a", "shop/b", "shop/c"]);
    assert_eq!(
        found.services[1].ports[0].endpoints,
        [],
        "it stays while it has no endpoint, so that no packet reaches the node"
    );
}

#[test]
fn headless_and_external_names_are_not_translated() {
    for spec in [
        json!({ "clusterIPs": ["None"], "clusterIP": "None", "selector": { "app": "web" } }),
        json!({ "clusterIPs": [], "type": "ExternalName", "selector": { "app": "web" } }),
    ] {
        assert_eq!(judge(&[service("web", spec)], &[], ""), Services::default());
    }
}

#[test]
fn every_address_of_a_service_is_translated_but_those_a_balancer_wants_for_itself() {
    let mut web = service(
        "web",
        json!({ "clusterIPs": ["10.96.0.7", "fd00::7"], "externalIPs": ["198.51.100.1"] }),
    );
    web.status = serde_json::from_value(json!({ "loadBalancer": { "ingress": [
        { "ip": "203.0.113.1", "ipMode": "VIP" },
        { "ip": "203.0.113.2", "ipMode": "Proxy" },
        { "hostname": "lb.example.com" },
    ] } }))
    .expect("a status");
    assert_eq!(
        judge(&[web], &[], "").services[0].addresses,
        ["10.96.0.7", "198.51.100.1", "203.0.113.1", "fd00::7"].map(address)
    );
}

#[test]
fn readiness_decides_as_it_does_on_a_node() {
    let slices = [slice(
        "web",
        json!([
            { "addresses": ["10.244.0.5"], "conditions": { "ready": false, "serving": true, "terminating": true } },
            { "addresses": ["10.244.0.4"] },
            { "addresses": ["10.244.0.3"], "conditions": { "ready": true } },
            { "addresses": ["10.244.0.6"], "conditions": { "ready": false } },
            { "addresses": ["10.244.0.7"], "conditions": { "ready": false, "serving": false, "terminating": true } },
            { "addresses": ["10.244.0.8"], "conditions": { "ready": false, "serving": true } },
        ]),
    )];
    assert_eq!(
        ends(&judge(&[service("web", json!({}))], &slices, "")),
        [
            ("10.244.0.3".to_owned(), 8080, EndpointState::Ready),
            ("10.244.0.4".to_owned(), 8080, EndpointState::Ready),
            ("10.244.0.5".to_owned(), 8080, EndpointState::Terminating),
        ]
    );
}

#[test]
fn an_endpoint_in_two_slices_counts_once_and_as_ready() {
    let terminating = json!({ "ready": false, "serving": true, "terminating": true });
    let slices = [
        slice(
            "web",
            json!([{ "addresses": ["10.244.0.3"], "conditions": terminating }]),
        ),
        slice("web", json!([{ "addresses": ["10.244.0.3"] }])),
    ];
    assert_eq!(
        ends(&judge(&[service("web", json!({}))], &slices, "")),
        [("10.244.0.3".to_owned(), 8080, EndpointState::Ready)]
    );
}

#[test]
fn ports_go_by_name_and_protocol_and_a_slice_has_its_own_numbers() {
    let web = service(
        "web",
        json!({ "type": "NodePort", "ports": [
            { "name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053 },
            { "name": "http", "port": 80 },
            { "name": "gone", "port": 81, "protocol": "TCP" },
        ] }),
    );
    let mut other = slice("web", json!([{ "addresses": ["10.244.0.4"] }]));
    other.ports = serde_json::from_value(json!([
        { "name": "http", "port": 9090, "protocol": "TCP" },
        { "name": "dns", "port": 5353, "protocol": "UDP" },
    ]))
    .expect("ports");
    let slices = [
        slice("web", json!([{ "addresses": ["10.244.0.3"] }])),
        other,
    ];
    let found = judge(&[web], &slices, "");
    assert_eq!(found.node_addresses, [address("192.0.2.1")]);
    let ports: Vec<_> = found.services[0]
        .ports
        .iter()
        .map(|port| {
            let ends: Vec<u16> = port.endpoints.iter().map(|end| end.port).collect();
            (port.protocol, port.port, port.node_port, ends)
        })
        .collect();
    assert_eq!(
        ports,
        [
            (ServiceProtocol::Tcp, 80, None, vec![8080, 9090]),
            (ServiceProtocol::Tcp, 81, None, vec![]),
            (ServiceProtocol::Udp, 53, Some(30_053), vec![5353]),
        ]
    );
}

#[test]
fn node_addresses_are_left_out_where_no_service_has_a_node_port() {
    assert!(
        judge(&[service("web", json!({}))], &[], "")
            .node_addresses
            .is_empty()
    );
}

#[test]
fn affinity_has_its_seconds_or_those_of_the_api_server() {
    for (spec, seconds) in [
        (json!({}), None),
        (json!({ "sessionAffinity": "ClientIP" }), Some(10_800)),
        (
            json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } } }),
            Some(60),
        ),
    ] {
        let found = judge(&[service("web", spec)], &[], "");
        assert_eq!(found.services[0].affinity_seconds, seconds);
    }
}

#[test]
fn a_local_service_leads_to_the_own_node_only() {
    let slices = [slice(
        "web",
        json!([
            { "addresses": ["10.244.0.3"], "nodeName": "node-1" },
            { "addresses": ["10.244.1.3"], "nodeName": "node-2" },
        ]),
    )];
    let web = service("web", json!({ "internalTrafficPolicy": "Local" }));
    assert_eq!(ends(&judge(&[web], &slices, "")).len(), 1);
    let web = service("web", json!({}));
    assert_eq!(ends(&judge(&[web], &slices, "")).len(), 2);
}

#[test]
fn hints_hold_when_every_ready_endpoint_has_them_and_one_fits() {
    let zones = |first: Value, second: Value| {
        let slices = [slice(
            "web",
            json!([
                { "addresses": ["10.244.0.3"], "hints": first },
                { "addresses": ["10.244.1.3"], "hints": second },
            ]),
        )];
        let found = judge(&[service("web", json!({}))], &slices, "");
        let ends = ends(&found).into_iter();
        ends.map(|(address, ..)| address).collect::<Vec<_>>()
    };
    let zone = |name: &str| json!({ "forZones": [{ "name": name }] });
    assert_eq!(zones(zone("a"), zone("b")), ["10.244.0.3"]);
    assert_eq!(zones(zone("b"), zone("b")).len(), 2, "none fits");
    assert_eq!(zones(zone("a"), Value::Null).len(), 2, "one has none");
    let node =
        |name: &str| json!({ "forZones": [{ "name": "a" }], "forNodes": [{ "name": name }] });
    assert_eq!(zones(node("node-2"), node("node-1")), ["10.244.1.3"]);
}
