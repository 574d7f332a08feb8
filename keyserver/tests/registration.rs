//! Members on real sockets against real key server processes.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use keyserver_api::request::RekeyRequest;
use nix::sys::signal::Signal;
use support::cluster::PATIENCE;
use support::member::Member;
use support::process::{Processes, keyed, policy};

const KEY: [u8; 32] = [0x0c; 32];

#[tokio::test]
async fn a_member_registers_anywhere_and_is_rekeyed_across_the_loss_of_the_primary() {
    let mut servers = Processes::prepare(3);
    for index in 0..3 {
        servers.start(index);
    }
    for index in 0..3 {
        servers.ready(index).await;
    }
    let client = servers.client(&[1, 2, 0]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    for index in 0..3 {
        keyed(&servers.client(&[index]), "voice").await;
    }
    let mut member = Member::new().await;
    member.register("m-1.member.getvpn", &KEY, 7, servers.ike(2));
    member
        .until("it is registered", |member| member.registrations == 1)
        .await;
    assert_eq!(member.sender_ids.len(), 1);
    // A replica answers from its own state, which may lag a moment behind the one that registered the member.
    let asked = runtime::clock::now();
    let rows = loop {
        let rows = client.members("voice").await.expect("members");
        if !rows.is_empty() || runtime::clock::now().duration_since(asked) > PATIENCE {
            break rows;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].identity, "FQDN:m-1.member.getvpn");
    assert_eq!(rows[0].key_server, "ks-2");

    client
        .rekey("voice", &RekeyRequest::default())
        .await
        .expect("committed");
    member
        .until("it has the first rekey", |member| member.rekeys.len() == 1)
        .await;
    servers.end(0, Signal::SIGKILL);
    let started = runtime::clock::now();
    while client
        .rekey("voice", &RekeyRequest::default())
        .await
        .is_err()
    {
        let waited = runtime::clock::now().duration_since(started);
        assert!(waited < PATIENCE, "no new primary");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    member
        .until("it has the second rekey", |member| member.rekeys.len() == 2)
        .await;
    assert_eq!(
        member.registrations, 1,
        "nobody registers again because of a fail-over"
    );

    // A second start of the same member never gets a Sender-ID again.
    let mut again = Member::new().await;
    again.register("m-1.member.getvpn", &KEY, 7, servers.ike(1));
    again
        .until("it is registered", |member| member.registrations == 1)
        .await;
    assert_ne!(again.sender_ids, member.sender_ids);
}

/// Needs the right to bind ports below 1024; passes over itself without it.
#[tokio::test]
async fn a_key_server_behaves_the_same_on_ports_500_848_and_4500() {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 84, high, low.max(1));
    let ports = [500, 848, 4500];
    let bound = ports.map(|port| UdpSocket::bind((address, port)));
    if let Some(error) = bound.iter().find_map(|bound| bound.as_ref().err()) {
        eprintln!("passed over: the registered ports cannot be bound: {error}");
        return;
    }
    drop(bound);
    let mut servers = Processes::prepare_at_registered_ports(address);
    servers.start(0);
    servers.ready(0).await;
    let client = servers.client(&[0]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    keyed(&client, "voice").await;
    let mut members = Vec::new();
    for (number, port) in (1..).zip(ports) {
        let server = SocketAddr::from((address, port));
        let mut member = Member::new().await;
        member.register(&format!("m-{number}.member.getvpn"), &KEY, 7, server);
        member
            .until("it is registered", |member| member.registrations == 1)
            .await;
        members.push((member, server));
    }
    let spis = members[0].0.spis.clone();
    assert!(!spis.is_empty());
    assert!(members.iter().all(|(member, _)| member.spis == spis));

    client
        .rekey("voice", &RekeyRequest::default())
        .await
        .expect("committed");
    for (member, server) in &mut members {
        member
            .until("it has the rekey", |member| member.rekeys.len() == 1)
            .await;
        assert_eq!(
            member.rekeyed_from,
            Some(*server),
            "from where it registered"
        );
    }
    let asked = runtime::clock::now();
    loop {
        let rows = client.members("voice").await.expect("members");
        assert_eq!(rows.len(), 3);
        if rows
            .iter()
            .all(|row| row.last_acknowledgement_unix_ms.is_some())
        {
            break;
        }
        assert!(
            runtime::clock::now().duration_since(asked) < PATIENCE,
            "{rows:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Requests over the IKE SA go to the same port, too.
    for (member, server) in &mut members {
        assert!(member.leave(7), "{server}");
        member.until("it has left", |member| member.left).await;
    }
    let asked = runtime::clock::now();
    while !client.members("voice").await.expect("members").is_empty() {
        assert!(runtime::clock::now().duration_since(asked) < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

// GET VPN row 21
#[tokio::test]
async fn a_wrong_key_and_an_unknown_group_are_refused_and_counted() {
    let mut servers = Processes::prepare(1);
    servers.start(0);
    servers.ready(0).await;
    let client = servers.client(&[0]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    keyed(&client, "voice").await;
    let mut member = Member::new().await;
    member.register("m-1.member.getvpn", &[1; 32], 7, servers.ike(0));
    member
        .until("it is refused", |member| member.failure.is_some())
        .await;
    member.register("m-2.member.getvpn", &KEY, 8, servers.ike(0));
    member
        .until("it is refused", |member| member.failure.is_some())
        .await;
    assert_eq!(member.registrations, 0);
    let metrics = servers.get(0, "/metrics");
    assert!(
        metrics.contains("getvpn_registration_rejected_total{reason=\"authentication\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("getvpn_registration_rejected_total{reason=\"group_not_found\"} 1"),
        "{metrics}"
    );
    assert!(client.members("voice").await.expect("members").is_empty());
}
