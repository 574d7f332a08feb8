//! Answers the other key servers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::AppendEntriesResponse;
use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::frame::{
    self, ANYONE, Answer, Applied, Body, Frame, Hello, ProposalRefusal, Refusal, Request,
    SnapshotChunk,
};
use crate::raft::callers::Callers;
use crate::raft::roster::Roster;
use crate::raft::state_machine::Application;
use crate::raft::types::{NodeId, Raft, Snapshot, SnapshotOctets, retired};
use crate::storage::Store;

const MOST_CONNECTIONS: usize = 128;
const MOST_REQUESTS_PER_CONNECTION: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_SNAPSHOT: usize = 1 << 30;

/// What incoming requests are handled with.
pub struct Service<A: Application> {
    /// The consensus of this node.
    pub raft: Raft<A>,
    /// Its store, for node identity and incarnation.
    pub store: Store,
    /// What its configuration says, as it changes.
    roster: watch::Receiver<Roster>,
    /// When the leader was last heard.
    leader_heard: watch::Sender<Option<Instant>>,
    /// Who asked to be taken in.
    callers: Arc<Callers>,
    /// Connections and messages that were refused because they are not of a key server of this group.
    refused: Counter,
    transfers: Mutex<HashMap<NodeId, Transfer>>,
}

/// A snapshot that is being received.
struct Transfer {
    id: u64,
    octets: Zeroizing<Vec<u8>>,
}

impl<A: Application> Service<A> {
    /// A service for `raft` that says about itself what `roster` holds and counts whom it refuses.
    pub fn new(
        raft: Raft<A>,
        store: Store,
        roster: watch::Receiver<Roster>,
        refused: Counter,
    ) -> Self {
        Self {
            raft,
            store,
            roster,
            leader_heard: watch::Sender::new(None),
            callers: Arc::default(),
            refused,
            transfers: Mutex::default(),
        }
    }

    /// When a leader's message was last accepted.
    pub fn leader_heard(&self) -> watch::Receiver<Option<Instant>> {
        self.leader_heard.subscribe()
    }

    /// Who asked to be taken in lately.
    pub(crate) fn callers(&self) -> Arc<Callers> {
        self.callers.clone()
    }

    async fn handle(&self, frame: Frame) -> Result<Answer, Refusal> {
        let Body::Request(request) = frame.body else {
            return Err(Refusal::SnapshotOrder);
        };
        let identity = self.store.identity();
        if let (Some(own), Some(theirs)) = (identity.incarnation, frame.incarnation)
            && own != theirs
        {
            self.refused.inc();
            tracing::warn!(%own, %theirs, peer = format!("{:016x}", frame.sender),
                "refused a key server of another incarnation; it belongs to another formation or to a restored backup");
            return Err(Refusal::Incarnation(own));
        }
        if self.removed(frame.sender) {
            self.refused.inc();
            return Err(Refusal::Removed);
        }
        if let Request::Hello(applicant) = *request {
            if let (None, Some(incarnation)) = (identity.incarnation, frame.incarnation) {
                self.callers.heard_formed(incarnation);
            }
            if let Some(node) = applicant {
                self.callers.note(runtime::clock::now(), *node);
            }
            return Ok(Answer::Hello(self.hello().await?));
        }
        if frame.target != ANYONE && frame.target != identity.node_id {
            return Err(Refusal::OtherNode(identity.node_id));
        }
        match frame.incarnation {
            None => return Err(Refusal::NoIncarnation),
            // An empty node joins the formation that first speaks to it; its peers are
            // authenticated by the transport.
            Some(incarnation) => self
                .store
                .adopt(incarnation)
                .await
                .map_err(|error| Refusal::Store(error.to_string()))?,
        }
        self.consensus(frame.sender, *request).await
    }

