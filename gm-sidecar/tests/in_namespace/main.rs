//! The real program in a network namespace of its own: drop rules before everything, whatever
//! happens to the process, and nothing left after clean-up. Needs root.

mod namespace;

use std::time::Duration;

use namespace::{Member, Namespace, wait_until};

const CONFIG: &str = r#"
name: NAME
interfaces: [eth0]
controlSocket: SOCKET
identity: { type: FQDN, value: m-1.member.getvpn }
allowClear:
- { name: neighbour-discovery-test, protocol: UDP, destinationPorts: [9] }
groups:
- groupID: 7
  keyServers: ["10.99.0.1:848"]
  keyServerIdentities: [ { type: FQDN, value: "*.keyserver.getvpn" } ]
  authentication: { preSharedKeyFile: psk.key }
"#;

/// A namespace with a neighbour that answers pings, and a member's files; `None` without root.
fn scene(name: &str) -> Option<(Namespace, Member)> {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "this test needs root, and must not be skipped in CI"
        );
        eprintln!("skipped: needs root");
        return None;
    }
    let namespace = Namespace::new(name);
    let member = Member::new(name, CONFIG);
    Some((namespace, member))
}

fn drop_rules(namespace: &Namespace, member: &Member) -> bool {
    namespace.succeeds(&["nft", "list", "table", "inet", &member.table()])
}

#[test]
fn drop_rules_are_in_force_from_the_start_and_survive_the_process() {
    let Some((namespace, member)) = scene("gvt-survive") else {
        return;
    };
    assert!(namespace.reaches_neighbour(), "the scene works");
    let mut process = member.start(&namespace);
    wait_until("the member to listen", || member.socket().exists());
    assert!(drop_rules(&namespace, &member));
    assert!(!namespace.reaches_neighbour(), "fail closed");

    process.kill().expect("kill -9");
    process.wait().expect("its end");
    assert!(
        drop_rules(&namespace, &member),
        "the rules outlive the process"
    );
    assert!(!namespace.reaches_neighbour());

    let cleaned = member.run(&namespace, "cleanup");
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    assert!(!drop_rules(&namespace, &member));
    assert!(namespace.reaches_neighbour());
    assert!(!namespace.output(&["ip", "rule"]).contains("proto 179"));
    assert!(!namespace.succeeds(&["ip", "link", "show", "getvpn0"]));
    assert!(!member.socket().exists());
}

#[test]
fn the_kernel_hands_over_no_more_of_a_flow_than_fits_one_train() {
    let Some((namespace, member)) = scene("gvt-trains") else {
        return;
    };
    let mut process = member.start(&namespace);
    wait_until("the member to listen", || member.socket().exists());
    wait_until("reads that fit a train", || {
        namespace
            .output(&["ip", "-details", "link", "show", "getvpn0"])
            .contains("gso_max_size 61000")
    });
    member.terminate(&process);
    assert_eq!(process.wait().expect("its end").code(), Some(0));
}

#[test]
fn an_orderly_end_keeps_the_drop_rules_and_removes_the_rest() {
    let Some((namespace, member)) = scene("gvt-orderly") else {
        return;
    };
    let mut process = member.start(&namespace);
    wait_until("the member to listen", || member.socket().exists());
    member.terminate(&process);
    let status = process.wait().expect("its end");
    assert_eq!(status.code(), Some(0));
    assert!(drop_rules(&namespace, &member));
    assert!(!namespace.reaches_neighbour());
    assert!(!namespace.output(&["ip", "rule"]).contains("proto 179"));
    assert!(!member.socket().exists());
}

#[test]
fn removed_drop_rules_are_put_back() {
    let Some((namespace, member)) = scene("gvt-restore") else {
        return;
    };
    let mut process = member.start(&namespace);
    wait_until("the member to listen", || member.socket().exists());
    assert!(namespace.succeeds(&["nft", "delete", "table", "inet", &member.table()]));
    wait_until("the rules to come back", || drop_rules(&namespace, &member));
    // An emptied table is as bad as none.
    assert!(namespace.succeeds(&["nft", "flush", "table", "inet", &member.table()]));
    wait_until("the emptied rules to come back", || {
        namespace
            .output(&["nft", "list", "table", "inet", &member.table()])
            .contains("meta mark")
    });
    process.kill().expect("kill -9");
    process.wait().expect("its end");
}

#[test]
fn a_start_that_fails_says_why_and_leaves_the_drop_rules() {
    let Some((namespace, member)) = scene("gvt-refused") else {
        return;
    };
    member.remove_key();
    let refused = member.run(&namespace, "run");
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("psk.key: cannot be read"), "{text}");
    assert!(drop_rules(&namespace, &member));
    assert!(!namespace.reaches_neighbour());
}

#[test]
fn a_member_that_is_not_ready_says_what_is_missing() {
    let Some((namespace, member)) = scene("gvt-status") else {
        return;
    };
    let mut process = member.start(&namespace);
    wait_until("the member to listen", || member.socket().exists());
    let shown = member.run(&namespace, "status");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("not ready (keys: "), "{text}");
    assert!(text.contains("closed: only allowed flows pass"), "{text}");
    process.kill().expect("kill -9");
    process.wait().expect("its end");
}

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(20);
