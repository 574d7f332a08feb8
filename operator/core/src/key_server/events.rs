//! What happened to a group, from one status to the next: one Event for each change.

use crds::v1alpha1::GetVpnGroupStatus;

use super::status::{KEY_SERVERS_AVAILABLE, POLICY_ACCEPTED};
use crate::conditions::{PAUSED, find, holds};

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// Why, in one CamelCase word of the documented list.
    pub reason: &'static str,
    /// What the operator was doing, in one word.
    pub action: &'static str,
    /// For people.
    pub note: String,
}

impl Notice {
    fn new(warning: bool, reason: &'static str, action: &'static str, note: String) -> Self {
        Self {
            warning,
            reason,
            action,
            note,
        }
    }
}

/// What is to be told.
#[must_use]
pub fn notices(before: &GetVpnGroupStatus, after: &GetVpnGroupStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    primary(before, after, &mut notices);
    quorum(before, after, &mut notices);
    policy(before, after, &mut notices);
    rekey(before, after, &mut notices);
    signing_key(before, after, &mut notices);
    let (was, is) = (
        holds(&before.conditions, PAUSED),
        holds(&after.conditions, PAUSED),
    );
    match (was, is) {
        (false, true) => notices.push(Notice::new(
            false,
            "ReconciliationPaused",
            "Pause",
            "the annotation `getvpn.dev/reconcile: paused` was set".to_owned(),
        )),
        (true, false) => notices.push(Notice::new(
            false,
            "ReconciliationResumed",
            "Resume",
            "the annotation `getvpn.dev/reconcile: paused` was removed".to_owned(),
        )),
        _ => {}
    }
    notices
}

fn primary(before: &GetVpnGroupStatus, after: &GetVpnGroupStatus, notices: &mut Vec<Notice>) {
    let name = |status: &GetVpnGroupStatus| {
        let key_servers = status.key_servers.as_ref()?;
        key_servers.primary.clone()
    };
    let known_before = before
        .key_servers
        .as_ref()
        .is_some_and(|key_servers| key_servers.term.is_some());
    match (name(before), name(after)) {
        (Some(was), Some(is)) if was != is => notices.push(Notice::new(
            false,
            "PrimaryMoved",
            "Elect",
            format!("{is} is primary instead of {was}"),
        )),
        (None, Some(is)) if !known_before => notices.push(Notice::new(
            false,
            "PrimaryElected",
            "Elect",
            format!("{is} is primary"),
        )),
        _ => {}
    }
}

fn quorum(before: &GetVpnGroupStatus, after: &GetVpnGroupStatus, notices: &mut Vec<Notice>) {
    let lost = |status: &GetVpnGroupStatus| {
        find(&status.conditions, KEY_SERVERS_AVAILABLE)
            .is_some_and(|condition| condition.reason == "QuorumLost")
    };
    let Some(now) = find(&after.conditions, KEY_SERVERS_AVAILABLE) else {
        return;
    };
    match (lost(before), lost(after)) {
        (false, true) => notices.push(Notice::new(
            true,
            "QuorumLost",
            "Observe",
            now.message.clone(),
        )),
        (true, false) if now.status == "True" => notices.push(Notice::new(
            false,
            "QuorumRestored",
            "Observe",
            now.message.clone(),
        )),
        _ => {}
    }
}

fn policy(before: &GetVpnGroupStatus, after: &GetVpnGroupStatus, notices: &mut Vec<Notice>) {
    let (was, is) = (
        find(&before.conditions, POLICY_ACCEPTED),
        find(&after.conditions, POLICY_ACCEPTED),
    );
    let Some(is) = is else { return };
    let changed = was.is_none_or(|was| (&was.reason, &was.message) != (&is.reason, &is.message));
    if is.status == "False" && changed {
        notices.push(Notice::new(
            true,
            "PolicyRejected",
            "Validate",
            format!("{}: {}", is.reason, is.message),
        ));
    }
}

fn rekey(before: &GetVpnGroupStatus, after: &GetVpnGroupStatus, notices: &mut Vec<Notice>) {
    let (Some(was), Some(is)) = (before.keys.as_ref(), after.keys.as_ref()) else {
        return;
    };
    if is.last_rekey_time.is_some() && was.last_rekey_time != is.last_rekey_time {
        notices.push(Notice::new(
            false,
            "RekeySent",
            "Rekey",
            format!("keys of generation {} were sent to the members", is.epoch),
        ));
    }
    if let Some(acknowledged) = &is.last_rekey_acknowledged
        && (was.last_rekey_acknowledged.as_ref(), &was.last_rekey_time)
            != (Some(acknowledged), &is.last_rekey_time)
        && acknowledged
            .split_once('/')
            .is_some_and(|(some, all)| some != all)
    {
        notices.push(Notice::new(
            true,
            "RekeyIncomplete",
            "Rekey",
            format!("{acknowledged} members acknowledged the last rekey"),
        ));
    }
    if let Some(request) = &after.last_handled_rekey_request
        && before.last_handled_rekey_request.as_ref() != Some(request)
    {
        notices.push(Notice::new(
            false,
            "RekeyRequestHandled",
            "Rekey",
            format!("rekey as requested by `getvpn.dev/rekey-requested-at: {request}`"),
        ));
    }
}

fn signing_key(before: &GetVpnGroupStatus, after: &GetVpnGroupStatus, notices: &mut Vec<Notice>) {
    if let (Some(was), Some(is)) = (&before.signing_key, &after.signing_key)
        && was.fingerprint != is.fingerprint
    {
        notices.push(Notice::new(
            false,
            "SigningKeyRotated",
            "Rekey",
            format!("rekeys are signed by {} from now on", is.fingerprint),
        ));
    }
}
