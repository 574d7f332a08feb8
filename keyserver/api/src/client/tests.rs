use super::*;

fn any_tls() -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn a_key_server_that_never_answers_is_passed_over_before_anything_is_sent() {
    // The kernel accepts connections for a listener; nobody ever speaks TLS.
    let [silent, other] = [(); 2].map(|()| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        (listener, address)
    });
    let closed = other.1.clone();
    drop(other);
    let client = Client::new(vec![silent.1.clone(), closed.clone()], any_tls())
        .with_connect_timeout(Duration::from_millis(50));
    let error = client
        .evict(
            "group",
            &EvictRequest {
                member: "FQDN:m".to_owned(),
            },
        )
        .await
        .expect_err("nobody answers");
    // The last address tried is the second one: the first did not end the request.
    assert!(
        matches!(&error, ClientError::Connect { address, .. } if *address == closed),
        "{error:?}"
    );
}
