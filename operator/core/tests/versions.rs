//! Programs of several versions in one group: who is named, and when.

mod support;

use std::collections::BTreeMap;

use crds::v1alpha1::{GetVpnGroupStatus, GroupMemberStatus};
use keyserver_api::status::{ServerRole, ServerStatus};
use operator_api::enrolment::MemberReport;
use operator_core::conditions::{find, time_from_millis};
use operator_core::group_member::pods::MemberPod;
use operator_core::group_member::status::{self as member_status, SIDECAR_TOO_OLD};
use operator_core::key_server::observed::Observed;
use operator_core::key_server::status::{
    self as group_status, Facts, Host, MEMBERS_AHEAD, Members,
};
use support::{group, load, member};

fn server(ordinal: usize, version: &str) -> (usize, ServerStatus) {
    let status = ServerStatus {
        name: format!("voice-ks-{ordinal}"),
        version: version.to_owned(),
        role: ServerRole::Secondary,
        primary: None,
        primary_admin_address: None,
        term: 1,
        applied_index: 1,
        peers: Vec::new(),
        groups: Vec::new(),
        uptime_seconds: 1,
    };
    (ordinal, status)
}

/// Status of a group with key servers and members of these versions.
fn of_group(servers: &[&str], members: &[(&str, &str)]) -> GetVpnGroupStatus {
    let objects = load(&group("voice", 7, ""));
    let observed = Observed {
        servers: (0..)
            .zip(servers)
            .map(|(ordinal, version)| server(ordinal, version))
            .collect(),
        ..Observed::default()
    };
    let own = |(name, version): &(&str, &str)| ((*name).to_owned(), (*version).to_owned());
    group_status::status(&Facts {
        group: &objects.groups[0],
        previous: None,
        now: time_from_millis(0).expect("a time"),
        paused: false,
        refusals: &[],
        rejections: &[],
        warnings: &[],
        policy: None,
        policy_in_force: None,
        policy_refused: None,
        host: Some(Host {
            group: "voice",
            replicas: servers.len(),
            observed: &observed,
            step: None,
            growing: Vec::new(),
        }),
        members: Members {
            versions: members.iter().map(own).collect(),
            ..Members::default()
        },
        failure: None,
        retried: None,
        signing_key_fault: None,
        handled_rekey_request: None,
    })
}

/// Status of a GroupMember whose pods tell these versions; `more` is added to its group's spec.
fn of_member(pods: &[(&str, &str)], more: &str, own: &str) -> GroupMemberStatus {
    let objects = load(&[group("voice", 7, more), member("web", "voice", own)].concat());
    let reports: BTreeMap<String, MemberReport> = pods
        .iter()
        .map(|(name, version)| {
            let report = MemberReport {
                version: (*version).to_owned(),
                ..MemberReport::default()
            };
            (format!("uid-{name}"), report)
        })
        .collect();
    let pods: Vec<MemberPod> = pods
        .iter()
        .map(|(name, _)| MemberPod {
            name: (*name).to_owned(),
            uid: format!("uid-{name}"),
            ready: true,
            sidecar_image: Some("sidecar:1".to_owned()),
            waiting: None,
        })
        .collect();
    member_status::status(&member_status::Facts {
        member: &objects.members[0],
        now: time_from_millis(0).expect("a time"),
        rejection: None,
        group: Some(&objects.groups[0]),
        pods: &pods,
        registered: None,
        reports: &reports,
        sidecar_image: "sidecar:1",
        injection: None,
    })
}

// GET VPN row 97
#[test]
fn members_newer_than_a_key_server_are_named_with_it_before_a_rekey_can_fail() {
    let said = |servers: &[&str], members: &[(&str, &str)]| {
        let status = of_group(servers, members);
        let condition = find(&status.conditions, MEMBERS_AHEAD)?;
        assert_eq!(condition.status, "True");
        assert_eq!(condition.reason, "NewerThanKeyServers");
        Some(condition.message.clone())
    };
    let mixed = [("web-0", "0.10.0"), ("web-1", "0.9.0"), ("web-2", "0.10.0")];
    assert_eq!(
        said(&["0.10.0", "0.9.0", "0.10.0"], &mixed).as_deref(),
        Some(
            "newer than key server `voice-ks-1` (0.9.0): `web-0` (0.10.0), `web-2` (0.10.0); upgrade the key servers first, or a rekey may fail"
        )
    );
    assert_eq!(said(&["0.10.0", "0.10.0"], &mixed), None, "all are as new");
    assert_eq!(said(&[], &mixed), None, "no key server was asked");
    let unreadable = [("web-0", "")];
    assert_eq!(said(&["0.9.0"], &unreadable), None);
}

// GET VPN row 157
#[test]
fn a_member_too_old_for_what_is_asked_of_it_is_named_with_the_feature() {
    let said = |pods: &[(&str, &str)], more: &str, own: &str| {
        let status = of_member(pods, more, own);
        let condition = find(&status.conditions, SIDECAR_TOO_OLD)?;
        assert_eq!(condition.status, "True");
        Some(condition.message.clone())
    };
    let pods = [("web-0", "0.1.0"), ("web-1", "0.0.9"), ("web-2", "0.2.0")];
    let copies = "  multicastDelivery: HeadEndReplication\n";
    assert_eq!(
        said(&pods, copies, "").as_deref(),
        Some(
            "`multicastDelivery: HeadEndReplication` needs members of version 0.1.0: `web-1` (0.0.9); restart them"
        )
    );
    let direction = said(&pods, "", "  direction: InboundOptional\n").expect("named");
    assert!(
        direction.contains("`direction: InboundOptional`"),
        "{direction}"
    );
    assert_eq!(said(&pods, "", ""), None, "nothing new is asked for");
    assert_eq!(said(&pods[..1], copies, ""), None, "it is new enough");
}
