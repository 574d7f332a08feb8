//! Randomness from the kernel, read anew for every use.
//!
//! No pool is kept in the process: a copy of a running process (fork, restored virtual machine)
//! must not repeat what the original drew.

/// Fills `out` from the kernel's random number generator.
///
/// # Panics
/// When the kernel refuses, which happens only where the system call itself is forbidden. A
/// process that cannot draw keys must not go on.
pub fn fill(out: &mut [u8]) {
    getrandom::fill(out).expect("the kernel's random number generator must be readable");
}

/// `N` random octets.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::bytes::<32>(), super::bytes::<32>());
    }
}
