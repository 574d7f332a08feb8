//! The real program: one key server, three key servers, and what it says when it cannot start.

mod support;

use std::time::Duration;

use keyserver_api::client::{Client, ClientError};
use keyserver_api::error::ErrorCode;
use keyserver_api::request::{
    RekeyRequest, SigningKeyExportRequest, SigningKeyImportRequest, SigningKeyRotationRequest,
};
use keyserver_api::status::{GroupStatus, ServerRole};
use nix::sys::signal::Signal;
use support::cluster::PATIENCE;
use support::process::{Processes, keyed, policy};

#[tokio::test]
async fn one_key_server_takes_a_group_makes_its_keys_and_keeps_them_over_a_restart() {
    let mut servers = Processes::prepare(1);
    servers.start(0);
    servers.ready(0).await;
    let client = servers.client(&[0]);
    client
        .put_group(&policy("voice", 1234))
        .await
        .expect("accepted");
    let before = keyed(&client, "voice").await;
    assert_eq!(before.group_id, 1234);
    let signing_key = before.signing_key.clone().expect("made");
    assert_eq!(signing_key.algorithm, "RSASSA-PSS 3072");
    assert_eq!(
        client.status().await.expect("status").role,
        ServerRole::Primary
    );
    assert!(
        servers
            .get(0, "/metrics")
            .contains("getvpn_keyserver_primary 1\n")
    );

    assert!(servers.end(0, Signal::SIGTERM).success());
    servers.start(0);
    servers.ready(0).await;
    let after = keyed(&client, "voice").await;
    assert_eq!(after.signing_key, Some(signing_key));
    let spis = |status: &GroupStatus| -> Vec<String> {
        status
            .traffic_keys
            .iter()
            .map(|key| key.spi.clone())
            .collect()
    };
    assert_eq!(spis(&after), spis(&before));
}

/// Whether the primary says that `name` answers it. A replica cannot tell.
async fn primary_reaches(client: &Client, name: &str) -> bool {
    let Ok(status) = client.status().await else {
        return false;
    };
    let Some(primary) = status.primary_admin_address else {
        return false;
    };
    let Ok(status) = client.clone().at(vec![primary]).status().await else {
        return false;
    };
    status
        .peers
        .iter()
        .any(|peer| peer.name == name && peer.reachable == Some(true))
}

