//! The real program when key servers are lost: how soon it shows, who registers meanwhile, and how they catch up.

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use gikev2::exchange::retransmit::RetransmissionPolicy;
use keyserver_api::client::{Client, ClientError};
use keyserver_api::policy::{GroupPolicy, SignatureAlgorithm};
use keyserver_api::request::SigningKeyRotationRequest;
use keyserver_api::status::PeerStatus;
use nix::sys::signal::Signal;
use support::cluster::{Authority, PATIENCE};
use support::member::Member;
use support::process::{Processes, keyed, policy};

/// Members of the storm.
const MEMBERS: u8 = 60;
/// All of them must be back in this time, a quarter of the shortest life that a traffic key may have.
const TARGET: Duration = Duration::from_secs(30);
/// As members have it in their first round.
const MEMBER_PATIENCE: RetransmissionPolicy = RetransmissionPolicy {
    initial: Duration::from_millis(250),
    maximum: Duration::from_secs(4),
    repetitions: 2,
};

async fn all_ready(mut servers: Processes, count: usize) -> Processes {
    for index in 0..count {
        servers.start(index);
    }
    for index in 0..count {
        servers.ready(index).await;
    }
    servers
}

/// A policy whose signing key is made in no time.
fn quick() -> GroupPolicy {
    let mut policy = policy("voice", 7);
    policy.rekey.signature = SignatureAlgorithm::Ed25519;
    policy
}

