//! The Secrets of a group's key servers: read by name, written when something in them is due.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use operator_core::key_server::build::secrets::{
    self, IKE_CHAIN, IKE_KEY, IKE_TRUST, Pem, TLS_CERTIFICATE, TLS_KEY, TLS_TRUST,
};
use operator_core::key_server::certificates::{self, Wanted};
use operator_core::key_server::inputs::{Certificate, Inputs, MOST_REPLICAS};
use operator_core::key_server::pre_shared_keys;
use operator_core::names;
use zeroize::Zeroizing;

use crate::apply::Applier;
use crate::authority::{
    Authorities, Authority, AuthorityError, IssueError, Issued, Purpose, Subject, present,
};
use crate::error::{Doing as _, Error};
use crate::metrics::Metrics;

/// Writes the Secrets of key servers.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    applier: Applier,
    authorities: Authorities,
    metrics: Metrics,
}

impl Secrets {
    /// With these parts of the operator.
    pub fn new(
        client: Client,
        applier: Applier,
        authorities: Authorities,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            applier,
            authorities,
            metrics,
        }
    }

    /// Makes or renews what is due.
    ///
    /// # Errors
    /// What the API server refuses; a Secret of the user that cannot be used; a sealing key that is lost.
    pub async fn ensure(&self, inputs: &Inputs) -> Result<(), Error> {
        let (namespace, group) = (&inputs.namespace, &inputs.group);
        let authorities = self.authorities.get_or_make(namespace, group).await?;
        self.sealing(inputs).await?;
        let trust = authorities.tls.certificate();
        for (wanted, name, purpose, build) in [
            (
                certificates::tls(inputs),
                names::tls_secret(group),
                Purpose::Peer,
                secrets::tls as fn(&Inputs, &Pem<'_>) -> Secret,
            ),
            (
                certificates::admin(inputs),
                names::admin_secret(group),
                Purpose::Client,
                secrets::admin,
            ),
        ] {
            let secret = self.read(namespace, &name).await?;
            let entries = secret
                .as_ref()
                .and_then(|secret| Some((text(secret, TLS_CERTIFICATE)?, text(secret, TLS_KEY)?)));
            let trusted = secret.as_ref().is_some_and(|secret| {
                text(secret, TLS_TRUST).as_deref().map(String::as_str) == Some(trust)
            });
            let issued =
                self.current(&authorities.tls, &wanted, entries, trusted, purpose, &name)?;
            let pem = Pem {
                certificate: &issued.certificate,
                key: &issued.key,
                trust,
            };
            let object = build(inputs, &pem);
            self.applier
                .ensure(&object, secret.as_ref().map(|secret| &secret.metadata))
                .await?;
        }
        self.ike(inputs, &authorities.ike).await
    }

    /// What key servers prove themselves to members with.
    async fn ike(&self, inputs: &Inputs, authority: &Authority) -> Result<(), Error> {
        let namespace = &inputs.namespace;
        let pre_shared_keys = match &inputs.pre_shared_keys {
            Some(name) => Some(self.pre_shared_keys(namespace, name).await?),
            None => None,
        };
        let internal = inputs.certificate == Some(Certificate::Internal);
        if !internal && pre_shared_keys.is_none() {
            return Ok(());
        }
        let name = names::ike_secret(&inputs.group);
        let secret = self.read(namespace, &name).await?;
        let present = secret.as_ref().map(|secret| &secret.metadata);
        let keys = pre_shared_keys.as_ref().map(|keys| keys.as_str());
        let object = if internal {
            let mut trust = String::new();
            for group in &inputs.trusted_groups {
                // A group that was just made gets its authorities here.
                let theirs = self.authorities.get_or_make(namespace, group).await?;
                trust.push_str(theirs.ike.certificate());
            }
            let entries = secret
                .as_ref()
                .and_then(|secret| Some((text(secret, IKE_CHAIN)?, text(secret, IKE_KEY)?)));
            let issued_by_us = secret.as_ref().is_some_and(|secret| {
                text(secret, IKE_TRUST).is_some_and(|trust| trust.contains(authority.certificate()))
            });
            let issued = self.current(
                authority,
                &certificates::ike(inputs),
                entries,
                issued_by_us,
                Purpose::Peer,
                &name,
            )?;
            let pem = Pem {
                certificate: &issued.certificate,
                key: &issued.key,
                trust: &trust,
            };
            secrets::ike(inputs, Some(&pem), keys)
        } else {
            secrets::ike(inputs, None, keys)
        };
        self.applier.ensure(&object, present).await?;
        Ok(())
    }

    /// The certificate that is there, or a new one when it is due.
    fn current(
        &self,
        authority: &Authority,
        wanted: &Wanted,
        entries: Option<(Zeroizing<String>, Zeroizing<String>)>,
        issued_by_us: bool,
        purpose: Purpose,
        secret: &str,
    ) -> Result<Issued, Error> {
        let now = runtime::clock::since_epoch();
        let facts = entries
            .as_ref()
            .and_then(|(certificate, _)| present(certificate, issued_by_us));
        let Some(due) = certificates::due(wanted, facts.as_ref(), now.as_secs()) else {
            if let Some((certificate, key)) = entries {
                return Ok(Issued {
                    certificate: certificate.to_string(),
                    key,
                });
            }
            return Err(issue_error(IssueError::Request("it has no key".to_owned())));
        };
        tracing::info!(secret, ?due, "a certificate is issued");
        self.metrics.certificates.inc();
        let subject = Subject {
            common_name: wanted.common_name.clone(),
            unit: "key-servers".to_owned(),
            dns_names: wanted.dns_names.clone(),
        };
        authority
            .issue(&subject, purpose, Duration::from_secs(wanted.seconds), now)
            .map_err(issue_error)
    }

    /// The key that seals the volumes: made once. Where there are volumes and no key, a new one would not open them.
    async fn sealing(&self, inputs: &Inputs) -> Result<(), Error> {
        let (namespace, group) = (&inputs.namespace, &inputs.group);
        let name = names::sealing_secret(group);
        if self.read(namespace, &name).await?.is_some() {
            return Ok(());
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        for ordinal in 0..MOST_REPLICAS {
            let claim = names::volume_claim(group, ordinal);
            let found = claims
                .get_opt(&claim)
                .await
                .doing(|| format!("read volume claim {namespace}/{claim}"))?;
            if found.is_some_and(|claim| claim.metadata.deletion_timestamp.is_none()) {
                return Err(Error::Irreplaceable(format!(
                    "Secret `{name}` with the key that seals the volumes is gone, and volume `{claim}` is there: restore the Secret, or delete the volumes of all key servers to begin anew"
                )));
            }
        }
        let key = Zeroizing::new(hex::encode(runtime::entropy::bytes::<32>()));
        let secret = secrets::sealing(inputs, &key);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams {
            field_manager: Some(operator_core::labels::MANAGER.to_owned()),
            ..PostParams::default()
        };
        match api.create(&parameters, &secret).await {
            Ok(_) => Ok(()),
            // Somebody was quicker: theirs is the key.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error).doing(|| format!("create Secret {namespace}/{name}")),
        }
    }

    /// The file of pre-shared keys from the user's Secret.
    async fn pre_shared_keys(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Zeroizing<String>, Error> {
        let secret = self.read(namespace, name).await?.ok_or_else(|| {
            Error::UserSecret(format!(
                "there is no Secret `{name}`; make one with the key of the group's pods under `key`"
            ))
        })?;
        let entries: BTreeMap<String, Vec<u8>> = secret
            .data
            .into_iter()
            .flatten()
            .map(|(entry, value)| (entry, value.0))
            .collect();
        let file = pre_shared_keys::file(name, namespace, &entries)
            .map_err(|error| Error::UserSecret(error.to_string()));
        for key in entries.into_values() {
            drop(Zeroizing::new(key));
        }
        file
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Secret>, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name)
            .await
            .doing(|| format!("read Secret {namespace}/{name}"))
    }
}

/// An entry of a Secret as text.
fn text(secret: &Secret, entry: &str) -> Option<Zeroizing<String>> {
    let value = secret.data.as_ref()?.get(entry)?;
    String::from_utf8(value.0.clone()).ok().map(Zeroizing::new)
}

fn issue_error(error: IssueError) -> Error {
    Error::Authority(AuthorityError::Issue(error))
}
