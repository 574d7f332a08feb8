//! One simulated member: registers, answers the key server's end of the IKE SA, takes rekeys in and acknowledges them.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gikev2::crypto::digest::sha256;
use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::datagram::{with_marker, without_marker};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::exchange::proposal::KeyExchangeChoice;
use gikev2::initiator::{Config, Event, Initiator, Purpose, Registration, RegistrationParameters};
use gikev2::rekey::receiver::{Received, Receiver};
use gikev2::wire::{IdType, Identification, Spi};
use gikev2::{Entropy, Secret};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc, watch};

/// Longest datagram.
const LONGEST: usize = 65_535;

thread_local! {
    /// Where datagrams are read to: one for each thread, because one for each member would cost 64 KiB of each.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LONGEST]);
}

/// The kernel's randomness.
struct Kernel;

impl Entropy for Kernel {
    fn fill(&mut self, out: &mut [u8]) {
        runtime::entropy::fill(out);
    }
}

/// What a member tells about itself.
#[derive(Debug)]
pub enum Report {
    /// It is registered, and holds a policy with keys.
    Registered {
        /// From its first datagram.
        took: Duration,
        /// Its Sender-IDs.
        sender_ids: Vec<u32>,
        /// Fingerprint of all traffic keys it was given.
        keys: [u8; 32],
    },
    /// It is not, and does not try again.
    Failed(String),
    /// It accepted a rekey and has acknowledged it.
    Rekeyed {
        /// When the acknowledgement was sent.
        at: Instant,
        /// Its Message ID.
        message_id: u32,
        /// Fingerprint of all traffic keys in it.
        keys: [u8; 32],
    },
    /// It refused a rekey.
    RefusedRekey(String),
}

/// What is counted over all members and not worth a report each.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams of requests that were sent again.
    pub repeated_requests: AtomicU64,
    /// Copies of a rekey that came to members that had it.
    pub repeated_rekeys: AtomicU64,
}

/// What all members of a run share.
#[derive(Clone)]
pub struct Shared {
    /// Who may register now.
    pub permits: Arc<Semaphore>,
    /// Where reports go.
    pub reports: mpsc::UnboundedSender<Report>,
    /// Counts.
    pub counters: Arc<Counters>,
    /// Becomes true when members are to end.
    pub over: watch::Receiver<bool>,
}

/// Where and how one member registers.
pub struct Plan {
    /// Its own address, and a port of it or 0.
    pub local: SocketAddr,
    /// Its key server.
    pub server: SocketAddr,
    /// Its name.
    pub name: String,
    /// Its proof.
    pub credentials: Credentials,
    /// What it offers.
    pub key_exchange: KeyExchangeChoice,
    /// Its group.
    pub group_id: u32,
}

/// A member with its socket.
pub struct Member {
    socket: UdpSocket,
    local: SocketAddr,
    server: SocketAddr,
    config: Option<Config>,
    initiator: Option<Initiator>,
    receiver: Option<Receiver>,
    began: Instant,
    over: bool,
    shared: Shared,
}