    async fn consensus(&self, sender: NodeId, request: Request) -> Result<Answer, Refusal> {
        let stopped = |error: &dyn std::fmt::Display| Refusal::Stopped(error.to_string());
        Ok(match request {
            Request::Hello(_) => Answer::Hello(self.hello().await?),
            Request::Append(request) => {
                let answer = self
                    .raft
                    .append_entries(request)
                    .await
                    .map_err(|error| stopped(&error))?;
                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                    self.leader_heard.send_replace(Some(runtime::clock::now()));
                }
                Answer::Append(answer)
            }
            Request::Vote(request) => Answer::Vote(
                self.raft
                    .vote(request)
                    .await
                    .map_err(|error| stopped(&error))?,
            ),
            Request::PreVote(request) => Answer::PreVote(
                self.raft
                    .pre_vote(request)
                    .await
                    .map_err(|error| stopped(&error))?,
            ),
            Request::TransferLeader(request) => Answer::TransferLeader(
                self.raft
                    .handle_transfer_leader(request)
                    .await
                    .map_err(|error| stopped(&error))?,
            ),
            Request::Snapshot(chunk) => self.snapshot(sender, chunk).await?,
            Request::Propose(command) => {
                Answer::Propose(match self.raft.client_write(command).await {
                    Ok(written) => Ok(Applied {
                        index: written.log_id.index(),
                        outcome: written.data,
                    }),
                    Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                        Err(ProposalRefusal::NotLeader)
                    }
                    Err(error) => Err(ProposalRefusal::Unknown(error.to_string())),
                })
            }
        })
    }

    /// Whether the group removed `sender` on purpose, as far as is known here.
    fn removed(&self, sender: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        membership.get_node(&sender).is_none()
            && retired(membership).any(|retired| retired.node_id == sender)
    }

    async fn hello(&self) -> Result<Hello, Refusal> {
        let identity = self.store.identity();
        let (node, founder) = {
            let roster = self.roster.borrow();
            (roster.own.clone(), roster.founder().to_owned())
        };
        Ok(Hello {
            node_id: identity.node_id,
            node,
            founder,
            incarnation: identity.incarnation,
            initialised: self
                .raft
                .is_initialized()
                .await
                .map_err(|error| Refusal::Stopped(error.to_string()))?,
        })
    }

    async fn snapshot(&self, sender: NodeId, chunk: SnapshotChunk) -> Result<Answer, Refusal> {
        let complete = {
            let mut transfers = self
                .transfers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if chunk.offset == 0 {
                transfers.insert(
                    sender,
                    Transfer {
                        id: chunk.transfer,
                        octets: Zeroizing::default(),
                    },
                );
            }
            let transfer = transfers
                .get_mut(&sender)
                .filter(|transfer| {
                    transfer.id == chunk.transfer
                        && transfer.octets.len() as u64 == chunk.offset
                        && transfer.octets.len() < LONGEST_SNAPSHOT
                })
                .ok_or(Refusal::SnapshotOrder)?;
            transfer.octets.extend_from_slice(chunk.data.as_slice());
            if !chunk.last {
                return Ok(Answer::Snapshot(None));
            }
            transfers.remove(&sender)
        };
        let mut octets = complete.ok_or(Refusal::SnapshotOrder)?.octets;
        let snapshot = Snapshot {
            meta: chunk.meta,
            snapshot: SnapshotOctets::new(std::mem::take(&mut *octets)),
        };
        let installed = self.raft.install_full_snapshot(chunk.vote, snapshot).await;
        installed
            .map(|response| Answer::Snapshot(Some(response)))
            .map_err(|error| Refusal::Stopped(error.to_string()))
    }
}

/// Accepts connections of authenticated peers until the task is dropped.
pub async fn serve<A: Application>(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    service: Arc<Service<A>>,
) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a key server's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "too many connections between key servers; this one is closed");
            continue;
        };
        // What holds now decides: credentials may have been replaced since the last connection.
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let service = service.clone();
        connections.spawn(async move {
            let _slot = slot;
            connection(stream, peer, acceptor, service).await;
        });
    }
}

async fn connection<A: Application>(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    service: Arc<Service<A>>,
) {
    // Latency matters more than packets; failing to set it is harmless.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            service.refused.inc();
            tracing::info!(%peer, %error, "refused a connection to the key servers' consensus");
            return;
        }
        Err(_) => {
            service.refused.inc();
            tracing::info!(%peer, "a connection to the key servers' consensus did not authenticate in time");
            return;
        }
    };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (answers, mut outgoing) = mpsc::channel::<Zeroizing<Vec<u8>>>(MOST_REQUESTS_PER_CONNECTION);
    let slots = Arc::new(Semaphore::new(MOST_REQUESTS_PER_CONNECTION));
    let mut requests = tokio::task::JoinSet::new();
    let reading = async {
        loop {
            let frame = match frame::read(&mut reader).await {
                Ok(frame) => frame,
                Err(error) => return error,
            };
            while requests.try_join_next().is_some() {}
            let Ok(slot) = slots.clone().acquire_owned().await else {
                continue;
            };
            let (service, answers) = (service.clone(), answers.clone());
            requests.spawn(async move {
                let _slot = slot;
                let (id, sender) = (frame.id, frame.sender);
                let answer = service.handle(frame).await;
                let identity = service.store.identity();
                let frame = Frame {
                    incarnation: identity.incarnation,
                    sender: identity.node_id,
                    target: sender,
                    id,
                    body: Body::Answer(Box::new(answer)),
                };
                match frame::encode(&frame) {
                    // The connection may be gone; then nobody waits any more.
                    Ok(octets) => drop(answers.send(octets).await),
                    Err(error) => tracing::warn!(%error, "an answer cannot be sent"),
                }
            });
        }
    };
    let writing = async {
        while let Some(octets) = outgoing.recv().await {
            if let Err(error) = frame::write(&mut writer, &octets).await {
                return Some(error);
            }
        }
        None
    };
    tokio::select! {
        error = reading => tracing::debug!(%peer, %error, "connection of a key server ended"),
        error = writing => tracing::debug!(%peer, ?error, "connection of a key server ended"),
    }
}
