//! The kernel's random numbers for the pure crates.

/// Draws every octet from the kernel.
pub(super) struct KernelEntropy;

impl gikev2::Entropy for KernelEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        runtime::entropy::fill(out);
    }
}
