//! Which pods the webhook sees, and which it can never see.

use operator_core::rbac::WEBHOOK_CONFIGURATION;
use serde_json::{Value, json};

use crate::render::{Helm, object, of_kind};

/// Whether a label selector takes something with these labels.
fn takes(selector: &Value, labels: &[(&str, &str)]) -> bool {
    let value = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|it| it.1);
    let equal = selector["matchLabels"].as_object().is_none_or(|wanted| {
        wanted
            .iter()
            .all(|(key, wanted)| value(key) == wanted.as_str())
    });
    let list = selector["matchExpressions"].as_array();
    let expressions = list.map(Vec::as_slice).unwrap_or_default();
    equal
        && expressions.iter().all(|expression| {
            let key = expression["key"].as_str().expect("a key");
            let named = expression["values"]
                .as_array()
                .expect("values")
                .iter()
                .any(|one| one.as_str() == value(key));
            match expression["operator"].as_str() {
                Some("In") => named,
                Some("NotIn") => !named,
                other => panic!("{other:?} is not known here"),
            }
        })
}

fn namespace(name: &str) -> [(&str, &str); 2] {
    [
        ("kubernetes.io/metadata.name", name),
        ("getvpn.dev/injection", "enabled"),
    ]
}

#[test]
fn the_webhook_sees_pods_of_namespaces_that_ask_and_never_those_of_the_cluster_or_its_own() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &[]);
    let configuration = object(
        &objects,
        "MutatingWebhookConfiguration",
        WEBHOOK_CONFIGURATION,
    );
    let webhooks = configuration["webhooks"].as_array().expect("webhooks");
    assert_eq!(webhooks.len(), 1);
    let webhook = &webhooks[0];
    let selector = &webhook["namespaceSelector"];
    assert!(takes(selector, &namespace("wan")));
    assert!(!takes(selector, &[("kubernetes.io/metadata.name", "wan")]));
    for own in [
        "getvpn-system",
        "kube-system",
        "kube-public",
        "kube-node-lease",
    ] {
        assert!(!takes(selector, &namespace(own)), "{own}");
    }
    let pods = &webhook["objectSelector"];
    assert!(takes(pods, &[]));
    assert!(takes(pods, &[("getvpn.dev/inject", "enabled")]));
    assert!(!takes(pods, &[("getvpn.dev/inject", "disabled")]));
    assert_eq!(
        webhook["matchConditions"][0]["expression"],
        "!request.namespace.startsWith('kube-')"
    );
    assert_eq!(
        webhook["rules"],
        json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            "scope": "Namespaced",
        }])
    );
    assert_eq!(webhook["failurePolicy"], "Fail");
    assert_eq!(webhook["reinvocationPolicy"], "IfNeeded");
    assert_eq!(webhook["sideEffects"], "None");
    assert_eq!(webhook["timeoutSeconds"], 5);
}

#[test]
fn the_webhook_names_the_service_of_the_operator_and_leaves_the_authority_to_it() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &["ports.webhook=9443"]);
    let configuration = object(
        &objects,
        "MutatingWebhookConfiguration",
        WEBHOOK_CONFIGURATION,
    );
    let client = &configuration["webhooks"][0]["clientConfig"];
    assert_eq!(
        *client,
        json!({ "service": {
            "name": "getvpn-webhook", "namespace": "getvpn-system", "path": "/mutate-pods", "port": 443,
        }})
    );
    let service = object(&objects, "Service", "getvpn-webhook");
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "webhook");
    let pod = &object(&objects, "Deployment", "getvpn-operator")["spec"]["template"];
    let ports = pod["spec"]["containers"][0]["ports"]
        .as_array()
        .expect("ports");
    assert!(
        ports
            .iter()
            .any(|port| port["name"] == "webhook" && port["containerPort"] == 9443)
    );
    assert!(takes(
        &json!({ "matchLabels": service["spec"]["selector"] }),
        &pod["metadata"]["labels"]
            .as_object()
            .expect("labels")
            .iter()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
            .collect::<Vec<_>>()
    ));
}

#[test]
fn a_limit_to_some_namespaces_limits_the_webhook_too() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &["watchNamespaces={blue}"]);
    let configuration = object(
        &objects,
        "MutatingWebhookConfiguration",
        WEBHOOK_CONFIGURATION,
    );
    let selector = &configuration["webhooks"][0]["namespaceSelector"];
    assert!(takes(selector, &namespace("blue")));
    assert!(!takes(selector, &namespace("green")));
}

#[test]
fn without_the_webhook_nothing_is_registered_and_the_operator_does_not_serve_it() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &["injection.mode=Manual"]);
    assert!(of_kind(&objects, "MutatingWebhookConfiguration").is_empty());
    let deployment = object(&objects, "Deployment", "getvpn-operator");
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(arguments.contains("--webhook=disabled"), "{arguments}");
}
