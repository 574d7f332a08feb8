//! Runs simulated worlds from their seeds: many to find a violation, one to see how it comes about.
//!
//! ```text
//! getvpn-sim 0..1000        runs these seeds and says which broke a rule
//! getvpn-sim 17 --tell      runs one seed and tells what happens
//! getvpn-sim 17 --plant SharedSenderId
//! ```

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use e2e::sim::{Plant, Seen, run, run_told};

/// Runs simulated worlds of key servers and members from their seeds.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  getvpn-sim 0..1000\n  getvpn-sim 17 --tell\n  getvpn-sim 17 --plant SharedSenderId"
)]
struct Arguments {
    /// A seed, or a range of seeds `FROM..TO` without its end
    seeds: String,
    /// Tell what happens
    #[arg(long)]
    tell: bool,
    /// Put a defect into every world
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
}

fn plant(text: &str) -> Result<Plant, String> {
    let known = Plant::ALL.iter().find(|plant| format!("{plant:?}") == text);
    known.copied().ok_or_else(|| {
        let names: Vec<String> = Plant::ALL
            .iter()
            .map(|plant| format!("{plant:?}"))
            .collect();
        format!("`{text}` is none of {}", names.join(", "))
    })
}

fn range(text: &str) -> Option<std::ops::Range<u64>> {
    match text.split_once("..") {
        Some((from, to)) => Some(from.parse().ok()?..to.parse().ok()?),
        None => {
            let seed: u64 = text.parse().ok()?;
            Some(seed..seed.checked_add(1)?)
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(seeds) = range(&arguments.seeds) else {
        eprintln!("`{}` is neither a number nor FROM..TO", arguments.seeds);
        return ExitCode::from(2);
    };
    let (mut seen, mut simulated, mut broken) = (Seen::default(), Duration::ZERO, 0_u64);
    for seed in seeds {
        let outcome = if arguments.tell {
            run_told(seed, arguments.plant, |at, what| {
                println!("{:>9.3}  {what}", at.as_secs_f64());
            })
        } else {
            run(seed, arguments.plant)
        };
        match outcome {
            Ok(report) => {
                seen.add(&report.seen);
                simulated += report.simulated;
            }
            Err(violation) => {
                println!("{violation}");
                broken += 1;
            }
        }
    }
    println!(
        "{:.2} hours simulated, {broken} broken",
        simulated.as_secs_f64() / 3600.0
    );
    for (what, count) in seen.counts() {
        println!("{count:>10}  {what}");
    }
    ExitCode::from(u8::from(broken > 0))
}
