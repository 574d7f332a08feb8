//! The admission webhook: puts the sidecar into pods while they are made.

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use crds::v1alpha1::{GetVpnGroup, GroupMember, Resources, SecurityAssociation};
use k8s_openapi::ByteString;
use operator_core::injection::{Catalog, Decision, Notice, Template, WEBHOOK_PATH, decide};
use operator_core::key_server::events::Notice as Told;
use operator_core::labels;
use serde_json::{Value, json};

use crate::cli::Arguments;
use crate::context::Context;
use crate::fetch::Namespace;
use crate::metrics::DecisionLabel;

/// Largest review: pods are limited to about 1.5 MiB by etcd, and a review repeats parts of them.
const LARGEST_REVIEW: usize = 8 << 20;

/// The routes.
pub fn router(context: Context) -> Router {
    Router::new()
        .route(WEBHOOK_PATH, post(mutate))
        .layer(DefaultBodyLimit::max(LARGEST_REVIEW))
        .with_state(context)
}

/// What is put into all pods.
pub fn template(arguments: &Arguments) -> Template {
    Template {
        image: arguments.sidecar_image.clone(),
        image_pull_policy: "IfNotPresent".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tun: arguments.tun_device.clone(),
        resources: Resources::default(),
    }
}

async fn mutate(State(context): State<Context>, Json(review): Json<Value>) -> Json<Value> {
    let begun = runtime::clock::now();
    let answer = answer(&context, &review);
    context
        .metrics
        .injection_seconds
        .observe(runtime::clock::now().duration_since(begun).as_secs_f64());
    Json(answer)
}

/// The AdmissionReview (`admission.k8s.io/v1`) that answers `review`.
fn answer(context: &Context, review: &Value) -> Value {
    let request = &review["request"];
    let namespace = request["namespace"].as_str().unwrap_or_default();
    let dry_run = request["dryRun"].as_bool().unwrap_or(false);
    let pod = &request["object"];
    let all = Namespace::new(&context.stores, namespace);
    let members: Vec<&GroupMember> = all.members.iter().collect();
    let groups: Vec<&GetVpnGroup> = all.groups.iter().collect();
    let associations: Vec<&SecurityAssociation> = all.associations.iter().collect();
    let catalog = Catalog {
        members: &members,
        groups: &groups,
        associations: &associations,
    };
    let decision = decide(pod, &catalog, &template(&context.arguments));
    let mut response = json!({ "uid": request["uid"], "allowed": true });
    let (label, patch) = match &decision {
        Decision::NotSelected => ("NotSelected", None),
        Decision::AlreadyInjected => ("AlreadyInjected", None),
        Decision::Inject(injection) => {
            if !injection.warnings.is_empty() {
                response["warnings"] = json!(injection.warnings);
            }
            for member in &injection.members {
                context.injections.injected(namespace, member);
            }
            ("Injected", Some(&injection.patch))
        }
        Decision::Skip { notice, patch } => {
            response["warnings"] = json!([format!("getvpn: {}", notice.message)]);
            if !dry_run {
                tell(context, namespace, pod, notice, "a pod gets no sidecar");
            }
            ("Skipped", Some(patch))
        }
        Decision::Refuse(notice) => {
            response["allowed"] = json!(false);
            response["status"] = json!({
                "code": 403,
                "reason": "Forbidden",
                "message": format!("getvpn: {}: {}", notice.reason.as_str(), notice.message),
            });
            if !dry_run {
                tell(context, namespace, pod, notice, "a pod is refused");
            }
            ("Refused", None)
        }
    };
    if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
        // Octets are written as base64 in every Kubernetes type.
        let octets = serde_json::to_vec(patch).unwrap_or_default();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(ByteString(octets));
    }
    context
        .metrics
        .injections
        .get_or_create(&DecisionLabel { decision: label })
        .inc();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    })
}

fn tell(context: &Context, namespace: &str, pod: &Value, notice: &Notice, what: &'static str) {
    let name = ["/metadata/name", "/metadata/generateName"]
        .iter()
        .find_map(|place| pod.pointer(place).and_then(Value::as_str))
        .unwrap_or_default();
    tracing::warn!(
        namespace,
        pod = name,
        reason = notice.reason.as_str(),
        message = notice.message,
        "{what}"
    );
    let names = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(labels::GROUP_MEMBERS))
        .and_then(Value::as_str)
        .unwrap_or_default();
    for member in names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        context.injections.refused(
            namespace,
            member,
            notice.reason.as_str(),
            notice.message.clone(),
        );
        if let Some(member) = context.stores.members.get(namespace, member) {
            let (events, notice) = (context.events.clone(), event(name, notice, what));
            tokio::spawn(async move { events.tell(&*member, &notice).await });
        }
    }
}

/// The pod does not exist, so that its GroupMember is told; who makes the pod is told by the API server.
fn event(pod: &str, notice: &Notice, what: &str) -> Told {
    Told {
        warning: true,
        reason: notice.reason.as_str(),
        action: "Inject",
        note: format!("{what} ({pod}): {}", notice.message),
    }
}
