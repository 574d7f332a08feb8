//! Who members are and how they prove it, with all processes in place.

use std::time::Duration;

use e2e::rig::{Rig, example, root};
use kubectl_getvpn::lab::node_control;

const LIMIT: Duration = Duration::from_secs(30);

fn text_of(name: &str) -> String {
    std::fs::read_to_string(example(name)).expect("example")
}

// GET VPN rows 45, 221
#[test]
fn members_that_name_themselves_by_subject_join_and_are_listed_by_it() {
    if !root() {
        return;
    }
    let text = text_of("certificates.yaml").replacen(
        "  identity: Hostname\n",
        "  identity: DistinguishedName\n  authorization: { mode: Certificate, subjects: [\"*CN=m-*\"] }\n",
        1,
    );
    let rig = Rig::up_text(&text, "subjects", Some(2)).expect("lab");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
    let rows = rig.member_rows().expect("rows");
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert!(row.identity.starts_with("DistinguishedName:"), "{row:?}");
    }
    for node in rig.members() {
        let subject = format!("CN={}", node.name);
        let listed = rows.iter().any(|row| row.identity.contains(&subject));
        assert!(listed, "{subject} is not among {rows:?}");
    }
}

// GET VPN row 22
#[test]
fn a_group_by_pre_shared_key_and_one_by_certificate_admit_by_their_own_method_only() {
    if !root() {
        return;
    }
    let text = format!(
        "{}---\n{}",
        text_of("quickstart.yaml"),
        text_of("certificates.yaml")
    );
    let mut rig = Rig::up_text(&text, "methods", Some(2)).expect("both groups' members joined");
    let registered = |rig: &Rig, name: &str| {
        rig.member(name).expect("status")["groups"][0]["registered"] == true
    };
    for node in rig.members() {
        assert!(registered(&rig, &node.name), "{}", node.name);
    }
    // A member with a pre-shared key asks the key servers that go by certificate.
    let key_server = |rig: &Rig, group: &str| -> Vec<String> {
        let of = rig.lab.key_servers();
        of.filter(|node| node.groups.iter().any(|name| name == group))
            .map(|node| node.addresses.ipv4.to_string())
            .collect()
    };
    let (theirs, others) = (key_server(&rig, "branch"), key_server(&rig, "campus"));
    let node = rig.lab.node("m-1").expect("node").clone();
    assert_eq!(node.groups, ["branch"]);
    let right = std::fs::read_to_string(&node.configuration).expect("configuration");
    let mut wrong = right.replace("1234", "3001");
    for (own, other) in theirs.iter().zip(&others) {
        wrong = wrong.replace(&format!("{own}:"), &format!("{other}:"));
    }
    assert_ne!(wrong, right);
    std::fs::write(&node.configuration, wrong).expect("written");
    rig.kill("m-1").expect("kill");
    Rig::wait_for("the refusal", LIMIT, || {
        let node = rig.lab.node_mut("m-1")?;
        if !node.is_running() {
            node_control::start(node)?;
        }
        let group = rig.member("m-1")?["groups"][0].clone();
        Ok((group["reason"] == "AuthenticationFailed").then_some(()))
    })
    .expect("refused");
    assert!(!registered(&rig, "m-1"));
    std::fs::write(&node.configuration, right).expect("written");
    rig.kill("m-1").expect("kill");
    rig.heal("m-1").expect("heal");
    assert!(registered(&rig, "m-1"));
}
