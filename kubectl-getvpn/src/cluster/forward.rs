//! A port of a pod on the loopback address, through the API server.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::error::ClusterError;

/// Connections that are handed on until this is dropped.
pub struct Forward {
    /// Where to connect to.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// Hands connections on to a port of a pod. Only what speaks mutual TLS is forwarded so: the loopback address is open to
/// every user of this machine.
///
/// # Errors
/// When no local port is free.
pub async fn forward(pods: Api<Pod>, pod: &str, port: u16) -> Result<Forward, ClusterError> {
    let local = |source| ClusterError::File {
        action: "listen on",
        path: "127.0.0.1:0".into(),
        source,
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(local)?;
    let address = listener.local_addr().map_err(local)?;
    let pod = pod.to_owned();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let (pods, pod) = (pods.clone(), pod.clone());
            connections.spawn(async move {
                // A failure shows as a connection that ends; whoever connected reports it.
                let Ok(mut forwarder) = pods.portforward(&pod, &[port]).await else {
                    return;
                };
                if let Some(mut far) = forwarder.take_stream(port) {
                    let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(Forward {
        address,
        _tasks: tasks,
    })
}
