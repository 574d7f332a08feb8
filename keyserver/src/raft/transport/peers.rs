//! Persistent connections to the other key servers, one per peer and kind of traffic.
//!
//! Kinds are separate so that neither a snapshot nor a burst of log entries delays a heartbeat.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::connection::{CallError, Connection, Envelope};
use super::frame::{ANYONE, Answer, Hello, Refusal, Request};
use super::resolver::Resolver;
use crate::raft::types::{KeyServerNode, NodeId, Vote};
use crate::storage::Store;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Kind of traffic with a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Votes, heartbeats, leadership transfer, hello.
    Control,
    /// Log entries.
    Log,
    /// Snapshots.
    Snapshot,
    /// Commands forwarded to the leader.
    Proposals,
}

/// All connections this key server makes; clones share them.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    tls: watch::Receiver<Arc<ClientConfig>>,
    /// What is told about this key server while it wants to be taken in.
    introduction: Mutex<Option<KeyServerNode>>,
    /// What was last said of each peer that refused, so that it is said once.
    refusals: Mutex<HashMap<String, String>>,
    links: Mutex<HashMap<(String, Lane), Link>>,
    /// Highest log index each peer acknowledged to us under our vote.
    acknowledged: Mutex<HashMap<NodeId, (Vote, u64)>>,
}

/// A connection that is made anew when it ends.
struct Link {
    state: watch::Receiver<State>,
    keeper: JoinHandle<()>,
}

#[derive(Clone)]
enum State {
    Connecting,
    Up(Arc<Connection>),
    Down(String),
}

impl Peers {
    /// Connections that speak for `store` and prove themselves with what `tls` holds when they are
    /// made.
    pub fn new(store: Store, tls: watch::Receiver<Arc<ClientConfig>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                tls,
                introduction: Mutex::default(),
                refusals: Mutex::default(),
                links: Mutex::default(),
                acknowledged: Mutex::default(),
            }),
        }
    }

    /// Tells every peer that is asked who it is about `node`, which wants to be taken in; `None` to
    /// tell nothing more.
    pub fn introduce(&self, node: Option<KeyServerNode>) {
        *self
            .shared
            .introduction
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = node;
    }

    /// Logs why `address` refuses to work with this key server, once for each reason.
    pub(crate) fn say_refused(&self, address: &str, refusal: &Refusal) {
        let words = refusal.to_string();
        let mut said = self
            .shared
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if said.get(address) != Some(&words) {
            tracing::warn!(peer = address, %refusal, "a key server refuses to work with this one");
            said.insert(address.to_owned(), words);
        }
    }

    /// Asks who answers at `address`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn hello(&self, address: &str, timeout: Duration) -> Result<Hello, CallError> {
        let introduction = self
            .shared
            .introduction
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let request = Request::Hello(introduction.map(Box::new));
        match self
            .call(address, Lane::Control, ANYONE, request, timeout)
            .await?
        {
            Answer::Hello(hello) => Ok(hello),
            _ => Err(unexpected()),
        }
    }

    /// Closes the connections to every address that is not among `addresses`.
    pub fn retain(&self, addresses: &BTreeSet<String>) {
        self.shared
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|address, _| addresses.contains(address));
        self.links().retain(|(address, _), link| {
            let keep = addresses.contains(address);
            if !keep {
                link.keeper.abort();
            }
            keep
        });
    }

    /// Closes every connection.
    pub fn close(&self) {
        self.retain(&BTreeSet::new());
    }

    pub(crate) async fn call(
        &self,
        address: &str,
        lane: Lane,
        target: NodeId,
        request: Request,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let started = runtime::clock::now();
        let mut state = self.link(address, lane);
        // A first connection may still be under way; a failed one is reported at once.
        let connected = state.wait_for(|state| !matches!(state, State::Connecting));
        let state = match tokio::time::timeout(timeout, connected).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => State::Down("closed".to_owned()),
            Err(_) => State::Down("still connecting".to_owned()),
        };
        let connection = match state {
            State::Up(connection) => connection,
            State::Down(why) => return Err(CallError::Unreachable(why)),
            State::Connecting => return Err(CallError::Unreachable("still connecting".to_owned())),
        };
        let identity = self.shared.store.identity();
        let envelope = Envelope {
            incarnation: identity.incarnation,
            sender: identity.node_id,
            target,
        };
        let left = timeout.saturating_sub(runtime::clock::now().duration_since(started));
        connection.call(envelope, request, left).await
    }

    /// Notes what `target` answered under `vote`: that it holds the log through `held`, or that it
    /// lacks the entry at `lacks`. Tells whether it lost something it had acknowledged, which only
    /// a volume that was rolled back can do.
    pub(crate) fn lost_acknowledged(
        &self,
        target: NodeId,
        vote: Vote,
        held: Option<u64>,
        lacks: Option<u64>,
    ) -> bool {
        let mut acknowledged = self
            .shared
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = acknowledged.entry(target).or_insert((vote, 0));
        if known.0 != vote {
            *known = (vote, 0);
        }
        known.1 = known.1.max(held.unwrap_or(0));
        lacks.is_some_and(|index| index <= known.1 && known.1 > 0)
    }

    fn link(&self, address: &str, lane: Lane) -> watch::Receiver<State> {
        let mut links = self.links();
        let link = links.entry((address.to_owned(), lane)).or_insert_with(|| {
            let (sender, state) = watch::channel(State::Connecting);
            let keeper = tokio::spawn(keep(
                address.to_owned(),
                lane,
                self.shared.tls.clone(),
                sender,
            ));
            Link { state, keeper }
        });
        link.state.clone()
    }

    fn links(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Lane), Link>> {
        self.shared
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let links = self.links.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, link) in links.drain() {
            link.keeper.abort();
        }
    }
}

