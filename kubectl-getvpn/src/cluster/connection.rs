//! The way to a cluster, and which namespaces a command is about.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};

use super::error::ClusterError;

/// Which cluster and namespaces: kubectl's own words.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Context of the kubeconfig; its current one when absent.
    pub context: Option<String>,
    /// Namespace; that of the context when absent.
    pub namespace: Option<String>,
    /// All namespaces.
    pub all_namespaces: bool,
}

/// A client with the namespace that a command is about.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The namespace of everything that is named.
    pub namespace: String,
    /// Whether lists go over all namespaces.
    pub all_namespaces: bool,
}

impl Connection {
    /// Reads the kubeconfig as kubectl does.
    ///
    /// # Errors
    /// [`ClusterError::NoCluster`].
    pub async fn open(choice: &Choice) -> Result<Self, ClusterError> {
        let no_cluster = |error: &dyn std::fmt::Display| ClusterError::NoCluster(error.to_string());
        let options = KubeConfigOptions {
            context: choice.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match Kubeconfig::read() {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|error| no_cluster(&error))?,
            Err(error) if choice.context.is_some() => return Err(no_cluster(&error)),
            // In a pod there is a service account instead.
            Err(_) => Config::infer().await.map_err(|error| no_cluster(&error))?,
        };
        let namespace = choice
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
        Ok(Self {
            client,
            namespace,
            all_namespaces: choice.all_namespaces,
        })
    }

    /// Objects of the namespace.
    pub fn named<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects of the namespace, or of all.
    pub fn listed<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        if self.all_namespaces {
            Api::all(self.client.clone())
        } else {
            self.named()
        }
    }

    /// The same connection for another namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self {
            client: self.client.clone(),
            namespace: namespace.to_owned(),
            all_namespaces: false,
        }
    }
}
