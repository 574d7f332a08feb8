//! What the objects of a set of key servers are made from: the group's resource with every default written out.

use crds::v1alpha1::{
    Authentication, AuthenticationMode, CertificateIssuer, CertificateSource, GetVpnGroup,
    KeyServers,
};

use crate::group::{Reason, Rejection, name, refuse_group};

/// Key servers a group can have.
pub const MOST_REPLICAS: usize = 8;

/// What the operator's command line says about all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Image of key servers whose group names none.
    pub image: String,
    /// The operator's own namespace, from which the admin API may be reached.
    pub operator_namespace: String,
}

/// Everything that decides the objects of one set of key servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// Namespace of the group.
    pub namespace: String,
    /// Name of the group whose key servers they are.
    pub group: String,
    /// `metadata.uid` of the group, for owner references.
    pub uid: String,
    /// How many key servers there should be: 1 to [`MOST_REPLICAS`].
    pub replicas: usize,
    /// Priority of each, by ordinal, for all [`MOST_REPLICAS`].
    pub priorities: Vec<u8>,
    /// Container image.
    pub image: String,
    /// UDP port for registration.
    pub port: u16,
    /// UDP port for registration through address translation.
    pub nat_traversal_port: u16,
    /// The rest of what the group says about its key servers.
    pub key_servers: KeyServers,
    /// Certificates towards members, when a group on these key servers uses certificates.
    pub certificate: Option<Certificate>,
    /// Secret with pre-shared keys, when a group on these key servers uses them.
    pub pre_shared_keys: Option<String>,
    /// Groups whose members' authorities are trusted, by name: the group itself and those that share its key servers.
    pub trusted_groups: Vec<String>,
    /// Life of certificates the operator issues, in seconds.
    pub certificate_seconds: u64,
    /// Seconds before its end at which a certificate is renewed.
    pub renew_before_seconds: u64,
    /// The operator's own namespace.
    pub operator_namespace: String,
}

/// Where the certificate towards members comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// The operator's own authority.
    Internal,
    /// A Secret of the user, with `tls.crt`, `tls.key` and `ca.crt`.
    Secret(String),
}

impl Inputs {
    /// The inputs for the key servers of `host`, which `guests` share.
    ///
    /// # Errors
    /// Why there can be no key servers for `host`. What a guest asks for was judged by [`check_guest`] before.
    pub fn new(
        host: &GetVpnGroup,
        guests: &[&GetVpnGroup],
        defaults: &Defaults,
    ) -> Result<Self, Rejection> {
        let missing =
            |field: &str, message: &str| refuse_group(host, field, Reason::InvalidValue, message);
        let key_servers = host
            .spec
            .key_servers
            .clone()
            .ok_or_else(|| missing("spec.keyServers", "is required for key servers"))?;
        let number = |field: &str, value: i32, most: usize| {
            usize::try_from(value)
                .ok()
                .filter(|value| (1..=most).contains(value))
                .ok_or_else(|| missing(field, &format!("{value} is not from 1 to {most}")))
        };
        let port = |field: &str, value: i32| {
            number(field, value, 65_535).map(|port| u16::try_from(port).unwrap_or(u16::MAX))
        };
        let service = &key_servers.service;
        let port_of_registration = port("spec.keyServers.service.port", service.port)?;
        let nat_traversal_port = port(
            "spec.keyServers.service.natTraversalPort",
            service.nat_traversal_port,
        )?;
        if port_of_registration == nat_traversal_port {
            return Err(missing(
                "spec.keyServers.service.natTraversalPort",
                "must differ from `port`",
            ));
        }
        let source = source(&host.spec.authentication);
        let seconds = |value: i32| u64::try_from(value).unwrap_or(0);
        let mut all: Vec<&GetVpnGroup> = vec![host];
        all.extend(guests);
        let mut trusted_groups: Vec<String> = all
            .iter()
            .filter(|group| group.spec.authentication.mode == AuthenticationMode::Certificate)
            .map(|group| name(&group.metadata))
            .collect();
        trusted_groups.sort_unstable();
        trusted_groups.dedup();
        Ok(Self {
            namespace: host.metadata.namespace.clone().unwrap_or_default(),
            group: name(&host.metadata),
            uid: host.metadata.uid.clone().unwrap_or_default(),
            replicas: number(
                "spec.keyServers.replicas",
                key_servers.replicas,
                MOST_REPLICAS,
            )?,
            priorities: priorities(&key_servers),
            image: key_servers
                .image
                .clone()
                .unwrap_or_else(|| defaults.image.clone()),
            port: port_of_registration,
            nat_traversal_port,
            certificate: certificate(&all).map_err(|message| {
                refuse_group(
                    host,
                    "spec.authentication.certificate.issuer",
                    Reason::InvalidReference,
                    &message,
                )
            })?,
            pre_shared_keys: all.iter().find_map(|group| pre_shared_keys(group)),
            trusted_groups,
            certificate_seconds: seconds(source.duration_seconds),
            renew_before_seconds: seconds(source.renew_before_seconds),
            key_servers,
            operator_namespace: defaults.operator_namespace.clone(),
        })
    }
}

