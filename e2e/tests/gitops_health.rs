//! The health checks for Argo CD and Flux follow one table, and survive objects that nobody has looked at yet.
//!
//! The script for Argo CD runs in Debian's Lua 5.4, the expressions for Flux in a CEL interpreter.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cel::{Context, Program};
use serde_json::{Value, json};

/// What a tool makes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Healthy,
    Degraded,
    Suspended,
    Progressing,
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": "Because", "message": format!("{kind} is {status}") })
}

/// Objects and what they are.
fn table() -> Vec<(&'static str, Value, Health)> {
    let ready = condition("Ready", "True");
    vec![
        ("no status", json!({}), Health::Progressing),
        (
            "an empty status",
            json!({ "status": {} }),
            Health::Progressing,
        ),
        (
            "never seen",
            json!({ "status": { "observedGeneration": -1 } }),
            Health::Progressing,
        ),
        (
            "ready",
            json!({ "status": { "observedGeneration": 3, "conditions": [ready] } }),
            Health::Healthy,
        ),
        (
            "ready in an earlier version",
            json!({ "status": { "observedGeneration": 2, "conditions": [ready] } }),
            Health::Progressing,
        ),
        (
            "not ready",
            json!({ "status": { "observedGeneration": 3, "conditions": [condition("Ready", "False")] } }),
            Health::Progressing,
        ),
        (
            "not known",
            json!({ "status": { "observedGeneration": 3, "conditions": [
                condition("Ready", "Unknown"), condition("Reconciling", "True"),
            ] } }),
            Health::Progressing,
        ),
        (
            "stalled",
            json!({ "status": { "observedGeneration": 3, "conditions": [
                condition("Ready", "False"), condition("Stalled", "True"),
            ] } }),
            Health::Degraded,
        ),
        (
            "not stalled any more",
            json!({ "status": { "observedGeneration": 3, "conditions": [
                condition("Stalled", "False"), condition("Ready", "True"),
            ] } }),
            Health::Healthy,
        ),
        (
            "paused while ready",
            json!({ "status": { "observedGeneration": 3, "conditions": [
                condition("Ready", "True"), condition("Paused", "True"),
            ] } }),
            Health::Suspended,
        ),
        (
            "paused while stalled",
            json!({ "status": { "observedGeneration": 3, "conditions": [
                condition("Paused", "True"), condition("Stalled", "True"),
            ] } }),
            Health::Degraded,
        ),
        (
            "conditions without a message",
            json!({ "status": { "observedGeneration": 3, "conditions": [
                { "type": "Ready", "status": "False" },
            ] } }),
            Health::Progressing,
        ),
    ]
}

/// A whole object with one of the statuses.
fn whole(part: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "getvpn.dev/v1alpha1",
        "kind": "GetVpnGroup",
        "metadata": { "name": "voice", "namespace": "wan", "generation": 3 },
        "spec": { "groupID": 7 },
    });
    if let Some(status) = part.get("status") {
        object["status"] = status.clone();
    }
    object
}

fn gitops() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/gitops")
}

fn read(path: &str) -> String {
    fs::read_to_string(gitops().join(path)).expect("an example")
}

fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).expect("YAML")
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => String::from("nil"),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("[==[{text}]==]"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(lua).collect();
            format!("{{{}}}", items.join(","))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("[ {} ]={}", lua(&json!(key)), lua(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

/// What the script says of an object: status and message.
fn argo(script: &str, object: &Value) -> (String, String) {
    let program = format!(
        "obj = {}\nlocal hs = (function()\n{script}\nend)()\nprint(hs.status)\nprint(hs.message)\n",
        lua(object)
    );
    let mut child = Command::new("lua5.4")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("lua5.4 starts; `xtask/setup --tests` installs it");
    child
        .stdin
        .take()
        .expect("an input")
        .write_all(program.as_bytes())
        .expect("written");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "the script fails");
    let said = String::from_utf8(output.stdout).expect("text");
    let mut lines = said.lines();
    let mut line = || lines.next().unwrap_or_default().to_owned();
    (line(), line())
}

#[test]
fn the_script_for_argo_cd_follows_the_table() {
    let script = read("argocd/health.lua");
    for (name, part, wanted) in table() {
        let (status, message) = argo(&script, &whole(&part));
        assert_eq!(status, format!("{wanted:?}"), "{name}");
        assert!(!message.is_empty() && message != "nil", "{name}");
    }
    let (_, stalled) = argo(&script, &whole(&table()[7].1));
    assert_eq!(stalled, "Stalled is True");
}

#[test]
fn argo_cd_gets_the_script_for_every_kind() {
    let script = read("argocd/health.lua");
    let config = &documents("argocd/argocd-cm.yaml")[0];
    let checks = config["data"].as_object().expect("entries");
    assert_eq!(checks.len(), crds::Kind::ALL.len());
    for kind in crds::Kind::ALL {
        let entry = format!("resource.customizations.health.getvpn.dev_{kind}");
        assert_eq!(checks[&entry].as_str(), Some(script.as_str()), "{kind}");
    }
}

/// Whether an expression holds; one that cannot be evaluated does not, as in Flux.
fn holds(expression: &str, object: &Value) -> bool {
    let program = Program::compile(expression).expect("a valid expression");
    let mut context = Context::default();
    for (name, value) in object.as_object().expect("an object") {
        context.add_variable(name.as_str(), value).expect("a value");
    }
    program
        .execute(&context)
        .is_ok_and(|value| value == true.into())
}

#[test]
fn the_expressions_for_flux_follow_the_table_for_every_kind() {
    let documents = documents("flux/cluster.yaml");
    let checks: Vec<&Value> = documents
        .iter()
        .filter_map(|document| document["spec"]["healthCheckExprs"].as_array())
        .flatten()
        .collect();
    let mut kinds: Vec<&str> = checks.iter().filter_map(|it| it["kind"].as_str()).collect();
    let mut known: Vec<String> = crds::Kind::ALL.map(|kind| kind.to_string()).to_vec();
    kinds.sort_unstable();
    known.sort_unstable();
    assert_eq!(kinds, known);
    for check in checks {
        assert_eq!(check["apiVersion"], "getvpn.dev/v1alpha1");
        let failed = check["failed"].as_str().expect("an expression");
        let current = check["current"].as_str().expect("an expression");
        for (name, part, wanted) in table() {
            let object = whole(&part);
            // Flux asks for `failed` before `current`.
            let seen = if holds(failed, &object) {
                Health::Degraded
            } else if holds(current, &object) {
                Health::Healthy
            } else {
                Health::Progressing
            };
            // Flux has no word for what is paused: it waits.
            let wanted = if wanted == Health::Suspended {
                Health::Progressing
            } else {
                wanted
            };
            assert_eq!(seen, wanted, "{name}");
        }
    }
}
