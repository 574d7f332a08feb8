//! Hashes the protocol uses outside of signatures and pseudorandom functions.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// SHA-256 of the parts in order.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut octets = [0; 32];
    octets.copy_from_slice(context.finish().as_ref());
    octets
}

/// SHA-1 of the parts in order. Only for NAT detection (RFC 7296 §2.23) and for naming authorities in CERTREQ
/// (RFC 7296 §3.7), where it protects nothing.
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut octets = [0; 20];
    octets.copy_from_slice(context.finish().as_ref());
    octets
}
