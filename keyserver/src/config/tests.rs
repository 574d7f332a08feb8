//! Good and bad configurations.

use std::path::Path;

use super::*;

const GOOD: &str = r#"
name: ks-0
dataDirectory: data
sealingKeyFile: /etc/getvpn/sealing.key
priority: 100
ike: { addresses: ["172.20.0.2"] }
identity: { type: FQDN, value: ks-0.keyserver.getvpn }
authentication:
  preSharedKeysFile: psk.yaml
cooperative:
  listen: "172.20.0.2:9443"
  tls: { certificateFile: ks.pem, keyFile: ks.key, trustFile: ca.pem }
  initialMembers:
  - { name: ks-0, address: "172.20.0.2:9443", priority: 100 }
  - { name: ks-1, address: "172.20.1.2:9443", priority: 95 }
admin:
  listen: "172.20.0.2:9444"
  tls: { certificateFile: ks.pem, keyFile: ks.key, clientTrustFile: ca.pem }
metrics: { listen: "127.0.0.1:9445" }
"#;

fn parse_at(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/getvpn/ks-0.yaml")).map_err(|error| error.to_string())
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = parse_at(GOOD).expect("valid");
    assert_eq!(config.data_directory, Path::new("/etc/getvpn/data"));
    assert_eq!(
        config.sealing_key_file,
        Path::new("/etc/getvpn/sealing.key")
    );
    assert_eq!(
        config.cooperative.tls.trust,
        Path::new("/etc/getvpn/ca.pem")
    );
    assert_eq!(
        (config.ike.port, config.ike.nat_traversal_port),
        (848, 4500)
    );
    assert_eq!(config.timing, Timing::default());
    assert_eq!(config.admin.address, "172.20.0.2:9444");
}

#[test]
fn mistakes_are_named_with_file_field_and_remedy() {
    for (from, to, expected) in [
        (
            "priority: 100\nike",
            "priority: 0\nike",
            "ks-0.yaml: priority: 0 is not from 1 to 100",
        ),
        ("name: ks-0\nd", "name: KS_0\nd", "name: `KS_0` is no name"),
        ("[\"172.20.0.2\"]", "[]", "ike.addresses: is empty"),
        (
            "  preSharedKeysFile: psk.yaml",
            "  {}",
            "authentication: sets neither",
        ),
        (
            "{ name: ks-1,",
            "{ name: ks-0,",
            "initialMembers[1].name: `ks-0` is used twice",
        ),
        (
            "address: \"172.20.1.2:9443\"",
            "address: nowhere",
            "initialMembers[1].address: `nowhere` is not host:port",
        ),
        (
            "name: ks-0\nd",
            "name: ks-9\nd",
            "initialMembers: does not name this key server",
        ),
        (
            "metrics:",
            "timing: { heartbeatMilliseconds: 400 }\nmetrics:",
            "timing: heartbeat 400 ms",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = parse_at(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let error =
        parse_at(&GOOD.replace("priority: 100\nike", "prioritty: 100\nike")).expect_err("misspelt");
    assert!(error.starts_with("/etc/getvpn/ks-0.yaml:5:"), "{error}");
    assert!(error.contains("prioritty"), "{error}");
}

#[test]
fn a_weak_or_malformed_pre_shared_key_is_refused_without_showing_it() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("psk.yaml");
    for key in ["abcd", "not hexadecimal at all, but long enough"] {
        std::fs::write(
            &path,
            format!("- {{ identity: {{ type: FQDN, value: m-1.member }}, key: \"{key}\" }}\n"),
        )
        .expect("written");
        let Err(error) = pre_shared_keys(&path) else {
            panic!("{key} was accepted");
        };
        assert!(
            error.to_string().contains("[0].key of FQDN:m-1.member"),
            "{error}"
        );
        assert!(!error.to_string().contains(key), "{error}");
    }
    std::fs::write(
        &path,
        format!(
            "- {{ identity: {{ type: FQDN, value: m-1.member }}, key: {} }}\n",
            "0a".repeat(16)
        ),
    )
    .expect("written");
    let keys = pre_shared_keys(&path)
        .map_err(|error| error.to_string())
        .expect("valid");
    assert_eq!(keys[0].key.as_slice(), [10; 16]);
}
