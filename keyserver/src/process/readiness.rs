//! Says whether members that register here are served, and if not, why.

use runtime::health::Health;
use tokio::sync::watch;

use crate::raft::Role;

/// Follows the role until the consensus ends.
pub(super) async fn watch(
    health: Health,
    mut role: watch::Receiver<Role>,
    mut waiting: watch::Receiver<Option<String>>,
) {
    loop {
        let blocker = blocker(
            &role.borrow_and_update(),
            waiting.borrow_and_update().clone(),
        );
        match blocker {
            Some(why) => health.block("group", why),
            None => health.unblock("group"),
        }
        tokio::select! {
            changed = role.changed() => if changed.is_err() { return; },
            changed = waiting.changed() => if changed.is_err() { return; },
        }
    }
}

/// Why members cannot be served, if they cannot. Having no group to serve is no reason.
fn blocker(role: &Role, waiting: Option<String>) -> Option<String> {
    match role {
        Role::Primary { .. } | Role::Replica { primary: Some(_) } => None,
        Role::Replica { primary: None } => Some(match waiting {
            Some(why) => format!("no primary: {why}"),
            None => "no primary: no majority of the key servers can be reached".to_owned(),
        }),
        Role::Joining => {
            Some(waiting.unwrap_or_else(|| "catching up with the other key servers".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_without_a_primary_says_why_and_one_with_a_primary_is_ready() {
        let alone = Role::Replica { primary: None };
        assert_eq!(
            blocker(&alone, Some("ks-1 says: removed".to_owned())).as_deref(),
            Some("no primary: ks-1 says: removed")
        );
        assert!(blocker(&Role::Joining, None).is_some());
        let replica = Role::Replica {
            primary: Some(crate::raft::types::KeyServerNode::default()),
        };
        assert_eq!(blocker(&replica, Some("an old word".to_owned())), None);
    }
}
