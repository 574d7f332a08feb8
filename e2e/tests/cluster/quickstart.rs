//! The quickstart as users apply it.

use e2e::cluster::Cluster;
use e2e::cluster::quickstart::{NAMESPACE, Quickstart};
use kubectl_getvpn::lab::progress::Progress;

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn two_applications_talk_encrypted_after_one_command_and_nothing_leaves_in_clear() {
    let cluster = Cluster::running().expect("a cluster");
    let quickstart = Quickstart::prepare(&cluster).expect("prepared");
    let report = quickstart
        .run(&mut Progress::silent())
        .expect("the quickstart runs");
    println!(
        "from apply to the first encrypted packet: {:.1} s; {} ESP packets, {} in clear",
        report.to_first_encrypted.as_secs_f64(),
        report.seen.esp,
        report.seen.clear
    );
    assert!(report.seen.esp > 20, "{report:?}");
    assert_eq!(report.seen.clear, 0, "{report:?}");
    quickstart.delete().expect("deleted");
    let left = cluster
        .kubectl(&["get", "namespaces", "-o", "name"])
        .expect("namespaces");
    assert!(!left.contains(NAMESPACE), "{left}");
    let authorities = cluster
        .kubectl(&["-n", "getvpn-system", "get", "secrets", "-o", "name"])
        .expect("secrets");
    assert!(
        !authorities.contains(NAMESPACE),
        "the group's authorities stay: {authorities}"
    );
}
