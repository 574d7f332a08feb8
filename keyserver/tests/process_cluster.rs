//! The real program as replicas of one set: names, growth, removal, orderly end, new credentials.

mod support;

use std::time::Duration;

use keyserver_api::client::{Client, ClientError};
use keyserver_api::error::ErrorCode;
use keyserver_api::request::RekeyRequest;
use nix::sys::signal::Signal;
use support::cluster::{PATIENCE, until};
use support::member::Member;
use support::process::{Processes, keyed, policy};

async fn all_ready(count: usize) -> Processes {
    let mut servers = Processes::prepare_shared(count);
    for index in 0..count {
        servers.start(index);
    }
    for index in 0..count {
        servers.ready(index).await;
    }
    servers
}

async fn led_by(client: &Client, name: &str) {
    let deadline = runtime::clock::now() + PATIENCE;
    loop {
        if let Ok(status) = client.status().await
            && status.primary.as_deref() == Some(name)
        {
            return;
        }
        assert!(runtime::clock::now() < deadline, "{name} does not lead");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn replicas_are_told_apart_by_their_environment_and_call_each_other_by_name() {
    let servers = all_ready(3).await;
    let status = servers.client(&[1]).status().await.expect("status");
    assert_eq!(status.name, "ks-1");
    assert_eq!(status.primary.as_deref(), Some("ks-0"));
    let primary = status.primary_admin_address.expect("known");
    assert!(primary.starts_with("localhost:"), "{primary}");
    assert!(
        status
            .peers
            .iter()
            .all(|peer| peer.address.starts_with("localhost:")),
        "{:?}",
        status.peers
    );
    let priorities: Vec<u8> = status.peers.iter().map(|peer| peer.priority).collect();
    assert_eq!(priorities, [100, 95, 90]);
    // A group is not needed to be ready, and a change at a replica finds the primary by its name.
    servers
        .client(&[2])
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
}

#[tokio::test]
async fn without_its_name_or_addresses_a_replica_says_which_variable_is_missing() {
    let servers = Processes::prepare_shared(1);
    let path = servers.configuration(0);
    for (variable, words) in [
        ("GETVPN_NAME", "name: is absent and GETVPN_NAME is not set"),
        (
            "GETVPN_ADDRESSES",
            "ike.addresses: is absent and GETVPN_ADDRESSES is not set",
        ),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_keyserver"))
            .arg("--config")
            .arg(&path)
            .env("GETVPN_NAME", "ks-0")
            .env("GETVPN_ADDRESSES", "127.0.1.1")
            .env_remove(variable)
            .output()
            .expect("the program starts");
        assert_eq!(
            output.status.code(),
            Some(i32::from(runtime::exit::USAGE)),
            "{variable}"
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_replica_that_waits_for_the_others_rests() {
    let mut servers = Processes::prepare_shared(3);
    servers.start(0);
    let client = servers.client(&[0]);
    let deadline = runtime::clock::now() + PATIENCE;
    while client.status().await.is_err() {
        assert!(runtime::clock::now() < deadline, "it does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (before, window) = (servers.processor_time(0), Duration::from_secs(2));
    tokio::time::sleep(window).await;
    let used = servers.processor_time(0).saturating_sub(before);
    assert!(
        used < window / 2,
        "{used:?} of processor time in {window:?}"
    );
}

#[tokio::test]
async fn a_primary_that_ends_in_order_leaves_no_gap() {
    let mut servers = all_ready(3).await;
    let client = servers.client(&[1, 2]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    keyed(&client, "voice").await;
    let started = runtime::clock::now();
    let ending = std::thread::spawn(move || {
        let status = servers.end(0, Signal::SIGTERM);
        (servers, status)
    });
    while client
        .rekey("voice", &RekeyRequest::default())
        .await
        .is_err()
        || client.status().await.expect("status").primary.as_deref() == Some("ks-0")
    {
        let waited = runtime::clock::now().duration_since(started);
        assert!(waited < Duration::from_secs(4), "a gap of {waited:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "another key server led and committed {} ms after the signal",
        runtime::clock::now().duration_since(started).as_millis()
    );
    let (servers, status) = ending.join().expect("it ended");
    assert!(status.success(), "{}", servers.log(0));
    let ended = runtime::clock::now().duration_since(started);
    assert!(ended < Duration::from_secs(8), "it took {ended:?} to end");
}

#[tokio::test]
async fn a_primary_asked_to_remove_itself_hands_over_goes_and_stays_out() {
    let mut servers = all_ready(3).await;
    let client = servers.client(&[0, 1, 2]);
    led_by(&client, "ks-0").await;
    match client.remove_peer("ks-9").await {
        Err(ClientError::Refused { body, .. }) => assert_eq!(body.code, ErrorCode::PeerNotFound),
        other => panic!("{other:?}"),
    }
    client.remove_peer("ks-0").await.expect("removed");
    let others = servers.client(&[1, 2]);
    let status = others.status().await.expect("status");
    let left: Vec<&str> = status.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(left, ["ks-1", "ks-2"]);
    let term = status.term;
    servers.end(0, Signal::SIGTERM);
    servers.start(0);
    until("the removed one says why it is not ready", || {
        servers
            .try_get(0, "/readyz")?
            .contains("was removed from the group; delete it, or empty its dataDirectory")
            .then_some(())
    })
    .await;
    assert!(servers.get(0, "/livez").starts_with("HTTP/1.1 200"));
    let after = others.status().await.expect("status");
    assert_eq!((after.term, after.peers.len()), (term, 2));
    // Two left: one votes, and it can go as well.
    let primary = after.primary.expect("known");
    others.remove_peer(&primary).await.expect("removed");
    let last = if primary == "ks-1" { 2 } else { 1 };
    let alone = servers.client(&[last]).status().await.expect("status");
    assert_eq!(alone.peers.len(), 1);
    match servers.client(&[last]).remove_peer(&alone.name).await {
        Err(ClientError::Refused { body, .. }) => assert_eq!(body.code, ErrorCode::NoQuorum),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_running_key_server_follows_its_configuration_and_survives_a_bad_one() {
    let mut servers = Processes::prepare_shared(2);
    servers.name(0, 1);
    servers.start(0);
    servers.ready(0).await;
    let good = std::fs::read_to_string(servers.configuration(0)).expect("readable");
    std::fs::write(servers.configuration(0), "initialMembers: [").expect("written");
    until("it refuses the bad file", || {
        servers
            .log(0)
            .contains("the changed configuration cannot be used")
            .then_some(())
    })
    .await;
    std::fs::write(servers.configuration(0), good).expect("written");
    servers.name(0, 2);
    until("it has read the good one", || {
        servers
            .log(0)
            .contains("names the key servers anew")
            .then_some(())
    })
    .await;
    servers.start(1);
    servers.ready(1).await;
    let status = servers.client(&[1]).status().await.expect("status");
    assert_eq!(status.peers.len(), 2);
    assert_eq!(status.primary.as_deref(), Some("ks-0"));
}

#[tokio::test]
async fn new_certificates_and_pre_shared_keys_are_used_without_a_restart() {
    let servers = all_ready(1).await;
    let client = servers.client(&[0]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    keyed(&client, "voice").await;
    let metrics = servers.get(0, "/metrics");
    for purpose in ["cooperative", "admin"] {
        let figure = format!("getvpn_certificate_expiry_timestamp_seconds{{use=\"{purpose}\"}}");
        assert!(metrics.contains(&figure), "{metrics}");
    }
    let old = servers.shown_certificate(0, false).await;

    // Damaged files keep the old credentials.
    let key = servers.home().join("tls/ks-0.key");
    std::fs::write(&key, "nothing").expect("written");
    until("it refuses the damaged key", || {
        servers
            .log(0)
            .contains("the changed credentials cannot be used")
            .then_some(())
    })
    .await;
    assert_eq!(servers.shown_certificate(0, false).await, old);

    let new = servers.issue(0);
    for consensus in [false, true] {
        let deadline = runtime::clock::now() + PATIENCE;
        while servers.shown_certificate(0, consensus).await != new {
            assert!(runtime::clock::now() < deadline, "still the old one");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    // A member gets another key; the old one is refused then, the new one works.
    let path = servers.home().join("psk.yaml");
    let text = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, text.replacen(&"0c".repeat(32), &"0f".repeat(32), 1)).expect("written");
    until("it has read the keys", || {
        (servers.log(0).matches("use=\"ike\"").count() == 1).then_some(())
    })
    .await;
    let mut member = Member::new().await;
    member.register("m-1.member.getvpn", &[0x0c; 32], 7, servers.ike(0));
    member
        .until("the old key is refused", |member| member.failure.is_some())
        .await;
    let mut member = Member::new().await;
    member.register("m-1.member.getvpn", &[0x0f; 32], 7, servers.ike(0));
    member
        .until("the new key works", |member| member.registrations == 1)
        .await;
}
