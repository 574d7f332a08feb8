//! Objects of the cluster, kept up to date by watches.
//!
//! One watch for each kind and each scope: a namespace that is looked after, or all of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, Resource, core::PartialObjectMeta};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Touch<K> {
    /// It is there: new, changed, or seen again after an interruption.
    Seen(Arc<K>),
    /// It is gone.
    Gone(Arc<K>),
}

impl<K> Touch<K> {
    /// The object.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Seen(object) | Self::Gone(object) => object,
        }
    }
}

/// Objects of one kind in all the scopes that are looked after. Clones share them.
pub struct Objects<K: Resource<DynamicType = ()> + Clone + 'static> {
    scopes: Arc<BTreeMap<Option<String>, Store<K>>>,
    touched: broadcast::Sender<Touch<K>>,
    /// Scopes that were listed once. The stores' own way to wait wakes one of several who do.
    listed: watch::Receiver<usize>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self {
            scopes: self.scopes.clone(),
            touched: self.touched.clone(),
            listed: self.listed.clone(),
        }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Objects<K> {
    /// The object of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name).within(namespace);
        self.scopes.values().find_map(|store| store.get(&key))
    }

    /// The object of that name, of a kind that is in no namespace.
    pub fn get_global(&self, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name);
        self.scopes.values().find_map(|store| store.get(&key))
    }

    /// All objects in a namespace, by name.
    pub fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        self.select(|object| object.meta().namespace.as_deref() == Some(namespace))
    }

    /// All objects, by namespace and name.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.select(|_| true)
    }

    fn select(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let mut found: Vec<Arc<K>> = self
            .scopes
            .values()
            .flat_map(Store::state)
            .filter(|object| wanted(object))
            .collect();
        found.sort_by(|one, other| {
            let key = |object: &K| (object.meta().namespace.clone(), object.meta().name.clone());
            key(one).cmp(&key(other))
        });
        found
    }

    /// What happens from now on. A listener that falls far behind is told so and should look at everything again.
    pub fn touched(&self) -> broadcast::Receiver<Touch<K>> {
        self.touched.subscribe()
    }

    /// Waits until every scope was listed once.
    pub async fn ready(&self) {
        let wanted = self.scopes.len();
        let mut listed = self.listed.clone();
        if listed.wait_for(|count| *count >= wanted).await.is_err() {
            // The watches ended, and the process ends with them.
            std::future::pending::<()>().await;
        }
    }

    /// The store of each scope.
    pub fn stores(&self) -> impl Iterator<Item = &Store<K>> {
        self.scopes.values()
    }
}

/// Starts watches of whole objects in `scopes`; `None` is all namespaces.
pub fn watch<K>(
    client: &Client,
    scopes: &[Option<String>],
    config: &watcher::Config,
    tasks: &mut JoinSet<()>,
) -> Objects<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    collect(scopes, tasks, |scope| {
        let api: Api<K> = namespaced(client, scope);
        watch_objects(api, config.clone())
    })
}

/// Starts watches of the metadata of objects in `scopes`; `None` is all namespaces.
pub fn watch_metadata<K>(
    client: &Client,
    scopes: &[Option<String>],
    config: &watcher::Config,
    tasks: &mut JoinSet<()>,
) -> Objects<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    collect(scopes, tasks, |scope| {
        let api: Api<PartialObjectMeta<K>> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        watch_objects(api, config.clone())
    })
}

/// Starts one watch of whole objects of a kind that is in no namespace.
pub fn watch_global<K>(
    client: &Client,
    config: &watcher::Config,
    tasks: &mut JoinSet<()>,
) -> Objects<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    collect(&[None], tasks, |_| {
        watch_objects(Api::<K>::all(client.clone()), config.clone())
    })
}

/// Starts one watch of the metadata of a kind that is in no namespace.
pub fn watch_global_metadata<K>(
    client: &Client,
    config: &watcher::Config,
    tasks: &mut JoinSet<()>,
) -> Objects<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    collect(&[None], tasks, |_| {
        watch_objects(
            Api::<PartialObjectMeta<K>>::all(client.clone()),
            config.clone(),
        )
    })
}

/// The API of a kind in a scope.
pub fn namespaced<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn collect<K, S>(
    scopes: &[Option<String>],
    tasks: &mut JoinSet<()>,
    stream: impl Fn(Option<&str>) -> S,
) -> Objects<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    let (touched, _) = broadcast::channel(4096);
    let (count, listed) = watch::channel(0);
    let mut stores = BTreeMap::new();
    for scope in scopes {
        let (reader, writer) = store::<K>();
        stores.insert(scope.clone(), reader);
        tasks.spawn(follow(
            stream(scope.as_deref()).default_backoff(),
            writer,
            touched.clone(),
            count.clone(),
        ));
    }
    Objects {
        scopes: Arc::new(stores),
        touched,
        listed,
    }
}

/// Applies every event of a watch to its store, then tells the listeners.
async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    mut writer: Writer<K>,
    touched: broadcast::Sender<Touch<K>>,
    listed: watch::Sender<usize>,
) where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut stream = std::pin::pin!(stream);
    let reader = writer.as_reader();
    let mut before: Vec<Arc<K>> = Vec::new();
    let mut first = true;
    while let Some(event) = stream.next().await {
        let mut event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "a watch was interrupted; it goes on by itself");
                continue;
            }
        };
        if let Event::Apply(object) | Event::InitApply(object) = &mut event {
            // Nobody reads it, and it is often the largest part.
            object.meta_mut().managed_fields = None;
        }
        if matches!(event, Event::Init) {
            before = reader.state();
        }
        writer.apply_watcher_event(&event);
        // Nobody listens while this replica does not lead.
        match event {
            Event::Apply(object) => drop(touched.send(Touch::Seen(Arc::new(object)))),
            Event::Delete(object) => drop(touched.send(Touch::Gone(Arc::new(object)))),
            Event::InitDone => {
                if std::mem::take(&mut first) {
                    listed.send_modify(|count| *count += 1);
                }
                for object in before.drain(..) {
                    if reader.get(&ObjectRef::from_obj(&*object)).is_none() {
                        drop(touched.send(Touch::Gone(object)));
                    }
                }
                for object in reader.state() {
                    drop(touched.send(Touch::Seen(object)));
                }
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_for_the_first_list_is_woken() {
        let mut tasks = JoinSet::new();
        let (begin, begun) = oneshot::channel::<()>();
        let begun = std::sync::Mutex::new(Some(begun));
        let objects: Objects<ConfigMap> = collect(&[None], &mut tasks, |_| {
            let begun = begun.lock().expect("one thread").take().expect("one scope");
            let list = stream::once(async move {
                let _ = begun.await;
                Ok(Event::Init)
            });
            list.chain(stream::iter([Ok(Event::InitDone)]))
                .chain(stream::pending())
                .boxed()
        });
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let objects = objects.clone();
                tokio::spawn(async move { objects.ready().await })
            })
            .collect();
        tokio::task::yield_now().await;
        begin.send(()).expect("it waits");
        for waiter in waiters {
            tokio::time::timeout(std::time::Duration::from_secs(10), waiter)
                .await
                .expect("woken")
                .expect("no panic");
        }
    }
}
