//! Notices that this member's estimate of the group's pseudotime is wrong: most of what arrives is authentic and
//! outside of the time window.
//!
//! A single sender with a wrong estimate is that sender's affair, and replayed packets are outside of the window as
//! well; so it takes more refused packets than accepted ones, and that for some time. A registration sets the
//! estimate.

/// Looks, one a second, in a row before it counts.
const LOOKS: u8 = 3;

/// Compares counts from one look to the next.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct SkewWatch {
    refused: u64,
    accepted: u64,
    in_a_row: u8,
}

impl SkewWatch {
    /// Takes in the packets refused for their pseudotime and those accepted, both since start; `true` when it is time
    /// to do something. Then it starts again.
    pub(super) fn look(&mut self, refused: u64, accepted: u64) -> bool {
        let (more_refused, more_accepted) = (
            refused.saturating_sub(self.refused),
            accepted.saturating_sub(self.accepted),
        );
        (self.refused, self.accepted) = (refused, accepted);
        if more_refused > more_accepted {
            self.in_a_row += 1;
        } else if more_accepted > 0 {
            self.in_a_row = 0;
        }
        let due = self.in_a_row >= LOOKS;
        if due {
            self.in_a_row = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_three_looks_with_more_refused_than_accepted() {
        let mut watch = SkewWatch::default();
        assert!(!watch.look(5, 0));
        assert!(!watch.look(9, 1));
        assert!(watch.look(12, 1));
        // From the beginning again.
        assert!(!watch.look(15, 1));
    }

    #[test]
    fn one_wrong_sender_among_others_is_not_our_affair_and_silence_says_nothing() {
        let mut watch = SkewWatch::default();
        for second in 1..20 {
            assert!(!watch.look(second, second * 3));
        }
        let mut watch = SkewWatch::default();
        assert!(!watch.look(1, 0));
        assert!(!watch.look(1, 0));
        assert!(!watch.look(2, 0));
        assert!(watch.look(3, 0));
    }
}
