//! One IKE SA of a key server: its state, its window, the answer it keeps for repetitions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::crypto::certificate::PeerCertificate;
use crate::crypto::digest::sha256;
use crate::exchange::authentication::Transcript;
use crate::exchange::key_schedule::KeySchedule;
use crate::exchange::message_id::{ReceiveWindow, SendCounter};
use crate::exchange::protect;
use crate::exchange::reassembly::Reassembly;
use crate::exchange::retransmit::Outstanding;
use crate::wire::payload::Chain;
use crate::wire::{
    ExchangeType, Flags, HashAlgorithmId, Header, Identification, IkeSpi, KeyExchangeMethod,
    Message, Payload, PayloadType, WriteError,
};

/// Where an IKE SA stands. Each state allows one set of next requests; everything else is dropped without a trace.
pub(super) enum State {
    /// IKE_SA_INIT is done; an additional key exchange comes next.
    KeyExchange(KeyExchangeMethod),
    /// Keys are agreed; the peer proves itself next.
    Authentication,
    /// The peer is authenticated and its registration lies with the owner.
    Deciding(Box<Deciding>),
    /// Authenticated and idle.
    Established,
    /// We asked the peer to delete the IKE SA.
    Closing,
    /// Over; only repetitions of the last request are still answered.
    Over,
}

/// A registration that lies with the owner.
pub(super) struct Deciding {
    /// The exchange to answer: GSA_AUTH or GSA_REGISTRATION.
    pub(super) exchange: ExchangeType,
    /// Its Message ID.
    pub(super) message_id: u32,
    /// Our proof of identity, which precedes the outcome in the answer to GSA_AUTH.
    pub(super) proof: Vec<Payload>,
    /// Whether the registration identifier goes into the answer.
    pub(super) acknowledges: bool,
}

impl State {
    /// Whether a request of this exchange may come now.
    pub(super) fn allows(&self, exchange: ExchangeType, key_wrap: bool, childless: bool) -> bool {
        match self {
            Self::KeyExchange(_) => exchange == ExchangeType::IKE_INTERMEDIATE,
            Self::Authentication => match exchange {
                ExchangeType::GSA_AUTH => key_wrap,
                ExchangeType::IKE_AUTH => childless,
                _ => false,
            },
            Self::Established => match exchange {
                ExchangeType::GSA_REGISTRATION => key_wrap,
                ExchangeType::INFORMATIONAL | ExchangeType::CREATE_CHILD_SA => true,
                _ => false,
            },
            Self::Closing => exchange == ExchangeType::INFORMATIONAL,
            Self::Deciding(_) | Self::Over => false,
        }
    }

    /// Whether the peer has not proven anything yet.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self, Self::KeyExchange(_) | Self::Authentication)
    }
}

/// What IKE_SA_INIT told us about the peer.
pub(super) struct Peer {
    /// It can take fragments.
    pub(super) fragmentation: bool,
    /// It has our private extensions.
    pub(super) ours: bool,
    /// Hashes of signatures it can verify.
    pub(super) hashes: Vec<HashAlgorithmId>,
    /// It is behind a NAT.
    pub(super) behind_nat: bool,
    /// There is a NAT somewhere between us.
    pub(super) nat: bool,
}

/// The last answer, for repetitions of its request.
struct Answered {
    message_id: u32,
    datagrams: Vec<Vec<u8>>,
    /// When it was repeated last.
    repeated: Option<Instant>,
}

/// A request of our own: one at a time (RFC 7296 §2.3).
pub(super) struct Asked {
    pub(super) exchange: ExchangeType,
    pub(super) message_id: u32,
    pub(super) outstanding: Outstanding,
}

/// Shortest pause between two repetitions of an answer.
const REPETITION_PAUSE: Duration = Duration::from_millis(100);

/// One IKE SA.
pub(super) struct IkeSa {
    pub(super) serial: u64,
    pub(super) initiator_spi: IkeSpi,
    pub(super) responder_spi: IkeSpi,
    /// Source of the IKE_SA_INIT request, under which it is counted while half-open.
    pub(super) source: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) peer: Peer,
    pub(super) schedule: KeySchedule,
    /// The IKE_SA_INIT messages, until authentication has used them.
    pub(super) transcript: Transcript,
    pub(super) state: State,
    pub(super) identity: Option<Identification>,
    pub(super) certificate: Option<PeerCertificate>,
    pub(super) window: ReceiveWindow,
    pub(super) reassembly: Reassembly,
    pub(super) own_requests: SendCounter,
    /// Our own request that waits for its answer.
    pub(super) asked: Option<Asked>,
    /// The IKE SA is to be deleted as soon as that answer is here.
    pub(super) close_when_answered: bool,
    /// When the present state ends.
    pub(super) deadline: Instant,
    /// The timer as entered in the responder's queue.
    pub(super) timer: Option<Instant>,
    pub(super) fragment_size: usize,
    last_request: Option<(u32, [u8; 32])>,
    answered: Option<Answered>,
}

/// What an IKE SA begins with.
pub(super) struct Beginning {
    pub(super) serial: u64,
    pub(super) initiator_spi: IkeSpi,
    pub(super) responder_spi: IkeSpi,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) peer: Peer,
    pub(super) schedule: KeySchedule,
    pub(super) transcript: Transcript,
    pub(super) state: State,
    pub(super) deadline: Instant,
    pub(super) fragment_size: usize,
}

