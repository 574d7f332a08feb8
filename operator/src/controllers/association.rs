//! Says of a SecurityAssociation whether its group took it.

use std::sync::Arc;

use crds::v1alpha1::SecurityAssociation;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use operator_core::association::{self, Outcome};
use operator_core::{namespace, policy};

use super::worker::{Worker, now};
use crate::error::Error;
use crate::fetch::Namespace;
use crate::status;

pub(super) async fn reconcile(
    object: Arc<SecurityAssociation>,
    worker: Arc<Worker>,
) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (own, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let all = Namespace::new(&worker.context.stores, &own);
    let judgement = namespace::validate(&all.groups, &all.associations, &all.members);
    let refused = judgement
        .rejections()
        .find(|rejection| rejection.kind == "SecurityAssociation" && rejection.name == name);
    let judged = judgement.groups.iter().find(|judged| {
        judged.group.metadata.name.as_deref() == Some(object.spec.group_ref.name.as_str())
    });
    let built;
    let outcome = if let Some(rejection) = refused {
        Outcome::Rejected(rejection)
    } else {
        match judged.map(|judged| &judged.outcome) {
            Some(Ok(validated)) => match policy::build(validated) {
                Ok(policy) => {
                    built = policy;
                    let warnings = validated.warnings.iter();
                    Outcome::Accepted {
                        policy: &built,
                        warnings: warnings
                            .filter(|(warned, _)| *warned == name)
                            .map(|(_, message)| message.clone())
                            .collect(),
                    }
                }
                Err(error) => {
                    tracing::warn!(namespace = own, name, %error, "a policy cannot be built");
                    return Ok(Action::await_change());
                }
            },
            Some(Err(rejections)) => match rejections.first() {
                Some(rejection) => Outcome::GroupNotServed(rejection),
                None => return Ok(Action::await_change()),
            },
            // The watches do not show it yet; its own event follows.
            None => return Ok(Action::await_change()),
        }
    };
    let status = association::status(&object, &outcome, &now());
    status::write(
        &worker.context.client,
        &worker.context.metrics,
        &*object,
        object.status.as_ref(),
        &status,
        "SecurityAssociation",
    )
    .await?;
    Ok(Action::await_change())
}
