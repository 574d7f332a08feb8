//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are kept in the machine's own byte order: the one's complement sum does not care, and a
//! result is stored with `to_ne_bytes`.

/// Adds up `octets` as 16-bit words, the last one padded with zero; not folded.
#[inline]
pub fn sum(octets: &[u8]) -> u64 {
    let (blocks, rest) = octets.as_chunks::<64>();
    let mut lanes = [0u64; 8];
    for block in blocks {
        let (words, _) = block.as_chunks::<4>();
        for (at, word) in words.iter().enumerate() {
            lanes[at % 8] += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut total: u64 = lanes.iter().sum();
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let (words, rest) = rest.as_chunks::<2>();
    for word in words {
        total += u64::from(u16::from_ne_bytes(*word));
    }
    if let [last] = rest {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    total
}

/// Folds a sum to 16 bits, in the machine's byte order.
#[inline]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The sum of a pseudo-header: addresses as they stand in the header, protocol and length.
#[inline]
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> u64 {
    // A length above 65 535 only occurs with IPv6 and is summed as its two words.
    let length = length as u32;
    sum(addresses)
        + u64::from(u16::from(protocol).to_be())
        + u64::from(((length >> 16) as u16).to_be())
        + u64::from((length as u16).to_be())
}

/// The octets to store as checksum over everything summed into `sum`.
#[inline]
pub fn finish(sum: u64) -> [u8; 2] {
    (!fold(sum)).to_ne_bytes()
}

/// Corrects the checksum at `checksum` for a 16-bit word that changed (RFC 1624 equation 3).
#[inline]
pub fn update(checksum: &mut [u8; 2], before: [u8; 2], after: [u8; 2]) {
    let sum = u64::from(!u16::from_ne_bytes(*checksum))
        + u64::from(!u16::from_ne_bytes(before))
        + u64::from(u16::from_ne_bytes(after));
    *checksum = finish(sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 §4.1 word by word, in network order.
    fn naive(octets: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in octets.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn example_of_rfc_1071_section_3() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&octets)), [0x22, 0x0d]);
    }

    proptest! {
        #[test]
        fn equals_the_word_by_word_sum(octets in proptest::collection::vec(any::<u8>(), 0..700)) {
            prop_assert_eq!(finish(sum(&octets)), naive(&octets).to_be_bytes());
        }

        #[test]
        fn update_equals_a_fresh_sum(
            mut octets in proptest::collection::vec(any::<u8>(), 4..80), word in any::<[u8; 2]>()
        ) {
            let mut checksum = finish(sum(&octets));
            let before = [octets[2], octets[3]];
            octets[2..4].copy_from_slice(&word);
            update(&mut checksum, before, word);
            // 0x0000 and 0xffff are the same number in one's complement.
            let fresh = finish(sum(&octets));
            prop_assert!(checksum == fresh || (sum(&checksum).is_multiple_of(0xffff) && sum(&fresh).is_multiple_of(0xffff)));
        }
    }
}
