//! Message ID windows of size one (RFC 7296 §2.1–§2.3).
//!
//! Decides whether a request is new, a repetition of the last one, or to be ignored. Never decides what the
//! answer is. None of this applies to GSA_REKEY (RFC 9838 §2.4.1), which has its own rule in
//! [`crate::rekey::receiver`].

/// What a Message ID means to the side that receives requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// The next request in order.
    Next,
    /// The same number as the last request that was answered or is being answered.
    Repeated,
    /// Anything else: too old, or skipping ahead.
    Outside,
}

/// The numbers of the requests that a peer sends us.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReceiveWindow {
    next: u32,
}

impl ReceiveWindow {
    /// A window whose next expected request has the number `next`.
    pub(crate) fn starting_at(next: u32) -> Self {
        Self { next }
    }

    /// Places `message_id` in the window.
    pub(crate) fn position(&self, message_id: u32) -> Position {
        if message_id == self.next {
            Position::Next
        } else if self.next.checked_sub(1) == Some(message_id) {
            Position::Repeated
        } else {
            Position::Outside
        }
    }

    /// Moves past the request that was just accepted. The end of the number space is sticky: nothing is accepted
    /// after it, because Message IDs never wrap.
    pub(crate) fn advance(&mut self) {
        self.next = self.next.saturating_add(1);
    }
}

/// The numbers of the requests that we send.
#[derive(Debug, Clone, Default)]
pub(crate) struct SendCounter {
    next: u32,
}

impl SendCounter {
    /// The next number, without taking it.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// Takes the next number; `None` when the space is used up.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let taken = self.next;
        self.next = self.next.checked_add(1)?;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_and_the_last_request_are_inside_the_window() {
        let mut window = ReceiveWindow::starting_at(1);
        assert_eq!(window.position(1), Position::Next);
        assert_eq!(window.position(0), Position::Repeated);
        window.advance();
        assert_eq!(window.position(0), Position::Outside);
        assert_eq!(window.position(1), Position::Repeated);
        assert_eq!(window.position(2), Position::Next);
        assert_eq!(window.position(3), Position::Outside);
    }

    #[test]
    fn message_ids_end_instead_of_wrapping() {
        let mut counter = SendCounter { next: u32::MAX - 1 };
        assert_eq!(counter.take(), Some(u32::MAX - 1));
        assert_eq!(counter.take(), None);
        let mut window = ReceiveWindow::starting_at(u32::MAX);
        window.advance();
        assert_eq!(window.position(0), Position::Outside);
    }
}
