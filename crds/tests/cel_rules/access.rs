//! Rules about who may join a group.

use serde_json::{Value, json};

use crate::support::{group, with};
use crate::{case, run};

// GET VPN row 44
#[test]
fn authentication_identity_and_authorization_of_a_group_fit_together() {
    let base = group();
    let psk = json!({ "mode": "PreSharedKey", "preSharedKeySecretRef": { "name": "psk" } });
    let certificate = |source: Value| json!({ "mode": "Certificate", "certificate": source });
    run(vec![
        case(
            "C4",
            &base,
            &[
                (
                    "/spec/authorization",
                    json!({ "mode": "Certificate", "subjects": ["CN=*"] }),
                ),
                ("/spec/identity", json!("DistinguishedName")),
            ],
            &[
                (
                    "/spec/authorization",
                    json!({ "mode": "Certificate", "subjects": ["CN=*"] }),
                ),
                ("/spec/identity", json!("Hostname")),
            ],
            &[
                "spec.identity: `identity` must be 'DistinguishedName' when `authorization.mode` is 'Certificate'",
            ],
        ),
        case(
            "C11",
            &base,
            &[("/spec/authentication", psk.clone())],
            &[("/spec/authentication", json!({ "mode": "PreSharedKey" }))],
            &[
                "spec.authentication.preSharedKeySecretRef: `preSharedKeySecretRef` must be set when `mode` is 'PreSharedKey' and may not be set otherwise",
            ],
        ),
        case(
            "C28",
            &with(&base, "/spec/authentication", psk.clone()),
            &[
                (
                    "/spec/authorization",
                    json!({ "mode": "PreSharedKey", "hostnames": ["*.example"] }),
                ),
                ("/spec/identity", json!("Hostname")),
            ],
            &[(
                "/spec/authorization",
                json!({ "mode": "PreSharedKey", "hostnames": ["*.example"] }),
            )],
            &["spec.identity: `identity` must be 'Hostname' when `authorization.hostnames` is set"],
        ),
        case(
            "C29",
            &with(
                &base,
                "/spec/authorization",
                json!({ "mode": "PreSharedKey", "addresses": ["10.0.0.0/8"] }),
            ),
            &[("/spec/authentication", psk.clone())],
            &[],
            &[
                "spec.authorization.mode: `authorization.mode` must be 'Disabled' or equal to `authentication.mode`",
            ],
        ),
        case(
            "C29, the other way round",
            &with(&base, "/spec/identity", json!("DistinguishedName")),
            &[(
                "/spec/authorization",
                json!({ "mode": "Certificate", "subjects": ["CN=*"] }),
            )],
            &[
                (
                    "/spec/authorization",
                    json!({ "mode": "Certificate", "subjects": ["CN=*"] }),
                ),
                ("/spec/authentication", psk.clone()),
            ],
            &[
                "spec.authorization.mode: `authorization.mode` must be 'Disabled' or equal to `authentication.mode`",
            ],
        ),
        case(
            "C4, address",
            &with(
                &base,
                "/spec/authorization",
                json!({ "mode": "Certificate", "subjects": ["CN=*"] }),
            ),
            &[("/spec/identity", json!("DistinguishedName"))],
            &[("/spec/identity", json!("Address"))],
            &[
                "spec.identity: `identity` must be 'DistinguishedName' when `authorization.mode` is 'Certificate'",
            ],
        ),
        case(
            "C32",
            &base,
            &[(
                "/spec/authentication",
                certificate(json!({ "issuer": "Internal" })),
            )],
            &[(
                "/spec/authentication",
                json!({ "mode": "PreSharedKey", "preSharedKeySecretRef": { "name": "psk" }, "certificate": {} }),
            )],
            &[
                "spec.authentication.certificate: `certificate` may be set only when `mode` is 'Certificate'",
            ],
        ),
        case(
            "C35",
            &base,
            &[(
                "/spec/authentication",
                certificate(json!({ "durationSeconds": 3600, "renewBeforeSeconds": 3599 })),
            )],
            &[(
                "/spec/authentication",
                certificate(json!({ "durationSeconds": 3600, "renewBeforeSeconds": 3600 })),
            )],
            &[
                "spec.authentication.certificate.renewBeforeSeconds: `renewBeforeSeconds` must be less than `durationSeconds`",
            ],
        ),
        case(
            "C36",
            &base,
            &[(
                "/spec/authentication",
                certificate(json!({ "issuer": "Secret", "secretRef": { "name": "tls" } })),
            )],
            &[(
                "/spec/authentication",
                certificate(json!({ "issuer": "Secret" })),
            )],
            &[
                "spec.authentication.certificate.secretRef: `secretRef` must be set when `issuer` is 'Secret' and may not be set otherwise",
            ],
        ),
        case(
            "C36, cert-manager",
            &base,
            &[(
                "/spec/authentication",
                certificate(json!({ "issuer": "CertManager", "issuerRef": { "name": "ca" } })),
            )],
            &[(
                "/spec/authentication",
                certificate(json!({ "issuer": "CertManager" })),
            )],
            &[
                "spec.authentication.certificate.issuerRef: `issuerRef` must be set when `issuer` is 'CertManager' and may not be set otherwise",
            ],
        ),
        case(
            "C37",
            &with(&base, "/spec/identity", json!("DistinguishedName")),
            &[(
                "/spec/authorization",
                json!({ "mode": "Certificate", "subjects": ["CN=*,O=Example"] }),
            )],
            &[("/spec/authorization", json!({ "mode": "Certificate" }))],
            &[
                "spec.authorization.subjects: `subjects` must be set when `mode` is 'Certificate' and may not be set otherwise",
            ],
        ),
        case(
            "C38",
            &with(&base, "/spec/authentication", psk.clone()),
            &[(
                "/spec/authorization",
                json!({ "mode": "PreSharedKey", "addresses": ["10.0.0.0/8"] }),
            )],
            &[("/spec/authorization", json!({ "mode": "PreSharedKey" }))],
            &[
                "spec.authorization.addresses: `addresses` or `hostnames` must be set when `mode` is 'PreSharedKey' and may not be set otherwise",
            ],
        ),
    ]);
}