pub(crate) fn unexpected() -> CallError {
    CallError::Closed("the answer is of another kind than the question".to_owned())
}

async fn keep(
    address: String,
    lane: Lane,
    tls: watch::Receiver<Arc<ClientConfig>>,
    state: watch::Sender<State>,
) {
    let mut pause = FIRST_PAUSE;
    let mut resolver = Resolver::new(&address);
    // One lane speaks for all, and only when something changes.
    let mut said = None;
    let mut say = |reachable: bool, why: &str| {
        if lane != Lane::Control || said == Some(reachable) {
            return;
        }
        said = Some(reachable);
        if reachable {
            tracing::info!(peer = address, "connected to a key server");
        } else {
            tracing::warn!(peer = address, why, "a key server cannot be reached");
        }
    };
    loop {
        let connector = TlsConnector::from(tls.borrow().clone());
        let attempt = connect(&address, &mut resolver, &connector);
        let why = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(connection)) => {
                pause = FIRST_PAUSE;
                let connection = Arc::new(connection);
                state.send_replace(State::Up(connection.clone()));
                say(true, "");
                connection.closed().await
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} ms", CONNECT_TIMEOUT.as_millis()),
        };
        say(false, &why);
        state.send_replace(State::Down(why));
        // Half fixed, half random, so that key servers that start together do not stay in step.
        let jitter = u32::from(runtime::entropy::bytes::<1>()[0]);
        tokio::time::sleep(pause / 2 + pause * jitter / 512).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Connects to one of the addresses the name has now: pods keep their names and change their
/// addresses. The certificate must be for the name.
async fn connect(
    address: &str,
    resolver: &mut Resolver,
    connector: &TlsConnector,
) -> std::io::Result<Connection> {
    let host = address
        .rsplit_once(':')
        .map_or(address, |(host, _)| host)
        .trim_start_matches('[')
        .trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let addresses = resolver.addresses().await?;
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(name, stream).await?;
    Ok(Connection::start(stream))
}
