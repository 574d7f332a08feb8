//! Gives key servers the policy of a group, hands rekey requests and signing keys on, and asks for members.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::v1alpha1::{GetVpnGroup, SigningKeySource};
use k8s_openapi::api::core::v1::Secret;
use keyserver_api::client::{Client, ClientError};
use keyserver_api::error::ErrorCode;
use keyserver_api::policy::GroupPolicy;
use keyserver_api::request::{RekeyRequest, SigningKeyImportRequest, SigningKeyRotationRequest};
use keyserver_api::status::GroupStatus;
use kube::{Api, ResourceExt};
use operator_core::key_server::observed::Observed;
use operator_core::key_server::status::rotation_due;
use operator_core::{labels, policy};
use zeroize::Zeroizing;

use crate::controllers::worker::{Memory, Worker, now};
use crate::error::{Doing as _, Error};
use crate::fetch::Namespace;
use crate::key_servers::Dialled;
use crate::observations::Rows;

/// How often members are listed when their number and their keys are as before.
const LISTING: Duration = Duration::from_secs(60);
/// Entries of the Secret with a signing key: encrypted PKCS#8 in PEM, and what opens it.
const SIGNING_KEY: &str = "key.pem";
const PASSPHRASE: &str = "passphrase";

/// What became of it.
#[derive(Default)]
pub(super) struct Programmed {
    /// Whether the key servers hold the policy; none when there is no primary to ask.
    pub(super) in_force: Option<bool>,
    /// Why they refused it.
    pub(super) refused: Option<String>,
    /// The registered members, by host name in lower case.
    pub(super) rows: Option<Arc<Rows>>,
    /// Value of the rekey annotation that was just acted on.
    pub(super) handled_rekey_request: Option<String>,
    /// Why the key in a Secret is not the group's: reason and message.
    pub(super) signing_key_fault: Option<(&'static str, String)>,
}

/// Does what is due at the primary. `observed` shows the group as it is afterwards.
pub(super) async fn program(
    worker: &Worker,
    group: &GetVpnGroup,
    wanted: Option<&GroupPolicy>,
    dialled: &Dialled,
    observed: &mut Observed,
    memory: &mut Memory,
) -> Result<Programmed, Error> {
    let mut done = Programmed::default();
    let name = group.name_any();
    let Some((ordinal, client)) = primary(dialled, observed) else {
        return Ok(done);
    };
    if let Some(wanted) = wanted {
        match give(
            worker,
            &client,
            wanted,
            view(observed, ordinal, &name),
            memory,
        )
        .await?
        {
            Given::Same => done.in_force = Some(true),
            Given::Taken(view) => {
                done.in_force = Some(true);
                replace_view(observed, ordinal, *view);
            }
            Given::Refused(message) => {
                done.in_force = Some(false);
                done.refused = Some(message);
            }
        }
    }
    let Some(view) = view(observed, ordinal, &name).cloned() else {
        return Ok(done);
    };
    done.signing_key_fault = signing_key(worker, group, &client, &view, memory).await?;
    done.handled_rekey_request = rekey(group, &client).await?;
    done.rows = Some(rows(worker, group, &client, &view, memory).await?);
    Ok(done)
}

/// The primary among those that answered, and a client for it.
fn primary(dialled: &Dialled, observed: &Observed) -> Option<(usize, Client)> {
    let (ordinal, _) = observed.primary()?;
    let pod = observed.pods.get(&ordinal)?;
    Some((ordinal, dialled.client(ordinal, pod)?))
}

fn view<'a>(observed: &'a Observed, ordinal: usize, name: &str) -> Option<&'a GroupStatus> {
    let server = observed.servers.get(&ordinal)?;
    server.groups.iter().find(|group| group.name == name)
}

fn replace_view(observed: &mut Observed, ordinal: usize, view: GroupStatus) {
    if let Some(server) = observed.servers.get_mut(&ordinal) {
        server.groups.retain(|group| group.name != view.name);
        server.groups.push(view);
    }
}

