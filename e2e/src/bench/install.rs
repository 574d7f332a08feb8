//! The peers: which version of each is measured, and how it comes onto this machine.
//!
//! What Debian has is installed by `apt-get`; the rest is built once from its pinned source by the registries' own
//! clients, into a directory of the user's cache that carries the version in its name. Everything is said before it is
//! done, and what is there already stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use e2e_cluster::place::Place;
use runtime::shutdown::Shutdown;

use super::child::run;

/// Version of wireguard-go: the newest of May 2025.
const WIREGUARD_GO: &str = "v0.0.0-20250521234502-f333402bd9cb";
/// Version of boringtun-cli.
const BORINGTUN: &str = "0.7.1";
/// Version of gotatun-cli.
const GOTATUN: &str = "0.10.2";
/// How long a build or an installation may take.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// How long a program may take to tell its version.
const ANSWER: Duration = Duration::from_secs(10);

/// Another VPN that runs in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// WireGuard's own implementation in Go
    WireguardGo,
    /// Cloudflare's WireGuard in Rust
    Boringtun,
    /// Mullvad's WireGuard in Rust
    Gotatun,
    /// Nebula, a mesh with certificates, in Go
    Nebula,
    /// OpenVPN without its kernel module
    Openvpn,
    /// strongSwan with its ESP in user space
    Strongswan,
}

/// A peer that is there.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Its daemon.
    pub program: PathBuf,
    /// Its version, and where it came from.
    pub version: String,
}

/// Where a peer comes from.
enum Source {
    /// A program of a Go module.
    Go {
        module: &'static str,
        version: &'static str,
        program: &'static str,
    },
    /// A program of a crate.
    Crate {
        name: &'static str,
        version: &'static str,
        program: &'static str,
    },
    /// A program of Debian, with the packages that it needs.
    Debian {
        program: &'static str,
        packages: &'static [&'static str],
    },
}

impl Peer {
    /// Its name in tables and in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun",
            Self::Gotatun => "gotatun",
            Self::Nebula => "nebula",
            Self::Openvpn => "openvpn",
            Self::Strongswan => "strongswan",
        }
    }

    fn source(self) -> Source {
        match self {
            Self::WireguardGo => Source::Go {
                module: "golang.zx2c4.com/wireguard",
                version: WIREGUARD_GO,
                program: "wireguard",
            },
            Self::Boringtun => Source::Crate {
                name: "boringtun-cli",
                version: BORINGTUN,
                program: "boringtun-cli",
            },
            Self::Gotatun => Source::Crate {
                name: "gotatun-cli",
                version: GOTATUN,
                program: "gotatun",
            },
            Self::Nebula => Source::Debian {
                program: "nebula",
                packages: &["nebula"],
            },
            Self::Openvpn => Source::Debian {
                program: "openvpn",
                packages: &["openvpn"],
            },
            Self::Strongswan => Source::Debian {
                program: "charon-systemd",
                packages: &[
                    "charon-systemd",
                    "strongswan-swanctl",
                    "libstrongswan-standard-plugins",
                    "libcharon-extra-plugins",
                ],
            },
        }
    }

    /// Packages of Debian that it needs, with a file of each that tells whether it is there.
    fn packages(self) -> Vec<&'static str> {
        match (self, self.source()) {
            (_, Source::Debian { packages, .. }) => packages.to_vec(),
            (Self::WireguardGo | Self::Boringtun | Self::Gotatun, _) => vec!["wireguard-tools"],
            (Self::Nebula | Self::Openvpn | Self::Strongswan, _) => Vec::new(),
        }
    }

    /// Installs what is missing; says what before.
    ///
    /// # Errors
    /// When something cannot be installed or built, with what its installer said.
    pub fn install(self, shutdown: &Shutdown) -> Result<Installed> {
        debian(&self.packages(), shutdown)?;
        match self.source() {
            Source::Go {
                module,
                version,
                program,
            } => go(module, version, program, shutdown),
            Source::Crate {
                name,
                version,
                program,
            } => crate_(name, version, program, shutdown),
            Source::Debian { program, packages } => {
                let found = find(program)
                    .with_context(|| format!("{program} is not in {}", packages.join(", ")))?;
                let version = package_version(packages[0], shutdown)?;
                Ok(Installed {
                    program: found,
                    version: format!("{version} (Debian package {})", packages[0]),
                })
            }
        }
    }
}

/// Installs those of these packages that are not there.
fn debian(packages: &[&str], shutdown: &Shutdown) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| package_version(package, shutdown).is_err())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("installing from Debian: {}", missing.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command, LIMIT, shutdown)
    };
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&arguments).map(drop)
}

/// The version of an installed package.
fn package_version(package: &str, shutdown: &Shutdown) -> Result<String> {
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${db:Status-Status} ${Version}", package]);
    let told = run(&mut command, ANSWER, shutdown)?;
    let version = told.strip_prefix("installed ");
    Ok(version
        .with_context(|| format!("{package} is not installed"))?
        .trim()
        .to_owned())
}

fn go(module: &str, version: &str, program: &str, shutdown: &Shutdown) -> Result<Installed> {
    let name = module.rsplit('/').next().unwrap_or(module);
    let directory = place(&format!("{name}-{version}"))?;
    let file = directory.join(program);
    if !file.is_file() {
        if find("go").is_none() {
            bail!("Go is not on PATH: install it from https://go.dev/dl");
        }
        say(&format!("building {module} {version} (half a minute)"));
        fs::create_dir_all(&directory)?;
        let mut command = Command::new("go");
        command
            .args(["install", "-trimpath"])
            .arg(format!("{module}@{version}"))
            .current_dir(&directory)
            .env("GOBIN", &directory)
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0");
        run(&mut command, LIMIT, shutdown)?;
    }
    let go = run(Command::new("go").arg("version"), ANSWER, shutdown).unwrap_or_default();
    let go = go.split(' ').nth(2).unwrap_or("unknown Go").to_owned();
    Ok(Installed {
        program: present(file)?,
        version: format!("{version} (Go module {module}, {go})"),
    })
}

fn crate_(name: &str, version: &str, program: &str, shutdown: &Shutdown) -> Result<Installed> {
    let directory = place(&format!("{name}-{version}"))?;
    let file = directory.join("bin").join(program);
    if !file.is_file() {
        say(&format!(
            "building the crate {name} {version} (some minutes)"
        ));
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command
            .args(["install", "--locked", "--quiet", "--version", version])
            .arg("--root")
            .arg(&directory)
            .arg(name)
            // Nothing of this goes into the workspace's own directory of built things.
            .env_remove("CARGO_TARGET_DIR");
        run(&mut command, LIMIT, shutdown)?;
    }
    Ok(Installed {
        program: present(file)?,
        version: format!("{version} (crate {name})"),
    })
}

fn present(file: PathBuf) -> Result<PathBuf> {
    if !file.is_file() {
        bail!("the build made no {}", file.display());
    }
    Ok(file)
}

/// A directory of the cache.
fn place(name: &str) -> Result<PathBuf> {
    Ok(Place::from_environment()?.cache.join("bench").join(name))
}

/// The program's file on the search path, or in the places of system programs.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory: PathBuf| Path::new(&directory).join(program))
        .find(|file| file.is_file())
}

fn say(text: &str) {
    eprintln!("bench: {text}");
}
