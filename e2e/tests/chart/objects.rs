//! The operator's pods, and what stands around them.

use clap::Parser;
use operator::cli::{Arguments, Switch};
use serde_json::{Value, json};

use crate::render::{Helm, object, of_kind};

fn pod(objects: &[Value]) -> &Value {
    &object(objects, "Deployment", "getvpn-operator")["spec"]["template"]
}

fn arguments(objects: &[Value]) -> Arguments {
    let container = &pod(objects)["spec"]["containers"][0];
    let given = container["args"].as_array().expect("arguments");
    let words = given.iter().filter_map(Value::as_str);
    Arguments::try_parse_from(std::iter::once("operator").chain(words))
        .expect("the operator understands its arguments")
}

#[test]
fn the_operator_understands_the_arguments_that_the_values_turn_into() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects(
        "getvpn",
        &[
            "global.imageRegistry=registry.example.com",
            "keyServer.image.tag=1.2.3",
            "groupMember.image.digest=sha256:1111111111111111111111111111111111111111111111111111111111111111",
            "watchNamespaces={blue,green}",
            "operator.maxConcurrentReconciles=3",
            "operator.leaseDurationSeconds=30",
            "ports.enrolment=20000",
            "ports.metrics=20001",
        ],
    );
    let given = arguments(&objects);
    assert_eq!(
        given.key_server_image,
        "registry.example.com/getvpn/keyserver:1.2.3"
    );
    assert_eq!(
        given.sidecar_image,
        "registry.example.com/getvpn/gm-sidecar@sha256:1111111111111111111111111111111111111111111111111111111111111111"
    );
    assert_eq!(given.watch_namespaces, ["blue", "green"]);
    assert_eq!(given.max_concurrent_reconciles, 3);
    assert_eq!(given.lease_duration_seconds, 30);
    assert_eq!(given.webhook, Switch::Enabled);
    assert_eq!(given.leader_election, Switch::Enabled);
    assert_eq!(given.webhook_listen.port(), 10250);
    assert_eq!(given.enrolment_listen.port(), 20000);
    assert_eq!(given.metrics_listen.port(), 20001);
}

#[test]
fn by_default_the_images_are_those_the_operator_itself_would_choose() {
    let Some(helm) = Helm::find() else { return };
    let given = arguments(&helm.objects("getvpn", &[]));
    let own = Arguments::parse_from(["operator"]);
    assert_eq!(given.key_server_image, own.key_server_image);
    assert_eq!(given.sidecar_image, own.sidecar_image);
    assert_eq!(given.metrics_listen, own.metrics_listen);
    assert_eq!(given.webhook_listen, own.webhook_listen);
    assert_eq!(given.enrolment_listen, own.enrolment_listen);
    assert_eq!(given.lease_duration_seconds, own.lease_duration_seconds);
}

#[test]
fn two_pods_are_spread_and_keep_the_rules_of_the_restricted_level() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &[]);
    let deployment = object(&objects, "Deployment", "getvpn-operator");
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(
        deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
        0
    );
    let spec = &pod(&objects)["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let context = &spec["containers"][0]["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    for field in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
        assert!(spec[field].is_null(), "{field}");
    }
    let keys: Vec<&Value> = spec["topologySpreadConstraints"]
        .as_array()
        .expect("constraints")
        .iter()
        .map(|constraint| &constraint["topologyKey"])
        .collect();
    assert_eq!(
        keys,
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    );
    let budget = object(&objects, "PodDisruptionBudget", "getvpn-operator");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    assert_eq!(
        budget["spec"]["selector"], deployment["spec"]["selector"],
        "the budget is for these pods"
    );
}

#[test]
fn probes_and_services_name_ports_that_the_container_has() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &["metrics.serviceMonitor.enabled=true"]);
    let container = &pod(&objects)["spec"]["containers"][0];
    let has = |name: &Value| {
        let ports = container["ports"].as_array().expect("ports");
        ports.iter().any(|port| port["name"] == *name)
    };
    for (probe, path) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert!(has(&container[probe]["httpGet"]["port"]), "{probe}");
    }
    let services = of_kind(&objects, "Service");
    assert_eq!(services.len(), 3);
    for service in services {
        for port in service["spec"]["ports"].as_array().expect("ports") {
            assert!(has(&port["targetPort"]), "{port}");
        }
    }
    let enrolment = object(&objects, "Service", "getvpn-enrolment");
    assert_eq!(enrolment["spec"]["ports"][0]["port"], 10251);
}

#[test]
fn the_network_policy_opens_the_ports_the_operator_listens_on_and_nothing_else() {
    let Some(helm) = Helm::find() else { return };
    assert!(of_kind(&helm.objects("getvpn", &[]), "NetworkPolicy").is_empty());
    let objects = helm.objects(
        "getvpn",
        &[
            "networkPolicy.enabled=true",
            "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
        ],
    );
    let policy = object(&objects, "NetworkPolicy", "getvpn-operator");
    let ingress = policy["spec"]["ingress"].as_array().expect("rules");
    let open: Vec<(i64, bool)> = ingress
        .iter()
        .map(|rule| {
            let port = rule["ports"][0]["port"].as_i64().expect("a port");
            (port, rule["from"].is_null())
        })
        .collect();
    assert_eq!(open, [(10250, true), (10251, true), (8080, false)]);
    assert_eq!(
        policy["spec"]["podSelector"]["matchLabels"],
        object(&objects, "Deployment", "getvpn-operator")["spec"]["selector"]["matchLabels"]
    );
}

#[test]
fn labels_annotations_and_objects_of_the_user_are_added() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects(
        "getvpn",
        &[
            "commonLabels.team=wan",
            "commonAnnotations.owner=wan",
            "extraObjects[0].kind=ConfigMap",
            "extraObjects[0].apiVersion=v1",
            "extraObjects[0].metadata.name=more",
        ],
    );
    let (more, own): (Vec<&Value>, Vec<&Value>) = objects
        .iter()
        .partition(|object| object["metadata"]["name"] == "more");
    assert_eq!(more.len(), 1);
    for object in own {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        assert_eq!(object["metadata"]["labels"]["team"], "wan", "{name}");
        assert_eq!(object["metadata"]["annotations"]["owner"], "wan", "{name}");
    }
}
