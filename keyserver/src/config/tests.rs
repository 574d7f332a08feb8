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
    parse_with(text, &Environment::default())
}

fn parse_with(text: &str, environment: &Environment) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/getvpn/ks-0.yaml"), environment)
        .map_err(|error| error.to_string())
}

/// The file of a StatefulSet: the same for all replicas.
const SHARED: &str = r#"
dataDirectory: /var/lib/getvpn
sealingKeyFile: /etc/getvpn/sealing/key
ike: {}
identity: { type: FQDN, value: g-ks.ns.keyserver.getvpn }
authentication: { preSharedKeysFile: psk.yaml }
cooperative:
  listen: "[::]:9443"
  domain: g-ks.ns.svc
  tls: { certificateFile: tls.crt, keyFile: tls.key, trustFile: ca.crt }
  initialMembers:
  - { name: g-ks-0, priority: 100 }
  - { name: g-ks-1, address: "g-ks-1.elsewhere:9000", priority: 95 }
admin:
  listen: "[::]:9444"
  tls: { certificateFile: tls.crt, keyFile: tls.key, clientTrustFile: ca.crt }
"#;

fn environment(name: &str, addresses: &str) -> Environment {
    Environment {
        name: Some(name.to_owned()),
        addresses: Some(addresses.to_owned()),
    }
}

#[test]
fn one_file_serves_all_replicas_and_the_environment_tells_them_apart() {
    let first = parse_with(SHARED, &environment("g-ks-0", "10.1.0.7,fd00::7")).expect("valid");
    assert_eq!(first.name, "g-ks-0");
    assert_eq!(
        first.ike.addresses,
        ["10.1.0.7", "fd00::7"].map(|text| text.parse::<IpAddr>().expect("address"))
    );
    assert_eq!(first.cooperative.own_address, "g-ks-0.g-ks.ns.svc:9443");
    assert_eq!(first.admin.address, "g-ks-0.g-ks.ns.svc:9444");
    assert_eq!(first.priority, 100);
    let second = parse_with(SHARED, &environment("g-ks-1", "10.1.0.8")).expect("valid");
    assert_eq!(second.cooperative.own_address, "g-ks-1.elsewhere:9000");
    assert_eq!(second.admin.address, "g-ks-1.elsewhere:9444");
    assert_eq!(second.priority, 95);
    // A replica of a grown set may start before the file names it.
    let third = parse_with(SHARED, &environment("g-ks-2", "10.1.0.9")).expect("valid");
    assert_eq!(third.cooperative.own_address, "g-ks-2.g-ks.ns.svc:9443");
    assert!(!third.roster().names("g-ks-2"));
    assert_eq!(third.roster().founder(), "g-ks-0");
}

#[test]
fn what_file_and_environment_lack_is_named_with_field_and_variable() {
    let unnamed = Environment {
        name: None,
        ..environment("", "10.1.0.7")
    };
    let unaddressed = Environment {
        addresses: None,
        ..environment("g-ks-0", "")
    };
    let no_domain = SHARED.replace("  domain: g-ks.ns.svc\n", "");
    for (text, environment, expected) in [
        (
            SHARED,
            unnamed,
            "name: is absent and GETVPN_NAME is not set",
        ),
        (
            SHARED,
            unaddressed,
            "ike.addresses: is absent and GETVPN_ADDRESSES is not set",
        ),
        (
            SHARED,
            environment("g_ks", "10.1.0.7"),
            "name (from GETVPN_NAME): `g_ks` is no name",
        ),
        (
            SHARED,
            environment("g-ks-0", "10.1.0.7;10.1.0.8"),
            "ike.addresses (from GETVPN_ADDRESSES): `10.1.0.7;10.1.0.8` is no IP address",
        ),
        (
            &no_domain,
            environment("g-ks-0", "10.1.0.7"),
            "initialMembers[0].address: is absent and cooperative.domain is not set",
        ),
        (
            &SHARED.replace("g-ks.ns.svc", "g-ks..svc"),
            environment("g-ks-0", "10.1.0.7"),
            "cooperative.domain: `g-ks..svc` is no domain name",
        ),
    ] {
        let error = parse_with(text, &environment).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
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
