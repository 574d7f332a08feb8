//! The enrolment endpoint: pods prove which pod they are and receive certificates and their configuration.
//!
//! Every replica answers. A member that cannot reach any goes on with what it has.

mod announce;
mod caller;
mod changes;
mod picture;

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use operator_api::enrolment::{
    ENROL, EnrolAnswer, EnrolRequest, GroupCertificate, MOST_WAIT_SECONDS, Refusal, WATCH,
    WatchRequest,
};
use operator_api::pod;

use crate::authority::AuthorityError;
use crate::context::Context;
use crate::metrics::EnrolmentLabel;
use caller::Caller;

pub use announce::Announced;
pub use changes::{Changes, follow};

/// Largest request.
const LARGEST_REQUEST: usize = 64 << 10;
/// How soon a member with pre-shared keys alone enrols again.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// What the routes share.
#[derive(Clone)]
pub struct Enrolment {
    /// Everything else.
    pub context: Context,
    /// Tells that configurations may have changed.
    pub changes: Changes,
    /// What was said of pods that wait.
    pub announced: Announced,
}

/// Why a request is not answered as asked.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    reason: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }

    /// Not now: the member tries again.
    fn not_ready(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NotReady", message)
    }
}

/// The routes.
pub fn router(enrolment: Enrolment) -> Router {
    Router::new()
        .route(ENROL, post(enrol))
        .route(WATCH, post(watch))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(enrolment)
}

async fn enrol(
    State(enrolment): State<Enrolment>,
    headers: HeaderMap,
    Json(request): Json<EnrolRequest>,
) -> Response {
    let result = match Caller::of(&enrolment.context, &headers).await {
        Ok(caller) => {
            let answer = issue(&enrolment.context, &caller, &request).await;
            log(&enrolment.context, "enrol", Some(&caller), &answer);
            if let Err(refused) = &answer {
                let events = &enrolment.context.events;
                enrolment.announced.refused(events, &caller, refused);
            }
            answer
        }
        Err(refused) => {
            let answer = Err(refused);
            log(&enrolment.context, "enrol", None, &answer);
            answer
        }
    };
    written(result)
}

async fn issue(
    context: &Context,
    caller: &Caller,
    request: &EnrolRequest,
) -> Result<EnrolAnswer, Refused> {
    let picture = picture::of(context, caller)?;
    let identity = pod::identity(&caller.key.name, &caller.key.namespace);
    let mut certificates = Vec::new();
    let mut renew_after_seconds = RENEWAL.as_secs();
    for group in picture.by_certificate {
        let issued = context
            .authorities
            .sign_member(&group, &request.certificate_request, &identity)
            .await
            .map_err(|error| match error {
                AuthorityError::Issue(error) => Refused::new(
                    StatusCode::FORBIDDEN,
                    "CertificateRequest",
                    error.to_string(),
                ),
                AuthorityError::NotInternal(_) => {
                    Refused::new(StatusCode::FORBIDDEN, "NotInternal", error.to_string())
                }
                AuthorityError::NotMade(_) | AuthorityError::Kubernetes(_) => {
                    Refused::not_ready(error.to_string())
                }
                AuthorityError::Damaged { .. } => Refused::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "AuthorityDamaged",
                    error.to_string(),
                ),
            })?;
        context.metrics.certificates.inc();
        renew_after_seconds = renew_after_seconds.min(issued.renew_after_seconds);
        certificates.push(GroupCertificate {
            group: group.metadata.name.clone().unwrap_or_default(),
            chain: issued.chain,
            trust: issued.trust,
        });
    }
    Ok(EnrolAnswer {
        configured: picture.configured,
        certificates,
        renew_after_seconds,
    })
}

async fn watch(
    State(enrolment): State<Enrolment>,
    headers: HeaderMap,
    Json(request): Json<WatchRequest>,
) -> Response {
    let context = &enrolment.context;
    let caller = match Caller::of(context, &headers).await {
        Ok(caller) => caller,
        Err(refused) => {
            let answer = Err(refused);
            log(context, "watch", None, &answer);
            return written::<()>(answer);
        }
    };
    context
        .reports
        .put(caller.key.clone(), request.report.clone());
    enrolment
        .announced
        .report(&context.events, &caller, &request.report);
    let wait = request.wait_seconds.clamp(1, MOST_WAIT_SECONDS);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait.into());
    let mut changes = enrolment.changes.clone();
    loop {
        changes.seen();
        match picture::of(context, &caller) {
            Ok(picture) if picture.configured.revision != request.revision => {
                return written(Ok(picture.configured));
            }
            Ok(_) => {}
            // A pod that is not ready for a configuration keeps the one it has.
            Err(refused) if refused.status == StatusCode::SERVICE_UNAVAILABLE => {}
            Err(refused) => {
                let answer = Err(refused);
                log(context, "watch", Some(&caller), &answer);
                return written::<()>(answer);
            }
        }
        if tokio::time::timeout_at(deadline, changes.next())
            .await
            .is_err()
        {
            return StatusCode::NO_CONTENT.into_response();
        }
    }
}

fn log<T>(
    context: &Context,
    request: &'static str,
    caller: Option<&Caller>,
    answer: &Result<T, Refused>,
) {
    let outcome = match answer {
        Ok(_) => "Accepted",
        Err(refused) => refused.reason,
    };
    context
        .metrics
        .enrolments
        .get_or_create(&EnrolmentLabel { request, outcome })
        .inc();
    let (namespace, pod) = caller.map_or(("", ""), |caller| {
        (caller.key.namespace.as_str(), caller.key.name.as_str())
    });
    match answer {
        Ok(_) => tracing::info!(request, namespace, pod, "a member is enrolled"),
        Err(refused) if refused.status == StatusCode::SERVICE_UNAVAILABLE => {
            tracing::debug!(
                request,
                namespace,
                pod,
                message = refused.message,
                "not ready"
            );
        }
        Err(refused) => tracing::warn!(
            request,
            namespace,
            pod,
            reason = refused.reason,
            message = refused.message,
            "a request for enrolment is refused"
        ),
    }
}

fn written<T: serde::Serialize>(result: Result<T, Refused>) -> Response {
    match result {
        Ok(answer) => Json(answer).into_response(),
        Err(refused) => {
            let body = Refusal {
                reason: refused.reason.to_owned(),
                message: refused.message,
            };
            (refused.status, Json(body)).into_response()
        }
    }
}
