//! Random delays from lent randomness, so that members that lost the same thing do not come back
//! in step.

use std::time::Duration;

use gikev2::Entropy;

/// A duration drawn evenly from zero to `most`.
pub fn up_to(most: Duration, entropy: &mut dyn Entropy) -> Duration {
    let mut random = [0; 4];
    entropy.fill(&mut random);
    let fraction = u64::from(u32::from_be_bytes(random));
    let nanoseconds = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    let product = u128::from(nanoseconds) * u128::from(fraction) / u128::from(u32::MAX);
    Duration::from_nanos(u64::try_from(product).unwrap_or(u64::MAX))
}

/// Waiting times that double up to a maximum, each spread from half to one and a half.
#[derive(Debug, Clone)]
pub struct BackOff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl BackOff {
    /// Waits that begin with about `first` and grow to about `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }

    /// The next wait; the one after it is twice as long.
    pub fn wait(&mut self, entropy: &mut dyn Entropy) -> Duration {
        let wait = self.next / 2 + up_to(self.next, entropy);
        self.next = self.next.saturating_mul(2).min(self.most);
        wait
    }

    /// Starts over with the first wait.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_are_spread() {
        let mut low = BackOff::new(Duration::from_secs(1), Duration::from_secs(3));
        let mut high = low.clone();
        let waits = |back_off: &mut BackOff, fill| -> Vec<u128> {
            (0..4)
                .map(|_| back_off.wait(&mut Fixed(fill)).as_millis())
                .collect()
        };
        assert_eq!(waits(&mut low, 0x00), [500, 1000, 1500, 1500]);
        assert_eq!(waits(&mut high, 0xff), [1500, 3000, 4500, 4500]);
        low.reset();
        assert_eq!(waits(&mut low, 0x00)[0], 500);
    }

    #[test]
    fn a_delay_lies_between_zero_and_its_limit() {
        let limit = Duration::from_secs(10);
        assert_eq!(up_to(limit, &mut Fixed(0)), Duration::ZERO);
        assert_eq!(up_to(limit, &mut Fixed(0xff)), limit);
    }
}
