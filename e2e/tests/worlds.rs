//! Whole worlds from seeds: no rule is broken, everything rare has happened, and planted defects are found.

use std::time::Duration;

use e2e::sim::{Plant, Report, Seen, run};

/// Seeds in a run of the tests; `GETVPN_SEEDS` asks for others.
const SEEDS: u64 = 1_000;

/// Seeds of one planted defect before it counts as not found.
const PLANT_SEEDS: u64 = 20;

/// Runs seeds on all processors, in order of their number as far as anybody can see.
fn sweep(seeds: std::ops::Range<u64>) -> (Seen, Duration, Vec<String>) {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..std::thread::available_parallelism().map_or(1, usize::from))
            .map(|_| {
                scope.spawn(|| {
                    let mut found = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if seed >= seeds.end {
                            return found;
                        }
                        found.push((seed, run(seed, None)));
                    }
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().expect("no panic"));
        }
        all
    });
    let (mut seen, mut simulated, mut broken) = (Seen::default(), Duration::ZERO, Vec::new());
    for (_, result) in results {
        match result {
            Ok(report) => {
                seen.add(&report.seen);
                simulated += report.simulated;
            }
            Err(violation) => broken.push(violation.to_string()),
        }
    }
    broken.sort();
    (seen, simulated, broken)
}

fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("GETVPN_SEEDS").ok();
    let Some(text) = asked else { return 0..SEEDS };
    match text.split_once("..") {
        Some((from, to)) => from.parse().expect("a number")..to.parse().expect("a number"),
        None => 0..text.parse().expect("a number, or two with .. between"),
    }
}

#[test]
fn no_seed_breaks_a_rule_and_everything_rare_happened() {
    let seeds = seeds();
    let (seen, simulated, broken) = sweep(seeds.clone());
    println!(
        "{} seeds, {:.1} simulated hours",
        seeds.end - seeds.start,
        simulated.as_secs_f64() / 3600.0
    );
    for (what, count) in seen.counts() {
        println!("{count:>10}  {what}");
    }
    assert!(
        broken.is_empty(),
        "{} broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
    if seeds.end - seeds.start >= SEEDS {
        for (what, count) in seen.counts() {
            assert!(count > 0, "{what}: never seen, so never tested");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..5 {
        let (once, again): (Report, Report) = (
            run(seed, None).unwrap_or_else(|violation| panic!("{violation}")),
            run(seed, None).unwrap_or_else(|violation| panic!("{violation}")),
        );
        assert_eq!(once, again, "seed {seed}");
        let other = run(seed + 1, None).unwrap_or_else(|violation| panic!("{violation}"));
        assert_ne!(once.trace, other.trace);
    }
}

#[test]
fn every_planted_defect_is_found_by_its_rule() {
    for plant in Plant::ALL {
        let found = (0..PLANT_SEEDS).find_map(|seed| run(seed, Some(plant)).err());
        let violation = found.unwrap_or_else(|| panic!("{plant:?} is not found"));
        println!("{plant:?}: {violation}");
        assert!(
            plant.found_by().contains(&violation.rule),
            "{plant:?} broke another rule: {violation}"
        );
    }
}
