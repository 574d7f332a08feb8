//! Short names of content: equal content has equal names on every machine and in every version of the operator.

use serde::Serialize;

/// The FNV-1a hash (draft-eastlake-fnv, 64 bits) of the content's JSON, as 16 hexadecimal digits. It tells versions
/// apart and protects nothing.
///
/// # Panics
/// When `content` has a map with keys that are no strings, which no type of ours has.
#[must_use]
pub fn of(content: &(impl Serialize + ?Sized)) -> String {
    format!("{:016x}", number(content))
}

/// The same as a number.
///
/// # Panics
/// As [`of`].
#[must_use]
pub fn number(content: &(impl Serialize + ?Sized)) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let json = serde_json::to_vec(content).expect("our types have only string keys");
    json.iter().fold(OFFSET_BASIS, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_those_of_the_published_hash() {
        // FNV-1a of the three octets `"a"` computed by hand from its definition: offset basis, then xor and multiply.
        let octets = [0x22_u8, 0x61, 0x22];
        let expected = octets
            .iter()
            .fold(14_695_981_039_346_656_037_u64, |hash, octet| {
                (hash ^ u64::from(*octet)).wrapping_mul(1_099_511_628_211)
            });
        assert_eq!(super::of("a"), format!("{expected:016x}"));
    }
}
