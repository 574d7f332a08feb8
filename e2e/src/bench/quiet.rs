//! Programs of others on the same machine: waits until they are quiet, and tells how much they took during a sample.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use runtime::shutdown::Shutdown;

use super::child::go_on;

/// Ticks a second of the times in `/proc/PID/stat`; the same on every Linux (USER_HZ).
const TICKS: f64 = 100.0;
/// Share of all processors above which the others disturb.
pub(super) const DISTURBS: f64 = 0.10;
/// How long the others are watched to call them quiet.
const LOOK: Duration = Duration::from_millis(500);
/// Parent of the kernel's own threads; what they do is part of every measurement.
const KERNEL: u32 = 2;

/// Watches what others take.
pub(super) struct Others {
    ours: Vec<u32>,
    processors: f64,
}

/// The state at the begin of a sample.
pub(super) struct Mark {
    seconds: f64,
    at: Instant,
}

impl Others {
    /// Everybody but this process, the processes `ours`, what they started, and the kernel.
    pub(super) fn than(ours: &[u32]) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut ours = ours.to_vec();
        ours.push(std::process::id());
        Self {
            ours,
            processors: processors as f64,
        }
    }

    /// Waits until the others take little, at most for `limit`; zero means not at all.
    ///
    /// # Errors
    /// When the user wants to end.
    pub(super) fn wait_for_quiet(&self, limit: Duration, shutdown: &Shutdown) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < limit {
            let mark = self.mark();
            std::thread::sleep(LOOK);
            go_on(shutdown)?;
            if self.share_since(&mark) < DISTURBS {
                break;
            }
        }
        Ok(())
    }

    /// Begins to count.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            seconds: self.seconds(),
            at: Instant::now(),
        }
    }

    /// Share of all processors that the others took since then: 0 to 1.
    pub(super) fn share_since(&self, mark: &Mark) -> f64 {
        let all = mark.at.elapsed().as_secs_f64() * self.processors;
        ((self.seconds() - mark.seconds) / all).max(0.0)
    }

    /// Processor seconds of all others that run, and of their children that have ended.
    fn seconds(&self) -> f64 {
        let processes: Vec<Process> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
                // One that ends meanwhile is counted by its parent.
                Process::of(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
            })
            .collect();
        let ticks: u64 = foreign(&processes, &self.ours).map(|it| it.ticks).sum();
        ticks as f64 / TICKS
    }
}

struct Process {
    id: u32,
    parent: u32,
    ticks: u64,
}

impl Process {
    /// Reads parent and times: the 4th and the 14th to 17th field (proc(5)).
    fn of(id: u32, stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut ticks = 0_u64;
        let mut times = fields.skip(9);
        for _ in 0..4 {
            ticks += times.next()?.parse::<u64>().ok()?;
        }
        Some(Self { id, parent, ticks })
    }
}

/// Processes that are neither among `ours` nor started by one of them, nor the kernel's.
fn foreign<'a>(processes: &'a [Process], ours: &[u32]) -> impl Iterator<Item = &'a Process> {
    let mut ours = ours.to_vec();
    let mut next = 0;
    while let Some(parent) = ours.get(next).copied() {
        let children = processes.iter().filter(|it| it.parent == parent);
        ours.extend(children.map(|it| it.id));
        next += 1;
    }
    processes
        .iter()
        .filter(move |it| it.id != KERNEL && it.parent != KERNEL && !ours.contains(&it.id))
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn a_process_counts_with_its_ended_children() {
        let stat = "17 (a) b (c) S 4 17 17 0 -1 4194560 9 0 0 0 150 25 7 3 20 0 1 0 5 0 0";
        let process = Process::of(17, stat).expect("it is whole");
        assert_eq!((process.parent, process.ticks), (4, 185));
        assert!(Process::of(17, "17 (a) S 1").is_none());
    }

    #[test]
    fn neither_ours_nor_what_ours_started_nor_the_kernel_is_foreign() {
        let process = |id, parent| Process {
            id,
            parent,
            ticks: 1,
        };
        let all = [
            process(1, 0),
            process(2, 0),
            process(3, 2),
            process(10, 1),
            process(11, 10),
            process(12, 11),
            process(20, 1),
        ];
        let ids: Vec<_> = foreign(&all, &[10]).map(|it| it.id).collect();
        assert_eq!(ids, [1, 20]);
    }

    #[test]
    fn this_test_is_not_one_of_the_others() {
        let others = Others::than(&[]);
        let mark = others.mark();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {}
        assert!(others.share_since(&mark) <= 1.5);
    }
}
