//! What the status of a GroupMember claims, and what it does not.

mod support;

use std::collections::BTreeMap;

use keyserver_api::status::{MemberActivity, MemberRow};
use operator_api::enrolment::{GroupReport, MemberReport};
use operator_core::conditions::{READY, find, time_from_millis};
use operator_core::group_member::advice::advice;
use operator_core::group_member::pods::MemberPod;
use operator_core::group_member::status::{Facts, POLICY_IN_SYNC, status};
use support::{group, load, member};

/// A GroupMember with its group.
fn in_group(name: &str, more: &str) -> String {
    [group("voice", 7, ""), member(name, "voice", more)].concat()
}

fn pod(number: u8) -> MemberPod {
    MemberPod {
        name: format!("web-{number}"),
        uid: format!("uid-{number}"),
        ready: true,
        sidecar_image: Some("sidecar:1".to_owned()),
        waiting: None,
    }
}

fn row(number: u8, missed_rekeys: u32) -> (String, MemberRow) {
    let name = format!("web-{number}.wan.member.getvpn");
    let row = MemberRow {
        identity: format!("FQDN:{name}"),
        registration_id: format!("{number:016x}"),
        address: ([10, 1, 1, number], 848).into(),
        key_server: "voice-ks-0".to_owned(),
        sender_ids: vec![u32::from(number)],
        registered_unix_ms: 0,
        last_acknowledgement_unix_ms: None,
        missed_rekeys,
        acknowledges: true,
        activity: MemberActivity::Active,
        version: None,
    };
    (name, row)
}

// GET VPN row 193
#[test]
fn a_change_that_some_pods_did_not_take_is_not_done_and_they_are_named() {
    let mut objects = load(&in_group("phones", ""));
    objects.members[0].metadata.namespace = Some("wan".to_owned());
    let pods: Vec<MemberPod> = (1..=5).map(pod).collect();
    let reports = BTreeMap::new();
    let judge = |missed: &[u8]| {
        let rows = (1..=5).map(|number| row(number, u32::from(missed.contains(&number))));
        let registered: BTreeMap<String, MemberRow> = rows.collect();
        status(&Facts {
            member: &objects.members[0],
            now: time_from_millis(0).expect("a time"),
            rejection: None,
            group: Some(&objects.groups[0]),
            pods: &pods,
            registered: Some(&registered),
            reports: &reports,
            sidecar_image: "sidecar:1",
            injection: None,
        })
    };
    let done = judge(&[]);
    let holds = |status: &crds::v1alpha1::GroupMemberStatus, kind| {
        let condition = find(&status.conditions, kind).expect("a condition");
        (condition.status.clone(), condition.reason.clone())
    };
    assert_eq!(holds(&done, READY).0, "True");
    assert_eq!(holds(&done, POLICY_IN_SYNC).0, "True");
    let partial = judge(&[2, 4]);
    assert_eq!(
        holds(&partial, POLICY_IN_SYNC),
        ("False".to_owned(), "StalePolicy".to_owned())
    );
    assert_eq!(holds(&partial, READY).0, "False", "it is not done");
    let message = &find(&partial.conditions, POLICY_IN_SYNC)
        .expect("there")
        .message;
    assert!(message.contains("2 pods did not acknowledge"), "{message}");
    let named: Vec<_> = partial
        .unhealthy
        .iter()
        .map(|pod| (pod.pod_name.as_str(), pod.reason.as_str()))
        .collect();
    assert_eq!(named, [("web-2", "StalePolicy"), ("web-4", "StalePolicy")]);
}

/// Several replicas of the operator hear members; this one may have heard of a time before the registration.
#[test]
fn what_a_member_said_earlier_does_not_outweigh_key_servers_and_probe() {
    let mut objects = load(&in_group("phones", ""));
    objects.members[0].metadata.namespace = Some("wan".to_owned());
    let pods: Vec<MemberPod> = (1..=2).map(pod).collect();
    let earlier = MemberReport {
        fail_closed_active: true,
        groups: vec![GroupReport {
            group_id: 7,
            registered: false,
            reason: "NotRegistered".to_owned(),
        }],
        ..MemberReport::default()
    };
    let reports = BTreeMap::from([("uid-2".to_owned(), earlier)]);
    let judge = |registered: Option<&BTreeMap<String, MemberRow>>| {
        status(&Facts {
            member: &objects.members[0],
            now: time_from_millis(0).expect("a time"),
            rejection: None,
            group: Some(&objects.groups[0]),
            pods: &pods,
            registered,
            reports: &reports,
            sidecar_image: "sidecar:1",
            injection: None,
        })
    };
    let rows = BTreeMap::from([row(1, 0), row(2, 0)]);
    let counted = judge(Some(&rows)).pods.expect("counts");
    assert_eq!((counted.registered, counted.fail_closed_active), (2, 0));
    // While no key server can be asked, it is all there is.
    let counted = judge(None).pods.expect("counts");
    assert_eq!((counted.registered, counted.fail_closed_active), (1, 1));
}

