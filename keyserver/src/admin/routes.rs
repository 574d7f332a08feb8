//! Paths of the admin API.

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use keyserver_api::error::{ErrorBody, ErrorCode};
use keyserver_api::path;
use keyserver_api::policy::GroupPolicy;
use keyserver_api::request::{
    AdmitRequest, EvictRequest, RekeyRequest, SigningKeyExportRequest, SigningKeyImportRequest,
    SigningKeyRotationRequest,
};
use serde::Serialize;

use super::{AdminRequest, RunnerHandle};

const LARGEST_BODY: usize = 4 << 20;

/// All routes of the admin API.
pub fn router(runner: RunnerHandle) -> Router {
    Router::new()
        .route(path::STATUS, get(status))
        .route(path::STEP_DOWN, post(step_down))
        .route(&path::peer("{name}"), delete(remove_peer))
        .route(path::GROUPS, get(groups))
        .route(
            &path::group("{name}"),
            put(put_group).get(group).delete(delete_group),
        )
        .route(&path::policy("{name}"), get(policy))
        .route(&path::members("{name}"), get(members))
        .route(&path::rekey("{name}"), post(rekey))
        .route(&path::evict("{name}"), post(evict))
        .route(&path::admit("{name}"), post(admit))
        .route(
            &path::signing_key_export("{name}"),
            post(export_signing_key),
        )
        .route(
            &path::signing_key_import("{name}"),
            post(import_signing_key),
        )
        .route(
            &path::signing_key_rotation("{name}"),
            post(rotate_signing_key),
        )
        .fallback(|| async { refuse(ErrorCode::BadRequest, "there is no such path") })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(runner)
}

/// A refusal as an HTTP answer.
struct Refusal(ErrorBody);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Self {
        Self(body)
    }
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal(ErrorBody {
        code,
        message: message.into(),
        primary: None,
    })
}

type Answer<T> = Result<Json<T>, Refusal>;
type Body<T> = Result<Json<T>, JsonRejection>;

fn body<T>(body: Body<T>) -> Result<T, Refusal> {
    body.map(|Json(body)| body)
        .map_err(|error| refuse(ErrorCode::BadRequest, error.body_text()))
}

async fn answer<T: Serialize>(
    runner: RunnerHandle,
    question: impl FnOnce(super::Reply<T>) -> AdminRequest,
) -> Answer<T> {
    Ok(Json(runner.ask(question).await?))
}

async fn status(State(runner): State<RunnerHandle>) -> impl IntoResponse {
    answer(runner, AdminRequest::Status).await
}

async fn step_down(State(runner): State<RunnerHandle>) -> impl IntoResponse {
    answer(runner, AdminRequest::StepDown).await
}

async fn remove_peer(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
) -> impl IntoResponse {
    answer(runner, |reply| AdminRequest::RemovePeer(name, reply)).await
}

async fn groups(State(runner): State<RunnerHandle>) -> impl IntoResponse {
    answer(runner, AdminRequest::Groups).await
}

async fn put_group(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
    policy: Body<GroupPolicy>,
) -> impl IntoResponse {
    let policy = body(policy)?;
    if policy.name != name {
        return Err(refuse(
            ErrorCode::BadRequest,
            format!(
                "name: the policy is of group `{}`, the path names `{name}`",
                policy.name
            ),
        ));
    }
    answer(runner, |reply| {
        AdminRequest::PutGroup(Box::new(policy), reply)
    })
    .await
}

async fn group(State(runner): State<RunnerHandle>, Path(name): Path<String>) -> impl IntoResponse {
    answer(runner, |reply| AdminRequest::Group(name, reply)).await
}

async fn policy(State(runner): State<RunnerHandle>, Path(name): Path<String>) -> impl IntoResponse {
    answer(runner, |reply| AdminRequest::Policy(name, reply)).await
}

async fn delete_group(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
) -> impl IntoResponse {
    answer(runner, |reply| AdminRequest::DeleteGroup(name, reply)).await
}

async fn members(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
) -> impl IntoResponse {
    answer(runner, |reply| AdminRequest::Members(name, reply)).await
}

async fn rekey(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
    request: Body<RekeyRequest>,
) -> impl IntoResponse {
    let request = body(request)?;
    answer(runner, |reply| AdminRequest::Rekey(name, request, reply)).await
}

async fn evict(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
    request: Body<EvictRequest>,
) -> impl IntoResponse {
    let request = body(request)?;
    answer(runner, |reply| AdminRequest::Evict(name, request, reply)).await
}

async fn admit(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
    request: Body<AdmitRequest>,
) -> impl IntoResponse {
    let request = body(request)?;
    answer(runner, |reply| AdminRequest::Admit(name, request, reply)).await
}

async fn export_signing_key(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
    request: Body<SigningKeyExportRequest>,
) -> impl IntoResponse {
    let request = body(request)?;
    answer(runner, |reply| {
        AdminRequest::ExportSigningKey(name, request, reply)
    })
    .await
}

async fn import_signing_key(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
    request: Body<SigningKeyImportRequest>,
) -> impl IntoResponse {
    let request = body(request)?;
    answer(runner, |reply| {
        AdminRequest::ImportSigningKey(name, request, reply)
    })
    .await
}

async fn rotate_signing_key(
    State(runner): State<RunnerHandle>,
    Path(name): Path<String>,
    request: Body<SigningKeyRotationRequest>,
) -> impl IntoResponse {
    let request = body(request)?;
    answer(runner, |reply| {
        AdminRequest::RotateSigningKey(name, request, reply)
    })
    .await
}
