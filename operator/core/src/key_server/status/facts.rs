//! What a status is made from.

use std::collections::BTreeMap;

use crds::v1alpha1::{GetVpnGroup, GetVpnGroupStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use keyserver_api::status::GroupStatus;

use crate::key_server::observed::Observed;
use crate::key_server::rollout::Step;
use crate::policy::Summary;
use crate::rejection::Rejection;

/// Everything known about a group.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The group.
    pub group: &'a GetVpnGroup,
    /// Its status until now.
    pub previous: Option<&'a GetVpnGroupStatus>,
    /// The time.
    pub now: Time,
    /// Whether the operator was told to leave it alone.
    pub paused: bool,
    /// Why the group as a whole is not served; empty when it is.
    pub refusals: &'a [Rejection],
    /// SecurityAssociations of a served group that were not accepted.
    pub rejections: &'a [Rejection],
    /// Rules that never match: object and message.
    pub warnings: &'a [(String, String)],
    /// The policy made from what was accepted.
    pub policy: Option<Summary>,
    /// Whether the key servers hold that policy; `None` when nobody could ask.
    pub policy_in_force: Option<bool>,
    /// Why the key servers refused the policy.
    pub policy_refused: Option<String>,
    /// The key servers; `None` when the group that should have them does not exist or does not have them.
    pub host: Option<Host<'a>>,
    /// The members.
    pub members: Members,
    /// What cannot be made right by trying again.
    pub failure: Option<Failure>,
    /// What did not work this time and is tried again.
    pub retried: Option<String>,
    /// Why the signing key that a Secret should hold is not the group's: reason and message.
    pub signing_key_fault: Option<(&'static str, String)>,
    /// Value of the rekey annotation that was just acted on.
    pub handled_rekey_request: Option<String>,
}

/// The key servers that serve a group.
#[derive(Clone, Debug)]
pub struct Host<'a> {
    /// Name of the group they belong to.
    pub group: &'a str,
    /// How many there should be.
    pub replicas: usize,
    /// What was observed.
    pub observed: &'a Observed,
    /// What is done about them now; `None` when another group looks after them.
    pub step: Option<&'a Step>,
    /// Claims whose volumes still grow.
    pub growing: Vec<String>,
}

/// The members, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Pods with a sidecar for this group, and members outside the cluster that are registered.
    pub expected: usize,
    /// Pods with an older sidecar.
    pub outdated: usize,
    /// Pods that hold back traffic.
    pub fail_closed_active: usize,
    /// Registered members by the name of the key server they registered with.
    pub by_key_server: BTreeMap<String, usize>,
    /// Versions that members in pods told, by pod.
    pub versions: BTreeMap<String, String>,
}

/// What cannot be made right by trying again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Reason of the condition `Stalled`: `InvalidReference`, `PolicyRejected`, `QuotaExceeded` or `StorageRejected`.
    pub reason: &'static str,
    /// What it is, and what to do.
    pub message: String,
}

impl Facts<'_> {
    /// The group as the primary sees it.
    #[must_use]
    pub(super) fn key_server_view(&self) -> Option<&GroupStatus> {
        let (_, primary) = self.host.as_ref()?.observed.primary()?;
        let name = self.group.metadata.name.as_deref()?;
        primary.groups.iter().find(|group| group.name == name)
    }
}
