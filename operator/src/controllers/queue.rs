//! Objects that somebody should look at.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use futures::Stream;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::context::Stores;

/// The receiving end of a queue.
pub(super) type Receive<K> = Pin<Box<dyn Stream<Item = ObjectRef<K>> + Send>>;

/// References to objects of one kind. Every receiver gets every reference; repeats are joined by whoever works on them,
/// so a queue grows no longer than the number of objects that are touched at once.
pub(super) struct Queue<K: Resource<DynamicType = ()> + 'static> {
    senders: Mutex<Vec<UnboundedSender<ObjectRef<K>>>>,
}

impl<K: Resource<DynamicType = ()> + 'static> Default for Queue<K> {
    fn default() -> Self {
        Self {
            senders: Mutex::default(),
        }
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Queue<K> {
    /// Asks for work on an object.
    pub(super) fn push(&self, namespace: &str, name: &str) {
        let reference = ObjectRef::new(name).within(namespace);
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.retain(|sender| sender.send(reference.clone()).is_ok());
    }

    /// A new receiving end.
    pub(super) fn receive(&self) -> Receive<K> {
        let (sender, receiver) = unbounded_channel();
        self.senders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        Box::pin(futures::stream::unfold(
            receiver,
            |mut receiver| async move { receiver.recv().await.map(|reference| (reference, receiver)) },
        ))
    }
}

/// The queues of the three kinds.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) groups: Queue<GetVpnGroup>,
    pub(super) associations: Queue<SecurityAssociation>,
    pub(super) members: Queue<GroupMember>,
}

impl Queues {
    /// Asks for work on every object.
    pub(super) fn everything(&self, stores: &Stores) {
        for group in stores.groups.all() {
            self.groups
                .push(&group.namespace().unwrap_or_default(), &group.name_any());
        }
        for association in stores.associations.all() {
            self.associations.push(
                &association.namespace().unwrap_or_default(),
                &association.name_any(),
            );
        }
        for member in stores.members.all() {
            self.members
                .push(&member.namespace().unwrap_or_default(), &member.name_any());
        }
    }
}
