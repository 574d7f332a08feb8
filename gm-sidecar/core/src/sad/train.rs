//! Sealed packets on their way to one system call.
//!
//! A *train* is a run of packets that go the same way, lie one after the other and are of one
//! size, but perhaps for the last. Several trains are open at once, so that small packets to many
//! members, one after the other, still leave in trains. Packets that go the same way keep their
//! order: they are in one train, and a train that takes no more leaves before another is opened
//! for its route.

use super::outbound::Route;

/// Packets of one train at most: what the kernel takes as one segmented datagram.
pub const MOST_SEGMENTS: usize = 64;
/// Octets of one train of several packets at most: those of a UDP datagram over IPv4.
const MOST_OCTETS: usize = 65_507;
/// Octets of one packet at most: those of any IP packet.
const ROOM: usize = 65_535;
/// Packets that board before every open train leaves: a packet that waited while thousands were
/// sealed and sent would be left of its receivers' replay windows.
const MOST_WAITING: usize = 512;
/// Trains open at once.
const MOST_TRAINS: usize = 8;

/// Packets being collected.
pub(super) struct Train {
    octets: Box<[u8]>,
    length: usize,
    segment: usize,
    count: usize,
    /// A shorter packet, or one that travels alone, ended the train.
    closed: bool,
    route: Option<Route>,
    inner_octets: u64,
}

impl Train {
    fn new() -> Self {
        Self {
            octets: vec![0; ROOM].into_boxed_slice(),
            length: 0,
            segment: 0,
            count: 0,
            closed: false,
            route: None,
            inner_octets: 0,
        }
    }

    fn takes(&self, length: usize) -> bool {
        !self.closed
            && length <= self.segment
            && self.count < MOST_SEGMENTS
            && self.length + length <= MOST_OCTETS
    }

    /// Where it goes; `None` when it is empty.
    pub(super) fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    /// The packets.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    /// Octets of each packet but perhaps the last.
    pub(super) fn segment(&self) -> usize {
        self.segment
    }

    /// Packets in it.
    pub(super) fn count(&self) -> u64 {
        self.count as u64
    }

    /// Octets of the inner packets.
    pub(super) fn inner_octets(&self) -> u64 {
        self.inner_octets
    }

    /// Forgets what was sent.
    pub(super) fn clear(&mut self) {
        self.route = None;
        self.length = 0;
        self.count = 0;
        self.closed = false;
        self.inner_octets = 0;
    }

    /// Room of exactly `length` octets behind the last packet.
    pub(super) fn slot(&mut self, length: usize, inner: usize) -> &mut [u8] {
        if self.count == 0 {
            self.segment = length;
        }
        self.closed |=
            length < self.segment || self.route.as_ref().is_some_and(|route| route.in_fragments);
        let start = self.length;
        self.length += length;
        self.count += 1;
        self.inner_octets += inner as u64;
        &mut self.octets[start..start + length]
    }
}

/// The open trains.
pub(super) struct Trains {
    trains: Vec<Train>,
    /// The train used last: most packets continue it.
    recent: usize,
    /// The train that leaves next when all are in use.
    oldest: usize,
    /// Packets boarded since all trains left.
    boarded: usize,
}

impl Trains {
    pub(super) fn new() -> Self {
        Self {
            trains: vec![Train::new()],
            recent: 0,
            oldest: 0,
            boarded: 0,
        }
    }

    /// The train for the next packet of a route. Whatever must leave first is given to `send`.
    pub(super) fn board(
        &mut self,
        route: &Route,
        length: usize,
        mut send: impl FnMut(&mut Train),
    ) -> &mut Train {
        if self.boarded >= MOST_WAITING {
            self.leave(&mut send);
        }
        self.boarded += 1;
        let place = self.place(route, &mut send);
        self.recent = place;
        let train = &mut self.trains[place];
        if train.route.is_some() && !train.takes(length) {
            send(train);
            train.clear();
        }
        train.route = Some(*route);
        train
    }

    fn place(&mut self, route: &Route, send: &mut impl FnMut(&mut Train)) -> usize {
        let goes = |train: &Train| train.route.as_ref() == Some(route);
        if self.trains.get(self.recent).is_some_and(goes) {
            return self.recent;
        }
        if let Some(place) = self.trains.iter().position(goes) {
            return place;
        }
        if let Some(place) = self.trains.iter().position(|train| train.route.is_none()) {
            return place;
        }
        if self.trains.len() < MOST_TRAINS {
            self.trains.push(Train::new());
            return self.trains.len() - 1;
        }
        let place = self.oldest;
        self.oldest = (self.oldest + 1) % self.trains.len();
        send(&mut self.trains[place]);
        self.trains[place].clear();
        place
    }

    /// Gives every train to `send`.
    pub(super) fn leave(&mut self, mut send: impl FnMut(&mut Train)) {
        for train in self.trains.iter_mut().filter(|train| train.route.is_some()) {
            send(train);
            train.clear();
        }
        self.oldest = 0;
        self.boarded = 0;
    }
}
