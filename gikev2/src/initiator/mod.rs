//! The group member's end of a registration (RFC 9838 §2.3): one [`Initiator`] is one IKE SA to one key server.
//!
//! It proves who it is, checks that the key server is one it may listen to, and hands over policy and keys. Whether
//! to accept the policy, when to try again and with which key server is the owner's business.

mod authentication;
mod config;
#[cfg(debug_assertions)]
mod dissection;
mod error;
mod established;
mod event;
mod inband;
mod opening;
mod registration;
mod state;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

pub use config::{Config, Purpose, RegistrationParameters};
#[cfg(debug_assertions)]
pub use dissection::DissectorKeys;
pub use error::InitiatorError;
pub use event::{Event, Refusal, Registration};
pub use inband::InbandRekey;

use crate::exchange::datagram::{with_marker, without_marker};
use crate::exchange::key_schedule::{KeySchedule, Role};
use crate::exchange::message_id::{ReceiveWindow, SendCounter};
use crate::exchange::reassembly::Reassembly;
use crate::exchange::retransmit::{Due, Outstanding};
use crate::wire::payload::Chain;
use crate::wire::{ExchangeType, Flags, Header, IkeSpi, Message, Payload, PayloadType};
use crate::{Entropy, Transmit};

use established::Answered;
use state::{Pending, State};

/// One registration attempt, and the IKE SA that comes of it.
pub struct Initiator {
    config: Config,
    local: SocketAddr,
    remote: SocketAddr,
    initiator_spi: IkeSpi,
    responder_spi: IkeSpi,
    state: State,
    outstanding: Option<Sent>,
    own_requests: SendCounter,
    window: ReceiveWindow,
    answered: Option<Answered>,
    /// The datagram by which repetitions of the key server's last request are recognised.
    last_request: [u8; 32],
    /// Fragments of an answer, and of a request of the key server: both may be on their way at once.
    reassembly: Reassembly,
    request_reassembly: Reassembly,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// The request that waits for its answer.
struct Sent {
    exchange: ExchangeType,
    message_id: u32,
    outstanding: Outstanding,
}

/// What the caller lends for one call.
struct Turn<'a> {
    now: Instant,
    unix_time: u64,
    entropy: &'a mut dyn Entropy,
}

