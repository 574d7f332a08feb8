//! What is measured: loads, the figures that each gives, and the record of one sample.

use std::time::Duration;

/// Octets of UDP payload of the small and the large datagram. The large one fits into every tunnel's MTU.
pub(super) const SMALL: usize = 64;
/// See [`SMALL`].
pub(super) const LARGE: usize = 1344;

/// A figure of a data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Throughput of one TCP stream.
    TcpOne,
    /// Of four streams together.
    TcpFour,
    /// Of eight streams together.
    TcpEight,
    /// Of one stream in each direction at once, both together.
    TcpBoth,
    /// Processor time of the data path's processes while one stream runs.
    ProcessorOne,
    /// While four streams run.
    ProcessorFour,
    /// Highest rate of small datagrams of which at most 0.5 % are lost.
    SmallWithoutLoss,
    /// The same of large ones.
    LargeWithoutLoss,
    /// Small datagrams received while the sender sends as fast as it can.
    Flood,
    /// Median time of a small datagram there and back on an idle path.
    RoundTrip,
    /// The time that 99 of 100 do not exceed.
    RoundTripSlow,
}

impl Measure {
    /// All, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::TcpOne,
        Self::TcpFour,
        Self::TcpEight,
        Self::TcpBoth,
        Self::ProcessorOne,
        Self::ProcessorFour,
        Self::SmallWithoutLoss,
        Self::LargeWithoutLoss,
        Self::Flood,
        Self::RoundTrip,
        Self::RoundTripSlow,
    ];

    /// Name in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpOne => "tcpOneStream",
            Self::TcpFour => "tcpFourStreams",
            Self::TcpEight => "tcpEightStreams",
            Self::TcpBoth => "tcpBothDirections",
            Self::ProcessorOne => "daemonProcessorOneStream",
            Self::ProcessorFour => "daemonProcessorFourStreams",
            Self::SmallWithoutLoss => "udp64WithoutLoss",
            Self::LargeWithoutLoss => "udp1344WithoutLoss",
            Self::Flood => "udp64Flood",
            Self::RoundTrip => "roundTripMedian",
            Self::RoundTripSlow => "roundTrip99Of100",
        }
    }

    /// What a reader calls it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::TcpOne => "TCP, one stream",
            Self::TcpFour => "TCP, four streams",
            Self::TcpEight => "TCP, eight streams",
            Self::TcpBoth => "TCP, both directions at once",
            Self::ProcessorOne => "CPU of the daemons, one stream",
            Self::ProcessorFour => "CPU of the daemons, four streams",
            Self::SmallWithoutLoss => "UDP 64 octets without loss",
            Self::LargeWithoutLoss => "UDP 1344 octets without loss",
            Self::Flood => "UDP 64 octets, flood, received",
            Self::RoundTrip => "round trip at idle, median",
            Self::RoundTripSlow => "round trip at idle, 99 of 100",
        }
    }

    /// Its unit.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::TcpOne | Self::TcpFour | Self::TcpEight | Self::TcpBoth => "Gbit/s",
            Self::ProcessorOne | Self::ProcessorFour => "s per Gbit",
            Self::SmallWithoutLoss | Self::LargeWithoutLoss | Self::Flood => "packets/s",
            Self::RoundTrip | Self::RoundTripSlow => "µs",
        }
    }

    /// Whether more is better.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        match self {
            Self::TcpOne
            | Self::TcpFour
            | Self::TcpEight
            | Self::TcpBoth
            | Self::SmallWithoutLoss
            | Self::LargeWithoutLoss
            | Self::Flood => true,
            Self::ProcessorOne | Self::ProcessorFour | Self::RoundTrip | Self::RoundTripSlow => {
                false
            }
        }
    }

    /// A value as a reader wants it, without the unit.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::TcpOne | Self::TcpFour | Self::TcpEight | Self::TcpBoth => format!("{value:.2}"),
            Self::ProcessorOne | Self::ProcessorFour => format!("{value:.3}"),
            Self::SmallWithoutLoss | Self::LargeWithoutLoss | Self::Flood => thousands(value),
            Self::RoundTrip | Self::RoundTripSlow => format!("{value:.0}"),
        }
    }
}

/// A whole number with a comma before every third digit, rounded to hundreds: the rates are no finer than that.
fn thousands(value: f64) -> String {
    let rounded = (value / 100.0).round() * 100.0;
    let digits = format!("{rounded:.0}");
    let mut shown = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// One way to load a data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// One datagram at a time, there and back.
    RoundTrip,
    /// TCP with this many streams.
    Tcp(u8),
    /// TCP in both directions at once.
    TcpBoth,
    /// The highest rate without loss of datagrams with this payload, in octets.
    WithoutLoss(usize),
    /// Small datagrams as fast as the sender can.
    Flood,
}

impl Load {
    /// All, in the order in which a data path gets them.
    pub const ALL: [Self; 8] = [
        Self::RoundTrip,
        Self::Tcp(1),
        Self::Tcp(4),
        Self::Tcp(8),
        Self::TcpBoth,
        Self::WithoutLoss(LARGE),
        Self::Flood,
        Self::WithoutLoss(SMALL),
    ];

    /// What a reader calls it.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::RoundTrip => "round trip".to_owned(),
            Self::Tcp(streams) => format!("TCP {streams}"),
            Self::TcpBoth => "TCP both".to_owned(),
            Self::WithoutLoss(size) => format!("UDP {size} without loss"),
            Self::Flood => format!("UDP {SMALL} flood"),
        }
    }
}

/// What one load of one data path gave in one round.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The load.
    pub load: Load,
    /// Its figures.
    pub values: Vec<(Measure, f64)>,
    /// Share of all processors that programs of others took meanwhile: 0 to 1.
    pub others: f64,
    /// Whether this is the second try, because others took too much during the first one.
    pub repeated: bool,
}

/// How long the loads last.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Seconds of each TCP load.
    pub stream_seconds: u8,
    /// Length of one trial of the search for a rate.
    pub trial: Duration,
    /// Most trials of a search.
    pub trials: u32,
    /// Length of a flood.
    pub flood: Duration,
    /// Round trips that count.
    pub round_trips: usize,
    /// How long a quiet machine is waited for before a sample; zero: take it as it is, and repeat nothing.
    pub quiet: Duration,
}

impl Effort {
    /// For figures that count.
    #[must_use]
    pub fn full() -> Self {
        Self {
            stream_seconds: 4,
            trial: Duration::from_millis(600),
            trials: 7,
            flood: Duration::from_millis(1500),
            round_trips: 4000,
            quiet: Duration::from_secs(3),
        }
    }

    /// For a look whether everything works.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            stream_seconds: 1,
            trial: Duration::from_millis(300),
            trials: 4,
            flood: Duration::from_millis(400),
            round_trips: 500,
            quiet: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn rates_are_shown_in_hundreds_with_commas() {
        assert_eq!(Measure::Flood.shown(1_234_567.0), "1,234,600");
        assert_eq!(Measure::Flood.shown(96_049.0), "96,000");
        assert_eq!(Measure::Flood.shown(320.0), "300");
        assert_eq!(Measure::TcpOne.shown(8.844), "8.84");
    }

    #[test]
    fn every_figure_has_a_name_of_its_own() {
        let mut names: Vec<_> = Measure::ALL.iter().map(|it| it.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Measure::ALL.len());
    }
}
