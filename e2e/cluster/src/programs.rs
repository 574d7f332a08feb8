//! Kubernetes' own programs, helm and CoreDNS: built once from Go modules, kept in the cache.
//!
//! The name of a cached directory is a hash of everything that decides what comes out: `go.mod`,
//! `go.sum`, our sources and the flags. Two builders at once are kept apart by a lock.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::command::{find, run, tail};
use crate::lock::Lock;
use crate::place::Place;

/// Version of Kubernetes, as in `kubernetes/go.mod`.
pub(crate) const KUBERNETES: &str = "v1.34.4";

/// The oldest Go that the modules build with (their `go` line).
const GO: (u32, u32) = (1, 25);

/// How often a build says how far it is.
const REPORT: Duration = Duration::from_secs(20);

/// A Go module of this directory and the programs it gives.
pub(crate) struct Module {
    name: &'static str,
    packages: &'static [&'static str],
    version_flags: bool,
}

/// The programs of the cluster itself, and kubectl.
pub(crate) const KUBERNETES_MODULE: Module = Module {
    name: "kubernetes",
    packages: &[
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubectl",
        "k8s.io/kubernetes/cmd/kubelet",
    ],
    version_flags: true,
};

/// Names in the cluster.
pub(crate) const COREDNS_MODULE: Module = Module {
    name: "coredns",
    packages: &["getvpn/e2e/cluster/coredns"],
    version_flags: false,
};

/// Installs charts.
pub(crate) const HELM_MODULE: Module = Module {
    name: "helm",
    packages: &["helm.sh/helm/v4/cmd/helm"],
    version_flags: false,
};

impl Module {
    /// Where its programs are, or will be, in the cache.
    ///
    /// # Errors
    /// When the sources cannot be read.
    pub(crate) fn directory(&self, place: &Place) -> Result<PathBuf> {
        let source = self.source();
        let mut files: Vec<PathBuf> = fs::read_dir(&source)
            .with_context(|| format!("cannot read {}", source.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        files.sort();
        let mut hash = Sha256::new();
        for file in files {
            let text =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            hash.update(text.len().to_be_bytes());
            hash.update(&text);
        }
        hash.update(self.linker_flags());
        hash.update(std::env::consts::ARCH);
        let digest = hash.finalize();
        let short: String = digest
            .iter()
            .take(8)
            .map(|octet| format!("{octet:02x}"))
            .collect();
        Ok(place
            .cache
            .join("cluster")
            .join(format!("{}-{short}", self.name)))
    }

    /// Whether its programs are built.
    ///
    /// # Errors
    /// When the sources cannot be read.
    pub(crate) fn is_built(&self, place: &Place) -> Result<bool> {
        let directory = self.directory(place)?;
        Ok(self
            .packages
            .iter()
            .all(|package| directory.join(program_of(package)).is_file()))
    }

    /// Builds its programs unless they are in the cache; answers their directory.
    ///
    /// # Errors
    /// When Go is missing or too old, or the build fails: with the end of what Go said.
    pub(crate) fn build(&self, place: &Place) -> Result<PathBuf> {
        let directory = self.directory(place)?;
        if self.is_built(place)? {
            return Ok(directory);
        }
        let go = go()?;
        let parent = place.cache.join("cluster");
        fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let _lock = Lock::acquire(&parent.join(format!("{}.lock", self.name)), || {
            println!("another process builds {}: waiting for it", self.name);
        })?;
        if self.is_built(place)? {
            return Ok(directory);
        }
        let part = parent.join(format!("{}.part", self.name));
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        fs::create_dir_all(&part)?;
        self.compile(&go, &part)?;
        fs::rename(&part, &directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(directory)
    }

    fn compile(&self, go: &Path, into: &Path) -> Result<()> {
        let source = self.source();
        let start = Instant::now();
        let names: Vec<&str> = self
            .packages
            .iter()
            .map(|package| program_of(package))
            .collect();
        println!(
            "{}: building {} (once; about ten minutes of two cores for Kubernetes, two to four for the others)",
            self.name,
            names.join(", ")
        );
        run(settings(
            Command::new(go).args(["mod", "download"]),
            &source,
        ))
        .context("the Go modules cannot be downloaded")?;
        let list = run(settings(
            Command::new(go).args(["list", "-deps"]).args(self.packages),
            &source,
        ))?;
        let total = list.lines().count();
        println!(
            "{}: modules are here after {} s; {total} packages to compile",
            self.name,
            start.elapsed().as_secs()
        );
        let mut child = settings(
            Command::new(go)
                .args(["build", "-v", "-ldflags", &self.linker_flags(), "-o"])
                .arg(format!("{}/", into.display()))
                .args(self.packages),
            &source,
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start go")?;
        let done = Arc::new(AtomicUsize::new(0));
        let reader = child.stderr.take().map(|errors| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let mut said = String::new();
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    done.fetch_add(1, Ordering::Relaxed);
                    said.push_str(&line);
                    said.push('\n');
                }
                said
            })
        });
        let mut next = start + REPORT;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > next {
                next += REPORT;
                println!(
                    "{}: {} s, {} of at most {total} packages compiled",
                    self.name,
                    start.elapsed().as_secs(),
                    done.load(Ordering::Relaxed)
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let said = reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default();
        if !status.success() {
            bail!("{}: the build failed:\n{}", self.name, tail(&said, 20));
        }
        println!("{}: built in {} s", self.name, start.elapsed().as_secs());
        Ok(())
    }

    fn source(&self) -> PathBuf {
        Place::source().join(self.name)
    }

    fn linker_flags(&self) -> String {
        let mut flags = "-s -w".to_owned();
        if self.version_flags {
            let mut numbers = KUBERNETES.trim_start_matches('v').split('.');
            let (major, minor) = (
                numbers.next().unwrap_or_default(),
                numbers.next().unwrap_or_default(),
            );
            for package in [
                "k8s.io/component-base/version",
                "k8s.io/client-go/pkg/version",
            ] {
                flags.push_str(&format!(
                    " -X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
                ));
            }
        }
        flags
    }
}

/// Static programs whose octets do not depend on where they were built.
fn settings<'a>(command: &'a mut Command, source: &Path) -> &'a mut Command {
    command
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false")
        .env("GOWORK", "off")
}

