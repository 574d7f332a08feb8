//! The two authorities of a group, and the certificates they issue.
//!
//! One authority is for TLS among key servers and their administrators, the other for members and key servers in IKE.
//! Their keys are in one Secret in the operator's own namespace, so that who may read the Secrets of the group's
//! namespace can issue nothing.

mod issue;
mod present;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crds::v1alpha1::{AuthenticationMode, CertificateIssuer, GetVpnGroup};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use operator_core::{labels, names};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

pub use issue::{Authority, IssueError, Issued, Purpose, Subject};
pub use present::present;

/// Longest life of a member's certificate, in seconds.
const MEMBER_CERTIFICATE_SECONDS: u64 = 7 * 24 * 3600;

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The group's authorities were not made yet; the operator that holds the lease does it.
    #[error(
        "the authorities of group `{0}` are not made yet; wait for the operator to look after the group"
    )]
    NotMade(String),
    /// The group's certificates come from elsewhere.
    #[error("group `{0}` does not take its certificates from the operator's own authority")]
    NotInternal(String),
    /// The Secret is there and cannot be used.
    #[error(
        "Secret `{secret}` in the operator's namespace cannot be used: {cause}; restore it, or delete it to make new authorities"
    )]
    Damaged {
        /// The Secret.
        secret: String,
        /// What is wrong.
        cause: String,
    },
    /// The API server.
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    /// The request or the certificate.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// Both authorities of one group.
pub struct GroupAuthorities {
    /// For TLS among key servers, the operator and administrators.
    pub tls: Authority,
    /// For IKE: key servers and members.
    pub ike: Authority,
}

/// What a member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCertificate {
    /// Its certificate in PEM.
    pub chain: String,
    /// Authorities that may have issued a key server's certificate, in PEM.
    pub trust: String,
    /// Seconds after which it should be renewed.
    pub renew_after_seconds: u64,
}

/// Authorities as a Secret of that identity and version had them.
struct Kept {
    uid: Option<String>,
    version: Option<String>,
    authorities: Arc<GroupAuthorities>,
}

/// Authorities by namespace and group.
type Known = HashMap<(String, String), Kept>;

/// The authorities of all groups. Their Secret is asked for every time, because a group can be deleted and made again
/// while another replica leads; what was made of it is kept while it is the same.
#[derive(Clone)]
pub struct Authorities {
    secrets: Api<Secret>,
    known: Arc<Mutex<Known>>,
}

