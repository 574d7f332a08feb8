//! A network that breaks silently: packets vanish, nobody is told.

use std::time::Duration;

use e2e::rig::{Rig, example, root};
use keyserver_api::request::RekeyRequest;
use keyserver_api::status::ServerRole;
use kubectl_getvpn::lab::admin::Admin;
use kubectl_getvpn::lab::network::{self, Cut};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_primary_that_is_cut_off_gives_way_and_follows_when_it_is_back() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "cutprimary", Some(2)).expect("lab");
    let registrations = rig.registrations().expect("status");
    let watch = rig.watch().expect("capture");
    let traffic = rig.traffic("m-1", "m-2", 2_000).expect("traffic");
    let (old, before) = rig.primary().expect("primary");
    let spi = rig.active_spi("m-1").expect("status");

    network::partition(rig.lab.lab_name(), Cut::Node(&old)).expect("cut");
    let (new, _) = Rig::wait_for("another primary", LIMIT, || {
        let (name, group) = rig.primary()?;
        Ok((name != old).then_some((name, group)))
    })
    .expect("fail-over");
    // The others rekey without the one that is gone.
    rig.rekey(&RekeyRequest::default()).expect("rekey");
    for member in ["m-1", "m-2"] {
        Rig::wait_for("the new key", LIMIT, || {
            Ok((rig.active_spi(member)? != spi).then_some(()))
        })
        .expect("rekey");
    }

    rig.heal(&old).expect("heal");
    let admin = Admin::new(rig.lab.lab_name()).expect("administrator");
    let node = rig.lab.node(&old).expect("node").clone();
    Rig::wait_for("the old primary to follow", LIMIT, || {
        let status = admin.status(&node)?;
        let (_, group) = rig.primary()?;
        let same = status
            .groups
            .iter()
            .any(|own| own.generation == group.generation);
        Ok((same && status.role == ServerRole::Secondary).then_some(()))
    })
    .expect("it follows");
    let (still, after) = rig.primary().expect("primary");
    assert_eq!(
        still, new,
        "one that comes back does not push out the other"
    );
    assert!(after.generation > before.generation);

    let report = traffic.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    assert_eq!(report.lost(), 0, "{report:?}");
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(rig.registrations().expect("status"), registrations);
}

#[test]
fn a_key_server_without_the_others_mints_nothing() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "minority", Some(2)).expect("lab");
    let (primary, before) = rig.primary().expect("primary");
    let others: Vec<String> = rig
        .lab
        .key_servers()
        .map(|node| node.name.clone())
        .filter(|name| *name != primary)
        .collect();
    for other in &others {
        network::partition(rig.lab.lab_name(), Cut::Node(other)).expect("cut");
    }
    // Asking the one that is left to rekey must not succeed, whatever it believes to be.
    let admin = Admin::new(rig.lab.lab_name()).expect("administrator");
    let left = rig.lab.node(&primary).expect("node").clone();
    let group = rig.group();
    let refused = admin.call(&[&left], Duration::from_secs(5), async |client| {
        client.rekey(&group, &RekeyRequest::default()).await
    });
    assert!(refused.is_err(), "{refused:?}");
    Rig::wait_for("it to say that it has no quorum", LIMIT, || {
        let status = admin.status(&left)?;
        Ok((status.role == ServerRole::NoQuorum).then_some(()))
    })
    .expect("no quorum");
    let status = admin.status(&left).expect("status");
    let keys = |status: &keyserver_api::status::GroupStatus| -> Vec<String> {
        status
            .traffic_keys
            .iter()
            .map(|key| key.spi.clone())
            .collect()
    };
    assert_eq!(keys(&status.groups[0]), keys(&before), "no new key");
    // Members go on with the keys they have.
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
    for other in &others {
        rig.heal(other).expect("heal");
    }
    Rig::wait_for("a rekey", LIMIT, || {
        rig.rekey(&RekeyRequest::default()).map(Some)
    })
    .expect("rekey");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
}
