//! What every part of the operator shares.

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use operator_core::labels;
use runtime::health::Health;
use tokio::task::JoinSet;

use crate::authority::Authorities;
use crate::cli::Arguments;
use crate::cluster::Cluster;
use crate::events::Events;
use crate::injections::Injections;
use crate::metrics::Metrics;
use crate::reports::Reports;
use crate::store::{self, Objects};

/// What every part of the operator shares. Clones share everything.
#[derive(Clone)]
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// The command line.
    pub arguments: Arguments,
    /// Objects of the cluster.
    pub stores: Stores,
    /// What members said about themselves.
    pub reports: Reports,
    /// Pods that could not be given a sidecar.
    pub injections: Injections,
    /// Who issues certificates.
    pub authorities: Authorities,
    /// Events on users' objects.
    pub events: Events,
    /// Readiness of this process.
    pub health: Health,
    /// Figures.
    pub metrics: Metrics,
    /// What the operator's own pod shows of the cluster.
    pub cluster: Cluster,
}

/// Objects of the cluster, kept up to date by watches.
#[derive(Clone)]
pub struct Stores {
    /// All groups.
    pub groups: Objects<GetVpnGroup>,
    /// All SecurityAssociations.
    pub associations: Objects<SecurityAssociation>,
    /// All GroupMembers.
    pub members: Objects<GroupMember>,
    /// Pods with the label [`labels::ROLE`]: key servers, and pods with a sidecar. No others.
    pub pods: Objects<Pod>,
    /// The StatefulSets of key servers.
    pub sets: Objects<StatefulSet>,
    /// Their other objects.
    pub owned: Owned,
    /// All Services: members translate them.
    pub services: Objects<Service>,
    /// Their endpoints.
    pub slices: Objects<EndpointSlice>,
    /// All nodes; none when only some namespaces are looked after, as nodes can then not be read.
    pub nodes: Option<Objects<Node>>,
    /// Namespaces, their metadata only; empty when only some namespaces are looked after, as namespaces can then not
    /// be read.
    pub namespaces: Option<Objects<PartialObjectMeta<Namespace>>>,
}

/// Objects that the operator applies: metadata tells whether somebody else changed them.
#[derive(Clone)]
pub struct Owned {
    /// Of the key servers and of the enrolment endpoint.
    pub config_maps: Objects<PartialObjectMeta<ConfigMap>>,
    /// Services.
    pub services: Objects<PartialObjectMeta<Service>>,
    /// ServiceAccounts.
    pub service_accounts: Objects<PartialObjectMeta<ServiceAccount>>,
    /// PodDisruptionBudgets.
    pub disruption_budgets: Objects<PartialObjectMeta<PodDisruptionBudget>>,
    /// NetworkPolicies.
    pub network_policies: Objects<PartialObjectMeta<NetworkPolicy>>,
}

impl Context {
    /// Starts all watches as `tasks`.
    pub fn start(
        client: Client,
        arguments: Arguments,
        health: Health,
        metrics: Metrics,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        Self {
            stores: Stores::start(&client, &arguments, tasks),
            reports: Reports::default(),
            injections: Injections::default(),
            authorities: Authorities::new(client.clone(), &arguments.namespace),
            events: Events::new(client.clone(), &arguments.pod_name),
            client,
            arguments,
            health,
            metrics,
            cluster: Cluster::around_this_process(),
        }
    }
}

impl Stores {
    fn start(client: &Client, arguments: &Arguments, tasks: &mut JoinSet<()>) -> Self {
        let scopes = scopes(arguments);
        let all = watcher::Config::default();
        let managed = watcher::Config::default()
            .labels(&format!("app.kubernetes.io/managed-by={}", labels::MANAGER));
        let ours = watcher::Config::default().labels(labels::ROLE);
        Self {
            groups: store::watch(client, &scopes, &all, tasks),
            associations: store::watch(client, &scopes, &all, tasks),
            members: store::watch(client, &scopes, &all, tasks),
            pods: store::watch(client, &scopes, &ours, tasks),
            sets: store::watch(client, &scopes, &managed, tasks),
            owned: Owned {
                config_maps: store::watch_metadata(client, &scopes, &managed, tasks),
                services: store::watch_metadata(client, &scopes, &managed, tasks),
                service_accounts: store::watch_metadata(client, &scopes, &managed, tasks),
                disruption_budgets: store::watch_metadata(client, &scopes, &managed, tasks),
                network_policies: store::watch_metadata(client, &scopes, &managed, tasks),
            },
            services: store::watch(client, &scopes, &all, tasks),
            slices: store::watch(client, &scopes, &all, tasks),
            nodes: arguments
                .watch_namespaces
                .is_empty()
                .then(|| store::watch_global(client, &all, tasks)),
            namespaces: arguments
                .watch_namespaces
                .is_empty()
                .then(|| store::watch_global_metadata(client, &all, tasks)),
        }
    }

    /// Waits until everything was listed once.
    pub async fn ready(&self) {
        self.groups.ready().await;
        self.associations.ready().await;
        self.members.ready().await;
        self.pods.ready().await;
        self.sets.ready().await;
        self.services.ready().await;
        self.slices.ready().await;
        if let Some(nodes) = &self.nodes {
            nodes.ready().await;
        }
        self.owned.config_maps.ready().await;
        self.owned.services.ready().await;
        self.owned.service_accounts.ready().await;
        self.owned.disruption_budgets.ready().await;
        self.owned.network_policies.ready().await;
        if let Some(namespaces) = &self.namespaces {
            namespaces.ready().await;
        }
    }
}

/// The namespaces to watch; `None` is all of them.
pub fn scopes(arguments: &Arguments) -> Vec<Option<String>> {
    if arguments.watch_namespaces.is_empty() {
        return vec![None];
    }
    let mut names = arguments.watch_namespaces.clone();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Some).collect()
}
