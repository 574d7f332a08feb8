//! The webhook and the enrolment endpoint, asked by the real API server and by those who should not ask.

use std::time::Duration;

use e2e::cluster::{Cluster, Namespace, SYSTEM, group, member_pod};
use serde_json::{Value, json};

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(180);

/// The pod as the API server would store it.
fn admitted(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Value, String> {
    cluster
        .kubectl_with(
            &[
                "-n",
                namespace,
                "create",
                "--dry-run=server",
                "-o",
                "json",
                "-f",
                "-",
            ],
            pod,
        )
        .map_err(|error| format!("{error:#}"))
        .map(|text| serde_json::from_str(&text).expect("JSON"))
}

fn without_times(mut pod: Value) -> Value {
    for field in ["creationTimestamp", "uid", "managedFields"] {
        pod["metadata"][field] = Value::Null;
    }
    pod
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn injection_is_the_same_every_time_and_leaves_other_pods_alone() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-injection").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    let chosen = member_pod("chosen", "wan", NODES[0], &["sleep", "1"], "");
    let once = Cluster::wait_for("the webhook to know the GroupMember", LIMIT, || {
        match admitted(&cluster, &space.name, &chosen) {
            Ok(pod) => Ok((pod["spec"]["initContainers"][0]["name"] == "getvpn").then_some(pod)),
            // The policy that catches pods without a sidecar may be quicker than the webhook's own view.
            Err(error) if error.contains("chooses this pod, which has no sidecar") => Ok(None),
            Err(error) => anyhow::bail!("{error}"),
        }
    })
    .expect("injected");
    let again = admitted(&cluster, &space.name, &chosen).expect("injected");
    assert_eq!(without_times(once.clone()), without_times(again));
    // What was injected once is left as it is.
    let mut whole = once.clone();
    for field in [
        "creationTimestamp",
        "uid",
        "managedFields",
        "resourceVersion",
    ] {
        whole["metadata"]
            .as_object_mut()
            .expect("an object")
            .remove(field);
    }
    whole["status"] = json!({});
    let thrice = admitted(&cluster, &space.name, &whole.to_string()).expect("accepted");
    assert_eq!(
        thrice["spec"]["initContainers"],
        once["spec"]["initContainers"]
    );
    let context = &once["spec"]["initContainers"][0]["securityContext"];
    assert_eq!(
        context["capabilities"],
        json!({"add": ["NET_ADMIN"], "drop": ["ALL"]})
    );
    assert_eq!(context["readOnlyRootFilesystem"], true);

    let other = chosen.replace("part-of: wan", "part-of: other");
    let other = admitted(&cluster, &space.name, &other).expect("accepted");
    assert!(other["spec"]["initContainers"].is_null(), "{other}");
    assert!(other["metadata"]["annotations"].is_null(), "{other}");
    let opted_out = chosen.replace("app: chosen", "getvpn.dev/inject: disabled");
    let opted_out = admitted(&cluster, &space.name, &opted_out).expect("accepted");
    assert!(opted_out["spec"]["initContainers"].is_null(), "{opted_out}");
    // Namespaces without the label never ask.
    let outside = admitted(&cluster, "default", &chosen).expect("accepted");
    assert!(outside["spec"]["initContainers"].is_null(), "{outside}");

    // A sidecar that another webhook stripped.
    let mut stripped = whole.clone();
    stripped["spec"]["initContainers"][0]
        .as_object_mut()
        .expect("an object")
        .remove("restartPolicy");
    let said = admitted(&cluster, &space.name, &stripped.to_string()).expect_err("refused");
    assert!(said.contains("restartPolicy: Always"), "{said}");
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn the_webhook_answers_quickly() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-latency").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    let pod = member_pod("chosen", "wan", NODES[0], &["sleep", "1"], "");
    for _ in 0..100 {
        drop(admitted(&cluster, &space.name, &pod));
    }
    let (mut total, mut within) = (0.0, 0.0);
    for operator in cluster
        .items(&[
            "-n",
            SYSTEM,
            "pods",
            "-l",
            "app.kubernetes.io/component=operator",
        ])
        .expect("operators")
    {
        let address = operator["status"]["podIP"].as_str().expect("an address");
        let output = cluster
            .on_machine(NODES[0], "curl")
            .args(["-s", "-m", "5", &format!("http://{address}:8080/metrics")])
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |start: &str| -> f64 {
            text.lines()
                .find(|line| line.starts_with(start))
                .and_then(|line| line.rsplit(' ').next()?.parse().ok())
                .unwrap_or(0.0)
        };
        total += value("getvpn_operator_injection_seconds_count");
        within += value("getvpn_operator_injection_seconds_bucket{le=\"0.0256\"");
    }
    println!("{within} of {total} pods were judged within 25.6 ms");
    assert!(total >= 100.0, "{total}");
    assert!(within / total >= 0.99, "{within} of {total}");
}

/// What the enrolment endpoint says to a token.
fn enrol(cluster: &Cluster, token: &str, body: &str) -> (u16, String) {
    let service = cluster
        .json(&["-n", SYSTEM, "service", "getvpn-enrolment"])
        .expect("the Service");
    let address = service["spec"]["clusterIP"].as_str().expect("an address");
    // Through a file, so that no token is in an argument list.
    let directory = tempfile::tempdir().expect("directory");
    let config = directory.path().join("curl");
    std::fs::write(
        &config,
        format!(
            "url = \"https://{address}:10251/v1/enrol\"\nheader = \"Authorization: Bearer {token}\"\nheader = \"Content-Type: application/json\"\n"
        ),
    )
    .expect("written");
    let data = directory.path().join("body");
    std::fs::write(&data, body).expect("written");
    let output = cluster
        .on_machine(NODES[0], "curl")
        .args(["-sk", "-m", "10", "-w", "\n%{http_code}", "--config"])
        .arg(&config)
        .arg("--data-binary")
        .arg(format!("@{}", data.display()))
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (said, code) = text.rsplit_once('\n').expect("a code");
    (code.parse().expect("a number"), said.to_owned())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn only_a_pod_that_is_chosen_gets_a_certificate_and_only_for_its_own_name() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-enrolment").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    space.group_ready("wan", LIMIT).expect("key servers");
    space
        .apply(&member_pod(
            "chosen",
            "wan",
            NODES[0],
            &["sleep", "86400"],
            "",
        ))
        .expect("applied");
    let other = member_pod("other", "wan", NODES[0], &["sleep", "86400"], "")
        .replace("part-of: wan", "part-of: other");
    space.apply(&other).expect("applied");
    space.pod_ready("chosen", LIMIT).expect("ready");
    space.pod_ready("other", LIMIT).expect("ready");
    let token = |pod: &str, audience: &str| {
        space
            .kubectl(&[
                "create",
                "token",
                "default",
                &format!("--audience={audience}"),
                "--bound-object-kind=Pod",
                &format!("--bound-object-name={pod}"),
            ])
            .expect("a token")
            .trim()
            .to_owned()
    };
    let request = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("key");
        let parameters =
            rcgen::CertificateParams::new(vec![format!("{name}.{}.member.getvpn", space.name)])
                .expect("parameters");
        let pem = parameters
            .serialize_request(&key)
            .expect("a request")
            .pem()
            .expect("PEM");
        json!({ "version": "0.1.0", "certificateRequest": pem }).to_string()
    };
    let ours = "getvpn.dev/enrolment";

    let (code, said) = enrol(&cluster, &token("chosen", ours), &request("chosen"));
    assert_eq!(code, 200, "{said}");
    assert!(said.contains("BEGIN CERTIFICATE"), "{said}");
    for (token, body, expected, reason) in [
        (
            token("chosen", ours),
            request("other"),
            403,
            "CertificateRequest",
        ),
        (token("other", ours), request("other"), 403, "NotSelected"),
        (
            token("chosen", "https://kubernetes.default.svc"),
            request("chosen"),
            401,
            "TokenRejected",
        ),
        (
            "nonsense".to_owned(),
            request("chosen"),
            401,
            "TokenRejected",
        ),
        (
            space
                .kubectl(&["create", "token", "default", &format!("--audience={ours}")])
                .expect("a token")
                .trim()
                .to_owned(),
            request("chosen"),
            401,
            "TokenRejected",
        ),
    ] {
        let (code, said) = enrol(&cluster, &token, &body);
        assert_eq!(code, expected, "{reason}: {said}");
        assert!(said.contains(reason), "{said}");
    }
    let late = token("chosen", ours);
    space
        .kubectl(&["delete", "pod", "chosen", "--timeout=60s"])
        .expect("deleted");
    let (code, said) = enrol(&cluster, &late, &request("chosen"));
    assert_eq!(code, 401, "the token of a pod that is gone: {said}");
}
