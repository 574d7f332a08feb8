//! What a process has used, as the kernel counts it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks a second of the times in `/proc/PID/stat`; the same on every Linux (USER_HZ).
const TICKS: u64 = 100;

/// Use of processor and memory by one or more processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in user mode and in the kernel.
    pub processor: Duration,
    /// Resident memory, in octets.
    pub resident: u64,
}

impl Usage {
    /// Of the processes with these ids together.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn of(ids: &[u32]) -> Result<Self> {
        let mut usage = Self::default();
        for id in ids {
            let read = |name: &str| {
                std::fs::read_to_string(format!("/proc/{id}/{name}"))
                    .with_context(|| format!("process {id} does not run"))
            };
            usage.processor += processor(&read("stat")?)
                .with_context(|| format!("/proc/{id}/stat has another form"))?;
            usage.resident += resident(&read("status")?)
                .with_context(|| format!("/proc/{id}/status has another form"))?;
        }
        Ok(usage)
    }
}

/// User and system time: the 14th and 15th field (proc(5)). The second one may hold anything up to the last `)`.
fn processor(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = 0_u64;
    let mut times = fields.split(' ').skip(11);
    for _ in 0..2 {
        ticks += times.next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The field `VmRSS`, in kibibytes.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_does_not_hide_its_time() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 9 0 0 0 150 25 0 0 20 0 1 0 5 0 0";
        assert_eq!(processor(stat), Some(Duration::from_millis(1750)));
        assert_eq!(processor("17 (a) S 1"), None);
    }

    #[test]
    fn resident_memory_is_read_in_octets() {
        let status = "Name:\tkeyserver\nVmHWM:\t   30 kB\nVmRSS:\t   20 kB\n";
        assert_eq!(resident(status), Some(20_480));
        assert_eq!(resident("Name:\tkeyserver\n"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(&[std::process::id()]).expect("it runs");
        assert!(usage.resident > 0);
    }
}
