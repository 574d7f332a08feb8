//! The tables for the terminal, in Markdown, so that they can be put into a page as they are.

use std::fmt::Write as _;

use super::install::Peer;
use super::measure::Measure;
use super::rounds::Rounds;
use super::tunnel::DataPath;

/// What stands where there is no figure.
const NOTHING: &str = "–";

/// A peer that was asked for and is not measured, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The peer.
    pub path: DataPath,
    /// Why.
    pub why: String,
}

/// Medians with their least and most, ratios to wireguard-go, and everything that is missing.
#[must_use]
pub fn table(rounds: &Rounds, missing: &[Missing]) -> String {
    let mut text = medians(rounds);
    if let Some(ratios) = ratios(rounds) {
        text.push('\n');
        text.push_str(&ratios);
    }
    let failures = failures(rounds, missing);
    if !failures.is_empty() {
        text.push('\n');
        text.push_str(&failures);
    }
    let (largest, disturbed, all) = rounds.disturbance();
    let _ = writeln!(
        text,
        "\nOthers took at most {:.0} % of the processors during a sample, and more than 10 % in {disturbed} of {all} samples.",
        largest * 100.0
    );
    text
}

fn medians(rounds: &Rounds) -> String {
    let paths = rounds.paths();
    let mut head = vec!["figure".to_owned(), "unit".to_owned()];
    head.extend(paths.iter().map(|path| path.name().to_owned()));
    let mut rows = vec![head];
    for measure in Measure::ALL {
        let mut row = vec![measure.title().to_owned(), measure.unit().to_owned()];
        row.extend(paths.iter().map(|path| {
            let Some(spread) = rounds.spread(*path, measure) else {
                return NOTHING.to_owned();
            };
            let median = measure.shown(spread.median);
            if spread.rounds < 2 {
                return median;
            }
            format!(
                "{median} ({} to {})",
                measure.shown(spread.least),
                measure.shown(spread.most)
            )
        }));
        rows.push(row);
    }
    aligned(&rows)
}

/// Ratios of our data paths to wireguard-go's; none when it was not measured.
fn ratios(rounds: &Rounds) -> Option<String> {
    let other = DataPath::Peer(Peer::WireguardGo);
    let paths = rounds.paths();
    let ours: Vec<DataPath> = [DataPath::Getvpn, DataPath::GetvpnRaw]
        .into_iter()
        .filter(|path| paths.contains(path))
        .collect();
    if !paths.contains(&other) || ours.is_empty() {
        return None;
    }
    let mut head = vec!["against wireguard-go".to_owned(), "better is".to_owned()];
    for path in &ours {
        head.push(format!("{path}: medians"));
        head.push("worst round".to_owned());
    }
    let mut rows = vec![head];
    for measure in Measure::ALL {
        let better = if measure.more_is_better() {
            "more"
        } else {
            "less"
        };
        let mut row = vec![measure.title().to_owned(), better.to_owned()];
        for path in &ours {
            let ratio = rounds.ratio(*path, other, measure);
            let shown = |value: Option<f64>| {
                value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.2}"))
            };
            row.push(shown(ratio.map(|it| it.medians)));
            row.push(shown(ratio.map(|it| it.worst)));
        }
        rows.push(row);
    }
    Some(aligned(&rows))
}

fn failures(rounds: &Rounds, missing: &[Missing]) -> String {
    let mut text = String::new();
    for Missing { path, why } in missing {
        let _ = writeln!(text, "* not measured: {path}: {}", one_line(why));
    }
    for round in &rounds.all {
        if let Some(why) = &round.failure {
            let _ = writeln!(
                text,
                "* incomplete: {} in round {}: {}",
                round.path,
                round.number,
                one_line(why)
            );
        }
    }
    text
}

/// The first 300 letters, without line breaks.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}

/// A Markdown table; the first row is its head.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod self_tests {
    use super::super::statistics::self_tests::rounds;
    use super::*;

    #[test]
    fn what_is_missing_or_failed_is_said() {
        let mut rounds = rounds(&[(8.0, 100.0), (6.0, 90.0)], &[]);
        rounds.all[1].failure = Some("it carries\nno packets".to_owned());
        let missing = [Missing {
            path: DataPath::Peer(Peer::Nebula),
            why: "no such package".to_owned(),
        }];
        let text = table(&rounds, &missing);
        assert!(text.contains("not measured: nebula: no such package"));
        assert!(text.contains("incomplete: getvpn in round 2: it carries no packets"));
        assert!(!text.contains("against wireguard-go"));
    }

    #[test]
    fn medians_spreads_and_ratios_are_shown() {
        let text = table(
            &rounds(&[(8.0, 100.0), (6.0, 90.0)], &[(4.0, 200.0), (2.0, 180.0)]),
            &[],
        );
        assert!(text.contains("7.00 (6.00 to 8.00)"), "{text}");
        let line = text.lines().find(|line| line.contains("| more"));
        assert!(
            line.is_some_and(|line| line.contains("2.33") && line.contains("2.00")),
            "{text}"
        );
    }
}
