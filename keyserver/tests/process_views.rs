//! What running key servers show of themselves and of each other.

mod support;

use std::time::Duration;

use keyserver_api::client::Client;
use keyserver_api::request::{RekeyRequest, SigningKeyExportRequest};
use keyserver_api::status::GroupStatus;
use nix::sys::signal::Signal;
use support::cluster::{Cluster, PATIENCE};
use support::member::Member;
use support::process::{Processes, keyed, policy};

const KEY: [u8; 32] = [0x0c; 32];

async fn all_ready(count: usize) -> Processes {
    let mut servers = Processes::prepare(count);
    for index in 0..count {
        servers.start(index);
    }
    for index in 0..count {
        servers.ready(index).await;
    }
    servers
}

fn spis(status: &GroupStatus) -> Vec<String> {
    status
        .traffic_keys
        .iter()
        .map(|key| key.spi.clone())
        .collect()
}

/// Asks again and again until `look` finds something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = runtime::clock::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(runtime::clock::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the primary reaches a key server, as it says itself.
async fn reached(client: &Client, name: &str) -> Option<bool> {
    let status = client.status().await.ok()?;
    let peer = status.peers.into_iter().find(|peer| peer.name == name)?;
    peer.reachable
}

// GET VPN row 62
#[tokio::test]
async fn every_key_server_begins_as_a_replica_and_then_one_leads() {
    let servers = all_ready(3).await;
    for index in 0..3 {
        let log = servers.log(index);
        let roles: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("raft::role"))
            .collect();
        assert!(roles[0].contains("from=joining to=replica"), "{roles:?}");
        assert!(
            roles[1..].iter().all(|line| !line.contains("from=joining")),
            "{roles:?}"
        );
        let primary = roles.iter().position(|line| line.contains("to=primary"));
        assert_eq!(primary.is_some(), index == 0, "{roles:?}");
        assert_ne!(primary, Some(0));
    }
}

// GET VPN rows 53, 63
#[tokio::test(flavor = "multi_thread")]
async fn the_highest_priority_leads_after_each_of_twenty_cold_starts() {
    for run in 0..20_usize {
        let top = run % 3;
        let mut priorities = vec![95, 90, 85];
        priorities[top] = 100;
        let cluster = Cluster::start_with_priorities(3, priorities).await;
        until("the highest priority leads", async || {
            (cluster.primary().await == top).then_some(())
        })
        .await;
        for index in 0..3 {
            let node = cluster.node(index);
            node.consensus.raft().shutdown().await.expect("stops");
        }
    }
}

// GET VPN row 72
#[tokio::test]
async fn the_primary_shows_a_paused_key_server_as_gone_and_later_as_there() {
    let servers = all_ready(3).await;
    let primary = servers.client(&[0]);
    until("all are reached", async || {
        (reached(&primary, "ks-2").await == Some(true)).then_some(())
    })
    .await;
    servers.signal(2, Signal::SIGSTOP);
    until("the paused one is missed", async || {
        (reached(&primary, "ks-2").await == Some(false)).then_some(())
    })
    .await;
    servers.signal(2, Signal::SIGCONT);
    until("it is there again", async || {
        (reached(&primary, "ks-2").await == Some(true)).then_some(())
    })
    .await;
}

