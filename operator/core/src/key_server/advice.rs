//! What a group asks for and does not get as it may expect.

use crds::v1alpha1::{
    DeadPeerDetection, DeadPeerDetectionMode, GetVpnGroup, KeyServers, Registration,
};

/// Advice about a group, one sentence each.
#[must_use]
pub fn advice(group: &GetVpnGroup) -> Vec<String> {
    let spec = &group.spec;
    let watch = spec.key_servers.as_ref().and_then(watch);
    watch
        .into_iter()
        .chain(registration(&spec.registration))
        .collect()
}

/// Key servers watch one another by the heartbeats of their cooperation, and never their members.
fn watch(key_servers: &KeyServers) -> Option<String> {
    let wanted = &key_servers.dead_peer_detection;
    if *wanted == DeadPeerDetection::default() {
        return None;
    }
    if key_servers.replicas <= 1 {
        return Some(
            "`keyServers.deadPeerDetection` is ignored: there is one key server, so none watches it"
                .to_owned(),
        );
    }
    let mode = match wanted.mode {
        DeadPeerDetectionMode::Periodic => {
            return Some(
                "`keyServers.deadPeerDetection` has no effect: key servers hear of one another several times a second, \
                 and count one as gone after three seconds"
                    .to_owned(),
            );
        }
        DeadPeerDetectionMode::OnDemand => "OnDemand",
        DeadPeerDetectionMode::Disabled => "Disabled",
    };
    Some(format!(
        "`keyServers.deadPeerDetection.mode` '{mode}' is not followed: key servers that work together must watch one \
         another all the time; set it to 'Periodic'"
    ))
}

/// Fields that are stored for policies that are carried over, and that nothing acts on.
fn registration(wanted: &Registration) -> Option<String> {
    let default = Registration::default();
    let set: Vec<&str> = [
        ("proposals", wanted.proposals != default.proposals),
        (
            "keyServerLifetimeSeconds",
            wanted.key_server_lifetime_seconds != default.key_server_lifetime_seconds,
        ),
        (
            "memberLifetimeSeconds",
            wanted.member_lifetime_seconds != default.member_lifetime_seconds,
        ),
        (
            "requestLimit",
            wanted.request_limit != default.request_limit,
        ),
        (
            "resourceThresholdPercent",
            wanted.resource_threshold_percent != default.resource_threshold_percent,
        ),
    ]
    .into_iter()
    .filter_map(|(field, set)| set.then_some(field))
    .collect();
    (!set.is_empty()).then(|| {
        format!(
            "of `registration` nothing acts on {} in this version",
            set.join(", ")
        )
    })
}