/// Whether `guest` can prove itself and its members at the key servers of `host`.
///
/// # Errors
/// What does not fit: a set of key servers has one certificate, and one key for each identity.
pub fn check_guest(host: &GetVpnGroup, guest: &GetVpnGroup) -> Result<(), Rejection> {
    let refuse = |field: &str, message: String| {
        Err(refuse_group(
            guest,
            field,
            Reason::InvalidReference,
            &message,
        ))
    };
    let host_name = name(&host.metadata);
    if let (Some(own), Some(theirs)) = (pre_shared_keys(guest), pre_shared_keys(host))
        && own != theirs
    {
        return refuse(
            "spec.authentication.preSharedKeySecretRef",
            format!(
                "must be `{theirs}`, the Secret of `{host_name}`: key servers have one key for each identity"
            ),
        );
    }
    let both_by_certificate = [host, guest]
        .iter()
        .all(|group| group.spec.authentication.mode == AuthenticationMode::Certificate);
    let (own, theirs) = (
        source(&guest.spec.authentication),
        source(&host.spec.authentication),
    );
    if both_by_certificate && (own.issuer != theirs.issuer || own.secret_ref != theirs.secret_ref) {
        return refuse(
            "spec.authentication.certificate",
            format!(
                "must name the issuer and Secret that `{host_name}` names: key servers have one certificate"
            ),
        );
    }
    Ok(())
}

fn source(authentication: &Authentication) -> CertificateSource {
    authentication.certificate.clone().unwrap_or_default()
}

fn pre_shared_keys(group: &GetVpnGroup) -> Option<String> {
    let reference = group.spec.authentication.pre_shared_key_secret_ref.as_ref();
    reference.map(|reference| reference.name.clone())
}

fn certificate(groups: &[&GetVpnGroup]) -> Result<Option<Certificate>, String> {
    let by_certificate = groups
        .iter()
        .find(|group| group.spec.authentication.mode == AuthenticationMode::Certificate);
    let Some(group) = by_certificate else {
        return Ok(None);
    };
    let source = source(&group.spec.authentication);
    match (source.issuer, source.secret_ref) {
        (CertificateIssuer::Internal, _) => Ok(Some(Certificate::Internal)),
        (CertificateIssuer::Secret, Some(reference)) => {
            Ok(Some(Certificate::Secret(reference.name)))
        }
        (CertificateIssuer::Secret, None) => Err("'Secret' needs `secretRef`".to_owned()),
        (CertificateIssuer::CertManager, _) => Err(
            "'CertManager' is not served by this version; use 'Internal', or 'Secret' with a Secret that cert-manager fills"
                .to_owned(),
        ),
    }
}

/// Priority by ordinal: as listed, else 100, 95, 90 and so on.
fn priorities(key_servers: &KeyServers) -> Vec<u8> {
    (0..MOST_REPLICAS)
        .map(|ordinal| {
            let listed = key_servers
                .priorities
                .iter()
                .find(|entry| usize::try_from(entry.ordinal.0) == Ok(ordinal))
                .and_then(|entry| u8::try_from(entry.priority).ok());
            let step = u8::try_from(5 * ordinal).unwrap_or(99);
            listed.unwrap_or(100_u8.saturating_sub(step))
        })
        .collect()
}
