use super::*;

const GOOD: &str = r#"
name: m-1
interfaces: [eth0]
tunDevice: getvpn0
identity: { type: FQDN, value: m-1.member.getvpn }
failureMode: FailClosed
allowClear:
- { name: ssh, protocol: TCP, sourcePorts: ["22"] }
groups:
- groupID: 1234
  keyServers: ["172.20.0.2:848", "172.20.1.2:848"]
  keyServerIdentities: [ { type: FQDN, value: "*.keyserver.getvpn" } ]
  authentication: { preSharedKeyFile: psk.key }
  bypass:
  - { name: nfs, protocol: TCP, destination: 10.9.0.0/16, destinationPorts: [2049, "100-200"] }
  direction: Inherit
"#;

fn complaint(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the test replaces nothing");
    Config::parse(&GOOD.replace(from, to), Path::new("m.yaml"))
        .expect_err("must be refused")
        .to_string()
}

#[test]
fn a_complete_file_is_accepted_with_its_defaults() {
    let config = Config::parse(GOOD, Path::new("m.yaml")).expect("valid");
    assert_eq!(config.ike.port, 848);
    assert_eq!(config.network.mark, 0x47);
    assert_eq!(config.control_socket(), Path::new("/run/getvpn/m-1.sock"));
    assert_eq!(config.groups[0].direction, DirectionConfig::Inherit);
}

#[test]
fn flows_expand_to_families_and_port_ranges() {
    let config = Config::parse(GOOD, Path::new("m.yaml")).expect("valid");
    let flows: Vec<String> = config
        .clear_before_registration()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        flows,
        [
            "IPv4 any -> any protocol 6 source ports 22-22",
            "IPv6 any -> any protocol 6 source ports 22-22",
            "IPv4 any -> 10.9.0.0/16 protocol 6 destination ports 2049-2049",
            "IPv4 any -> 10.9.0.0/16 protocol 6 destination ports 100-200",
        ]
    );
}

#[test]
fn bypass_can_be_left_out_of_the_closed_state() {
    let text = GOOD.replace(
        "failureMode: FailClosed",
        "failureMode: FailClosed\nlocalBypass: Exclude",
    );
    let config = Config::parse(&text, Path::new("m.yaml")).expect("valid");
    assert_eq!(config.clear_before_registration().len(), 2);
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let message = complaint("tunDevice: getvpn0", "tunDevise: getvpn0");
    assert!(message.starts_with("m.yaml: "), "{message}");
    assert!(message.contains("tunDevise"), "{message}");
    assert!(message.contains("line 4"), "{message}");
}

#[test]
fn broken_yaml_is_named_with_its_line() {
    let message = complaint("interfaces: [eth0]", "interfaces: [eth0");
    assert!(message.contains("line"), "{message}");
}

#[test]
fn each_bad_value_is_named_with_its_field_and_a_remedy() {
    let cases = [
        (
            "interfaces: [eth0]",
            "interfaces: []",
            "m.yaml: interfaces: name 1 to 8 interfaces, not 0",
        ),
        (
            "[\"172.20.0.2:848\", \"172.20.1.2:848\"]",
            "[]",
            "m.yaml: groups[0].keyServers: name 1 to 8 key servers, not 0",
        ),
        (
            "{ preSharedKeyFile: psk.key }",
            "{}",
            "m.yaml: groups[0].authentication: give preSharedKeyFile or certificate",
        ),
        (
            "protocol: TCP, sourcePorts",
            "sourcePorts",
            "m.yaml: allowClear[0]: ports need `protocol: TCP`, `UDP` or `SCTP`",
        ),
        (
            "name: m-1\n",
            "name: m/1\n",
            "m.yaml: name: `m/1` must be 1 to 63 letters, digits, `-` or `_`",
        ),
        (
            "failureMode: FailClosed",
            "failureMode: FailOpen",
            "m.yaml: allowClear: has no effect with `failureMode: FailOpen`; remove one of the two",
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(complaint(from, to), expected);
    }
}

#[test]
fn a_bad_port_or_protocol_is_refused_where_it_stands() {
    assert!(complaint("\"22\"", "\"22x\"").contains("`22x` is no port or port range"));
    assert!(
        complaint("protocol: TCP, destination", "protocol: TPC, destination")
            .contains("protocol `TPC` is unknown")
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("no-such-file.yaml")).expect_err("absent");
    assert!(
        error
            .to_string()
            .starts_with("no-such-file.yaml: cannot be read: ")
    );
}
