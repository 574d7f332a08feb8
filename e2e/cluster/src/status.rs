//! What runs.

use std::fmt::Write;

use anyhow::Result;

use crate::command::run;
use crate::kubectl::kubectl;
use crate::place::Place;
use crate::record::{Process, Records};
use crate::shape::Shape;
use crate::{forward, volumes};

/// A page for people, and whether every program runs; none when there is no cluster.
///
/// # Errors
/// When the state directory is damaged.
pub fn status(place: &Place) -> Result<Option<(String, bool)>> {
    let Some(shape) = Shape::read(place)? else {
        return Ok(None);
    };
    let records = Records::read(&place.state)?;
    let mut page = String::new();
    let mut whole = true;
    writeln!(
        page,
        "{:<10} {:<24} {:>8}  STATE",
        "MACHINE", "PROGRAM", "PID"
    )?;
    let mut row = |machine: &str, name: &str, process: Option<&Process>| -> Result<()> {
        let alive = process.is_some_and(Process::is_alive);
        whole &= alive;
        let pid = process
            .filter(|_| alive)
            .map_or_else(|| "-".to_owned(), |process| process.pid.to_string());
        let state = if alive { "running" } else { "NOT RUNNING" };
        writeln!(page, "{machine:<10} {name:<24} {pid:>8}  {state}")?;
        Ok(())
    };
    for name in [forward::NAME, volumes::NAME] {
        row("(outside)", name, records.find(name, None))?;
    }
    for component in shape.components(place)? {
        let process = records.find(component.name, Some(&component.machine));
        row(&component.machine, component.name, process)?;
    }
    for arguments in [
        &["get", "nodes", "--output=wide"][..],
        &["get", "pods", "--all-namespaces", "--output=wide"],
    ] {
        let answer = run(kubectl(place)?.args(arguments).arg("--request-timeout=5s"));
        match answer {
            Ok(table) => write!(page, "\n{table}")?,
            Err(error) => {
                whole = false;
                writeln!(page, "\n{error:#}")?;
            }
        }
    }
    Ok(Some((page, whole)))
}
