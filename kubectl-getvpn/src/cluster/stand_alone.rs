//! The configuration file of a member outside of pods: a gateway or a VM.

use crds::v1alpha1::{AuthenticationMode, Flow, GetVpnGroup, GroupMember, LocalBypass};
use k8s_openapi::api::core::v1::Service;
use operator_core::{flow, names};
use serde_json::{Value, json};

/// Where such a member keeps its files.
const DIRECTORY: &str = "/etc/getvpn";
const CONTROL_SOCKET: &str = "/run/getvpn/control.sock";
const REGISTRATION_PORT: i32 = 848;

/// Addresses at which the key servers can be reached from outside, with their port; else the cluster address.
#[must_use]
pub fn addresses(service: &Service) -> Vec<String> {
    let spec = service.spec.as_ref();
    let port = spec
        .and_then(|spec| spec.ports.as_ref())
        .into_iter()
        .flatten()
        .map(|port| port.port)
        .find(|port| *port != 4500)
        .unwrap_or(REGISTRATION_PORT);
    let ingress = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|balancer| balancer.ingress.as_ref());
    let mut found: Vec<String> = ingress
        .into_iter()
        .flatten()
        .filter_map(|ingress| ingress.ip.clone())
        .collect();
    let external = spec.and_then(|spec| spec.external_ips.clone());
    found.extend(external.unwrap_or_default());
    if found.is_empty() {
        found.extend(spec.and_then(|spec| spec.cluster_ip.clone()));
    }
    found.retain(|address| address.parse::<std::net::IpAddr>().is_ok());
    found
        .into_iter()
        .map(|address| match address.contains(':') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        })
        .collect()
}

/// The file, in the form that `gm-sidecar --config` reads.
#[must_use]
pub fn configuration(
    member: &GroupMember,
    group: &GetVpnGroup,
    host: &str,
    key_servers: &[String],
) -> Value {
    let name = member.metadata.name.as_deref().unwrap_or_default();
    let namespace = member.metadata.namespace.as_deref().unwrap_or("default");
    let spec = &member.spec;
    let closed = spec.fail_closed.as_ref();
    let authentication = match group.spec.authentication.mode {
        AuthenticationMode::PreSharedKey => {
            json!({ "preSharedKeyFile": format!("{DIRECTORY}/psk.key") })
        }
        AuthenticationMode::Certificate => json!({ "certificate": {
            "chainFile": format!("{DIRECTORY}/chain.pem"),
            "keyFile": format!("{DIRECTORY}/member.key"),
            "trustFile": format!("{DIRECTORY}/trust.pem"),
        } }),
    };
    let set = names::key_servers(host);
    json!({
        "name": name,
        "interfaces": spec.interfaces,
        "tunDevice": "getvpn0",
        "controlSocket": CONTROL_SOCKET,
        "metrics": { "listen": "127.0.0.1:9446" },
        "identity": { "type": "FQDN", "value": operator_api::pod::identity(name, namespace) },
        "mtuBytes": spec.sidecar.mtu_bytes,
        "failureMode": spec.failure_mode,
        "allowClear": closed.map(|closed| entries(&closed.allow_clear)).unwrap_or_default(),
        "localBypass": match closed.map(|closed| closed.local_bypass) {
            Some(LocalBypass::Exclude) => "Exclude",
            _ => "Include",
        },
        "groups": [{
            "groupID": group.spec.group_id,
            "keyServers": key_servers,
            "keyServerIdentities": [{
                "type": "FQDN",
                "value": operator_api::pod::key_server_identity(&set, namespace),
            }],
            "authentication": authentication,
            "bypass": entries(&spec.bypass),
            "direction": spec.direction,
        }],
    })
}

fn entries(flows: &[Flow]) -> Vec<Value> {
    flows.iter().map(flow::entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: &Value, external: &Value) -> Service {
        serde_json::from_value(json!({
            "spec": {"clusterIP": "10.96.0.7", "externalIPs": external, "ports": [{"port": 4500}, {"port": 8848}]},
            "status": status,
        }))
        .expect("a Service")
    }

    #[test]
    fn addresses_outside_of_the_cluster_come_before_its_own() {
        let balanced =
            json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"hostname": "lb.example"}]}});
        assert_eq!(
            addresses(&service(&balanced, &Value::Null)),
            ["192.0.2.7:8848"]
        );
        assert_eq!(
            addresses(&service(&Value::Null, &json!(["2001:db8::1"]))),
            ["[2001:db8::1]:8848"]
        );
        assert_eq!(
            addresses(&service(&Value::Null, &Value::Null)),
            ["10.96.0.7:8848"]
        );
    }

    #[test]
    fn the_file_is_one_that_the_member_reads() {
        let object = |kind: &str, spec: &Value| json!({"apiVersion": "getvpn.dev/v1alpha1", "kind": kind, "metadata": {"name": "edge", "namespace": "wan"}, "spec": spec});
        let group: GetVpnGroup = serde_json::from_value(object(
            "GetVpnGroup",
            &json!({"groupID": 7, "keyServers": {}}),
        ))
        .expect("a group");
        let member: GroupMember = serde_json::from_value(object(
            "GroupMember",
            &json!({"groupRef": {"name": "edge"}}),
        ))
        .expect("a member");
        let file = configuration(&member, &group, "edge", &["192.0.2.7:848".to_owned()]);
        assert_eq!(file["groups"][0]["groupID"], 7);
        assert_eq!(
            file["groups"][0]["keyServerIdentities"][0]["value"],
            "edge-ks.wan.keyserver.getvpn"
        );
        assert_eq!(file["identity"]["value"], "edge.wan.member.getvpn");
    }
}
