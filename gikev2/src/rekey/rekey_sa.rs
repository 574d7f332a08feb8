//! One Rekey SA as a member holds it: what arrives is authenticated here, before anybody looks at what it says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::crypto::digest::sha256;
use crate::crypto::public_key::PublicKey;
use crate::exchange::protect::{self, Opened};
use crate::exchange::reassembly::Reassembly;
use crate::keys::group::RekeySaKeys;
use crate::wire::encrypted::authenticated_octets;
use crate::wire::payload::Chain;
use crate::wire::{Header, Message, Protected, RekeySpi};

use super::RekeyError;

/// Incomplete messages kept at a time. A key server sends one after the other; two may overlap on the way.
const MOST_SETS: usize = 4;

/// Pause between two acknowledgements of the same message.
const ACKNOWLEDGEMENT_PAUSE: Duration = Duration::from_millis(50);

/// A Rekey SA.
pub(super) struct RekeySa {
    pub(super) spi: RekeySpi,
    pub(super) keys: RekeySaKeys,
    /// DER AlgorithmIdentifier that every AUTH payload must carry.
    pub(super) algorithm_identifier: Vec<u8>,
    pub(super) auth_key: PublicKey,
    /// The lowest Message ID that is still acceptable; `None` once the space is used up.
    pub(super) next_message_id: Option<u32>,
    /// End of the lifetime.
    pub(super) expires: Instant,
    /// From when on it takes no new messages, because a successor is in force; copies of the last one are still
    /// recognised.
    pub(super) retires: Option<Instant>,
    /// Datagrams of the last accepted message, by digest, with the time of the last acknowledgement.
    last: Option<(u32, Vec<[u8; 32]>, Instant)>,
    sets: BTreeMap<u32, Set>,
}

/// An incomplete message.
struct Set {
    reassembly: Reassembly,
    digests: Vec<[u8; 32]>,
}

/// A message whose ICVs verified: inner chain, flags octet of its SK header, digests of its datagrams.
type Opening = (Chain, u8, Vec<[u8; 32]>);

/// A message that proved to come from the key server.
pub(super) struct Authentic {
    pub(super) message_id: u32,
    pub(super) chain: Chain,
}

/// What became of a datagram.
pub(super) enum Step {
    Authentic(Authentic),
    Incomplete,
    Duplicate { message_id: u32, acknowledge: bool },
}

impl RekeySa {
    pub(super) fn new(
        spi: RekeySpi,
        keys: RekeySaKeys,
        algorithm_identifier: Vec<u8>,
        auth_key: PublicKey,
        first_message_id: u32,
        expires: Instant,
    ) -> Self {
        Self {
            spi,
            keys,
            algorithm_identifier,
            auth_key,
            next_message_id: Some(first_message_id),
            expires,
            retires: None,
            last: None,
            sets: BTreeMap::new(),
        }
    }

