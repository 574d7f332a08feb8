//! Groups, key servers, members and keys as lists of objects.

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use operator_core::labels;
use serde::Serialize;
use serde_json::{Value, json};

use super::connection::Connection;
use super::error::ClusterError;
use super::key_servers::KeyServers;
use super::table::{Column, span};

/// Columns of groups.
pub const GROUPS: &[Column] = &[
    Column::new("NAMESPACE", "/metadata/namespace"),
    Column::new("NAME", "/metadata/name"),
    Column::new("ID", "/spec/groupID"),
    Column::new("READY", "/ready"),
    Column::new("KEYSERVERS", "/status/keyServers/summary"),
    Column::new("PRIMARY", "/status/keyServers/primary"),
    Column::new("MEMBERS", "/status/members/summary"),
    Column::new("NEXT-REKEY", "/status/keys/nextRekeyTime"),
    Column::wide("EPOCH", "/status/keys/epoch"),
    Column::wide("TRANSPORT", "/spec/rekey/transport"),
    Column::wide("POLICY", "/status/policy/revision"),
    Column::wide("SIGNING-KEY", "/status/signingKey/fingerprint"),
];

/// Columns of key servers.
pub const KEY_SERVERS: &[Column] = &[
    Column::new("GROUP", "/group"),
    Column::new("NAME", "/name"),
    Column::new("ROLE", "/role"),
    Column::new("PRIORITY", "/priority"),
    Column::new("REACHED", "/reachable"),
    Column::new("LAG", "/lag"),
    Column::new("REGISTERED", "/registered"),
    Column::new("VERSION", "/version"),
    Column::wide("TERM", "/term"),
    Column::wide("APPLIED", "/appliedIndex"),
    Column::wide("UP", "/up"),
    Column::wide("ERROR", "/error"),
];

/// Columns of members.
pub const MEMBERS: &[Column] = &[
    Column::new("GROUP", "/group"),
    Column::new("IDENTITY", "/identity"),
    Column::new("ADDRESS", "/address"),
    Column::new("KEY-SERVER", "/keyServer"),
    Column::new("REGISTERED", "/registeredFor"),
    Column::new("ACTIVITY", "/activity"),
    Column::new("MISSED", "/missedRekeys"),
    Column::wide("SENDER-IDS", "/senderIds"),
    Column::wide("VERSION", "/version"),
    Column::wide("REGISTRATION-ID", "/registrationId"),
];

/// Columns of keys.
pub const KEYS: &[Column] = &[
    Column::new("GROUP", "/group"),
    Column::new("ASSOCIATION", "/securityAssociation"),
    Column::new("IP", "/addressFamily"),
    Column::new("SPI", "/spi"),
    Column::new("NUMBER", "/number"),
    Column::new("STATE", "/state"),
    Column::new("ACTIVATES-IN", "/activatesIn"),
    Column::new("LIFETIME-LEFT", "/lifetimeLeft"),
];

/// An object as JSON.
///
/// # Errors
/// Never for what came from the API server.
pub(crate) fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// A condition of a status; `Unknown` when nobody has looked yet.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> String {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or("Unknown")
        .to_owned()
}

/// The named group, or all of the connection's namespaces.
///
/// # Errors
/// What the API server answers; a usage error for a name that does not exist.
pub async fn groups(
    connection: &Connection,
    name: Option<&str>,
) -> Result<Vec<GetVpnGroup>, ClusterError> {
    let Some(name) = name else {
        let listed = connection.listed::<GetVpnGroup>();
        let listed = listed.list(&ListParams::default()).await;
        return Ok(listed.map_err(ClusterError::api("list groups"))?.items);
    };
    let found = connection.named::<GetVpnGroup>().get_opt(name).await;
    match found.map_err(ClusterError::api(format!("read group {name}")))? {
        Some(group) => Ok(vec![group]),
        None => Err(ClusterError::Usage(format!(
            "there is no GetVpnGroup `{name}` in namespace `{}`; `kubectl getvpn groups -A` lists all",
            connection.namespace
        ))),
    }
}

/// Groups with the state of their condition `Ready`.
///
/// # Errors
/// As [`groups`].
pub async fn group_rows(
    connection: &Connection,
    name: Option<&str>,
) -> Result<Vec<Value>, ClusterError> {
    let groups = groups(connection, name).await?;
    Ok(groups
        .iter()
        .map(|group| {
            let mut row = value(group);
            row["ready"] = condition(&row, "Ready").into();
            row
        })
        .collect())
}

