//! Packets, built plainly: word-by-word checksums, no code of the packet path.

/// RFC 1071 §4.1.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub(crate) fn put(packet: &mut [u8], at: usize, word: u16) {
    packet[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// What a packet is about.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) v6: bool,
    pub(crate) tcp: bool,
    pub(crate) class: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) ports: (u16, u16),
    pub(crate) sequence: u32,
    pub(crate) flags: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            v6: false,
            tcp: false,
            class: 0,
            id: 7,
            dont_fragment: true,
            ports: (5000, 5001),
            sequence: 1000,
            flags: 0x10,
            options: Vec::new(),
            payload: b"hello".to_vec(),
        }
    }
}

pub(crate) const V4: ([u8; 4], [u8; 4]) = ([10, 0, 0, 1], [10, 0, 0, 2]);

pub(crate) fn v6(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfd, 0x77, last);
    address
}

impl Plan {
    /// The packet, every checksum right.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut upper = Vec::new();
        upper.extend(self.ports.0.to_be_bytes());
        upper.extend(self.ports.1.to_be_bytes());
        let checksum_at = if self.tcp {
            assert_eq!(self.options.len() % 4, 0);
            upper.extend(self.sequence.to_be_bytes());
            upper.extend([0, 0, 0, 9]);
            upper.push((((20 + self.options.len()) / 4) << 4) as u8);
            upper.push(self.flags);
            upper.extend([0x20, 0, 0, 0, 0, 0]);
            upper.extend(&self.options);
            16
        } else {
            upper.extend(((8 + self.payload.len()) as u16).to_be_bytes());
            upper.extend([0, 0]);
            6
        };
        upper.extend(&self.payload);
        let protocol = if self.tcp { 6 } else { 17 };
        let length = (upper.len() as u32).to_be_bytes();
        let addresses = if self.v6 {
            [v6(1), v6(2)].concat()
        } else {
            [V4.0, V4.1].concat()
        };
        let mut sum = checksum(&[&addresses, &length, &[0, 0, 0, protocol], &upper]);
        if sum == 0 && !self.tcp {
            sum = 0xffff;
        }
        put(&mut upper, checksum_at, sum);
        let mut packet = if self.v6 {
            let mut head = vec![0x60 | self.class >> 4, self.class << 4, 0, 0];
            head.extend((upper.len() as u16).to_be_bytes());
            head.extend([protocol, 64]);
            head.extend(addresses);
            head
        } else {
            let mut head = vec![0x45, self.class];
            head.extend(((20 + upper.len()) as u16).to_be_bytes());
            head.extend(self.id.to_be_bytes());
            head.extend([
                if self.dont_fragment { 0x40 } else { 0 },
                0,
                64,
                protocol,
                0,
                0,
            ]);
            head.extend(addresses);
            let sum = checksum(&[&head]);
            put(&mut head, 10, sum);
            head
        };
        packet.extend(upper);
        packet
    }
}
