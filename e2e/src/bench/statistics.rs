//! Medians, spreads and ratios of what the rounds gave.

use super::measure::{Measure, Sample};
use super::tunnel::DataPath;

/// One data path in one round.
#[derive(Debug, Clone)]
pub struct Round {
    /// The data path.
    pub path: DataPath,
    /// Number of the round, from 1.
    pub number: u32,
    /// What its loads gave.
    pub samples: Vec<Sample>,
    /// Why loads are missing, when some are.
    pub failure: Option<String>,
}

impl Round {
    fn value(&self, measure: Measure) -> Option<f64> {
        self.samples
            .iter()
            .flat_map(|sample| &sample.values)
            .find_map(|(of, value)| (*of == measure).then_some(*value))
    }
}

/// A figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Least.
    pub least: f64,
    /// Most.
    pub most: f64,
    /// Of how many rounds.
    pub rounds: usize,
}

/// How one data path compares with another. A ratio above 1 says that the first has more, which is better or worse as
/// the figure is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Of the medians.
    pub medians: f64,
    /// Of the round in which the first compares worst.
    pub worst: f64,
}

/// All rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    /// In the order in which they were measured.
    pub all: Vec<Round>,
}

impl Rounds {
    /// The data paths that gave at least one figure, in the order of the first round.
    #[must_use]
    pub fn paths(&self) -> Vec<DataPath> {
        let mut paths: Vec<DataPath> = Vec::new();
        for round in &self.all {
            if !round.samples.is_empty() && !paths.contains(&round.path) {
                paths.push(round.path);
            }
        }
        paths
    }

    /// A figure of a data path; none when no round gave it.
    #[must_use]
    pub fn spread(&self, path: DataPath, measure: Measure) -> Option<Spread> {
        let mut values: Vec<f64> = self
            .all
            .iter()
            .filter(|round| round.path == path)
            .filter_map(|round| round.value(measure))
            .collect();
        values.sort_by(f64::total_cmp);
        Some(Spread {
            median: median(&values)?,
            least: *values.first()?,
            most: *values.last()?,
            rounds: values.len(),
        })
    }

    /// How `first` compares with `second`; none when no round gave both.
    #[must_use]
    pub fn ratio(&self, first: DataPath, second: DataPath, measure: Measure) -> Option<Ratio> {
        let of = |path: DataPath, number: u32| {
            self.all
                .iter()
                .find(|round| round.path == path && round.number == number)?
                .value(measure)
        };
        let rounds = self.all.iter().filter(|round| round.path == first);
        let ratios = rounds.filter_map(|round| {
            let (own, theirs) = (round.value(measure)?, of(second, round.number)?);
            (theirs > 0.0).then(|| own / theirs)
        });
        let worst = if measure.more_is_better() {
            ratios.reduce(f64::min)
        } else {
            ratios.reduce(f64::max)
        };
        let theirs = self.spread(second, measure)?.median;
        if theirs <= 0.0 {
            return None;
        }
        Some(Ratio {
            medians: self.spread(first, measure)?.median / theirs,
            worst: worst?,
        })
    }

    /// The largest share of the processors that others took during a sample that was kept, and in how many of all samples
    /// they took more than they may.
    #[must_use]
    pub fn disturbance(&self) -> (f64, usize, usize) {
        let samples = || self.all.iter().flat_map(|round| &round.samples);
        let largest = samples().map(|sample| sample.others).fold(0.0, f64::max);
        let disturbed = samples().filter(|sample| sample.others > super::quiet::DISTURBS);
        (largest, disturbed.count(), samples().count())
    }
}

/// The middle of sorted values, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len().is_multiple_of(2) {
        return Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, upper));
    }
    Some(upper)
}

#[cfg(test)]
pub(super) mod self_tests {
    use super::super::install::Peer;
    use super::super::measure::Load;
    use super::*;

    pub(in super::super) const WIREGUARD: DataPath = DataPath::Peer(Peer::WireguardGo);

    /// Rounds of two data paths with these values of two figures.
    pub(in super::super) fn rounds(ours: &[(f64, f64)], theirs: &[(f64, f64)]) -> Rounds {
        let mut all = Vec::new();
        for (path, values) in [(DataPath::Getvpn, ours), (WIREGUARD, theirs)] {
            for (number, (rate, time)) in (1..).zip(values) {
                all.push(Round {
                    path,
                    number,
                    samples: vec![Sample {
                        load: Load::Tcp(1),
                        values: vec![(Measure::TcpOne, *rate), (Measure::RoundTrip, *time)],
                        others: 0.01,
                        repeated: false,
                    }],
                    failure: None,
                });
            }
        }
        Rounds { all }
    }

    #[test]
    fn a_median_is_the_middle_of_the_rounds() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 3.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        let rounds = rounds(&[(9.0, 1.0), (1.0, 1.0), (2.0, 1.0)], &[]);
        let spread = rounds.spread(DataPath::Getvpn, Measure::TcpOne);
        let wanted = Spread {
            median: 2.0,
            least: 1.0,
            most: 9.0,
            rounds: 3,
        };
        assert_eq!(spread, Some(wanted));
        assert_eq!(rounds.spread(WIREGUARD, Measure::TcpOne), None);
    }

    #[test]
    fn the_worst_round_is_the_least_where_more_is_better_and_the_most_where_less_is() {
        let rounds = rounds(
            &[(8.0, 100.0), (9.0, 150.0), (6.0, 90.0)],
            &[(4.0, 200.0), (3.0, 100.0), (4.0, 180.0)],
        );
        let of = |measure| rounds.ratio(DataPath::Getvpn, WIREGUARD, measure);
        let wanted = Ratio {
            medians: 2.0,
            worst: 1.5,
        };
        assert_eq!(of(Measure::TcpOne), Some(wanted));
        let slow = of(Measure::RoundTrip).expect("both have it");
        assert_eq!(slow.worst, 1.5);
        assert!((slow.medians - 100.0 / 180.0).abs() < 1e-9);
    }

    #[test]
    fn only_rounds_that_both_finished_are_compared() {
        let rounds = rounds(&[(8.0, 1.0), (1.0, 1.0)], &[(4.0, 1.0)]);
        let ratio = rounds.ratio(DataPath::Getvpn, WIREGUARD, Measure::TcpOne);
        assert_eq!(ratio.map(|it| it.worst), Some(2.0));
        assert_eq!(
            rounds.ratio(DataPath::Getvpn, WIREGUARD, Measure::Flood),
            None
        );
        assert_eq!(
            rounds.ratio(DataPath::Getvpn, DataPath::Veth, Measure::TcpOne),
            None
        );
    }
}
