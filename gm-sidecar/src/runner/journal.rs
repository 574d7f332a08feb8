//! Writes the membership's events to the log: constant messages, values as fields.

use gm_core::member::{MemberEvent, MemberEventKind};

/// Logs one event.
pub(super) fn record(event: &MemberEvent) {
    let group = event.group_id;
    match &event.kind {
        MemberEventKind::RegistrationStarted { key_server, reason } => {
            tracing::info!(group, %key_server, reason = reason.label(), "registering");
        }
        MemberEventKind::Registered {
            key_server,
            identity,
            sender_id,
            policy_revision,
            traffic_keys,
        } => tracing::info!(
            group,
            %key_server,
            identity,
            sender_id,
            policy_revision,
            traffic_keys,
            "registered"
        ),
        MemberEventKind::RegistrationFailed { key_server, cause } => {
            tracing::warn!(group, %key_server, cause, "registration failed");
        }
        MemberEventKind::Waiting { wait } => {
            tracing::info!(
                group,
                wait_seconds = wait.as_secs_f64(),
                "waiting to register"
            );
        }
        MemberEventKind::RegistrationDue { reason, delay } => tracing::info!(
            group,
            reason = reason.label(),
            delay_seconds = delay.as_secs_f64(),
            "registration due"
        ),
        MemberEventKind::RekeyAccepted {
            message_id,
            traffic_keys,
            new_rekey_sa,
            age,
        } => {
            let spis: Vec<String> = traffic_keys.iter().map(ToString::to_string).collect();
            tracing::info!(
                group,
                message_id,
                spis = spis.join(","),
                new_rekey_sa,
                age_milliseconds = u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                "rekey accepted"
            );
        }
        MemberEventKind::RekeyRepeated => tracing::debug!(group, "rekey repeated"),
        MemberEventKind::RekeyRefused { label, cause } => {
            tracing::warn!(group, label, cause, "rekey refused");
        }
        MemberEventKind::Excluded => tracing::warn!(group, "excluded from the group"),
        MemberEventKind::PolicyUnusable { cause } => {
            tracing::error!(
                group,
                cause,
                "the group's policy cannot be used by this member"
            );
        }
        MemberEventKind::KeysExpired => tracing::warn!(
            group,
            "no key is left to send with: protected traffic is dropped"
        ),
        MemberEventKind::Left => tracing::info!(group, "left the group"),
    }
}
