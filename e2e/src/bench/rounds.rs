//! The run: every data path in every round, every load on every data path.

use std::path::PathBuf;

use anyhow::Result;
use kubectl_getvpn::lab::progress::Progress;
use runtime::shutdown::Shutdown;

use super::child::go_on;
use super::install::Installed;
use super::link::{Link, Turn};
use super::measure::{Effort, LARGE, Load, Measure, SMALL, Sample};
use super::quiet::{DISTURBS, Others};
use super::stream::Streams;
use super::tunnel::{DataPath, Tunnel};
use super::{datagrams, round_trip, stream};

pub use super::statistics::{Ratio, Round, Rounds, Spread};

/// What a run measures.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Data paths, in the order of each round; a peer with its program.
    pub paths: Vec<(DataPath, Option<Installed>)>,
    /// Rounds.
    pub rounds: u32,
    /// How long loads last.
    pub effort: Effort,
    /// Directory of our own programs.
    pub programs: PathBuf,
}

/// Measures all rounds. A data path that fails is told and does not stop the others.
///
/// # Errors
/// When another benchmark runs, the namespaces cannot be made, or the user wants to end.
pub fn run(plan: &Plan, progress: &mut Progress, shutdown: &Shutdown) -> Result<Rounds> {
    let _turn = Turn::take()?;
    let mut rounds = Rounds::default();
    for number in 1..=plan.rounds {
        for (path, installed) in &plan.paths {
            go_on(shutdown)?;
            progress.begin(&format!("round {number} of {}: {path}", plan.rounds));
            let mut round = Round {
                path: *path,
                number,
                samples: Vec::new(),
                failure: None,
            };
            let outcome = measure(
                plan,
                *path,
                installed.as_ref(),
                &mut round,
                progress,
                shutdown,
            );
            go_on(shutdown)?;
            match outcome {
                Ok(()) => progress.done(&told(&round)),
                Err(error) => {
                    progress.failed();
                    progress.line(&format!("      {error:#}"));
                    round.failure = Some(format!("{error:#}"));
                }
            }
            rounds.all.push(round);
        }
    }
    Ok(rounds)
}

/// Brings one data path up, measures it, and takes it down.
fn measure(
    plan: &Plan,
    path: DataPath,
    installed: Option<&Installed>,
    round: &mut Round,
    progress: &Progress,
    shutdown: &Shutdown,
) -> Result<()> {
    // Dropped in reverse: first the data path, then the link.
    let _link = Link::lay(shutdown)?;
    let tunnel = Tunnel::up(path, &plan.programs, installed, shutdown)?;
    for load in Load::ALL {
        go_on(shutdown)?;
        progress.update(&format!("({})", load.title()));
        let sample = steady(&plan.effort, &tunnel, load, shutdown)?;
        round.samples.push(sample);
    }
    Ok(())
}

/// Takes a sample on a quiet machine, and a second time when others disturbed the first.
fn steady(effort: &Effort, tunnel: &Tunnel, load: Load, shutdown: &Shutdown) -> Result<Sample> {
    let others = Others::than(&tunnel.daemons());
    let mut repeated = false;
    loop {
        others.wait_for_quiet(effort.quiet, shutdown)?;
        let mark = others.mark();
        let values = sample(effort, tunnel, load, shutdown)?;
        let share = others.share_since(&mark);
        if share > DISTURBS && !repeated && !effort.quiet.is_zero() {
            repeated = true;
            continue;
        }
        return Ok(Sample {
            load,
            values,
            others: share,
            repeated,
        });
    }
}

fn sample(
    effort: &Effort,
    tunnel: &Tunnel,
    load: Load,
    shutdown: &Shutdown,
) -> Result<Vec<(Measure, f64)>> {
    let to = tunnel.destination;
    let streams = |streams: Streams| {
        stream::measure(
            to,
            streams,
            effort.stream_seconds,
            &tunnel.daemons(),
            shutdown,
        )
    };
    match load {
        Load::RoundTrip => {
            let times = round_trip::measure(to, effort.round_trips)?;
            let of = |measure, per_mille| {
                let time = times.percentile(per_mille)?;
                Some((measure, time.as_secs_f64() * 1e6))
            };
            let figures = [of(Measure::RoundTrip, 500), of(Measure::RoundTripSlow, 990)];
            Ok(figures.into_iter().flatten().collect())
        }
        Load::Tcp(count) => {
            let flow = streams(Streams::There(count))?;
            let (rate, processor) = match count {
                1 => (Measure::TcpOne, Some(Measure::ProcessorOne)),
                4 => (Measure::TcpFour, Some(Measure::ProcessorFour)),
                _ => (Measure::TcpEight, None),
            };
            let mut values = vec![(rate, flow.rate)];
            values.extend(processor.zip(flow.processor));
            Ok(values)
        }
        Load::TcpBoth => Ok(vec![(Measure::TcpBoth, streams(Streams::Both)?.rate)]),
        Load::WithoutLoss(size) => {
            let measure = if size == LARGE {
                Measure::LargeWithoutLoss
            } else {
                Measure::SmallWithoutLoss
            };
            let rate = datagrams::without_loss(to, size, effort.trial, effort.trials, shutdown)?;
            Ok(vec![(measure, rate)])
        }
        Load::Flood => {
            let trial = datagrams::send(to, SMALL, effort.flood, None)?;
            Ok(vec![(Measure::Flood, trial.received)])
        }
    }
}

/// One line for the user while the run goes on.
fn told(round: &Round) -> String {
    let value = |measure: Measure| {
        let values = round.samples.iter().flat_map(|sample| &sample.values);
        values
            .clone()
            .find_map(|(of, value)| (*of == measure).then(|| measure.shown(*value)))
            .unwrap_or_else(|| "–".to_owned())
    };
    format!(
        "TCP {} and {} Gbit/s, UDP {} and {} packets/s, round trip {} µs",
        value(Measure::TcpOne),
        value(Measure::TcpFour),
        value(Measure::SmallWithoutLoss),
        value(Measure::LargeWithoutLoss),
        value(Measure::RoundTrip),
    )
}