// GET VPN row 50
#[tokio::test]
async fn a_key_server_that_is_removed_takes_no_keys_along_and_makes_no_rekey() {
    let servers = all_ready(3).await;
    let client = servers.client(&[0, 1]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    let before = keyed(&client, "voice").await;
    let mut member = Member::new().await;
    member.register("m-1.member.getvpn", &KEY, 7, servers.ike(1));
    member
        .until("it is registered", |member| member.registrations == 1)
        .await;
    until("ks-2 votes or learns", async || {
        client.remove_peer("ks-2").await.ok()
    })
    .await;
    let names = until("the group shrinks", async || {
        let status = client.status().await.ok()?;
        let names: Vec<String> = status.peers.into_iter().map(|peer| peer.name).collect();
        (names.len() == 2).then_some(names)
    })
    .await;
    assert_eq!(names, ["ks-0", "ks-1"]);
    let after = keyed(&client, "voice").await;
    assert_eq!(spis(&after), spis(&before));
    assert_eq!(after.generation, before.generation, "no rekey was made");
    assert_eq!(after.rekeys, before.rekeys);
    client
        .rekey("voice", &RekeyRequest::default())
        .await
        .expect("committed");
    member
        .until("it has the rekey", |member| member.rekeys.len() == 1)
        .await;
    assert_eq!(member.registrations, 1);
}

// GET VPN row 47
#[tokio::test]
async fn both_duties_of_a_key_server_are_counted_and_timed() {
    let servers = all_ready(1).await;
    let client = servers.client(&[0]);
    let mut impatient = policy("voice", 7);
    impatient.rekey.acknowledgement_timeout_ms = 1_000;
    impatient.rekey.retransmit_attempts = 0;
    client.put_group(&impatient).await.expect("accepted");
    keyed(&client, "voice").await;
    let mut member = Member::new().await;
    member.register("m-1.member.getvpn", &KEY, 7, servers.ike(0));
    member
        .until("it is registered", |member| member.registrations == 1)
        .await;
    client
        .rekey("voice", &RekeyRequest::default())
        .await
        .expect("committed");
    member
        .until("it has the rekey", |member| member.rekeys.len() == 1)
        .await;
    let mut refused = Member::new().await;
    refused.register("m-2.member.getvpn", &KEY, 8, servers.ike(0));
    refused
        .until("it is refused", |member| member.failure.is_some())
        .await;
    // One that registers and is gone before the next rekey.
    let mut silent = Member::new().await;
    silent.register("m-3.member.getvpn", &KEY, 7, servers.ike(0));
    silent
        .until("it is registered", |member| member.registrations == 1)
        .await;
    drop(silent);
    client
        .rekey("voice", &RekeyRequest::default())
        .await
        .expect("committed");
    member
        .until("it has the second rekey", |member| member.rekeys.len() == 2)
        .await;
    let lines = [
        // Registrations: success and time, failure.
        "getvpn_registration_seconds_count{result=\"granted\"} 2",
        "getvpn_registration_seconds_sum{result=\"granted\"} ",
        "getvpn_registration_rejected_total{reason=\"group_not_found\"} 1",
        // Rekeys: success, failure, time of each acknowledgement.
        "getvpn_rekey_total{result=\"acknowledged\"} 1",
        "getvpn_rekey_total{result=\"silent_members\"} 1",
        "getvpn_rekey_acknowledgement_seconds_count 2",
    ];
    let text = until("all figures", async || {
        let text = servers.get(0, "/metrics");
        let all = lines.iter().all(|line| text.contains(line));
        all.then_some(text)
    });
    tokio::time::timeout(PATIENCE, text)
        .await
        .unwrap_or_else(|_| panic!("{}", servers.get(0, "/metrics")));
}

// GET VPN row 201
#[tokio::test]
async fn the_private_signing_key_is_readable_nowhere_on_disk() {
    let mut servers = all_ready(1).await;
    let client = servers.client(&[0]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    keyed(&client, "voice").await;
    let passphrase = "correct horse battery".to_owned();
    let export = SigningKeyExportRequest {
        passphrase: passphrase.clone(),
    };
    let exported = client
        .export_signing_key("voice", &export)
        .await
        .expect("exported");
    let key = keyserver::signing_key::import(&exported.encrypted_pem, &passphrase).expect("ours");
    let private: &[u8] = &key.private_key;
    // Anywhere in the middle of the key, past what every key of its kind begins with.
    let part = &private[private.len() / 2..private.len() / 2 + 32];
    servers.end(0, Signal::SIGTERM);
    let mut files = vec![servers.home().to_owned()];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("readable");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let octets = std::fs::read(&path).expect("readable");
        read += 1;
        assert!(
            !octets.windows(part.len()).any(|window| window == part),
            "{} holds the key",
            path.display()
        );
        let text = String::from_utf8_lossy(&octets).into_owned();
        let hexadecimal: String = part.iter().map(|octet| format!("{octet:02x}")).collect();
        assert!(!text.contains(&hexadecimal), "{}", path.display());
    }
    assert!(read >= 4, "configuration, log, store and keys: {read}");
}
