//! The controllers of the three kinds: one runs for each kind and scope while this replica acts.

mod association;
mod back_off;
mod group;
mod member;
mod queue;
mod triggers;
mod worker;

use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Resource;
use kube::runtime::controller::{Action, Config, applier};
use kube::runtime::reflector::Store;
use runtime::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::announce;
use crate::context::Context;
use crate::error::Error;
use crate::metrics::{KindLabel, OutcomeLabel};
use crate::serving::Serving;
use queue::Queues;
use worker::Worker;

/// Bursts of events about one object, such as those of its pods, are worked on once.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// What runs while this replica acts.
pub struct Acting {
    controllers: JoinSet<()>,
    triggers: JoinSet<()>,
}

impl Acting {
    /// Waits for the work under way, after the shutdown that was given to [`start`].
    pub async fn finish(mut self) {
        while self.controllers.join_next().await.is_some() {}
        self.triggers.shutdown().await;
    }

    /// Drops the work under way: another replica may act already.
    pub async fn stop(mut self) {
        self.controllers.shutdown().await;
        self.triggers.shutdown().await;
    }
}

/// Starts all controllers. They end with `shutdown`, after the work under way.
pub fn start(context: &Context, serving: &Serving, shutdown: &Shutdown) -> Acting {
    let (mut tasks, mut triggers) = (JoinSet::new(), JoinSet::new());
    let queues = Arc::new(Queues::default());
    let worker = Arc::new(Worker::new(context.clone(), queues.clone()));
    triggers::start(context, &queues, &mut triggers);
    triggers.spawn(announce::keep(
        context.clone(),
        serving.clone(),
        worker.applier.clone(),
    ));
    let stores = &context.stores;
    for store in stores.groups.stores() {
        let receive = queues.groups.receive();
        let worker = worker.clone();
        tasks.spawn(control(
            "GetVpnGroup",
            store.clone(),
            receive,
            worker,
            shutdown.clone(),
            group::reconcile,
        ));
    }
    for store in stores.associations.stores() {
        let receive = queues.associations.receive();
        let worker = worker.clone();
        tasks.spawn(control(
            "SecurityAssociation",
            store.clone(),
            receive,
            worker,
            shutdown.clone(),
            association::reconcile,
        ));
    }
    for store in stores.members.stores() {
        let receive = queues.members.receive();
        let worker = worker.clone();
        tasks.spawn(control(
            "GroupMember",
            store.clone(),
            receive,
            worker,
            shutdown.clone(),
            member::reconcile,
        ));
    }
    queues.everything(stores);
    Acting {
        controllers: tasks,
        triggers,
    }
}

/// Works on the objects of one store as they are queued, until the shutdown.
async fn control<K, F>(
    kind: &'static str,
    store: Store<K>,
    receive: queue::Receive<K>,
    worker: Arc<Worker>,
    mut shutdown: Shutdown,
    reconcile: fn(Arc<K>, Arc<Worker>) -> F,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    // Objects of other scopes are not in this store: they are another controller's.
    let known = store.clone();
    let queue = receive
        .take_until(async move { shutdown.wait().await })
        .filter(move |reference| {
            let here = known.get(reference).is_some();
            async move { here }
        })
        .map(Ok::<_, std::convert::Infallible>);
    let config = Config::default()
        .debounce(DEBOUNCE)
        .concurrency(worker.context.arguments.max_concurrent_reconciles);
    let work = move |object: Arc<K>, worker: Arc<Worker>| {
        Box::pin(async move {
            let begun = runtime::clock::now();
            let result = reconcile(object.clone(), worker.clone()).await;
            let metrics = &worker.context.metrics;
            metrics
                .reconcile_seconds
                .get_or_create(&KindLabel { kind })
                .observe(runtime::clock::now().duration_since(begun).as_secs_f64());
            let outcome = match &result {
                Ok(_) => {
                    worker.back_off.succeeded(&key(kind, &*object));
                    "Success"
                }
                Err(error) => error.reason(),
            };
            metrics
                .reconciles
                .get_or_create(&OutcomeLabel { kind, outcome })
                .inc();
            result
        })
    };
    let on_error = move |object: Arc<K>, error: &Error, worker: Arc<Worker>| {
        let pause = worker.back_off.failed(&key(kind, &*object));
        let meta = object.meta();
        tracing::warn!(
            kind,
            namespace = meta.namespace,
            name = meta.name,
            error = with_causes(error),
            again_in_seconds = pause.as_secs_f64(),
            "work on an object failed"
        );
        Action::requeue(pause)
    };
    applier(work, on_error, worker, store, queue, config)
        // What went wrong was logged where it happened; an object that is gone needs nothing.
        .for_each(|_| async {})
        .await;
}

/// Names an object among all kinds.
fn key<K: Resource<DynamicType = ()>>(kind: &str, object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    kind.hash(&mut hasher);
    object.meta().namespace.hash(&mut hasher);
    object.meta().name.hash(&mut hasher);
    hasher.finish()
}

/// An error with its causes, in one line.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
