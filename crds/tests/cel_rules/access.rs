//! Rules about who may join a group.

use serde_json::{Value, json};

use crate::support::{group, with};
use crate::{case, run};

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
