//! The numbered behaviours, and the reasons of those that no test shows.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::root;

const ROWS: &str = "docs/reference/get-vpn.tsv";
const EXCEPTIONS: &str = "docs/reference/get-vpn-exceptions.tsv";

/// One behaviour.
pub(super) struct Row {
    pub(super) number: u16,
    pub(super) section: String,
    pub(super) item: String,
    pub(super) check: String,
    /// Other rows whose tests show this one, for rows that only point there.
    pub(super) see: Vec<u16>,
}

/// Why nothing here shows a row.
pub(super) struct Exception {
    pub(super) number: u16,
    pub(super) reason: String,
}

pub(super) fn read() -> Result<Vec<Row>> {
    let rows: Vec<Row> = lines(ROWS)?
        .into_iter()
        .map(|cells| match cells.as_slice() {
            [number, section, item, check] => Ok(Row {
                number: number
                    .parse()
                    .with_context(|| format!("{ROWS}: {number}"))?,
                section: section.clone(),
                item: item.clone(),
                check: check.clone(),
                see: pointer(check),
            }),
            other => bail!("{ROWS}: four cells expected, found {other:?}"),
        })
        .collect::<Result<_>>()?;
    for (expected, row) in (1..).zip(&rows) {
        if row.number != expected {
            bail!("{ROWS}: row {} stands where {expected} belongs", row.number);
        }
    }
    Ok(rows)
}

pub(super) fn read_exceptions() -> Result<Vec<Exception>> {
    lines(EXCEPTIONS)?
        .into_iter()
        .map(|cells| match cells.as_slice() {
            [number, reason] if !reason.is_empty() => Ok(Exception {
                number: number
                    .parse()
                    .with_context(|| format!("{EXCEPTIONS}: {number}"))?,
                reason: reason.clone(),
            }),
            other => bail!("{EXCEPTIONS}: a number and a reason expected, found {other:?}"),
        })
        .collect()
}

fn lines(path: &str) -> Result<Vec<Vec<String>>> {
    let text =
        fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))?;
    Ok(text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect())
}

/// The rows that a check such as `See 38, 59, 71.` points to.
fn pointer(check: &str) -> Vec<u16> {
    check
        .strip_prefix("See ")
        .and_then(|numbers| super::markers::numbers(numbers.trim_end_matches('.')))
        .unwrap_or_default()
}

/// `1, 3-5` for 1, 3, 4, 5.
pub(super) fn spans(numbers: &[u16]) -> String {
    let mut spans: Vec<(u16, u16)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => spans.push((number, number)),
        }
    }
    let words = spans.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn neighbours_are_written_as_a_span() {
        assert_eq!(spans(&[1, 3, 4, 5, 9]), "1, 3-5, 9");
    }

    #[test]
    fn a_check_that_only_points_elsewhere_is_followed() {
        assert_eq!(pointer("See 38, 59, 71."), [38, 59, 71]);
        assert_eq!(pointer("See 104 to 106."), [104, 105, 106]);
        assert!(pointer("Given 3 joins, when 2 see 1").is_empty());
    }
}