enum Given {
    /// They have it.
    Same,
    /// They took it; the group is now so.
    Taken(Box<GroupStatus>),
    /// They refused it.
    Refused(String),
}

/// Gives the policy unless the key servers have it.
async fn give(
    worker: &Worker,
    client: &Client,
    wanted: &GroupPolicy,
    view: Option<&GroupStatus>,
    memory: &mut Memory,
) -> Result<Given, Error> {
    let revision = policy::revision(wanted);
    if let Some(view) = view {
        let known = memory
            .in_force
            .as_ref()
            .is_some_and(|(number, name)| *number == view.policy_revision && *name == revision);
        if known {
            return Ok(Given::Same);
        }
        let held = client
            .policy(&wanted.name)
            .await
            .map_err(|source| asking("read the policy of the key servers", source))?;
        if held == *wanted {
            memory.in_force = Some((view.policy_revision, revision));
            return Ok(Given::Same);
        }
    }
    match client.put_group(wanted).await {
        Ok(view) => {
            tracing::info!(
                group = wanted.name,
                revision,
                "the key servers took the policy"
            );
            worker.context.metrics.policies.inc();
            memory.in_force = Some((view.policy_revision, revision));
            Ok(Given::Taken(Box::new(view)))
        }
        Err(ClientError::Refused { body, .. }) if body.code == ErrorCode::InvalidPolicy => {
            Ok(Given::Refused(body.message))
        }
        Err(source) => Err(asking("give the key servers the policy", source)),
    }
}

/// Sees that the key of the Secret is the one that signs.
async fn signing_key(
    worker: &Worker,
    group: &GetVpnGroup,
    client: &Client,
    view: &GroupStatus,
    memory: &mut Memory,
) -> Result<Option<(&'static str, String)>, Error> {
    let wanted = &group.spec.rekey.signing_key;
    if wanted.source == SigningKeySource::Generated {
        rotate(group, client, view).await?;
    }
    let (SigningKeySource::Secret, Some(reference)) = (wanted.source, &wanted.secret_ref) else {
        return Ok(None);
    };
    let own = group.namespace().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(worker.context.client.clone(), &own);
    let found = api
        .get_opt(&reference.name)
        .await
        .doing(|| format!("read Secret {own}/{}", reference.name))?;
    let Some(secret) = found else {
        let message = format!(
            "there is no Secret `{}`; make one with `{SIGNING_KEY}` (encrypted PKCS#8) and `{PASSPHRASE}`",
            reference.name
        );
        return Ok(Some(("SecretNotFound", message)));
    };
    let version = secret.resource_version();
    let fingerprint = view.signing_key.as_ref().map(|key| key.fingerprint.clone());
    let seen = Some((version, fingerprint));
    if memory.signing_key == seen {
        return Ok(None);
    }
    let text = |entry: &str| {
        let value = secret.data.as_ref()?.get(entry)?;
        String::from_utf8(value.0.clone()).ok().map(Zeroizing::new)
    };
    let (Some(pem), Some(passphrase)) = (text(SIGNING_KEY), text(PASSPHRASE)) else {
        let message = format!(
            "Secret `{}` needs the entries `{SIGNING_KEY}` (encrypted PKCS#8 in PEM) and `{PASSPHRASE}`",
            reference.name
        );
        return Ok(Some(("InvalidSecret", message)));
    };
    let request = SigningKeyImportRequest {
        label: reference.name.clone(),
        encrypted_pem: pem.to_string(),
        passphrase: passphrase.trim_end_matches(['\r', '\n']).to_owned(),
        // Another key of this name is never replaced without somebody's word.
        overwrite: false,
    };
    match client.import_signing_key(&group.name_any(), &request).await {
        Ok(key) => {
            memory.signing_key = seen.map(|(version, _)| (version, Some(key.fingerprint)));
            Ok(None)
        }
        Err(ClientError::Refused { body, .. }) if body.code == ErrorCode::SigningKeyConflict => {
            Ok(Some(("SecretConflict", body.message)))
        }
        Err(ClientError::Refused { body, .. }) if body.code == ErrorCode::InvalidSigningKey => {
            Ok(Some(("InvalidSecret", body.message)))
        }
        Err(source) => Err(asking("import the signing key", source)),
    }
}