/// Waits until the primary says this of a key server.
async fn until(client: &Client, name: &str, what: &str, holds: impl Fn(&PeerStatus) -> bool) {
    let deadline = runtime::clock::now() + PATIENCE + PATIENCE;
    loop {
        if let Ok(status) = client.status().await
            && status
                .peers
                .iter()
                .any(|peer| peer.name == name && holds(peer))
        {
            return;
        }
        assert!(runtime::clock::now() < deadline, "{name}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

// GET VPN row 219
#[tokio::test]
async fn a_key_server_that_falls_silent_or_dies_is_marked_down_within_five_missed_retries() {
    // An interval of 10 s and five retries of 2 s, and one second more.
    let longest = Duration::from_secs(10 + 5 * 2 + 1);
    let mut servers = all_ready(Processes::prepare(3), 3).await;
    let client = servers.client(&[0]);
    let answers = |peer: &PeerStatus| peer.reachable == Some(true);
    let is_down = |peer: &PeerStatus| peer.reachable == Some(false);
    until(&client, "ks-2", "answers", answers).await;
    // One that stands still keeps its connections.
    servers.signal(2, Signal::SIGSTOP);
    let began = runtime::clock::now();
    until(&client, "ks-2", "is marked down", is_down).await;
    let silent = runtime::clock::now().duration_since(began);
    servers.signal(2, Signal::SIGCONT);
    until(&client, "ks-2", "is back", answers).await;
    servers.end(2, Signal::SIGKILL);
    let began = runtime::clock::now();
    until(&client, "ks-2", "is marked down", is_down).await;
    let dead = runtime::clock::now().duration_since(began);
    println!("marked down after {silent:?} of silence, {dead:?} after its death");
    assert!(silent <= longest && dead <= longest, "{silent:?} {dead:?}");
    until(&client, "ks-1", "is not meant", answers).await;
}

/// Asks one key server after the other, from `first` on, until one admits the member.
async fn join(member: &mut Member, number: u8, servers: &[std::net::SocketAddr], first: usize) {
    let before = member.registrations;
    let name = format!("m-{number}.member.getvpn");
    for attempt in 0.. {
        let server = servers[(first + attempt) % servers.len()];
        member.register(&name, &[0x0c; 32], 7, server);
        let over = |member: &Member| member.registrations > before || member.failure.is_some();
        member.until("an attempt is over", over).await;
        if member.registrations > before {
            return;
        }
    }
}

// GET VPN row 77
#[tokio::test]
async fn with_a_voter_and_the_learner_of_four_lost_everybody_registers_again_in_time() {
    let servers = Processes::prepare(4);
    let keys: String = (1..=MEMBERS)
        .map(|number| {
            let key = "0c".repeat(32);
            format!(
                "- {{ identity: {{ type: FQDN, value: m-{number}.member.getvpn }}, key: {key} }}\n"
            )
        })
        .collect();
    std::fs::write(servers.home().join("psk.yaml"), keys).expect("written");
    let mut servers = all_ready(servers, 4).await;
    let client = servers.client(&[0]);
    client.put_group(&quick()).await.expect("accepted");
    keyed(&client, "voice").await;
    let voters = |peers: &[PeerStatus]| peers.iter().filter(|peer| peer.voter).count();
    until(&client, "ks-0", "leads three that vote", |peer| {
        peer.primary
    })
    .await;
    let deadline = runtime::clock::now() + PATIENCE;
    let status = loop {
        let status = client.status().await.expect("status");
        if voters(&status.peers) == 3 && status.peers.len() == 4 {
            break status;
        }
        assert!(runtime::clock::now() < deadline, "{:?}", status.peers);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let lost = |voter: bool| {
        let of = status
            .peers
            .iter()
            .position(|peer| !peer.primary && peer.voter == voter);
        of.expect("there is one")
    };
    let lost = [lost(true), lost(false)];

    let addresses: Vec<_> = (0..4).map(|index| servers.ike(index)).collect();
    let mut members = Vec::new();
    for number in 1..=MEMBERS {
        let mut member = Member::at(Ipv4Addr::new(127, 9, 0, number)).await;
        member.patience = MEMBER_PATIENCE;
        members.push(member);
    }
    let storm = |members: &mut Vec<Member>| {
        let joining: Vec<_> = (1..=MEMBERS)
            .zip(std::mem::take(members))
            .map(|(number, mut member)| {
                let addresses = addresses.clone();
                async move {
                    join(&mut member, number, &addresses, usize::from(number) % 4).await;
                    member
                }
            })
            .collect();
        join_all(joining)
    };
    members = storm(&mut members).await;
    let row_count = |rows: usize| assert_eq!(rows, usize::from(MEMBERS));
    row_count(client.members("voice").await.expect("members").len());

    for index in lost {
        servers.end(index, Signal::SIGKILL);
    }
    let began = runtime::clock::now();
    members = storm(&mut members).await;
    let took = runtime::clock::now().duration_since(began);
    println!("{MEMBERS} members were back after {took:?}, without key servers {lost:?}");
    assert!(took < TARGET, "{took:?}");
    assert!(members.iter().all(|member| member.registrations == 2));
    let rows = client.members("voice").await.expect("members");
    row_count(rows.len());
    let gone = lost.map(|index| format!("ks-{index}"));
    assert!(rows.iter().all(|row| !gone.contains(&row.key_server)));
}

// GET VPN row 203
#[tokio::test]
async fn a_new_signing_key_is_refused_to_strangers_and_reaches_a_key_server_that_was_away_later() {
    let mut servers = all_ready(Processes::prepare(3), 3).await;
    let client = servers.client(&[0, 1]);
    client.put_group(&quick()).await.expect("accepted");
    keyed(&client, "voice").await;
    let fingerprint = async |client: &Client| {
        let group = client.group("voice").await.ok()?;
        Some(group.signing_key?.fingerprint)
    };
    let made = fingerprint(&client).await.expect("a key");
    let request = SigningKeyRotationRequest::default();

    // One whose certificate is of another authority, and who would trust ours.
    let elsewhere = tempfile::tempdir().expect("temporary directory");
    let mut files = Authority::new(elsewhere.path()).issue("stranger");
    files.trust = servers.home().join("tls/ca.pem");
    let tls = runtime::tls::client(&files).expect("client credentials");
    let addresses = vec![servers.admin(0).to_string()];
    let stranger = Client::new(addresses, Arc::new(tls)).with_timeout(Duration::from_secs(5));
    match stranger.rotate_signing_key("voice", &request).await {
        Ok(_) => panic!("a stranger replaced the signing key"),
        // The connection itself is refused, so there is no answer with a reason.
        Err(error) => assert!(!matches!(error, ClientError::Refused { .. }), "{error}"),
    }
    assert_eq!(fingerprint(&client).await, Some(made.clone()));

    until(&client, "ks-2", "answers", |peer| {
        peer.reachable == Some(true)
    })
    .await;
    servers.end(2, Signal::SIGKILL);
    client
        .rotate_signing_key("voice", &request)
        .await
        .expect("the others are enough");
    until(&client, "ks-2", "is reported as away and behind", |peer| {
        peer.reachable == Some(false) && peer.lag > Some(0)
    })
    .await;
    let deadline = runtime::clock::now() + PATIENCE;
    let new = loop {
        match fingerprint(&client).await {
            Some(new) if new != made => break new,
            _ => assert!(runtime::clock::now() < deadline, "no new key"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    servers.start(2);
    let late = servers.client(&[2]);
    while fingerprint(&late).await.as_ref() != Some(&new) {
        assert!(
            runtime::clock::now() < deadline + PATIENCE,
            "it has another key"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