impl IkeSa {
    /// The IKE SA right after IKE_SA_INIT.
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning {
            serial,
            initiator_spi,
            responder_spi,
            local,
            remote,
            peer,
            schedule,
            transcript,
            ..
        } = beginning;
        let last_request = Some((0, sha256(&[&transcript.request])));
        let answered = Some(Answered {
            message_id: 0,
            datagrams: vec![transcript.response.clone()],
            repeated: None,
        });
        Self {
            serial,
            initiator_spi,
            responder_spi,
            source: remote,
            local,
            remote,
            peer,
            schedule,
            transcript,
            state: beginning.state,
            identity: None,
            certificate: None,
            window: ReceiveWindow::starting_at(1),
            reassembly: Reassembly::default(),
            own_requests: SendCounter::default(),
            asked: None,
            close_when_answered: false,
            deadline: beginning.deadline,
            timer: None,
            fragment_size: beginning.fragment_size,
            last_request,
            answered,
        }
    }

    /// Remembers the datagram by which repetitions of a request are recognised: the whole message, or fragment one.
    pub(super) fn remember_request(&mut self, message: &Message<'_>, datagram: &[u8]) {
        if protect::asks_for_answer(message) {
            self.last_request = Some((message.header.message_id, sha256(&[datagram])));
        }
    }

    /// The cached answer, when `datagram` repeats the last request. Another copy than the one we know is believed
    /// only if its ICV verifies.
    ///
    /// Whoever recorded a request can send it again from any address, and answers are longer than requests: copies
    /// from a foreign address get nothing, and the right address is not answered faster than a peer repeats.
    pub(super) fn repeated_answer(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        message: &Message<'_>,
        datagram: &[u8],
    ) -> Vec<Vec<u8>> {
        let message_id = message.header.message_id;
        let known = self.last_request == Some((message_id, sha256(&[datagram])));
        let credible = protect::asks_for_answer(message)
            && self.is_plausible_source(remote)
            && (known || self.schedule.verifies(message));
        match &mut self.answered {
            Some(answered)
                if credible
                    && answered.message_id == message_id
                    && answered
                        .repeated
                        .is_none_or(|last| now >= last + REPETITION_PAUSE) =>
            {
                answered.repeated = Some(now);
                answered.datagrams.clone()
            }
            _ => Vec::new(),
        }
    }

    /// Whether the peer may speak from this address: its own, or any when there is a NAT between us.
    fn is_plausible_source(&self, remote: SocketAddr) -> bool {
        remote.ip() == self.remote.ip() || self.peer.nat
    }

    /// The cached IKE_SA_INIT answer, when `datagram` repeats that request and nothing came after it.
    pub(super) fn repeated_opening(&self, datagram: &[u8]) -> &[Vec<u8>] {
        match &self.answered {
            Some(answered)
                if answered.message_id == 0
                    && self.last_request == Some((0, sha256(&[datagram]))) =>
            {
                &answered.datagrams
            }
            _ => &[],
        }
    }

    fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        Header {
            initiator_spi: self.initiator_spi,
            responder_spi: self.responder_spi,
            next_payload: PayloadType::ENCRYPTED,
            exchange,
            flags: Flags::new(false, response),
            message_id,
        }
    }

    /// Seals the answer to a request and keeps it. The datagrams carry no marker.
    pub(super) fn answer(
        &mut self,
        exchange: ExchangeType,
        message_id: u32,
        payloads: &[Payload],
    ) -> Result<Vec<Vec<u8>>, WriteError> {
        let chain = Chain::write(payloads)?;
        let header = self.header(exchange, true, message_id);
        if exchange == ExchangeType::IKE_INTERMEDIATE {
            self.schedule.fold(
                crate::exchange::key_schedule::Role::Responder,
                &header,
                0,
                &chain,
            )?;
        }
        let fragment_size = self.peer.fragmentation.then_some(self.fragment_size);
        let datagrams = self.schedule.seal(&header, &chain, fragment_size)?;
        self.answered = Some(Answered {
            message_id,
            datagrams: datagrams.clone(),
            repeated: None,
        });
        Ok(datagrams)
    }

    /// Seals a request of our own.
    pub(super) fn request(
        &mut self,
        exchange: ExchangeType,
        payloads: &[Payload],
    ) -> Option<(u32, Vec<Vec<u8>>)> {
        let message_id = self.own_requests.take()?;
        let chain = Chain::write(payloads).ok()?;
        let header = self.header(exchange, false, message_id);
        let fragment_size = self.peer.fragmentation.then_some(self.fragment_size);
        let datagrams = self.schedule.seal(&header, &chain, fragment_size).ok()?;
        Some((message_id, datagrams))
    }

    /// Takes over the addresses of an authenticated, new request: always a changed port of the same address (the
    /// move to 4500), another address only behind a NAT (RFC 7296 §2.23).
    pub(super) fn follow(&mut self, local: SocketAddr, remote: SocketAddr) {
        if self.is_plausible_source(remote) {
            self.local = local;
            self.remote = remote;
        }
    }

    /// When something is due, and why.
    pub(super) fn next_timeout(&self) -> Instant {
        let mut next = self.deadline;
        if let Some(asked) = &self.asked {
            next = next.min(asked.outstanding.deadline());
        }
        if let Some(deadline) = self.reassembly.deadline() {
            next = next.min(deadline);
        }
        next
    }
}