/// Replaces a generated key that is older than the group wants. Its age is counted from when its fingerprint was first
/// seen, which the status keeps.
async fn rotate(group: &GetVpnGroup, client: &Client, view: &GroupStatus) -> Result<(), Error> {
    let known = group
        .status
        .as_ref()
        .and_then(|status| status.signing_key.as_ref());
    let days = group.spec.rekey.signing_key.rotation_period_days;
    let present = view
        .signing_key
        .as_ref()
        .map(|key| key.fingerprint.as_str());
    if !known.is_some_and(|known| rotation_due(known, days, present, &now())) {
        return Ok(());
    }
    let name = group.name_any();
    let key = client
        .rotate_signing_key(&name, &SigningKeyRotationRequest::default())
        .await
        .map_err(|source| asking("replace the signing key", source))?;
    tracing::info!(
        group = name,
        label = key.label,
        fingerprint = key.fingerprint,
        "the signing key reached its age and is replaced"
    );
    Ok(())
}

/// One rekey for each value of the annotation.
async fn rekey(group: &GetVpnGroup, client: &Client) -> Result<Option<String>, Error> {
    let Some(request) = group.annotations().get(labels::REKEY_REQUESTED) else {
        return Ok(None);
    };
    let handled = group
        .status
        .as_ref()
        .and_then(|status| status.last_handled_rekey_request.as_ref());
    if handled == Some(request) {
        return Ok(None);
    }
    client
        .rekey(&group.name_any(), &RekeyRequest::default())
        .await
        .map_err(|source| asking("ask for a rekey", source))?;
    Ok(Some(request.clone()))
}

/// The members: as last listed, unless their number or their keys changed or some time went by.
async fn rows(
    worker: &Worker,
    group: &GetVpnGroup,
    client: &Client,
    view: &GroupStatus,
    memory: &mut Memory,
) -> Result<Arc<Rows>, Error> {
    let name = group.name_any();
    let present = runtime::clock::now();
    let fresh = memory
        .members_listed
        .is_some_and(|(at, count, generation)| {
            present.duration_since(at) < LISTING
                && count == view.members
                && generation == view.generation
        });
    let own = group.namespace().unwrap_or_default();
    if fresh && let Some(rows) = worker.observations.get(&own, &name) {
        return Ok(rows);
    }
    let listed = client
        .members(&name)
        .await
        .map_err(|source| asking("list the members", source))?;
    memory.members_listed = Some((present, view.members, view.generation));
    let rows: BTreeMap<_, _> = listed
        .into_iter()
        .map(|row| {
            let host = row
                .identity
                .split_once(':')
                .map_or(row.identity.as_str(), |(_, host)| host);
            (host.to_ascii_lowercase(), row)
        })
        .collect();
    Ok(Arc::new(rows))
}

/// Deletes groups at the key servers that no resource asks for any more. A resource that is refused keeps what it has.
pub(super) async fn remove_strangers(
    all: &Namespace,
    host: &str,
    dialled: &Dialled,
    observed: &Observed,
) {
    let Some((ordinal, client)) = primary(dialled, observed) else {
        return;
    };
    let Some(server) = observed.servers.get(&ordinal) else {
        return;
    };
    for group in &server.groups {
        let wanted = all.groups.iter().any(|object| {
            let from = object.spec.key_servers_from.as_ref();
            object.name_any() == group.name
                && (group.name == host || from.is_some_and(|from| from.group_ref.name == host))
        });
        if wanted {
            continue;
        }
        match client.delete_group(&group.name).await {
            Ok(()) => tracing::info!(group = group.name, "the key servers forgot a group"),
            Err(error) => {
                tracing::warn!(group = group.name, %error, "a group could not be removed; tried again");
            }
        }
    }
}

fn asking(what: &str, source: ClientError) -> Error {
    Error::KeyServer {
        what: what.to_owned(),
        source,
    }
}
