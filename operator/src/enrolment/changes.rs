//! Tells those who wait that configurations may have changed.

use std::time::Duration;

use kube::Resource;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::context::Stores;
use crate::store::Objects;

/// Many objects change together, such as the endpoints of a rollout.
const TOGETHER: Duration = Duration::from_millis(100);

/// A listener.
#[derive(Clone)]
pub struct Changes {
    count: watch::Receiver<u64>,
}

impl Changes {
    /// What happened until now was seen.
    pub(super) fn seen(&mut self) {
        self.count.borrow_and_update();
    }

    /// Waits for something that was not seen, and until it is quiet for a moment.
    pub(super) async fn next(&mut self) {
        if self.count.changed().await.is_err() {
            // The process ends.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(TOGETHER).await;
    }
}

/// Listens to everything that configurations are made from, as `tasks`.
pub fn follow(stores: &Stores, tasks: &mut JoinSet<()>) -> Changes {
    let (sender, count) = watch::channel(0);
    listen(&stores.groups, &sender, tasks);
    listen(&stores.members, &sender, tasks);
    listen(&stores.pods, &sender, tasks);
    listen(&stores.services, &sender, tasks);
    listen(&stores.slices, &sender, tasks);
    if let Some(nodes) = &stores.nodes {
        listen(nodes, &sender, tasks);
    }
    Changes { count }
}

fn listen<K>(objects: &Objects<K>, sender: &watch::Sender<u64>, tasks: &mut JoinSet<()>)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (mut touched, sender) = (objects.touched(), sender.clone());
    tasks.spawn(async move {
        loop {
            match touched.recv().await {
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    sender.send_modify(|count| *count = count.wrapping_add(1));
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}
