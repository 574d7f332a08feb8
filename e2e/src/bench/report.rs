//! The JSON of a run: everything that the tables are made of, for programs.

use serde_json::{Map, Value, json};

use super::install::Installed;
use super::machine::Machine;
use super::measure::{Measure, Sample};
use super::rounds::{Round, Rounds};
use super::table::Missing;
use super::tunnel::DataPath;

/// The whole report.
#[must_use]
pub fn report(
    machine: &Machine,
    paths: &[(DataPath, Option<Installed>)],
    rounds: &Rounds,
    missing: &[Missing],
) -> Value {
    json!({
        "date": machine.date,
        "commit": machine.commit,
        "machine": {
            "processor": machine.processor,
            "processors": machine.processors,
            "kernel": machine.kernel,
        },
        "versions": versions(machine, paths),
        "medians": medians(rounds),
        "rounds": rounds.all.iter().map(round).collect::<Vec<_>>(),
        "missing": missing
            .iter()
            .map(|it| json!({ "path": it.path.name(), "why": it.why }))
            .collect::<Vec<_>>(),
    })
}

fn versions(machine: &Machine, paths: &[(DataPath, Option<Installed>)]) -> Value {
    let mut versions = Map::new();
    versions.insert(
        "getvpn".to_owned(),
        format!("{} ({})", machine.commit, machine.rustc).into(),
    );
    versions.insert("iperf3".to_owned(), machine.iperf3.clone().into());
    for (path, installed) in paths {
        if let Some(installed) = installed {
            versions.insert(path.name().to_owned(), installed.version.clone().into());
        }
    }
    versions.into()
}

fn medians(rounds: &Rounds) -> Value {
    let mut all = Map::new();
    for path in rounds.paths() {
        let mut figures = Map::new();
        for measure in Measure::ALL {
            if let Some(spread) = rounds.spread(path, measure) {
                figures.insert(
                    measure.name().to_owned(),
                    json!({
                        "unit": measure.unit(),
                        "median": spread.median,
                        "least": spread.least,
                        "most": spread.most,
                        "rounds": spread.rounds,
                    }),
                );
            }
        }
        all.insert(path.name().to_owned(), figures.into());
    }
    all.into()
}

fn round(round: &Round) -> Value {
    json!({
        "path": round.path.name(),
        "round": round.number,
        "failure": round.failure,
        "samples": round.samples.iter().map(sample).collect::<Vec<_>>(),
    })
}

fn sample(sample: &Sample) -> Value {
    let values: Map<String, Value> = sample
        .values
        .iter()
        .map(|(measure, value)| (measure.name().to_owned(), json!(value)))
        .collect();
    json!({
        "load": sample.load.title(),
        "values": values,
        "shareOfOthers": sample.others,
        "repeated": sample.repeated,
    })
}

#[cfg(test)]
mod self_tests {
    use super::super::statistics::self_tests::rounds;
    use super::*;

    #[test]
    fn the_report_names_machine_versions_and_every_sample() {
        let machine = Machine {
            date: "2026-01-02T03:04:05Z".to_owned(),
            commit: "0123456789ab".to_owned(),
            processor: "A Processor".to_owned(),
            processors: 2,
            kernel: "Linux 6.1".to_owned(),
            iperf3: "iperf 3.12".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
        };
        let rounds = rounds(&[(8.0, 100.0), (6.0, 90.0)], &[(4.0, 200.0)]);
        let report = report(&machine, &[(DataPath::Getvpn, None)], &rounds, &[]);
        assert_eq!(report["machine"]["processors"], 2);
        assert_eq!(report["versions"]["getvpn"], "0123456789ab (rustc 1.95.0)");
        assert_eq!(report["medians"]["getvpn"]["tcpOneStream"]["median"], 7.0);
        assert_eq!(report["rounds"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            report["rounds"][2]["samples"][0]["values"]["roundTripMedian"],
            200.0
        );
    }
}
