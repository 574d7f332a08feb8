//! `cargo xtask instructions`: what a packet, a message and a registration cost, against what they cost before.
//!
//! callgrind counts instructions, so the figures are the same on a busy machine. Each case runs with two numbers of
//! repetitions; the difference holds nothing of its preparation. The figures to hold are in
//! `docs/benchmarks/instructions.tsv`; a case may cost [`SLACK`] more than there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{root, target_directory};

/// Options of `cargo xtask instructions`.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Write the figures of this run as those to hold from now on
    #[arg(long)]
    update: bool,
}

const PAGE: &str = "docs/benchmarks/instructions.tsv";
const HEAD: &str = "# Instructions (callgrind). Written by `cargo xtask instructions --update`.\n\
                    # case\tinstructions\tof one\n";
/// Share by which a case may cost more than its figure.
const SLACK: f64 = 0.03;
/// Repetitions of the two runs of a cheap case, and of one that takes millions of instructions.
const CHEAP: (u64, u64) = (200, 1200);
const DEAR: (u64, u64) = (2, 12);

struct Figure {
    name: String,
    unit: String,
    instructions: f64,
}

/// Counts all cases; fails when one costs more than it may.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let figures = count()?;
    let page = root().join(PAGE);
    if arguments.update {
        write(&page, &figures)?;
        println!("{PAGE} written");
        return Ok(());
    }
    let held = read(&page)?;
    let mut dearer = Vec::new();
    for Figure {
        name, instructions, ..
    } in &figures
    {
        let known = held
            .iter()
            .find(|figure| figure.name == *name)
            .ok_or_else(|| anyhow!("{PAGE} has no figure for {name}: run with --update"))?;
        let change = instructions / known.instructions - 1.0;
        println!(
            "{name:<40} {instructions:>12.1}  {:>+6.2} %",
            change * 100.0
        );
        if change > SLACK {
            dearer.push(format!(
                "{name}: {instructions:.1} instructions, {:.1} before",
                known.instructions
            ));
        }
    }
    ensure!(
        dearer.is_empty(),
        "dearer than {PAGE} allows; make it cheaper, or run with --update and say in the commit why it is worth it:\n  {}",
        dearer.join("\n  ")
    );
    Ok(())
}

fn count() -> Result<Vec<Figure>> {
    let built = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--release", "--locked", "-p", "instructions"])
        .status()?;
    ensure!(built.success(), "the cases do not build");
    let program = target_directory().join("release/instructions");
    let list = Command::new(&program).arg("list").output()?;
    ensure!(list.status.success(), "{} list failed", program.display());
    String::from_utf8(list.stdout)?
        .lines()
        .map(|line| {
            let mut words = line.split('\t');
            let (Some(name), Some(unit), Some(units)) = (words.next(), words.next(), words.next())
            else {
                bail!("unexpected line of `instructions list`: {line:?}");
            };
            let units: u64 = units.parse()?;
            let (few, many) = if unit.starts_with("registration") {
                DEAR
            } else {
                CHEAP
            };
            let difference = callgrind(&program, name, many)?
                .checked_sub(callgrind(&program, name, few)?)
                .with_context(|| format!("{name}: more repetitions took fewer instructions"))?;
            Ok(Figure {
                name: name.to_owned(),
                unit: unit.to_owned(),
                instructions: difference as f64 / ((many - few) * units) as f64,
            })
        })
        .collect()
}

/// Instructions of a whole run.
fn callgrind(program: &Path, case: &str, times: u64) -> Result<u64> {
    let out: PathBuf = target_directory().join(format!("callgrind.{case}.{times}"));
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([case, &times.to_string()])
        .output()
        .context("cannot start valgrind (xtask/setup --tests installs it)")?;
    ensure!(
        run.status.success(),
        "{case} failed under valgrind:\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let text = std::fs::read_to_string(&out)?;
    std::fs::remove_file(&out)?;
    total(&text).with_context(|| format!("no total in what callgrind wrote about {case}"))
}

/// The total of a callgrind file: its line `totals:`, or `summary:` where there is none.
fn total(text: &str) -> Option<u64> {
    ["totals: ", "summary: "].iter().find_map(|key| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    })
}

fn read(page: &Path) -> Result<Vec<Figure>> {
    let text = std::fs::read_to_string(page)
        .with_context(|| format!("cannot read {PAGE}: run with --update"))?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split('\t');
            let figure = (|| {
                Some(Figure {
                    name: words.next()?.to_owned(),
                    instructions: words.next()?.parse().ok()?,
                    unit: words.next()?.to_owned(),
                })
            })();
            figure.with_context(|| format!("{PAGE}: unexpected line {line:?}"))
        })
        .collect()
}

fn write(page: &Path, figures: &[Figure]) -> Result<()> {
    let mut text = HEAD.to_owned();
    for figure in figures {
        writeln!(
            text,
            "{}\t{:.1}\t{}",
            figure.name, figure.instructions, figure.unit
        )?;
    }
    if let Some(directory) = page.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(page, text).with_context(|| format!("cannot write {PAGE}"))
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_what_callgrind_writes() {
        assert_eq!(
            total("version: 1\nevents: Ir\nsummary: 7\n\nfn=(1)\ntotals: 1234\n"),
            Some(1234)
        );
        assert_eq!(total("summary: 7\n"), Some(7));
        assert_eq!(total("fn=(1)\n"), None);
    }
}