// GET VPN row 230
#[test]
fn of_the_three_things_that_certificates_need_the_one_that_is_wrong_is_named() {
    let right = [
        (
            "/spec/authentication",
            json!({ "mode": "Certificate", "certificate": { "issuer": "Secret", "secretRef": { "name": "tls" } } }),
        ),
        ("/spec/identity", json!("DistinguishedName")),
        (
            "/spec/authorization",
            json!({ "mode": "Certificate", "subjects": ["CN=*"] }),
        ),
    ];
    let changed = |pointer: &'static str, value: Value| {
        let mut changes = right.to_vec();
        changes.push((pointer, value));
        changes
    };
    let psk = json!({ "mode": "PreSharedKey", "preSharedKeySecretRef": { "name": "psk" } });
    run(vec![
        case(
            "certificates in IKE",
            &group(),
            &right,
            &changed("/spec/authentication", psk),
            &[
                "spec.authorization.mode: `authorization.mode` must be 'Disabled' or equal to `authentication.mode`",
            ],
        ),
        case(
            "where the certificates come from",
            &group(),
            &right,
            &changed("/spec/authentication/certificate/secretRef", Value::Null),
            &[
                "spec.authentication.certificate.secretRef: `secretRef` must be set when `issuer` is 'Secret' and may not be set otherwise",
            ],
        ),
        // Key servers always name themselves as their certificate does; what members do is this field.
        case(
            "a distinguished name as identity",
            &group(),
            &right,
            &changed("/spec/identity", json!("Hostname")),
            &[
                "spec.identity: `identity` must be 'DistinguishedName' when `authorization.mode` is 'Certificate'",
            ],
        ),
    ]);
}
