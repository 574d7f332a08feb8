//! All objects of the three kinds, judged together.

mod support;

use operator_core::namespace::{self, Judgement};
use support::{association, group, load, member, permit};

const AUTHORIZED: &str = "  authentication: { mode: PreSharedKey, preSharedKeySecretRef: { name: psk } }\n  authorization: { mode: PreSharedKey, addresses: [10.1.0.0/16] }\n";

fn guest(name: &str, number: i32, host: &str) -> String {
    group(
        name,
        number,
        &format!("  keyServersFrom: {{ groupRef: {{ name: {host} }} }}\n{AUTHORIZED}"),
    )
}

fn everything(name: &str) -> String {
    association(name, name, 1, &[&permit("all", "10.1.0.0/16")], "")
}

fn words(judgement: &Judgement<'_>) -> Vec<String> {
    judgement
        .rejections()
        .map(|rejection| format!("{} {rejection}", rejection.reason.as_str()))
        .collect()
}

fn rejected(text: &[String]) -> Vec<String> {
    let manifests = load(&text.concat());
    words(&namespace::validate(
        &manifests.groups,
        &manifests.security_associations,
        &manifests.members,
    ))
}

#[test]
fn members_and_hosts_are_found_by_name() {
    let text = [
        group("voice", 1, AUTHORIZED),
        guest("data", 2, "voice"),
        everything("voice"),
        everything("data"),
        member("phones", "voice", ""),
        member("desks", "data", ""),
    ];
    let manifests = load(&text.concat());
    let judgement = namespace::validate(
        &manifests.groups,
        &manifests.security_associations,
        &manifests.members,
    );
    assert_eq!(words(&judgement), Vec::<String>::new());
    let data = &judgement.groups[1];
    assert_eq!(
        data.host.and_then(|host| host.metadata.name.as_deref()),
        Some("voice")
    );
    assert_eq!(data.members[0].metadata.name.as_deref(), Some("desks"));
    assert!(judgement.group("data").is_some() && judgement.group("video").is_none());
}

#[test]
fn references_to_nothing_are_told() {
    let found = rejected(&[
        group("voice", 1, ""),
        everything("voice"),
        guest("data", 2, "video"),
        everything("lost"),
        member("lost", "video", ""),
    ]);
    assert_eq!(
        found,
        [
            "GroupNotFound GetVpnGroup `data`: spec.keyServersFrom.groupRef.name: there is no GetVpnGroup `video` in this namespace",
            "GroupNotFound SecurityAssociation `lost`: spec.groupRef.name: there is no GetVpnGroup `lost` in this namespace",
            "GroupNotFound GroupMember `lost`: spec.groupRef.name: there is no GetVpnGroup `video` in this namespace",
        ]
    );
}

#[test]
fn references_do_not_cross_namespaces() {
    let text = [
        group("voice", 1, ""),
        everything("voice"),
        member("phones", "voice", ""),
    ];
    let mut manifests = load(&text.concat());
    manifests.members[0].metadata.namespace = Some("elsewhere".to_owned());
    let judgement = namespace::validate(
        &manifests.groups,
        &manifests.security_associations,
        &manifests.members,
    );
    assert_eq!(words(&judgement).len(), 1);
    manifests.members[0].metadata.namespace = Some("default".to_owned());
    let judgement = namespace::validate(
        &manifests.groups,
        &manifests.security_associations,
        &manifests.members,
    );
    assert_eq!(
        words(&judgement),
        Vec::<String>::new(),
        "no namespace is the default one"
    );
}

// GET VPN row 43
#[test]
fn shared_key_servers_must_be_told_who_may_join_each_group() {
    let found = rejected(&[
        group("voice", 1, ""),
        everything("voice"),
        guest("data", 2, "voice"),
        everything("data"),
    ]);
    assert_eq!(
        found,
        [
            "AuthorizationRequired GetVpnGroup `voice`: spec.authorization.mode: may not be 'Disabled' while `data` uses the same key servers; say who may join this group"
        ]
    );
}

#[test]
fn key_servers_are_not_borrowed_from_a_borrower() {
    let found = rejected(&[
        group("voice", 1, AUTHORIZED),
        everything("voice"),
        guest("data", 2, "voice"),
        everything("data"),
        guest("video", 3, "data"),
        everything("video"),
    ]);
    assert_eq!(
        found,
        [
            "InvalidReference GetVpnGroup `video`: spec.keyServersFrom.groupRef.name: `data` has no key servers of its own; name the group that has `keyServers`"
        ]
    );
}

#[test]
fn one_set_of_key_servers_has_each_number_once() {
    let found = rejected(&[
        group("voice", 1, AUTHORIZED),
        everything("voice"),
        guest("data", 1, "voice"),
        everything("data"),
        group("apart", 1, ""),
        everything("apart"),
    ]);
    assert_eq!(
        found,
        [
            "GroupIDConflict GetVpnGroup `data`: spec.groupID: 1 is the number of `voice`, which the same key servers serve already"
        ]
    );
}

// GET VPN row 154
#[test]
fn a_member_tries_only_key_servers_there_are() {
    let found = rejected(&[
        group("voice", 1, ""),
        everything("voice"),
        member("good", "voice", "  keyServerOrder: [2, 0]\n"),
        member("bad", "voice", "  keyServerOrder: [3]\n"),
    ]);
    assert_eq!(
        found,
        [
            "InvalidValue GroupMember `bad`: spec.keyServerOrder: names key server 3, but the group has 3, numbered from 0"
        ]
    );
}

// GET VPN row 13
#[test]
fn a_member_that_would_choose_key_servers_is_refused_and_they_are_named() {
    let selecting = |labels: &str| {
        rejected(&[
            group("voice", 1, ""),
            everything("voice"),
            member(
                "all",
                "voice",
                &format!("  podSelector: {{ matchLabels: {{ {labels} }} }}\n"),
            ),
        ])
    };
    assert_eq!(selecting("app: web"), Vec::<String>::new());
    for labels in ["getvpn.dev/role: key-server", "getvpn.dev/group: voice"] {
        assert_eq!(
            selecting(labels),
            [
                "InvalidValue GroupMember `all`: spec.podSelector.matchLabels: chooses the key servers of `voice`; a key server cannot be a member: name labels that only members have"
            ]
        );
    }
}

// GET VPN row 49
#[test]
fn pods_that_are_members_cannot_be_made_key_servers() {
    let key_servers = |metadata: &str| {
        rejected(&[
            group("voice", 1, "").replace(
                "keyServers: {}",
                &format!("keyServers: {{ podMetadata: {{ {metadata} }} }}"),
            ),
            everything("voice"),
            member(
                "phones",
                "voice",
                "  podSelector: { matchLabels: { app: phone } }\n",
            ),
        ])
    };
    assert_eq!(key_servers("labels: { app: keys }"), Vec::<String>::new());
    let by_label = key_servers("labels: { app: phone }");
    assert_eq!(by_label.len(), 1);
    assert!(
        by_label[0].contains("a key server cannot be a member"),
        "{by_label:?}"
    );
    assert_eq!(
        key_servers("annotations: { getvpn.dev/group-members: phones }")[0],
        "InvalidValue GetVpnGroup `voice`: spec.keyServers.podMetadata.annotations: `getvpn.dev/group-members: phones` would make the key servers members; a key server cannot be a member"
    );
}
