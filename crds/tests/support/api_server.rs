//! The third judge: a real API server with the resources installed, asked where `GETVPN_KUBECTL` names a kubectl.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};

use serde_json::{Value, json};

const NAMESPACE: &str = "cel-rules";
/// Keeps the operator from acting on an object that is there for a moment.
const PAUSED: (&str, &str) = ("getvpn.dev/reconcile", "paused");

/// Objects that exist have names, and block those names; one test at a time asks.
static OBJECTS: Mutex<()> = Mutex::new(());

/// Asserts that the API server says the same about a new object, or about one that was `old`.
pub(super) fn agrees(object: &Value, old: Option<&Value>, expected: &[String]) {
    let Some(kubectl) = std::env::var_os("GETVPN_KUBECTL") else {
        return;
    };
    let server = ApiServer { kubectl };
    server.prepare();
    let _one = OBJECTS.lock().unwrap_or_else(PoisonError::into_inner);
    let said = match old {
        None => server.ask(&["create", "--dry-run=server", "-f", "-"], object),
        Some(old) => {
            let old = paused(old);
            assert_eq!(server.ask(&["create", "-f", "-"], &old), None, "{old}");
            let said = server.replace(&paused(object));
            assert_eq!(server.ask(&["delete", "--wait", "-f", "-"], &old), None);
            said
        }
    };
    let causes = said.as_deref().map(causes).unwrap_or_default();
    assert_eq!(
        causes.len(),
        expected.len(),
        "as many complaints as {expected:?}: {said:?}"
    );
    for word in expected {
        let (field, message) = word.split_once(": ").unwrap_or(("", word));
        assert!(
            causes
                .iter()
                .any(|cause| cause.starts_with(field) && cause.contains(message)),
            "the API server does not say {word:?}: {causes:?}"
        );
    }
}

struct ApiServer {
    kubectl: std::ffi::OsString,
}

impl ApiServer {
    fn prepare(&self) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let namespace = json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": { "name": NAMESPACE },
            });
            assert_eq!(self.ask(&["apply", "-f", "-"], &namespace), None);
        });
    }

    /// Asks again when the operator wrote to the object in between.
    fn replace(&self, object: &Value) -> Option<String> {
        loop {
            let said = self.ask(&["replace", "--dry-run=server", "-f", "-"], object);
            if !said
                .as_ref()
                .is_some_and(|said| said.contains("the object has been modified"))
            {
                return said;
            }
        }
    }

    /// What it complained about.
    fn ask(&self, arguments: &[&str], object: &Value) -> Option<String> {
        let mut child = Command::new(&self.kubectl)
            .args(["--namespace", NAMESPACE])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(object.to_string().as_bytes())
            .expect("written");
        let output = child.wait_with_output().expect("kubectl");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success()).then_some(said)
    }
}

fn paused(object: &Value) -> Value {
    let mut object = object.clone();
    let (key, value) = PAUSED;
    object["metadata"]["annotations"][key] = json!(value);
    object
}

/// The single complaints of a refusal. Several are written as a list.
fn causes(said: &str) -> Vec<String> {
    let said = said.trim();
    let list = said
        .split_once("is invalid: ")
        .map_or(said, |parts| parts.1);
    if list.trim_start().starts_with("* ") {
        list.split("\n* ")
            .map(|cause| cause.trim().trim_start_matches("* ").to_owned())
            .filter(|cause| !cause.is_empty() && !cause.starts_with("<nil>"))
            .collect()
    } else {
        vec![list.to_owned()]
    }
}
