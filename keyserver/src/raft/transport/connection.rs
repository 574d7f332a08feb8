//! One TLS connection to a peer, shared by concurrent requests.
//!
//! Answers may come in any order; each request waits only for its own. A peer that stays silent
//! for [`SILENCE`] while requests wait is given up, so that a healed network is used again soon.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use super::frame::{self, Answer, Body, Frame, FrameError, Refusal, Request};
use crate::raft::types::{Incarnation, NodeId};

/// How long a peer may leave requests without any answer before the connection is closed.
const SILENCE: Duration = Duration::from_millis(1500);
const QUEUE: usize = 128;

/// Why a request got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// No connection; nothing was sent.
    #[error("not connected: {0}")]
    Unreachable(String),
    /// No answer in time; the peer may have acted.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection ended before the answer; the peer may have acted.
    #[error("the connection was closed: {0}")]
    Closed(String),
    /// The peer refused to handle it.
    #[error("refused: {0}")]
    Refused(Refusal),
}

type Waiting = HashMap<u64, oneshot::Sender<Result<Answer, Refusal>>>;

/// An established connection; it ends when dropped or when the peer closes it.
pub(crate) struct Connection {
    queue: mpsc::Sender<Zeroizing<Vec<u8>>>,
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// Since when at least one request waits and nothing came.
    silent_since: Mutex<Option<Instant>>,
    closed: watch::Sender<Option<String>>,
    next: AtomicU64,
}

/// The envelope of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) sender: NodeId,
    pub(crate) target: NodeId,
}

impl Connection {
    /// Runs the two directions of `stream` in tasks of their own.
    pub(crate) fn start<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let (queue, mut outgoing) = mpsc::channel::<Zeroizing<Vec<u8>>>(QUEUE);
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            silent_since: Mutex::default(),
            closed: watch::Sender::new(None),
            next: AtomicU64::new(1),
        });
        let (mut reader, mut writer) = tokio::io::split(stream);
        let ends = shared.clone();
        tokio::spawn(async move {
            let mut closed = ends.closed.subscribe();
            let why = tokio::select! {
                why = receive(&mut reader, &ends) => why.to_string(),
                why = async {
                    while let Some(octets) = outgoing.recv().await {
                        if let Err(error) = frame::write(&mut writer, &octets).await {
                            return error.to_string();
                        }
                    }
                    "no longer needed".to_owned()
                } => why,
                _ = closed.wait_for(Option::is_some) => "given up".to_owned(),
            };
            ends.close(why);
        });
        Self { queue, shared }
    }

    /// Completes when the connection is closed, with the reason.
    pub(crate) async fn closed(&self) -> String {
        let mut closed = self.shared.closed.subscribe();
        match closed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "gone".to_owned(),
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(
        &self,
        envelope: Envelope,
        request: Request,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let frame = Frame {
            incarnation: envelope.incarnation,
            sender: envelope.sender,
            target: envelope.target,
            id,
            body: Body::Request(Box::new(request)),
        };
        let octets = frame::encode(&frame).map_err(|error| CallError::Closed(error.to_string()))?;
        let (sender, answer) = oneshot::channel();
        self.shared.waiting().insert(id, sender);
        let _forget = Forget {
            shared: &self.shared,
            id,
        };
        self.shared.silent().get_or_insert_with(runtime::clock::now);
        let exchange = async {
            self.queue
                .send(octets)
                .await
                .map_err(|_| CallError::Closed(self.shared.reason()))?;
            match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(refusal)) => Err(CallError::Refused(refusal)),
                Err(_) => Err(CallError::Closed(self.shared.reason())),
            }
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_) => {
                self.shared.close_if_silent();
                Err(CallError::TimedOut(timeout))
            }
        }
    }
}

async fn receive<R: AsyncRead + Unpin>(reader: &mut R, shared: &Shared) -> FrameError {
    loop {
        match frame::read(reader).await {
            Err(error) => return error,
            Ok(Frame {
                id,
                body: Body::Answer(answer),
                ..
            }) => {
                *shared.silent() = None;
                if let Some(waiting) = shared.waiting().remove(&id) {
                    // A caller that gave up needs no answer.
                    drop(waiting.send(*answer));
                }
            }
            // A peer answers here; requests come on connections it makes itself.
            Ok(Frame {
                body: Body::Request(_),
                ..
            }) => {}
        }
    }
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silent(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.silent_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> String {
        self.closed.borrow().clone().unwrap_or_default()
    }

    fn close(&self, why: String) {
        self.closed.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(why);
            }
            first
        });
        self.waiting().clear();
    }

    fn close_if_silent(&self) {
        let since = *self.silent();
        if since.is_some_and(|since| runtime::clock::now().duration_since(since) >= SILENCE) {
            self.close("the peer stopped answering".to_owned());
        }
    }
}

/// Forgets a request whose caller gave up.
struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}