    /// Takes over what an earlier view of the same Rekey SA has seen, so that nothing can be replayed.
    pub(super) fn continue_from(&mut self, earlier: Self) {
        self.next_message_id = match (self.next_message_id, earlier.next_message_id) {
            (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
            _ => None,
        };
        self.last = earlier.last;
    }

    /// Steps 3 to 6 of the receiver's pipeline: cheap replay check, ICV, signature, and only then the Message ID.
    pub(super) fn authenticate(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        octets: &[u8],
    ) -> Result<Step, RekeyError> {
        let header = message.header;
        let message_id = header.message_id;
        let digest = sha256(&[octets]);
        if let Some((last, digests, acknowledged)) = &mut self.last
            && *last == message_id
            && digests.contains(&digest)
        {
            let due = now.saturating_duration_since(*acknowledged) >= ACKNOWLEDGEMENT_PAUSE;
            let acknowledge = due && protect::asks_for_answer(message);
            if acknowledge {
                *acknowledged = now;
            }
            return Ok(Step::Duplicate {
                message_id,
                acknowledge,
            });
        }
        let expected = self.next_message_id.ok_or(RekeyError::Replayed {
            message_id,
            expected: u32::MAX,
        })?;
        if message_id < expected {
            return Err(RekeyError::Replayed {
                message_id,
                expected,
            });
        }
        if self.retires.is_some_and(|retires| retires <= now) {
            return Err(RekeyError::UnknownSpi { announced: false });
        }
        let Some((chain, flags, digests)) = self.open(now, message, digest)? else {
            return Ok(Step::Incomplete);
        };
        self.verify(&header, flags, &chain)?;
        self.next_message_id = message_id.checked_add(1);
        self.sets.retain(|id, _| *id > message_id);
        self.last = Some((message_id, digests, now));
        Ok(Step::Authentic(Authentic { message_id, chain }))
    }

    /// Verifies the ICV and puts fragments together.
    fn open(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        digest: [u8; 32],
    ) -> Result<Option<Opening>, RekeyError> {
        let message_id = message.header.message_id;
        match &message.protected {
            None => Err(RekeyError::Header),
            Some(Protected::Whole(_)) => {
                match protect::open(
                    now,
                    message,
                    self.keys.encryption(),
                    &mut Reassembly::default(),
                ) {
                    Opened::Complete(chain, flags) => Ok(Some((chain, flags, vec![digest]))),
                    Opened::Incomplete | Opened::Refused => Err(RekeyError::Integrity),
                }
            }
            Some(Protected::Fragment(fragment)) => {
                let known = self.sets.get(&message_id);
                if known.is_some_and(|set| !set.reassembly.wants(message_id, fragment.position)) {
                    return Err(RekeyError::Fragment);
                }
                if !Reassembly::default().wants(message_id, fragment.position) {
                    return Err(RekeyError::Fragment);
                }
                // Nothing is kept for a message before one of its fragments verified.
                if known.is_none() && !protect::verifies(message, self.keys.encryption()) {
                    return Err(RekeyError::Integrity);
                }
                if known.is_none() && self.sets.len() >= MOST_SETS {
                    // Whoever floods us with message numbers holds the KEK; the lowest number is the likeliest.
                    self.sets.pop_last();
                }
                let set = self.sets.entry(message_id).or_insert_with(|| Set {
                    reassembly: Reassembly::default(),
                    digests: Vec::new(),
                });
                match protect::open(now, message, self.keys.encryption(), &mut set.reassembly) {
                    Opened::Refused => Err(RekeyError::Integrity),
                    Opened::Incomplete => {
                        set.digests.push(digest);
                        Ok(None)
                    }
                    Opened::Complete(chain, flags) => {
                        let mut digests = std::mem::take(&mut set.digests);
                        digests.push(digest);
                        self.sets.remove(&message_id);
                        Ok(Some((chain, flags, digests)))
                    }
                }
            }
        }
    }

    /// Verifies the one AUTH payload over the whole, unfragmented message (RFC 9838 §2.4.1.1).
    fn verify(&self, header: &Header, flags: u8, chain: &Chain) -> Result<(), RekeyError> {
        let range = chain
            .signature_range()
            .map_err(RekeyError::Malformed)?
            .ok_or(RekeyError::Signature(
                "no AUTH payload with a digital signature",
            ))?;
        // In front of the signature value: ASN.1 Length and AlgorithmIdentifier.
        let identifier = &self.algorithm_identifier;
        let announced = chain.octets.get(..range.start).unwrap_or_default();
        let length = u8::try_from(identifier.len()).unwrap_or(u8::MAX);
        let fits = announced
            .strip_suffix(identifier.as_slice())
            .and_then(<[u8]>::last)
            == Some(&length);
        if !fits {
            return Err(RekeyError::Signature(
                "another algorithm than the registered one",
            ));
        }
        let mut zeroed = chain.clone();
        let signature = match zeroed.octets.get_mut(range) {
            Some(field) => {
                let signature = field.to_vec();
                field.fill(0);
                signature
            }
            None => {
                return Err(RekeyError::Signature(
                    "no AUTH payload with a digital signature",
                ));
            }
        };
        let octets = authenticated_octets(header, flags, &zeroed)
            .map_err(|_| RekeyError::Signature("the message is too long to be signed"))?;
        self.auth_key
            .verify(identifier, &octets, &signature)
            .map_err(|_| RekeyError::Signature("it does not verify"))
    }

    /// Forgets incomplete messages whose time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for set in self.sets.values_mut() {
            set.reassembly.handle_timeout(now);
        }
        self.sets
            .retain(|_, set| set.reassembly.deadline().is_some());
    }

    /// When the next incomplete message is to be forgotten.
    pub(super) fn reassembly_deadline(&self) -> Option<Instant> {
        self.sets
            .values()
            .filter_map(|set| set.reassembly.deadline())
            .min()
    }

    /// Octets held for incomplete messages.
    #[cfg(test)]
    pub(super) fn incomplete(&self) -> usize {
        self.sets.values().map(|set| set.reassembly.octets()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::crypto::aead::AeadAlgorithm;
    use crate::crypto::signature::SignatureAlgorithm;
    use crate::exchange::reassembly::MAXIMUM_OCTETS;
    use crate::wire::fragment::{FragmentNumber, seal_fragment};
    use crate::wire::{EncryptionId, ExchangeType, Flags, Header, PayloadType};

    const SPI: RekeySpi = RekeySpi([7; 16]);

    fn rekey_sa(now: Instant) -> RekeySa {
        let cipher = AeadAlgorithm::from_id(EncryptionId::AES_GCM_16, Some(256)).expect("a cipher");
        let keys = RekeySaKeys::new(cipher, &Secret::new(vec![1; 68])).expect("the right length");
        let mut spki = vec![
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        spki.extend([9; 32]);
        let auth_key = PublicKey::from_spki(&spki).expect("a key");
        let algorithm = SignatureAlgorithm::Ed25519.algorithm_identifier().to_vec();
        RekeySa::new(
            SPI,
            keys,
            algorithm,
            auth_key,
            0,
            now + Duration::from_secs(3600),
        )
    }

    fn fragment(sa: &RekeySa, message_id: u32, number: u16, total: u16, length: usize) -> Vec<u8> {
        let header = Header {
            initiator_spi: SPI.initiator_half(),
            responder_spi: SPI.responder_half(),
            next_payload: PayloadType::NONE,
            exchange: ExchangeType::GSA_REKEY,
            flags: Flags::INITIATOR,
            message_id,
        };
        let mut iv = [0; 8];
        iv[..4].copy_from_slice(&message_id.to_be_bytes());
        iv[4..6].copy_from_slice(&number.to_be_bytes());
        let position = FragmentNumber { number, total };
        let part = vec![0; length];
        seal_fragment(
            &header,
            sa.keys.encryption(),
            iv,
            PayloadType::DELETE,
            position,
            &part,
        )
        .expect("fits")
    }

    #[test]
    fn a_member_with_the_kek_cannot_fill_our_memory_with_fragments() {
        let now = Instant::now();
        let mut sa = rekey_sa(now);
        for message_id in 0..200 {
            for number in 1..20 {
                let octets = fragment(&sa, message_id, number, 128, 1000);
                let message = Message::parse(&octets).expect("parses");
                let _ = sa.authenticate(now, &message, &octets);
                assert!(sa.sets.len() <= MOST_SETS);
                assert!(sa.incomplete() <= MOST_SETS * MAXIMUM_OCTETS);
            }
        }
        assert!(sa.reassembly_deadline().is_some());
        sa.handle_timeout(now + Duration::from_secs(60));
        assert_eq!((sa.incomplete(), sa.reassembly_deadline()), (0, None));
    }

    #[test]
    fn a_fragment_that_does_not_verify_is_not_kept() {
        let now = Instant::now();
        let mut sa = rekey_sa(now);
        let mut octets = fragment(&sa, 3, 1, 2, 100);
        octets[60] ^= 1;
        let message = Message::parse(&octets).expect("parses");
        assert_eq!(
            sa.authenticate(now, &message, &octets).err(),
            Some(RekeyError::Integrity)
        );
        assert!(sa.sets.is_empty());
    }
}
