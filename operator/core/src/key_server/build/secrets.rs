//! The Secrets of a group in its own namespace: their names, types and entries. What is inside comes from the caller.

use std::collections::BTreeMap;

use crds::v1alpha1::Retention;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::meta;
use crate::key_server::inputs::Inputs;
use crate::names;

/// Entry with a certificate in Secrets for TLS.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// Entry with its key.
pub const TLS_KEY: &str = "tls.key";
/// Entry with the authorities.
pub const TLS_TRUST: &str = "ca.crt";
/// Entry with the certificate chain towards members.
pub const IKE_CHAIN: &str = "chain.pem";
/// Entry with its key.
pub const IKE_KEY: &str = "key.pem";
/// Entry with the authorities of members.
pub const IKE_TRUST: &str = "trust.pem";
/// Entry with pre-shared keys.
pub const PRE_SHARED_KEYS: &str = "pre-shared-keys.yaml";
/// Entry with the sealing key.
pub const SEALING_KEY: &str = "key";

/// A certificate with its key and the authorities to trust, all in PEM.
pub struct Pem<'a> {
    /// The certificate.
    pub certificate: &'a str,
    /// Its key.
    pub key: &'a str,
    /// The authorities.
    pub trust: &'a str,
}

/// The Secret for the cooperative protocol and the admin API.
#[must_use]
pub fn tls(inputs: &Inputs, pem: &Pem<'_>) -> Secret {
    for_tls(inputs, names::tls_secret(&inputs.group), pem)
}

/// The Secret with a client certificate of the admin API.
#[must_use]
pub fn admin(inputs: &Inputs, pem: &Pem<'_>) -> Secret {
    for_tls(inputs, names::admin_secret(&inputs.group), pem)
}

/// The Secret with what key servers prove themselves to members with.
#[must_use]
pub fn ike(inputs: &Inputs, pem: Option<&Pem<'_>>, pre_shared_keys: Option<&str>) -> Secret {
    let mut entries = BTreeMap::new();
    if let Some(pem) = pem {
        entries.extend([
            (IKE_CHAIN, pem.certificate),
            (IKE_KEY, pem.key),
            (IKE_TRUST, pem.trust),
        ]);
    }
    if let Some(keys) = pre_shared_keys {
        entries.insert(PRE_SHARED_KEYS, keys);
    }
    secret(inputs, names::ike_secret(&inputs.group), "Opaque", entries)
}

/// The Secret with the key that seals the volumes, in hexadecimal. Where volumes are kept when the group is deleted, so
/// is their key: it has no owner.
#[must_use]
pub fn sealing(inputs: &Inputs, key: &str) -> Secret {
    let entries = BTreeMap::from([(SEALING_KEY, key)]);
    let mut secret = secret(
        inputs,
        names::sealing_secret(&inputs.group),
        "Opaque",
        entries,
    );
    secret.immutable = Some(true);
    if inputs.key_servers.storage.retention == Retention::Retain {
        secret.metadata.owner_references = None;
    }
    secret
}

fn for_tls(inputs: &Inputs, name: String, pem: &Pem<'_>) -> Secret {
    let entries = BTreeMap::from([
        (TLS_CERTIFICATE, pem.certificate),
        (TLS_KEY, pem.key),
        (TLS_TRUST, pem.trust),
    ]);
    secret(inputs, name, "kubernetes.io/tls", entries)
}

fn secret(inputs: &Inputs, name: String, kind: &str, entries: BTreeMap<&str, &str>) -> Secret {
    Secret {
        metadata: meta::meta(inputs, name),
        type_: Some(kind.to_owned()),
        data: Some(
            entries
                .into_iter()
                .map(|(entry, text)| (entry.to_owned(), ByteString(text.as_bytes().to_vec())))
                .collect(),
        ),
        ..Secret::default()
    }
}