// GET VPN row 169
#[test]
fn a_flow_that_stays_in_clear_but_is_not_freed_before_registration_is_pointed_out() {
    let message = |closed: &str| {
        let text = format!(
            "  podSelector: {{ matchLabels: {{ app: phone }} }}\n  bypass: [{{ name: ospf, protocol: OSPF }}]\n  failClosed: {closed}\n"
        );
        let objects = load(&in_group("phones", &text));
        let status = status(&Facts {
            member: &objects.members[0],
            now: time_from_millis(0).expect("a time"),
            rejection: None,
            group: Some(&objects.groups[0]),
            pods: &[],
            registered: None,
            reports: &BTreeMap::new(),
            sidecar_image: "sidecar:1",
            injection: None,
        });
        find(&status.conditions, READY)
            .expect("there")
            .message
            .clone()
    };
    assert_eq!(
        message("{ localBypass: Exclude }"),
        "every pod is in order; flow `ospf` of `bypass` is dropped until the first registration, as `failClosed.allowClear` does not hold it"
    );
    for quiet in [
        "{ localBypass: Include }",
        "{ localBypass: Exclude, allowClear: [{ name: routing, protocol: OSPF }] }",
    ] {
        assert_eq!(message(quiet), "every pod is in order", "{quiet}");
    }
}

// GET VPN row 174
#[test]
fn a_gateway_that_nobody_could_reach_before_its_first_registration_is_pointed_out() {
    let words = |more: &str| {
        let objects = load(&member("gateway", "voice", more));
        advice(&objects.members[0])
    };
    let freed = |flow: &str| words(&format!("  failClosed: {{ allowClear: [{flow}] }}\n"));
    for locked in [
        words(""),
        freed("{ name: routing, protocol: OSPF }"),
        freed("{ name: dns, protocol: TCP, sourcePorts: [\"53\"] }"),
    ] {
        assert_eq!(locked.len(), 1, "{locked:?}");
        assert!(locked[0].contains("locks you out"), "{locked:?}");
    }
    for open in [
        freed("{ name: ssh, protocol: TCP, sourcePorts: [\"22\"], destination: 192.0.2.0/24 }"),
        freed("{ name: manager, protocol: TCP, sourcePorts: [\"400-500\"] }"),
        freed("{ name: everything-there, destination: 192.0.2.7/32 }"),
        words("  failureMode: FailOpen\n"),
        words("  podSelector: { matchLabels: { app: phone } }\n"),
    ] {
        assert_eq!(open, Vec::<String>::new());
    }
}

// GET VPN row 178
#[test]
fn a_list_that_locks_everybody_out_is_pointed_out_until_somebody_says_that_it_is_meant() {
    let message = |access: Option<&str>| {
        let mut objects = load(
            &[
                group("voice", 7, ""),
                member(
                    "gateway",
                    "voice",
                    "  failClosed: { allowClear: [{ name: ospf, protocol: OSPF }] }\n",
                ),
            ]
            .concat(),
        );
        objects.members[0].metadata.annotations = access.map(|access| {
            let name = "getvpn.dev/management-access".to_owned();
            BTreeMap::from([(name, access.to_owned())])
        });
        let status = status(&Facts {
            member: &objects.members[0],
            now: time_from_millis(0).expect("a time"),
            rejection: None,
            group: Some(&objects.groups[0]),
            pods: &[],
            registered: None,
            reports: &BTreeMap::new(),
            sidecar_image: "sidecar:1",
            injection: None,
        });
        let ready = find(&status.conditions, READY).expect("there");
        ready.message.clone()
    };
    for asked in [None, Some(""), Some("everybody")] {
        let said = message(asked);
        assert!(said.contains("locks you out"), "{said}");
        assert!(
            said.ends_with(
                "if that is meant, annotate it with `getvpn.dev/management-access: none`"
            ),
            "{said}"
        );
    }
    assert_eq!(message(Some("none")), "every pod is in order");
}
