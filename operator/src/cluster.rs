//! What the operator's own pod shows of the cluster: where its name servers and its API server are.

use std::net::IpAddr;

/// Addresses that every pod of the cluster may need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The name servers that the operator's own pod was given.
    pub name_servers: Vec<IpAddr>,
    /// The API server as pods are told of it.
    pub api_servers: Vec<(IpAddr, u16)>,
}

impl Cluster {
    /// As this process sees it. Outside of a pod both are unknown, unless the environment says so.
    #[must_use]
    pub fn around_this_process() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let host = variable("KUBERNETES_SERVICE_HOST");
        let port = variable("KUBERNETES_SERVICE_PORT");
        let in_pod = host.is_some();
        let resolver = in_pod
            .then(|| std::fs::read_to_string("/etc/resolv.conf").ok())
            .flatten();
        Self {
            name_servers: name_servers(resolver.as_deref().unwrap_or_default()),
            api_servers: api_server(host.as_deref(), port.as_deref())
                .into_iter()
                .collect(),
        }
    }
}

fn api_server(host: Option<&str>, port: Option<&str>) -> Option<(IpAddr, u16)> {
    Some((host?.parse().ok()?, port?.parse().ok()?))
}

/// The `nameserver` lines of resolv.conf(5).
fn name_servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_resolver_reads_them() {
        let text =
            "search a.svc\nnameserver 10.96.0.10\nnameserver\tfd00::a \n# nameserver 1.1.1.1\n";
        assert_eq!(
            name_servers(text),
            [
                IpAddr::from([10, 96, 0, 10]),
                "fd00::a".parse().expect("address")
            ]
        );
        assert_eq!(
            api_server(Some("10.96.0.1"), Some("443")),
            Some((IpAddr::from([10, 96, 0, 1]), 443))
        );
        assert_eq!(api_server(Some("api.example"), Some("443")), None);
    }
}
