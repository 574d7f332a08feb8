//! `cargo xtask images`: container images of our programs, built without a registry or a daemon.
//!
//! The programs are static, so an image holds a program, its licence and little else; the group member
//! brings `nft` with exactly the libraries it needs. No image of the product holds a shell.
//!
//! With `--profile dev` the programs are those that tests on this machine use already, with the libraries they need: a
//! second build of everything would take minutes. That profile is for tests, not for use.

mod debian;
mod recipe;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use e2e_cluster::place::Place;

use crate::{root, target_directory, workspace};
use recipe::{RECIPES, Recipe};

/// Options of `cargo xtask images`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these images; all without it
    #[arg(long = "only", value_name = "NAME", value_parser = names())]
    only: Vec<String>,
    /// Build profile of our programs
    #[arg(long, default_value = "release")]
    profile: String,
    /// Tag of the images; the version of the workspace without it
    #[arg(long)]
    tag: Option<String>,
    /// Load the images into the running cluster too
    #[arg(long)]
    load: bool,
}

impl Arguments {
    /// All images with programs of a profile, loaded into the running cluster.
    pub(crate) fn all(profile: &str) -> Self {
        Self {
            only: Vec::new(),
            profile: profile.to_owned(),
            tag: None,
            load: true,
        }
    }
}

fn names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(RECIPES.map(|recipe| recipe.name))
}

/// Builds the programs and packs the images.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let wanted: Vec<&Recipe> = RECIPES
        .iter()
        .filter(|recipe| {
            arguments.only.is_empty() || arguments.only.iter().any(|name| name == recipe.name)
        })
        .collect();
    let programs: Vec<_> = wanted.iter().flat_map(|recipe| recipe.programs).collect();
    let directory = if arguments.profile == "dev" {
        development_programs(&programs)?
    } else {
        build(&programs, &arguments.profile)?
    };
    let tag = arguments
        .tag
        .as_deref()
        .unwrap_or(env!("CARGO_PKG_VERSION"));
    for recipe in wanted {
        let image = recipe.image(&directory, tag)?;
        let file = archive(recipe.name);
        let digest = image.write(&file)?;
        let size = std::fs::metadata(&file)?.len() / 1024;
        println!(
            "{}  {digest}  {size} KiB  {}",
            image.reference,
            file.display()
        );
        if arguments.load {
            e2e_cluster::load::load(&Place::from_environment()?, &file)?;
        }
    }
    Ok(())
}

/// Where an image is put.
fn archive(name: &str) -> PathBuf {
    target_directory()
        .join("images")
        .join(format!("{name}.tar"))
}

/// Builds static programs; answers their directory.
fn build(programs: &[&(&str, &str)], profile: &str) -> Result<PathBuf> {
    let target = target_triple()?;
    let directory = target_directory().join(&target).join(profile);
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args(["build", "--locked", "--target", &target])
        .args(["--profile", profile])
        // Since release 2.34 glibc has the ways to DNS and /etc/hosts in itself, so that a static
        // program resolves names without any file of the system; a test of the cluster does it.
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    for (package, program) in programs {
        command.args(["-p", package, "--bin", program]);
    }
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the build of the programs failed");
    }
    for (_, program) in programs {
        let file = directory.join(program);
        let libraries = debian::libraries(&file)?;
        if !libraries.is_empty() {
            bail!(
                "{} is not static: it needs {}",
                file.display(),
                libraries.join(", ")
            );
        }
    }
    Ok(directory)
}

/// The programs as tests build them, without their line tables, which would make them several times as large; answers
/// their directory.
fn development_programs(programs: &[&(&str, &str)]) -> Result<PathBuf> {
    workspace::build()?;
    let built = target_directory().join("debug");
    let stripped = target_directory().join("images").join("programs");
    std::fs::create_dir_all(&stripped)
        .with_context(|| format!("cannot make {}", stripped.display()))?;
    for (_, program) in programs {
        e2e_cluster::command::run(
            Command::new("strip")
                .arg("-o")
                .arg(stripped.join(program))
                .arg(built.join(program)),
        )?;
    }
    Ok(stripped)
}

/// The target of this machine, with the C library that the toolchain uses.
fn target_triple() -> Result<String> {
    let said = e2e_cluster::command::run(
        Command::new("rustc")
            .current_dir(root())
            .args(["--version", "--verbose"]),
    )?;
    said.lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .context("rustc does not say what machine this is")
}

/// Reads a file, with its name in the error.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
