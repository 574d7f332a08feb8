//! The plot of a run: one panel for each figure, one bar for each data path, in one SVG.

use std::fmt::Write as _;

use super::machine::Machine;
use super::measure::Measure;
use super::rounds::{Rounds, Spread};
use super::tunnel::DataPath;

/// Panels side by side.
const COLUMNS: usize = 2;
/// Width of a panel, of the names left of its bars, and of the room for values right of them.
const WIDTH: f64 = 520.0;
/// See [`WIDTH`].
const NAMES: f64 = 118.0;
/// See [`WIDTH`].
const VALUES: f64 = 78.0;
/// Height of a panel's title, and of a bar with the gap below it.
const TITLE: f64 = 34.0;
/// See [`TITLE`].
const BAR: f64 = 22.0;
/// Around and between panels.
const GAP: f64 = 26.0;
/// Height of the head of the plot with title and legend.
const HEAD: f64 = 92.0;

const OURS: &str = "#1f6fb2";
const THEIRS: &str = "#c58a35";
const BARE: &str = "#9aa3ab";
const TEXT: &str = "#1c2126";
const FAINT: &str = "#5c666f";

/// The plot.
#[must_use]
pub fn svg(machine: &Machine, rounds: &Rounds) -> String {
    let paths = rounds.paths();
    let panels: Vec<Measure> = Measure::ALL
        .into_iter()
        .filter(|measure| {
            paths
                .iter()
                .any(|path| rounds.spread(*path, *measure).is_some())
        })
        .collect();
    let panel = TITLE + BAR * paths.len() as f64;
    let lines = panels.len().div_ceil(COLUMNS) as f64;
    let columns = COLUMNS as f64;
    let width = GAP + columns * (WIDTH + GAP);
    let height = HEAD + lines * (panel + GAP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"{TEXT}\">\n\
         <title>getvpn and other data paths on one machine</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    head(&mut text, machine, rounds);
    for (number, measure) in panels.into_iter().enumerate() {
        let x = GAP + (number % COLUMNS) as f64 * (WIDTH + GAP);
        let y = HEAD + (number / COLUMNS) as f64 * (panel + GAP);
        let _ = writeln!(text, "<g transform=\"translate({x} {y})\">");
        draw(&mut text, measure, &paths, rounds);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

/// Title, machine and legend.
fn head(text: &mut String, machine: &Machine, rounds: &Rounds) {
    let day = machine.date.split('T').next().unwrap_or_default();
    let number = rounds.all.iter().map(|round| round.number).max();
    let _ = writeln!(
        text,
        "<text x=\"{GAP}\" y=\"32\" font-size=\"18\" font-weight=\"600\">Data paths between two namespaces of one machine</text>\n\
         <text x=\"{GAP}\" y=\"52\" fill=\"{FAINT}\">{}</text>",
        escaped(&format!(
            "{}, {} processors, {}; getvpn {}; {day}; rounds: {}",
            machine.processor,
            machine.processors,
            machine.kernel,
            machine.commit,
            number.unwrap_or(0)
        ))
    );
    let mut x = GAP;
    for (colour, name) in [
        (OURS, "getvpn"),
        (THEIRS, "other VPNs"),
        (BARE, "no tunnel"),
    ] {
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"65\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"76\">{name}</text>",
            x + 18.0
        );
        x += 110.0;
    }
    let _ = writeln!(
        text,
        "<path d=\"M{x} 71h24m-24 -4v8m24 -8v8\" stroke=\"{TEXT}\" fill=\"none\"/>\
         <text x=\"{}\" y=\"76\">bar: median of the rounds; line: least to most</text>",
        x + 32.0
    );
}

/// One panel, with its upper left corner at the origin.
fn draw(text: &mut String, measure: Measure, paths: &[DataPath], rounds: &Rounds) {
    let better = if measure.more_is_better() {
        "more is better"
    } else {
        "less is better"
    };
    let _ = writeln!(
        text,
        "<text x=\"0\" y=\"16\" font-weight=\"600\">{}, {}<tspan dx=\"6\" font-weight=\"400\" fill=\"{FAINT}\">({better})</tspan></text>",
        escaped(measure.title()),
        escaped(measure.unit())
    );
    let spreads: Vec<(DataPath, Option<Spread>)> = paths
        .iter()
        .map(|path| (*path, rounds.spread(*path, measure)))
        .collect();
    let most = spreads
        .iter()
        .filter_map(|(_, spread)| spread.map(|it| it.most))
        .fold(0.0, f64::max);
    let scale = if most > 0.0 {
        (WIDTH - NAMES - VALUES) / most
    } else {
        0.0
    };
    for (number, (path, spread)) in spreads.iter().enumerate() {
        let y = TITLE - 8.0 + BAR * number as f64;
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            NAMES - 8.0,
            y + 12.0,
            escaped(path.name())
        );
        bar(text, measure, *path, *spread, y, scale);
    }
}

fn bar(
    text: &mut String,
    measure: Measure,
    path: DataPath,
    spread: Option<Spread>,
    y: f64,
    scale: f64,
) {
    let Some(spread) = spread else {
        let _ = writeln!(
            text,
            "<text x=\"{NAMES}\" y=\"{}\" fill=\"{FAINT}\">none</text>",
            y + 12.0
        );
        return;
    };
    let at = |value: f64| NAMES + value * scale;
    let colour = match path {
        DataPath::Veth => BARE,
        DataPath::Getvpn | DataPath::GetvpnRaw => OURS,
        DataPath::Peer(_) => THEIRS,
    };
    let _ = writeln!(
        text,
        "<rect x=\"{NAMES}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>",
        spread.median * scale
    );
    if spread.most > spread.least {
        let _ = writeln!(
            text,
            "<path d=\"M{:.1} {:.1}H{:.1}m0 -4v8M{:.1} {:.1}v8\" stroke=\"{TEXT}\" fill=\"none\"/>",
            at(spread.least),
            y + 8.0,
            at(spread.most),
            at(spread.least),
            y + 4.0
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{}\">{}</text>",
        at(spread.most) + 7.0,
        y + 12.0,
        escaped(&measure.shown(spread.median))
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod self_tests {
    use super::super::statistics::self_tests::rounds;
    use super::*;

    fn machine() -> Machine {
        Machine {
            date: "2026-01-02T03:04:05Z".to_owned(),
            commit: "0123456789ab".to_owned(),
            processor: "A <Processor> & more".to_owned(),
            processors: 2,
            kernel: "Linux 6.1".to_owned(),
            iperf3: "iperf 3.12".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
        }
    }

    /// Tags that are open at the end, outermost first; panics where one is closed that is not open.
    fn open(text: &str) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        for part in text.split('<').skip(1) {
            let (tag, content) = part.split_once('>').expect("a tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            assert!(!content.contains('>'), "{content}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else if !tag.ends_with('/') {
                let name = tag.split_whitespace().next().unwrap_or_default();
                open.push(name.to_owned());
            }
        }
        open
    }

    #[test]
    fn the_plot_is_well_formed_and_shows_every_data_path() {
        let rounds = rounds(&[(8.0, 100.0), (6.0, 90.0)], &[(4.0, 200.0)]);
        let text = svg(&machine(), &rounds);
        assert_eq!(open(&text), Vec::<String>::new());
        assert!(text.contains("A &lt;Processor&gt; &amp; more"));
        // Two figures, two data paths, and the legend's three squares on a white ground.
        assert_eq!(text.matches("<rect").count(), 4 + 3 + 1);
        for name in ["getvpn", "wireguard-go"] {
            assert!(text.matches(&format!(">{name}</text>")).count() >= 2);
        }
    }

    #[test]
    fn a_figure_that_is_nothing_draws_no_bar_of_no_number() {
        let text = svg(&machine(), &rounds(&[(0.0, 0.0)], &[(0.0, 0.0)]));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert_eq!(
            open(&svg(&machine(), &Rounds::default())),
            Vec::<String>::new()
        );
    }
}