impl Member {
    /// Binds the socket of a member that is not registered.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub async fn new(plan: Plan, shared: Shared) -> Result<Self> {
        let socket = UdpSocket::bind(plan.local)
            .await
            .with_context(|| format!("the socket of {}", plan.name))?;
        let mut config = Config::new(
            Identification::fqdn(&plan.name),
            plan.credentials,
            vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")],
            Purpose::Registration(RegistrationParameters {
                group: Identification::group(plan.group_id),
                capabilities: Vec::new(),
                sender_ids: Some(1),
                acknowledges: true,
            }),
        );
        config.key_exchanges = vec![plan.key_exchange];
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            server: plan.server,
            config: Some(config),
            initiator: None,
            receiver: None,
            began: runtime::clock::now(),
            over: false,
            shared,
        })
    }

    /// Registers when it is its turn, and stays a member until the run is over.
    pub async fn live(mut self) {
        let mut over = self.shared.over.clone();
        let mut turn = match Arc::clone(&self.shared.permits).acquire_owned().await {
            Ok(turn) => Some(turn),
            Err(_) => return,
        };
        let Some(config) = self.config.take() else {
            return;
        };
        self.began = runtime::clock::now();
        let (local, server) = (self.local, self.server);
        self.initiator = Some(Initiator::new(
            config,
            local,
            server,
            self.began,
            &mut Kernel,
        ));
        loop {
            self.flush(false);
            if self.receiver.is_some() || self.over {
                turn = None;
            }
            if self.over && turn.is_none() {
                return;
            }
            let due = self.due();
            tokio::select! {
                readable = self.socket.readable() => {
                    if readable.is_ok() {
                        self.drain();
                    }
                }
                () = until(due) => self.timeout(),
                _ = over.wait_for(|over| *over) => return,
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let initiator = self.initiator.as_ref().and_then(Initiator::poll_timeout);
        let receiver = self.receiver.as_ref().and_then(Receiver::poll_timeout);
        initiator
            .into_iter()
            .chain(receiver)
            .map(|(due, _)| due)
            .min()
    }

    fn timeout(&mut self) {
        let now = runtime::clock::now();
        if let Some(initiator) = &mut self.initiator {
            initiator.handle_timeout(now, &mut Kernel);
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now);
        }
        self.flush(true);
        self.events(now);
    }

    /// Takes in everything that has arrived.
    fn drain(&mut self) {
        BUFFER.with_borrow_mut(|buffer| {
            while let Ok((length, remote)) = self.socket.try_recv_from(buffer) {
                self.receive(remote, buffer.get(..length).unwrap_or_default());
                self.flush(false);
            }
        });
    }

    fn receive(&mut self, remote: SocketAddr, datagram: &[u8]) {
        let now = runtime::clock::now();
        if let Some(message) = without_marker(self.local, remote, datagram)
            && let Some(receiver) = self.receiver.as_mut().filter(|it| it.owns(message))
        {
            let received = receiver.handle(now, message);
            self.rekeyed(remote, received);
            return;
        }
        let unix_seconds = runtime::clock::since_epoch().as_secs();
        if let Some(initiator) = &mut self.initiator {
            initiator.handle_datagram(now, unix_seconds, self.local, remote, datagram, &mut Kernel);
        }
        self.events(now);
    }

    fn rekeyed(
        &mut self,
        remote: SocketAddr,
        received: Result<Received, gikev2::rekey::RekeyError>,
    ) {
        match received {
            Ok(Received::Accepted(mut accepted)) => {
                self.acknowledge(remote, accepted.acknowledgement.take());
                self.report(Report::Rekeyed {
                    at: runtime::clock::now(),
                    message_id: accepted.message_id,
                    keys: fingerprint(&accepted.data),
                });
            }
            Ok(Received::Duplicate { acknowledgement }) => {
                let copies = &self.shared.counters.repeated_rekeys;
                copies.fetch_add(1, Ordering::Relaxed);
                self.acknowledge(remote, acknowledgement);
            }
            Ok(Received::Incomplete) => {}
            Err(error) => self.report(Report::RefusedRekey(error.to_string())),
        }
    }

    fn acknowledge(&self, remote: SocketAddr, acknowledgement: Option<Vec<u8>>) {
        if let Some(message) = acknowledgement {
            self.send(&with_marker(self.local, remote, message), remote);
        }
    }

    fn events(&mut self, now: Instant) {
        while let Some(event) = self.initiator.as_mut().and_then(Initiator::poll_event) {
            match event {
                Event::Registered(registration) => self.install(now, *registration),
                Event::Refused(refusal) => self.give_up(format!("refused: {refusal:?}")),
                Event::Unusable(rule) => self.give_up(format!("unusable policy: {rule}")),
                Event::Failed(error) if self.receiver.is_none() => self.give_up(error.to_string()),
                // What was registered stays in force without the IKE SA (RFC 9838 §2.3.3).
                Event::Failed(_) | Event::Deleted => {
                    self.flush(false);
                    self.initiator = None;
                }
                Event::Authenticated { .. }
                | Event::Rekeyed(_)
                | Event::RekeyUnusable(_)
                | Event::Left => {}
            }
        }
    }

    fn install(&mut self, now: Instant, mut registration: Registration) {
        let took = now.saturating_duration_since(self.began);
        let fault = if registration.data.is_empty() {
            Some("registered without traffic keys")
        } else if registration.sender_ids.len() != 1 {
            Some("registered without its Sender-ID")
        } else if registration.registration_id.is_none() || registration.auth_key.is_none() {
            Some("registered without what rekeys need")
        } else {
            None
        };
        if let Some(fault) = fault {
            return self.give_up(fault.to_owned());
        }
        match Receiver::from_registration(now, &mut registration) {
            Ok(Some(receiver)) => self.receiver = Some(receiver),
            Ok(None) => return self.give_up("registered without a Rekey SA".to_owned()),
            Err(error) => return self.give_up(error.to_string()),
        }
        self.report(Report::Registered {
            took,
            sender_ids: std::mem::take(&mut registration.sender_ids),
            keys: fingerprint(&registration.data),
        });
    }

    fn give_up(&mut self, reason: String) {
        if !self.over {
            self.over = true;
            self.report(Report::Failed(reason));
        }
    }

    fn report(&self, report: Report) {
        // Nobody listens any more: the run is over.
        let _ = self.shared.reports.send(report);
    }

    /// Sends what is ready; `repeated` when a timer made it.
    fn flush(&mut self, repeated: bool) {
        while let Some(transmit) = self.initiator.as_mut().and_then(Initiator::poll_transmit) {
            if repeated {
                let counter = &self.shared.counters.repeated_requests;
                counter.fetch_add(1, Ordering::Relaxed);
            }
            self.send(&transmit.payload, transmit.remote);
        }
    }

    /// The kernel is asked even when the runtime has not yet seen that the socket is writable. What is lost is
    /// repeated by the protocol.
    fn send(&self, datagram: &[u8], remote: SocketAddr) {
        let _ = SockRef::from(&self.socket).send_to(datagram, &remote.into());
    }
}

/// The same for all members that hold the same keys, and tells nothing about them.
fn fingerprint(keys: &[(Spi, Secret)]) -> [u8; 32] {
    let mut each: Vec<[u8; 32]> = keys
        .iter()
        .map(|(spi, key)| sha256(&[format!("{spi:?}").as_bytes(), key.as_bytes()]))
        .collect();
    each.sort_unstable();
    let parts: Vec<&[u8]> = each.iter().map(<[u8; 32]>::as_slice).collect();
    sha256(&parts)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
