//! A group member on a real socket: registers, takes rekeys in, acknowledges them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::datagram::{with_marker, without_marker};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::exchange::retransmit::RetransmissionPolicy;
use gikev2::initiator::{Config, Event, Initiator, Purpose, Registration, RegistrationParameters};
use gikev2::rekey::receiver::{Received, Receiver};
use gikev2::wire::{IdType, Identification, Spi};
use gikev2::{Entropy, Secret};
use tokio::net::UdpSocket;

use super::cluster::PATIENCE;

/// The kernel's randomness.
pub(crate) struct Kernel;

impl Entropy for Kernel {
    fn fill(&mut self, out: &mut [u8]) {
        runtime::entropy::fill(out);
    }
}

/// One member.
pub(crate) struct Member {
    socket: UdpSocket,
    local: SocketAddr,
    initiator: Option<Initiator>,
    receiver: Option<Receiver>,
    /// How often it registered.
    pub(crate) registrations: usize,
    /// Sender-IDs of the last registration.
    pub(crate) sender_ids: Vec<u32>,
    /// SPIs of the traffic keys of the last registration.
    pub(crate) spis: Vec<Spi>,
    /// Message IDs of the rekeys it accepted.
    pub(crate) rekeys: Vec<u32>,
    /// Where the last one came from.
    pub(crate) rekeyed_from: Option<SocketAddr>,
    /// Whether a key server confirmed that it left.
    pub(crate) left: bool,
    /// Why the last attempt failed.
    pub(crate) failure: Option<String>,
    /// How often it asks a key server.
    pub(crate) patience: RetransmissionPolicy,
}

impl Member {
    /// A member that is not registered.
    pub(crate) async fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST).await
    }

    /// The same at an address of its own.
    pub(crate) async fn at(address: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((address, 0)).await.expect("bound");
        Self {
            local: socket.local_addr().expect("bound"),
            socket,
            initiator: None,
            receiver: None,
            registrations: 0,
            sender_ids: Vec::new(),
            spis: Vec::new(),
            rekeys: Vec::new(),
            rekeyed_from: None,
            left: false,
            failure: None,
            patience: RetransmissionPolicy::default(),
        }
    }

    /// Starts a registration of `name` with its pre-shared `key` at `server`.
    pub(crate) fn register(&mut self, name: &str, key: &[u8], group_id: u32, server: SocketAddr) {
        let parameters = RegistrationParameters {
            group: Identification::group(group_id),
            capabilities: Vec::new(),
            sender_ids: Some(1),
            acknowledges: true,
        };
        let mut config = Config::new(
            Identification::fqdn(name),
            Credentials::PreSharedKey(Secret::from_slice(key)),
            vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")],
            Purpose::Registration(parameters),
        );
        config.retransmission = self.patience;
        self.failure = None;
        let now = runtime::clock::now();
        self.initiator = Some(Initiator::new(config, self.local, server, now, &mut Kernel));
    }

    /// Leaves the group over the IKE SA of its registration.
    pub(crate) fn leave(&mut self, group_id: u32) -> bool {
        let (now, group) = (runtime::clock::now(), Identification::group(group_id));
        self.initiator
            .as_mut()
            .is_some_and(|initiator| initiator.leave(now, &group, false, &mut Kernel))
    }

    /// Works until `done`.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = runtime::clock::now() + PATIENCE;
        let mut buffer = vec![0; 65_535];
        loop {
            self.flush().await;
            if done(self) {
                return;
            }
            let now = runtime::clock::now();
            assert!(
                now < deadline,
                "timed out waiting until {what}; {:?}",
                self.failure
            );
            let wake = self
                .due()
                .unwrap_or(deadline)
                .min(now + Duration::from_millis(50));
            let received = tokio::time::timeout_at(wake.into(), self.socket.recv_from(&mut buffer));
            match received.await {
                Ok(Ok((length, remote))) => self.receive(remote, &buffer[..length]).await,
                Ok(Err(_)) => {}
                Err(_) => self.timeout(),
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
        self.events(now);
    }

    async fn receive(&mut self, remote: SocketAddr, datagram: &[u8]) {
        let now = runtime::clock::now();
        let Some(octets) = without_marker(self.local, remote, datagram) else {
            return;
        };
        if let Some(receiver) = self
            .receiver
            .as_mut()
            .filter(|receiver| receiver.owns(octets))
        {
            let acknowledgement = match receiver.handle(now, octets) {
                Ok(Received::Accepted(mut accepted)) => {
                    self.rekeys.push(accepted.message_id);
                    self.rekeyed_from = Some(remote);
                    accepted.acknowledgement.take()
                }
                Ok(Received::Duplicate { acknowledgement }) => acknowledgement,
                Ok(Received::Incomplete) => None,
                Err(error) => {
                    self.failure = Some(error.to_string());
                    None
                }
            };
            if let Some(acknowledgement) = acknowledgement {
                let acknowledgement = with_marker(self.local, remote, acknowledgement);
                self.socket
                    .send_to(&acknowledgement, remote)
                    .await
                    .expect("sent");
            }
            return;
        }
        let unix_seconds = runtime::clock::since_epoch().as_secs();
        if let Some(initiator) = &mut self.initiator {
            initiator.handle_datagram(now, unix_seconds, self.local, remote, datagram, &mut Kernel);
        }
        self.events(now);
    }

    fn events(&mut self, now: Instant) {
        while let Some(event) = self.initiator.as_mut().and_then(Initiator::poll_event) {
            match event {
                Event::Registered(registration) => self.install(now, *registration),
                Event::Refused(refusal) => self.failure = Some(format!("{refusal:?}")),
                Event::Unusable(rule) => self.failure = Some(rule.to_owned()),
                Event::Failed(error) => self.failure = Some(format!("{error:?}")),
                Event::Authenticated { .. }
                | Event::Rekeyed(_)
                | Event::RekeyUnusable(_)
                | Event::Deleted => {}
                Event::Left => self.left = true,
            }
        }
    }

    fn install(&mut self, now: Instant, mut registration: Registration) {
        self.registrations += 1;
        self.sender_ids.clone_from(&registration.sender_ids);
        self.spis = registration.data.iter().map(|(spi, _)| *spi).collect();
        assert!(
            !registration.data.is_empty(),
            "traffic keys come with the registration"
        );
        self.receiver =
            Receiver::from_registration(now, &mut registration).expect("a usable Rekey SA");
    }

    async fn flush(&mut self) {
        while let Some(transmit) = self.initiator.as_mut().and_then(Initiator::poll_transmit) {
            // A key server that is down answers with an ICMP error; the attempt goes on.
            let _ = self
                .socket
                .send_to(&transmit.payload, transmit.remote)
                .await;
        }
    }
}