impl Initiator {
    /// Starts a registration at `remote`; the first datagram is ready in [`Self::poll_transmit`].
    pub fn new(
        config: Config,
        local: SocketAddr,
        remote: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let mut initiator = Self {
            config,
            local,
            remote,
            initiator_spi: fresh_spi(entropy),
            responder_spi: IkeSpi::ZERO,
            state: State::Closed,
            outstanding: None,
            own_requests: SendCounter::default(),
            window: ReceiveWindow::default(),
            answered: None,
            last_request: [0; 32],
            reassembly: Reassembly::default(),
            request_reassembly: Reassembly::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        if let Err(error) = initiator.start(&mut Turn {
            now,
            unix_time: 0,
            entropy,
        }) {
            initiator.fail(error);
        }
        initiator
    }

    /// Takes a datagram in. `unix_time` (seconds) decides whether certificates are valid. Datagrams that are not
    /// from our key server, or not for this IKE SA, change nothing.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_time: u64,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        entropy: &mut dyn Entropy,
    ) {
        let Some(octets) = without_marker(local, remote, datagram) else {
            return;
        };
        let Ok(message) = Message::parse(octets) else {
            return;
        };
        let header = message.header;
        let from_responder = !header.flags.is_initiator();
        if header.initiator_spi != self.initiator_spi
            || !from_responder
            || remote.ip() != self.remote.ip()
        {
            return;
        }
        let mut turn = Turn {
            now,
            unix_time,
            entropy,
        };
        if matches!(self.state, State::Opening(_)) {
            if header.exchange == ExchangeType::IKE_SA_INIT
                && header.flags.is_response()
                && header.message_id == 0
            {
                self.handle_opening_answer(&mut turn, local, remote, message, octets);
            }
            return;
        }
        if header.responder_spi != self.responder_spi {
            return;
        }
        if header.flags.is_response() {
            self.handle_answer(&mut turn, &message);
        } else {
            self.handle_request(&mut turn, &message, octets);
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.reassembly.handle_timeout(now);
        self.request_reassembly.handle_timeout(now);
        let Some(sent) = &mut self.outstanding else {
            return;
        };
        match sent
            .outstanding
            .handle_timeout(&self.config.retransmission, now, entropy)
        {
            Due::NotYet => {}
            Due::Repeat => {
                let hint = match &mut self.state {
                    State::Opening(opening) => opening.hint.take(),
                    _ => None,
                };
                if let Some(error) = hint {
                    return self.fail(error);
                }
                let datagrams = sent.outstanding.datagrams().to_vec();
                self.transmit(datagrams);
            }
            Due::GiveUp => self.give_up(),
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let repetition = self
            .outstanding
            .as_ref()
            .map(|sent| (sent.outstanding.deadline(), "retransmission"));
        let reassembly = [&self.reassembly, &self.request_reassembly]
            .into_iter()
            .filter_map(Reassembly::deadline)
            .map(|deadline| (deadline, "reassembly"));
        repetition.into_iter().chain(reassembly).min()
    }

    /// Whether nothing more will happen: drop it once its events and datagrams are taken.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The addresses this IKE SA uses now; they move to port 4500 when there is a NAT.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.local, self.remote)
    }

    /// Nobody answers any more.
    fn give_up(&mut self) {
        let exchange = self
            .outstanding
            .as_ref()
            .map_or(ExchangeType::INFORMATIONAL, |sent| sent.exchange);
        match &mut self.state {
            State::Opening(opening) => {
                let error = opening.hint.take();
                self.fail(error.unwrap_or(InitiatorError::NoAnswer { exchange }));
            }
            State::Established(_, Pending::Delete) => self.close(Event::Deleted),
            _ => self.fail(InitiatorError::NoAnswer { exchange }),
        }
    }

    fn fail(&mut self, error: InitiatorError) {
        self.close(Event::Failed(error));
    }

    fn close(&mut self, last: Event) {
        self.state = State::Closed;
        self.outstanding = None;
        self.reassembly.clear();
        self.request_reassembly.clear();
        self.events.push_back(last);
    }

    fn transmit(&mut self, messages: Vec<Vec<u8>>) {
        let (local, remote) = (self.local, self.remote);
        for message in messages {
            let payload = with_marker(local, remote, message);
            self.transmits.push_back(Transmit {
                local,
                remote,
                payload,
            });
        }
    }

    /// Sends a request and waits for its answer.
    fn send(
        &mut self,
        turn: &mut Turn<'_>,
        exchange: ExchangeType,
        message_id: u32,
        datagrams: Vec<Vec<u8>>,
    ) {
        let outstanding = Outstanding::new(
            datagrams.clone(),
            &self.config.retransmission,
            turn.now,
            turn.entropy,
        );
        self.outstanding = Some(Sent {
            exchange,
            message_id,
            outstanding,
        });
        self.transmit(datagrams);
    }

    /// Seals a request under the keys of `schedule` and sends it.
    fn send_request(
        &mut self,
        turn: &mut Turn<'_>,
        schedule: &mut KeySchedule,
        fragmentation: bool,
        exchange: ExchangeType,
        payloads: &[Payload],
    ) -> Result<(), InitiatorError> {
        let unusable = |_| InitiatorError::Configuration("a request does not fit its format");
        let message_id = self
            .own_requests
            .take()
            .ok_or(InitiatorError::Configuration("message IDs are used up"))?;
        let chain = Chain::write(payloads).map_err(unusable)?;
        let header = self.header(exchange, false, message_id);
        if exchange == ExchangeType::IKE_INTERMEDIATE {
            schedule
                .fold(Role::Initiator, &header, 0, &chain)
                .map_err(unusable)?;
        }
        let fragment_size = fragmentation.then_some(self.config.fragment_size);
        let datagrams = schedule
            .seal(&header, &chain, fragment_size)
            .map_err(unusable)?;
        self.send(turn, exchange, message_id, datagrams);
        Ok(())
    }

    fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        Header {
            initiator_spi: self.initiator_spi,
            responder_spi: self.responder_spi,
            next_payload: PayloadType::NONE,
            exchange,
            flags: Flags::new(true, response),
            message_id,
        }
    }

    /// Whether `message` answers the request that is on its way.
    fn is_expected(&self, message: &Message<'_>) -> bool {
        self.outstanding.as_ref().is_some_and(|sent| {
            sent.exchange == message.header.exchange && sent.message_id == message.header.message_id
        })
    }
}

fn fresh_spi(entropy: &mut dyn Entropy) -> IkeSpi {
    loop {
        let mut octets = [0; 8];
        entropy.fill(&mut octets);
        let spi = IkeSpi(octets);
        if !spi.is_zero() {
            return spi;
        }
    }
}