impl Authorities {
    /// Those whose Secrets are in `namespace`, the operator's own.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            known: Arc::default(),
        }
    }

    /// The authorities of a group.
    ///
    /// # Errors
    /// [`AuthorityError::NotMade`] when there are none yet.
    pub async fn get(
        &self,
        namespace: &str,
        group: &str,
    ) -> Result<Arc<GroupAuthorities>, AuthorityError> {
        let key = (namespace.to_owned(), group.to_owned());
        let name = names::authority_secret(namespace, group);
        let found = self.secrets.get_opt(&name).await?;
        let mut known = self.known.lock().await;
        let Some(secret) = found else {
            known.remove(&key);
            return Err(AuthorityError::NotMade(group.to_owned()));
        };
        if let Some(kept) = known.get(&key)
            && kept.uid == secret.uid()
            && kept.version == secret.resource_version()
        {
            return Ok(kept.authorities.clone());
        }
        let authorities = Arc::new(read(&name, &secret)?);
        let kept = Kept {
            uid: secret.uid(),
            version: secret.resource_version(),
            authorities: authorities.clone(),
        };
        known.insert(key, kept);
        Ok(authorities)
    }

    /// The authorities of a group, made now if there are none.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn get_or_make(
        &self,
        namespace: &str,
        group: &str,
    ) -> Result<Arc<GroupAuthorities>, AuthorityError> {
        match self.get(namespace, group).await {
            Err(AuthorityError::NotMade(_)) => {}
            other => return other,
        }
        let secret = make(namespace, group)?;
        match self.secrets.create(&PostParams::default(), &secret).await {
            Ok(_) => {}
            // Another replica was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        self.get(namespace, group).await
    }

    /// Deletes the authorities of a group. It is no error when there are none.
    ///
    /// # Errors
    /// [`AuthorityError::Kubernetes`].
    pub async fn delete(&self, namespace: &str, group: &str) -> Result<(), AuthorityError> {
        let name = names::authority_secret(namespace, group);
        match self.secrets.delete(&name, &Default::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Issues a certificate for a member of `group`. The request must ask for `identity` and nothing else.
    ///
    /// The subject is [`names::member_subject`], for authorization by distinguished name.
    ///
    /// # Errors
    /// [`AuthorityError::Issue`] when the request is not what it has to be.
    pub async fn sign_member(
        &self,
        group: &GetVpnGroup,
        request: &str,
        identity: &str,
    ) -> Result<MemberCertificate, AuthorityError> {
        let name = group.name_any();
        let authentication = &group.spec.authentication;
        let source = authentication.certificate.clone().unwrap_or_default();
        if authentication.mode != AuthenticationMode::Certificate
            || source.issuer != CertificateIssuer::Internal
        {
            return Err(AuthorityError::NotInternal(name));
        }
        let namespace = group.namespace().unwrap_or_default();
        let authorities = self.get(&namespace, &name).await?;
        let seconds = u64::try_from(source.duration_seconds)
            .unwrap_or(MEMBER_CERTIFICATE_SECONDS)
            .min(MEMBER_CERTIFICATE_SECONDS);
        let chain = authorities.ike.sign_request(
            request,
            identity,
            &names::group_unit(&namespace, &name),
            Duration::from_secs(seconds),
            runtime::clock::since_epoch(),
        )?;
        Ok(MemberCertificate {
            chain,
            trust: authorities.ike.certificate().to_owned(),
            renew_after_seconds: seconds / 3,
        })
    }
}

const TLS_CERTIFICATE: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";
const IKE_CERTIFICATE: &str = "ike.crt";
const IKE_KEY: &str = "ike.key";

fn make(namespace: &str, group: &str) -> Result<Secret, AuthorityError> {
    let now = runtime::clock::since_epoch();
    let mut secret = Secret {
        type_: Some("getvpn.dev/authority".to_owned()),
        immutable: Some(true),
        ..Secret::default()
    };
    secret.metadata.name = Some(names::authority_secret(namespace, group));
    secret.metadata.labels = Some(labels::of_group(group));
    let data = secret.data.get_or_insert_default();
    for (purpose, certificate_entry, key_entry) in [
        ("TLS", TLS_CERTIFICATE, TLS_KEY),
        ("IKE", IKE_CERTIFICATE, IKE_KEY),
    ] {
        let title = format!("{purpose} authority of {namespace}/{group}");
        let (certificate, key) = Authority::generate(&title, now)?;
        data.insert(
            certificate_entry.to_owned(),
            ByteString(certificate.into_bytes()),
        );
        data.insert(key_entry.to_owned(), ByteString(key.as_bytes().to_vec()));
    }
    Ok(secret)
}

fn read(name: &str, secret: &Secret) -> Result<GroupAuthorities, AuthorityError> {
    let damaged = |cause: String| AuthorityError::Damaged {
        secret: name.to_owned(),
        cause,
    };
    let text = |entry: &str| {
        secret
            .data
            .iter()
            .flatten()
            .find(|(key, _)| *key == entry)
            .and_then(|(_, value)| String::from_utf8(value.0.clone()).ok())
            .map(Zeroizing::new)
            .ok_or_else(|| damaged(format!("it has no `{entry}`")))
    };
    let load = |certificate: &str, key: &str| {
        Authority::load(&text(certificate)?, &text(key)?)
            .map_err(|error| damaged(error.to_string()))
    };
    Ok(GroupAuthorities {
        tls: load(TLS_CERTIFICATE, TLS_KEY)?,
        ike: load(IKE_CERTIFICATE, IKE_KEY)?,
    })
}
