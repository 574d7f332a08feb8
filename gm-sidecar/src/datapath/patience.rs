//! How long a packet thread looks for more before it sleeps.
//!
//! To wake a sleeping thread, and often its processor, costs more than to open a train of packets. In a steady flow the
//! next packet comes sooner than that, so a thread that found nothing looks for a moment longer. It gives way to every
//! other thread meanwhile, and only a small part of its time may go into looking in vain: no traffic costs nothing.

use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollTimeout, poll};

/// How long a thread looks. Longer takes time from the applications where processors are few: with 200 µs on two
/// processors, one stream of TCP was a fifth slower than with 60 µs.
const LOOK: Duration = Duration::from_micros(60);
/// Of a thread's time, at most one part in so many is spent on looking in vain.
const SHARE: u32 = 16;
/// What is saved of that while there is nothing to look for.
const MOST_SAVED: Duration = Duration::from_millis(5);

/// The time a thread may still spend on looking in vain.
#[derive(Debug)]
struct Budget {
    left: Duration,
    since: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            left: MOST_SAVED,
            since: now,
        }
    }

    /// Whether the wait that begins now begins with a look.
    fn allows_a_look(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since) / SHARE;
        self.left = self.left.saturating_add(earned).min(MOST_SAVED);
        self.since = now;
        self.left >= LOOK
    }

    /// Takes note of a look that found nothing.
    fn spend(&mut self, looked: Duration) {
        self.left = self.left.saturating_sub(looked);
    }
}

/// One thread's way to wait.
#[derive(Debug)]
pub(super) struct Patience {
    budget: Budget,
    /// With one processor, looking only keeps others from working.
    alone: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            budget: Budget::new(Instant::now()),
            alone: thread::available_parallelism().is_ok_and(|processors| processors.get() == 1),
        }
    }

    /// Waits until one of `sources` is ready.
    ///
    /// # Errors
    /// The kernel's answer; an interrupted wait is a wait that ended.
    pub(super) fn wait(&mut self, sources: &mut [PollFd<'_>]) -> nix::Result<()> {
        if !self.alone {
            let begin = Instant::now();
            if self.budget.allows_a_look(begin) {
                if look(sources, begin)? {
                    return Ok(());
                }
                self.budget.spend(begin.elapsed());
            }
        }
        poll(sources, PollTimeout::NONE).map(drop)
    }
}

fn look(sources: &mut [PollFd<'_>], begin: Instant) -> nix::Result<bool> {
    while begin.elapsed() < LOOK {
        if poll(sources, PollTimeout::ZERO)? > 0 {
            return Ok(true);
        }
        thread::yield_now();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_micros(100);

    /// Of `waits`, one in each period, how many begin with a look when none finds anything.
    fn looks_in_vain(budget: &mut Budget, from: Instant, waits: u32) -> u32 {
        (0..waits)
            .filter(|&wait| {
                let look = budget.allows_a_look(from + PERIOD * wait);
                if look {
                    budget.spend(LOOK);
                }
                look
            })
            .count()
            .try_into()
            .expect("no more than waits")
    }

    #[test]
    fn a_steady_flow_is_looked_for_every_time() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!((0..1000).all(|wait| budget.allows_a_look(start + PERIOD * wait)));
    }

    #[test]
    fn looking_in_vain_takes_no_more_than_its_share() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let looks = looks_in_vain(&mut budget, start, 10_000);
        let most = PERIOD * 10_000 / SHARE + MOST_SAVED;
        assert!(LOOK * looks <= most, "{looks} looks");
        assert!(LOOK * (looks + 2) > most - MOST_SAVED, "{looks} looks");
    }

    #[test]
    fn patience_comes_back_with_time_and_is_not_saved_for_ever() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        looks_in_vain(&mut budget, start, 10_000);
        let later = start + Duration::from_secs(60);
        assert!(budget.allows_a_look(later));
        assert_eq!(budget.left, MOST_SAVED);
    }

    #[test]
    fn nothing_to_find_ends_in_sleep_and_something_is_seen() {
        use nix::poll::PollFlags;
        use nix::sys::eventfd::{EfdFlags, EventFd};
        use std::os::fd::AsFd;

        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK).expect("an event");
        let mut sources = [PollFd::new(event.as_fd(), PollFlags::POLLIN)];
        assert_eq!(look(&mut sources, Instant::now()), Ok(false));
        event.write(1).expect("room");
        assert_eq!(look(&mut sources, Instant::now()), Ok(true));
        Patience::new().wait(&mut sources).expect("ready");
    }
}
