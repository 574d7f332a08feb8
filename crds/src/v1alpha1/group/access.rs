//! Who may register: authentication, authorization and the registration exchange.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::field::{Cidr, SecretRef, default_is_empty_object, int};

/// How members and key servers prove who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C11
    validation = Rule::new("(self.mode == 'PreSharedKey') == has(self.preSharedKeySecretRef)")
        .message("`preSharedKeySecretRef` must be set when `mode` is 'PreSharedKey' and may not be set otherwise")
        .field_path(".preSharedKeySecretRef"),
    // C32
    validation = Rule::new("self.mode == 'Certificate' || !has(self.certificate)")
        .message("`certificate` may be set only when `mode` is 'Certificate'")
        .field_path(".certificate"),
)]
pub struct Authentication {
    /// `Certificate`: by X.509 certificates. `PreSharedKey`: by a secret that member and key server both know.
    #[serde(default)]
    pub mode: AuthenticationMode,
    /// Secret with the pre-shared keys, one entry for each identity. Set exactly when `mode` is 'PreSharedKey'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_shared_key_secret_ref: Option<SecretRef>,
    /// Where certificates come from. May be set only when `mode` is 'Certificate'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSource>,
}

/// What proves an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthenticationMode {
    /// X.509 certificates.
    #[default]
    Certificate,
    /// A secret that both sides know.
    PreSharedKey,
}

/// Where certificates come from and how long they live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C35
    validation = Rule::new("self.renewBeforeSeconds < self.durationSeconds")
        .message("`renewBeforeSeconds` must be less than `durationSeconds`")
        .field_path(".renewBeforeSeconds"),
    // C36
    validation = Rule::new("(self.issuer == 'Secret') == has(self.secretRef)")
        .message("`secretRef` must be set when `issuer` is 'Secret' and may not be set otherwise")
        .field_path(".secretRef"),
    validation = Rule::new("(self.issuer == 'CertManager') == has(self.issuerRef)")
        .message("`issuerRef` must be set when `issuer` is 'CertManager' and may not be set otherwise")
        .field_path(".issuerRef"),
)]
pub struct CertificateSource {
    /// `Internal`: the operator's own authority signs. `CertManager`: cert-manager does. `Secret`: you provide them.
    #[serde(default)]
    pub issuer: CertificateIssuer,
    /// The cert-manager issuer to ask. Set exactly when `issuer` is 'CertManager'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// Secret of type `kubernetes.io/tls`, with `ca.crt`, that holds the key servers' certificate. Set exactly when
    /// `issuer` is 'Secret'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Seconds a certificate is valid.
    #[serde(default = "int::<7776000>")]
    #[schemars(range(min = 3600, max = 31536000))]
    pub duration_seconds: i32,
    /// Seconds before its end at which a certificate is renewed.
    #[serde(default = "int::<2592000>")]
    #[schemars(range(min = 300, max = 31536000))]
    pub renew_before_seconds: i32,
}

default_is_empty_object!(
    Authentication,
    CertificateSource,
    Authorization,
    Registration,
    Proposal
);

/// Who signs certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CertificateIssuer {
    /// The operator's own certificate authority.
    #[default]
    Internal,
    /// cert-manager.
    CertManager,
    /// Nobody: they are in a Secret.
    Secret,
}

/// A cert-manager issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `Issuer` in the same namespace, or `ClusterIssuer`.
    #[serde(default)]
    pub kind: IssuerKind,
}

/// Scope of a cert-manager issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// An issuer of one namespace.
    #[default]
    Issuer,
    /// An issuer of the whole cluster.
    ClusterIssuer,
}

/// What a member names itself by when it registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Identity {
    /// Its IP address.
    #[default]
    Address,
    /// Its fully qualified domain name.
    Hostname,
    /// The subject of its certificate.
    DistinguishedName,
}