/// The program that a package gives.
fn program_of(package: &str) -> &str {
    package.rsplit('/').next().unwrap_or(package)
}

/// The Go toolchain.
fn go() -> Result<PathBuf> {
    let (major, minor) = GO;
    let remedy = format!(
        "Kubernetes is built from its Go modules with Go {major}.{minor} or newer: install it from https://go.dev/dl and put `go` on PATH"
    );
    let Some(go) = find("go") else {
        bail!("Go is not installed. {remedy}");
    };
    let said = run(Command::new(&go).args(["env", "GOVERSION"]))?;
    match version(&said) {
        Some(found) if found >= GO => Ok(go),
        _ => bail!("{} is {}. {remedy}", go.display(), said.trim()),
    }
}

/// Major and minor number of `go1.26.8`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("go")?.split('.');
    let mut next = || {
        let digits: String = numbers
            .next()?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().ok()
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn a_go_release_and_a_candidate_are_compared_by_number() {
        assert_eq!(version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(version("go1.25rc1"), Some((1, 25)));
        assert!(version("go1.9").expect("version") < GO);
        assert_eq!(version("devel"), None);
    }

    #[test]
    fn the_version_in_the_flags_is_the_one_that_the_module_requires() {
        let module = fs::read_to_string(Place::source().join("kubernetes/go.mod")).expect("go.mod");
        assert!(module.contains(&format!("k8s.io/kubernetes {KUBERNETES}")));
        assert!(
            KUBERNETES_MODULE
                .linker_flags()
                .contains("gitMajor=1 -X k8s.io/component-base/version.gitMinor=34")
        );
    }

    #[test]
    fn each_module_has_a_directory_of_its_own_that_does_not_change_by_itself() {
        let place = Place {
            state: "/s".into(),
            cache: "/c".into(),
            port: 1,
        };
        let modules = [KUBERNETES_MODULE, COREDNS_MODULE, HELM_MODULE];
        let names: std::collections::BTreeSet<_> = modules
            .iter()
            .map(|module| module.directory(&place).expect("sources"))
            .collect();
        assert_eq!(names.len(), modules.len());
        let again = KUBERNETES_MODULE.directory(&place).expect("sources");
        assert!(names.contains(&again));
        assert!(again.starts_with("/c/cluster"));
    }
}
