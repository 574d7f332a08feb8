//! Members that rekeys do not reach: they come back by themselves.

use std::time::Duration;

use e2e::rig::{Rig, root};
use keyserver_api::request::RekeyRequest;
use kubectl_getvpn::lab::network::{self, Cut};

const LIMIT: Duration = Duration::from_secs(90);

fn figure(rig: &Rig, member: &str, name: &str) -> u64 {
    rig.member(member).expect("status")["groups"][0][name]
        .as_u64()
        .expect("a number")
}

// GET VPN rows 40, 92
#[test]
fn a_member_that_multicast_does_not_reach_registers_before_its_keys_end_and_loses_nothing() {
    if !root() {
        return;
    }
    // A key lives 3600 s * 0.006 = 21.6 s.
    let rig = Rig::up_scaled("multicast.yaml", "deaf", None, "0.006").expect("lab");
    rig.run(
        "m-2",
        &[
            "nft",
            "table ip deaf { chain in { type filter hook prerouting priority -300; ip daddr 239.192.0.1 drop; }; }",
        ],
    )
    .expect("rules");
    let registrations = |name: &str| figure(&rig, name, "registrations");
    let before: Vec<u64> = ["m-1", "m-2", "m-3"]
        .iter()
        .map(|name| registrations(name))
        .collect();
    let rekeys = figure(&rig, "m-2", "rekeysAccepted");
    let watch = rig.watch().expect("capture");
    let there = rig.traffic("m-1", "m-2", 500).expect("traffic");
    Rig::wait_for("the deaf member to register again, twice", LIMIT, || {
        Ok((registrations("m-2") >= before[1] + 2).then_some(()))
    })
    .expect("registration");
    let report = there.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    assert_eq!(report.lost(), 0, "{report:?}");
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(
        figure(&rig, "m-2", "rekeysAccepted"),
        rekeys,
        "it hears none"
    );
    for (name, before) in [("m-1", before[0]), ("m-3", before[2])] {
        assert_eq!(registrations(name), before, "{name} is told by multicast");
        assert!(figure(&rig, name, "rekeysAccepted") >= 2, "{name}");
    }
}

// GET VPN row 41
#[test]
fn a_member_that_was_dropped_for_its_silence_is_listed_again_when_its_path_heals() {
    if !root() {
        return;
    }
    let rig = Rig::up_scaled("quickstart.yaml", "ejected", Some(3), "0.006").expect("lab");
    let listed = |rig: &Rig| -> bool {
        let rows = rig.member_rows().unwrap_or_default();
        rows.iter().any(|row| row.identity.contains("m-2."))
    };
    assert!(listed(&rig));
    let before = figure(&rig, "m-2", "registrations");
    let cut = || Cut::Node("m-2");
    network::partition(rig.lab.lab_name(), cut()).expect("cut");
    for _ in 0..3 {
        rig.rekey(&RekeyRequest::default()).expect("rekey");
        Rig::wait_for("the rekey to be over", LIMIT, || {
            let last = rig.primary()?.1.last_rekey;
            Ok(last.is_some_and(|last| last.complete).then_some(()))
        })
        .expect("delivered");
    }
    Rig::wait_for("it to be dropped", LIMIT, || {
        Ok((!listed(&rig)).then_some(()))
    })
    .expect("dropped");
    network::join(rig.lab.lab_name(), cut()).expect("healed");
    Rig::wait_for("it to be listed again", LIMIT, || {
        Ok(listed(&rig).then_some(()))
    })
    .expect("listed");
    assert!(figure(&rig, "m-2", "registrations") > before);
    assert_eq!(rig.ping_all().expect("ping"), (6, 6));
}