/// Which of the authenticated members may join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // C37
    validation = Rule::new("(self.mode == 'Certificate') == has(self.subjects)")
        .message("`subjects` must be set when `mode` is 'Certificate' and may not be set otherwise")
        .field_path(".subjects"),
    // C38
    validation = Rule::new("(self.mode == 'PreSharedKey') == (has(self.addresses) || has(self.hostnames))")
        .message("`addresses` or `hostnames` must be set when `mode` is 'PreSharedKey' and may not be set otherwise")
        .field_path(".addresses"),
)]
pub struct Authorization {
    /// `Disabled`: everyone who is authenticated may join. `Certificate`: those whose certificate has one of `subjects`.
    /// `PreSharedKey`: those that register from one of `addresses` and name themselves by one of `hostnames`, as far as
    /// these are set.
    #[serde(default)]
    pub mode: AuthorizationMode,
    /// Subjects that may join, as distinguished names such as `CN=*,OU=Branches,O=Example`; '*' stands for any run of characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub subjects: Vec<String>,
    /// Addresses that members may register from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub addresses: Vec<Cidr>,
    /// Domain names that may join, when members name themselves by `Hostname`; '*' stands for any run of characters, as in `*.branch.example`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hostnames: Vec<String>,
}

/// How a group authorizes members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthorizationMode {
    /// Everyone who is authenticated may join.
    #[default]
    Disabled,
    /// By the subject of the member's certificate.
    Certificate,
    /// By the member's address or name.
    PreSharedKey,
}

/// The exchange in which a member registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// What the key server accepts to protect the exchange, best first.
    #[serde(default = "default_proposals")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub proposals: Vec<Proposal>,
    /// Seconds a key server keeps the association of a registration.
    #[serde(default = "int::<86400>")]
    #[schemars(range(min = 1, max = 86400))]
    pub key_server_lifetime_seconds: i32,
    /// Seconds a member keeps the association of a registration.
    #[serde(default = "int::<3600>")]
    #[schemars(range(min = 1, max = 86400))]
    pub member_lifetime_seconds: i32,
    /// Registrations under way at one key server at most; 0 sets no limit.
    #[serde(default)]
    #[schemars(range(min = 0, max = 99999))]
    pub request_limit: i32,
    /// Share of its capacity at which a key server starts to ask newcomers for a cookie, in percent.
    #[serde(default = "int::<75>")]
    #[schemars(range(min = 1, max = 100))]
    pub resource_threshold_percent: i32,
}

fn default_proposals() -> Vec<Proposal> {
    [
        KeyExchange::X25519MlKem768,
        KeyExchange::X25519,
        KeyExchange::Ecp384,
    ]
    .map(|dh_group| Proposal {
        dh_group,
        ..Proposal::default()
    })
    .to_vec()
}

/// One combination of algorithms for the registration exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Cipher: `AES256GCM`.
    #[serde(default)]
    pub encryption: RegistrationEncryption,
    /// Pseudorandom function: `SHA256`, `SHA384` or `SHA512`.
    #[serde(default)]
    pub prf: PseudorandomFunction,
    /// Key exchange. `X25519MLKEM768` adds a post-quantum key encapsulation, so that traffic recorded today stays
    /// secret if X25519 is broken one day.
    #[serde(default)]
    pub dh_group: KeyExchange,
}

/// Cipher of the registration exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegistrationEncryption {
    /// AES in Galois/Counter Mode with a 256-bit key.
    #[default]
    #[serde(rename = "AES256GCM")]
    Aes256Gcm,
}

/// Pseudorandom function of the registration exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PseudorandomFunction {
    /// HMAC with SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
    /// HMAC with SHA-384.
    #[default]
    #[serde(rename = "SHA384")]
    Sha384,
    /// HMAC with SHA-512.
    #[serde(rename = "SHA512")]
    Sha512,
}

/// Key exchange of the registration exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyExchange {
    /// X25519 followed by ML-KEM-768 (RFC 9370).
    #[default]
    #[serde(rename = "X25519MLKEM768")]
    X25519MlKem768,
    /// X25519.
    X25519,
    /// NIST P-256.
    #[serde(rename = "ECP256")]
    Ecp256,
    /// NIST P-384.
    #[serde(rename = "ECP384")]
    Ecp384,
}