/// Key servers as the primary sees them, and as each sees itself.
///
/// # Errors
/// As [`groups`]; of a group whose key servers do not answer the row says so.
pub async fn key_server_rows(
    connection: &Connection,
    name: Option<&str>,
) -> Result<Vec<Value>, ClusterError> {
    let mut rows = Vec::new();
    for group in groups(connection, name).await? {
        let (own, space) = (group.name_any(), group.namespace().unwrap_or_default());
        let servers = match KeyServers::of(&connection.within(&space), &group).await {
            Ok(servers) => servers,
            Err(error) => {
                rows.push(json!({"group": own, "namespace": space, "error": error.to_string()}));
                continue;
            }
        };
        let statuses = servers.statuses().await;
        let seen: Vec<_> = statuses
            .iter()
            .filter_map(|(_, status)| status.as_ref().ok())
            .flat_map(|status| &status.peers)
            .collect();
        for (pod, status) in &statuses {
            // Only the primary knows who is reached.
            let peer = seen
                .iter()
                .filter(|peer| peer.name == *pod)
                .max_by_key(|peer| peer.reachable.is_some());
            let mut row = json!({"group": own, "namespace": space, "name": pod});
            if let Some(peer) = peer {
                row["priority"] = peer.priority.into();
                row["reachable"] = peer.reachable.into();
                row["lag"] = peer.lag.into();
                row["voter"] = peer.voter.into();
            }
            match status {
                Ok(status) => {
                    let registered: u32 = status
                        .groups
                        .iter()
                        .filter(|it| it.name == own)
                        .map(|it| it.members)
                        .sum();
                    row["role"] = value(&status.role);
                    row["term"] = status.term.into();
                    row["appliedIndex"] = status.applied_index.into();
                    row["version"] = status.version.clone().into();
                    row["registered"] = registered.into();
                    row["up"] = span(status.uptime_seconds.saturating_mul(1000)).into();
                }
                Err(error) => {
                    row["role"] = "NoAnswer".into();
                    row["error"] = error.to_string().into();
                }
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Members as key servers know them.
///
/// # Errors
/// As [`groups`], and when no key server answers.
pub async fn member_rows(
    connection: &Connection,
    name: Option<&str>,
    now_unix_ms: u64,
) -> Result<Vec<Value>, ClusterError> {
    let mut rows = Vec::new();
    for group in groups(connection, name).await? {
        let (own, space) = (group.name_any(), group.namespace().unwrap_or_default());
        let servers = KeyServers::of(&connection.within(&space), &group).await?;
        let members = servers
            .ask(async |client| client.members(&own).await)
            .await?;
        for member in members {
            let mut row = value(&member);
            let registered = now_unix_ms.saturating_sub(member.registered_unix_ms);
            row["group"] = own.clone().into();
            row["namespace"] = space.clone().into();
            row["registeredFor"] = span(registered).into();
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Traffic keys of groups, without the keys.
///
/// # Errors
/// As [`member_rows`].
pub async fn key_rows(
    connection: &Connection,
    name: Option<&str>,
) -> Result<Vec<Value>, ClusterError> {
    let mut rows = Vec::new();
    for group in groups(connection, name).await? {
        let (own, space) = (group.name_any(), group.namespace().unwrap_or_default());
        let servers = KeyServers::of(&connection.within(&space), &group).await?;
        let status = servers.ask(async |client| client.group(&own).await).await?;
        for key in status.traffic_keys {
            let mut row = value(&key);
            row["group"] = own.clone().into();
            row["namespace"] = space.clone().into();
            row["activatesIn"] = span(key.activates_in_ms).into();
            row["lifetimeLeft"] = span(key.lifetime_left_ms).into();
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Pods with a sidecar that belong to a group, by its GroupMembers.
///
/// # Errors
/// What the API server answers.
pub async fn member_pods(connection: &Connection, group: &str) -> Result<Vec<Pod>, ClusterError> {
    let members = connection.named::<GroupMember>();
    let members = members
        .list(&ListParams::default())
        .await
        .map_err(ClusterError::api("list GroupMembers"))?;
    let of_group: Vec<String> = members
        .iter()
        .filter(|member| member.spec.group_ref.name == group)
        .map(|member| labels::membership(&member.name_any()))
        .collect();
    let selector = format!("{}={}", labels::ROLE, labels::MEMBER);
    let pods = connection.named::<Pod>();
    let pods = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(ClusterError::api("list pods with a sidecar"))?;
    Ok(pods
        .items
        .into_iter()
        .filter(|pod| {
            of_group
                .iter()
                .any(|label| pod.labels().contains_key(label))
        })
        .collect())
}

/// Everything of a group for its page of status.
///
/// # Errors
/// As [`groups`].
pub async fn associations(
    connection: &Connection,
    group: &str,
) -> Result<Vec<SecurityAssociation>, ClusterError> {
    let all = connection.named::<SecurityAssociation>();
    let all = all
        .list(&ListParams::default())
        .await
        .map_err(ClusterError::api("list SecurityAssociations"))?;
    Ok(all
        .items
        .into_iter()
        .filter(|one| one.spec.group_ref.name == group)
        .collect())
}
