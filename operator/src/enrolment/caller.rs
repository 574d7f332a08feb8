//! Who asks: the pod behind a projected service-account token.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use operator_api::pod;

use super::Refused;
use crate::context::Context;
use crate::reports::PodKey;

/// Claims of a bound token, as the API server tells them.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A pod that proved itself.
pub(super) struct Caller {
    /// Which one.
    pub(super) key: PodKey,
    /// As it is now.
    pub(super) pod: Arc<Pod>,
}

impl Caller {
    /// The pod whose token a request carries.
    pub(super) async fn of(context: &Context, headers: &HeaderMap) -> Result<Self, Refused> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| rejected("the request has no `Authorization: Bearer TOKEN`"))?;
        let key = review(context, token).await?;
        let pod = find(context, &key).await?;
        Ok(Self { key, pod })
    }
}

fn rejected(message: impl Into<String>) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, "TokenRejected", message)
}

/// Lets the API server judge the token. It refuses tokens of pods that are gone.
async fn review(context: &Context, token: &str) -> Result<PodKey, Refused> {
    let reviews: Api<TokenReview> = Api::all(context.client.clone());
    let review = TokenReview {
        spec: TokenReviewSpec {
            audiences: Some(vec![pod::TOKEN_AUDIENCE.to_owned()]),
            token: Some(token.to_owned()),
        },
        ..TokenReview::default()
    };
    let answer = reviews
        .create(&PostParams::default(), &review)
        .await
        .map_err(|error| Refused::not_ready(format!("the token cannot be checked: {error}")))?;
    let status = answer.status.unwrap_or_default();
    if status.authenticated != Some(true) {
        return Err(rejected(status.error.unwrap_or_else(|| {
            "the API server does not know this token".to_owned()
        })));
    }
    let ours = status
        .audiences
        .iter()
        .flatten()
        .any(|audience| audience == pod::TOKEN_AUDIENCE);
    if !ours {
        return Err(rejected(format!(
            "the token is not for the audience `{}`",
            pod::TOKEN_AUDIENCE
        )));
    }
    bound_pod(&status.user.unwrap_or_default())
        .ok_or_else(|| rejected("the token is not bound to a pod"))
}

fn bound_pod(user: &UserInfo) -> Option<PodKey> {
    let claim = |name: &str| user.extra.as_ref()?.get(name)?.first().cloned();
    let account = user.username.as_ref()?.strip_prefix(SERVICE_ACCOUNT)?;
    Some(PodKey {
        namespace: account.split_once(':')?.0.to_owned(),
        name: claim(POD_NAME)?,
        uid: claim(POD_UID)?,
    })
}

/// The pod as the watch shows it, or as the API server does: it may be quicker than the watch.
async fn find(context: &Context, key: &PodKey) -> Result<Arc<Pod>, Refused> {
    let is = |pod: &Pod| pod.metadata.uid.as_deref() == Some(key.uid.as_str());
    let has_address = |pod: &Pod| {
        let status = pod.status.as_ref();
        status.is_some_and(|status| status.pod_ip.is_some())
    };
    if let Some(pod) = context.stores.pods.get(&key.namespace, &key.name)
        && is(&pod)
        && has_address(&pod)
    {
        return Ok(pod);
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    let found = pods
        .get_opt(&key.name)
        .await
        .map_err(|error| Refused::not_ready(format!("the pod cannot be read: {error}")))?;
    match found {
        Some(pod) if is(&pod) => Ok(Arc::new(pod)),
        _ => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "PodGone",
            format!(
                "the pod {}/{} of this token is gone",
                key.namespace, key.name
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, extra: &[(&str, &str)]) -> UserInfo {
        UserInfo {
            username: Some(name.to_owned()),
            extra: Some(
                extra
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
                    .collect(),
            ),
            ..UserInfo::default()
        }
    }

    #[test]
    fn only_a_service_account_bound_to_a_pod_is_a_pod() {
        let claims = [(POD_NAME, "web-0"), (POD_UID, "1-2")];
        let found = bound_pod(&user("system:serviceaccount:shop:default", &claims));
        assert_eq!(
            found,
            Some(PodKey {
                namespace: "shop".to_owned(),
                name: "web-0".to_owned(),
                uid: "1-2".to_owned(),
            })
        );
        for (name, claims) in [
            ("system:serviceaccount:shop:default", &claims[..1]),
            ("system:serviceaccount:shop", &claims[..]),
            ("system:node:shop:default", &claims[..]),
        ] {
            assert_eq!(bound_pod(&user(name, claims)), None, "{name}");
        }
    }
}