#[tokio::test]
async fn three_key_servers_agree_and_survive_the_loss_of_the_primary() {
    let mut servers = Processes::prepare(3);
    for index in 0..3 {
        servers.start(index);
    }
    for index in 0..3 {
        servers.ready(index).await;
    }
    // A replica names the primary, and the client follows.
    let client = servers.client(&[2, 1, 0]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    let before = keyed(&client, "voice").await;
    let status = client.status().await.expect("status");
    assert_eq!(status.primary.as_deref(), Some("ks-0"));
    assert_eq!(status.peers.len(), 3);

    servers.end(0, Signal::SIGKILL);
    let started = runtime::clock::now();
    let accepted = loop {
        match client.rekey("voice", &RekeyRequest::default()).await {
            Ok(accepted) => break accepted,
            Err(error) => {
                let waited = runtime::clock::now().duration_since(started);
                assert!(waited < PATIENCE, "no new primary: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    println!(
        "rekey committed {} ms after the kill",
        runtime::clock::now().duration_since(started).as_millis()
    );
    assert!(accepted.generation > before.generation);
    let after = keyed(&client, "voice").await;
    assert_eq!(after.signing_key, before.signing_key);
    servers.start(0);
    servers.ready(0).await;
    let returned = servers.client(&[0]);
    let deadline = runtime::clock::now() + PATIENCE;
    while keyed(&returned, "voice").await.generation < accepted.generation {
        assert!(
            runtime::clock::now() < deadline,
            "the old primary does not catch up"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Asked to step down, the new primary hands over to the highest priority that is there.
    let others = servers.client(&[1, 2]);
    let deadline = runtime::clock::now() + PATIENCE;
    while !primary_reaches(&others, "ks-0").await {
        assert!(
            runtime::clock::now() < deadline,
            "the primary does not reach ks-0"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A handover can miss its target where that one was not heard of for a moment; whoever leads then is asked again.
    let deadline = runtime::clock::now() + PATIENCE;
    while others.status().await.expect("status").primary.as_deref() != Some("ks-0") {
        assert!(runtime::clock::now() < deadline, "ks-0 does not lead");
        // Refused while nobody leads, and by one that has just handed over.
        let _ = others.step_down().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for index in 0..3 {
        assert!(
            !servers.log(index).contains("ERROR"),
            "{}",
            servers.log(index)
        );
    }
}

#[tokio::test]
async fn a_signing_key_leaves_only_encrypted_and_is_not_replaced_without_approval() {
    let mut servers = Processes::prepare(1);
    servers.start(0);
    servers.ready(0).await;
    let client = servers.client(&[0]);
    client
        .put_group(&policy("voice", 1))
        .await
        .expect("accepted");
    client
        .put_group(&policy("data", 2))
        .await
        .expect("accepted");
    keyed(&client, "voice").await;
    keyed(&client, "data").await;
    let passphrase = "correct horse battery".to_owned();
    let export = SigningKeyExportRequest {
        passphrase: passphrase.clone(),
    };
    let exported = client
        .export_signing_key("voice", &export)
        .await
        .expect("exported");
    assert!(
        exported
            .encrypted_pem
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );
    let mut import = SigningKeyImportRequest {
        label: client
            .group("data")
            .await
            .expect("status")
            .signing_key
            .expect("made")
            .label,
        encrypted_pem: exported.encrypted_pem,
        passphrase,
        overwrite: false,
    };
    match client.import_signing_key("data", &import).await {
        Err(ClientError::Refused { body, .. }) => {
            assert_eq!(body.code, ErrorCode::SigningKeyConflict);
        }
        other => panic!("{other:?}"),
    }
    import.overwrite = true;
    let status = client
        .import_signing_key("data", &import)
        .await
        .expect("approved");
    assert_eq!(status.fingerprint, exported.fingerprint);
    let rotated = client
        .rotate_signing_key("data", &SigningKeyRotationRequest::default())
        .await
        .expect("rotated");
    assert_eq!(rotated.label, "data-2");
    assert_ne!(rotated.fingerprint, exported.fingerprint);
    let same = SigningKeyRotationRequest {
        label: Some("data-2".to_owned()),
    };
    // The rekey that tells the members, of whom there are none, adopts it.
    let deadline = runtime::clock::now() + PATIENCE;
    while client
        .group("data")
        .await
        .expect("status")
        .signing_key
        .as_ref()
        != Some(&rotated)
    {
        assert!(runtime::clock::now() < deadline, "it does not sign in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    match client.rotate_signing_key("data", &same).await {
        Err(ClientError::Refused { body, .. }) => {
            assert_eq!(body.code, ErrorCode::SigningKeyConflict);
        }
        other => panic!("{other:?}"),
    }
    import.passphrase = "another passphrase".to_owned();
    match client.import_signing_key("data", &import).await {
        Err(ClientError::Refused { body, .. }) => {
            assert_eq!(body.code, ErrorCode::InvalidSigningKey);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_keeps_a_key_server_from_starting_is_said_with_its_exit_code() {
    let mut servers = Processes::prepare(1);
    let (status, _) = servers.run_to_end(0, &["check"]);
    assert!(status.success());
    servers.start(0);
    servers.ready(0).await;

    // A second process on the same addresses and directory.
    let (status, words) = servers.run_to_end(0, &[]);
    assert!(words.contains("in use"), "{words}");
    assert_ne!(status.code(), Some(0));
    servers.end(0, Signal::SIGTERM);

    let key = servers.home().join("sealing.key");
    std::fs::write(&key, "0e".repeat(32)).expect("written");
    let (status, words) = servers.run_to_end(0, &[]);
    assert_eq!(status.code(), Some(i32::from(runtime::exit::CORRUPT)));
    assert!(words.contains("sealed under key"), "{words}");

    std::fs::write(&key, "0d".repeat(32)).expect("written");
    std::fs::write(servers.data(0).join("keyserver.redb"), b"SQLite format 3\0").expect("written");
    let (status, words) = servers.run_to_end(0, &[]);
    assert_eq!(status.code(), Some(i32::from(runtime::exit::FOREIGN)));
    assert!(words.contains("no key server store"), "{words}");

    let path = servers.configuration(0);
    let text = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(
        &path,
        text.replace("priority: 100\nike", "prioritty: 100\nike"),
    )
    .expect("written");
    let (status, words) = servers.run_to_end(0, &["check"]);
    assert_eq!(status.code(), Some(i32::from(runtime::exit::USAGE)));
    assert!(
        words.contains("prioritty") && words.contains(":4:"),
        "{words}"
    );
}
