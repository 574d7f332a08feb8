//! The examples other than the quick start, on real processes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use e2e::rig::{Rig, example, root};
use keyserver_api::request::RekeyRequest;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn certificates_carry_both_ip_versions() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("certificates.yaml"), "certs", None).expect("lab");
    let watch = rig.watch().expect("capture");
    assert_eq!(rig.ping_all().expect("ping"), (6, 6));
    assert!(rig.ping_ipv6("m-1", "m-2").expect("ping"));
    assert!(rig.ping_ipv6("m-3", "m-1").expect("ping"));
    let audit = watch.finish().expect("capture");
    assert!(audit.is_clean(), "{audit:?}");
    assert!(audit.esp_in_udp >= 16, "{audit:?}");
}

#[test]
fn multicast_is_encrypted_once_and_rekeyed_by_one_datagram() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("multicast.yaml"), "mcast", None).expect("lab");
    let watch = rig.watch().expect("capture");
    let group = IpAddr::V4(Ipv4Addr::new(239, 1, 1, 1));
    // Fast enough that packets travel in trains, which a router of multicast must not swallow; slow enough that a
    // stalled machine does not fill the kernel's queues, since every packet is forwarded on its own.
    let stream = rig.multicast("m-1", "m-2", group, 1_000).expect("traffic");
    let other = rig
        .multicast("m-1", "m-3", group, 1)
        .expect("a second listener");
    Rig::wait_for("multicast to arrive", LIMIT, || {
        Ok((stream.received() > 100).then_some(()))
    })
    .expect("multicast");
    // Until the member has noticed that its application joined the group, packets pass it by.
    let missed = stream.sent() - stream.received();
    let before = rig.active_spi("m-2").expect("status");
    rig.rekey(&RekeyRequest::default()).expect("rekey");
    for member in ["m-1", "m-2", "m-3"] {
        Rig::wait_for("the multicast rekey", LIMIT, || {
            Ok((rig.active_spi(member)? != before).then_some(()))
        })
        .expect("rekey");
    }
    let received = stream.received();
    Rig::wait_for("multicast under the new key", LIMIT, || {
        Ok((stream.received() > received + 1_000).then_some(()))
    })
    .expect("multicast");
    let report = stream.stop().expect("traffic");
    other.stop().expect("traffic");
    let audit = watch.finish().expect("capture");
    println!("{report:?} {audit:?}");
    assert!(
        report.lost() <= missed,
        "{missed} missed before joining, {report:?}"
    );
    assert!(audit.is_clean(), "{audit:?}");
}

#[test]
fn two_groups_keep_their_members_apart() {
    if !root() {
        return;
    }
    let rig = Rig::up(&example("two-groups.yaml"), "groups", None).expect("lab");
    let watch = rig.watch().expect("capture");
    // Ping belongs to `data`, which member 3 is not in.
    assert_eq!(rig.ping_all().expect("ping"), (6, 12));
    // The test's port belongs to `voice`, which member 4 is not in.
    let call = rig.traffic("m-1", "m-3", 500).expect("traffic");
    Rig::wait_for("a call between members of both groups", LIMIT, || {
        Ok((call.received() > 200).then_some(()))
    })
    .expect("voice");
    assert_eq!(call.stop().expect("traffic").lost(), 0);
    let refused = rig.traffic("m-1", "m-4", 500).expect("traffic");
    Rig::wait_for("packets to be sent", LIMIT, || {
        Ok((refused.sent() > 500).then_some(()))
    })
    .expect("traffic");
    assert_eq!(refused.stop().expect("traffic").received, 0);
    let audit = watch.finish().expect("capture");
    assert!(audit.is_clean(), "{audit:?}");
}
