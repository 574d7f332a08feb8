//! Which replica acts.

use std::time::{Duration, Instant};

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use operator_core::rbac;

/// A right that one replica holds at a time.
pub trait Lease: Send {
    /// Waits until this replica gains or loses the right, and says whether it has it now.
    ///
    /// # Errors
    /// What keeps it from gaining the right at all.
    fn changed(&mut self) -> impl Future<Output = anyhow::Result<bool>> + Send;

    /// Gives the right up, so that another replica need not wait.
    fn release(&mut self) -> impl Future<Output = ()> + Send;
}

/// The right by a Lease object in the operator's namespace.
pub struct KubernetesLease {
    manager: LeaseManager,
    held: bool,
    /// How long the API server may be silent before a held lease counts as lost.
    patience: Duration,
}

impl KubernetesLease {
    /// The lease of the operators in `namespace`, for the replica called `identity`.
    ///
    /// # Errors
    /// When the API server refuses the Lease object.
    pub async fn new(
        client: Client,
        namespace: &str,
        identity: &str,
        seconds: u32,
    ) -> anyhow::Result<Self> {
        // Renewed when two thirds are left, so that a single failure costs nothing.
        let grace = u64::from(seconds) * 2 / 3;
        let manager = LeaseManagerBuilder::new(client, rbac::LEASE)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_field_manager(format!("getvpn-operator/lease-{identity}"))
            .with_duration(u64::from(seconds))
            .with_grace(grace)
            .build()
            .await?;
        Ok(Self {
            manager,
            held: false,
            patience: Duration::from_secs(grace / 2),
        })
    }
}

/// A renewal that ran this long without an error reached the API server.
const QUIET: Duration = Duration::from_secs(2);
/// Pause after an error.
const RETRY: Duration = Duration::from_secs(1);

impl Lease for KubernetesLease {
    async fn changed(&mut self) -> anyhow::Result<bool> {
        let mut failing_since: Option<Instant> = None;
        loop {
            let begun = runtime::clock::now();
            let error = match self.manager.changed().await {
                Ok(held) => {
                    self.held = held;
                    return Ok(held);
                }
                Err(error) => error,
            };
            let now = runtime::clock::now();
            if now.duration_since(begun) >= QUIET {
                failing_since = None;
            }
            let since = *failing_since.get_or_insert(now);
            tracing::warn!(%error, "the lease could not be renewed");
            if self.held && now.duration_since(since) >= self.patience {
                self.held = false;
                return Ok(false);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn release(&mut self) {
        if let Err(error) = self.manager.release().await {
            tracing::warn!(%error, "the lease could not be released; it ends by itself");
        }
    }
}

/// The right of the only replica.
pub struct Always(pub bool);

impl Lease for Always {
    async fn changed(&mut self) -> anyhow::Result<bool> {
        if std::mem::replace(&mut self.0, true) {
            std::future::pending::<()>().await;
        }
        Ok(true)
    }

    async fn release(&mut self) {}
}
