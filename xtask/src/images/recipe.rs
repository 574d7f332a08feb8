//! What goes into which image.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use e2e_cluster::image::Image;
use e2e_cluster::tar::{Entry, Tree};

use super::{debian, read};
use crate::root;

/// A user without rights, as in other images without a distribution.
const NOBODY: &str = "65532:65532";
/// Only its owner may open a TUN device.
const ROOT: &str = "0:0";

/// An image to build.
pub(super) struct Recipe {
    /// Name below `docker.io/getvpn/`, and of the archive.
    pub(super) name: &'static str,
    /// Our programs: package and program. The first is what a container runs.
    pub(super) programs: &'static [(&'static str, &'static str)],
    title: &'static str,
    user: &'static str,
    /// Programs of this machine, with the libraries they need.
    system: &'static [&'static str],
    /// A shell and the usual tools, as links to one program; then a container says what it runs.
    tools: bool,
}

/// Every image.
pub(super) const RECIPES: [Recipe; 4] = [
    Recipe {
        name: "keyserver",
        programs: &[("keyserver", "keyserver")],
        title: "Cooperative key server of GET VPN groups",
        user: NOBODY,
        system: &[],
        tools: false,
    },
    Recipe {
        name: "operator",
        programs: &[("operator", "operator")],
        title: "Kubernetes operator of GET VPN groups",
        user: NOBODY,
        system: &[],
        tools: false,
    },
    Recipe {
        name: "gm-sidecar",
        programs: &[("gm-sidecar", "gm-sidecar")],
        title: "Member of GET VPN groups",
        user: ROOT,
        system: &["nft"],
        tools: false,
    },
    Recipe {
        name: "e2e-tools",
        programs: &[("e2e-cluster", "probe")],
        title: "Tools for tests of getvpn, not for use elsewhere",
        user: NOBODY,
        system: &["iperf3", "ping", "etcd", "etcdctl"],
        tools: true,
    },
];

impl Recipe {
    /// The image, from programs in `directory`.
    pub(super) fn image(&self, directory: &Path, tag: &str) -> Result<Image> {
        let mut files = Tree::new();
        let mut add = |path: &str, mode: u32, content: Vec<u8>| {
            files.insert(path.to_owned(), Entry::File(mode, content));
        };
        for (_, program) in self.programs {
            let file = directory.join(program);
            add(&format!("usr/bin/{program}"), 0o755, read(&file)?);
            // None for a static program.
            for library in debian::libraries(&file)? {
                add(
                    library.trim_start_matches('/'),
                    0o755,
                    read(Path::new(&library))?,
                );
            }
        }
        // The sidecar's probes name the program by a path that does not depend on how an image is laid out.
        if let [(_, program)] = self.programs
            && !self.tools
        {
            files.insert(
                (*program).to_owned(),
                Entry::Link(format!("usr/bin/{program}")),
            );
        }
        let mut add = |path: &str, mode: u32, content: Vec<u8>| {
            files.insert(path.to_owned(), Entry::File(mode, content));
        };
        add(
            "usr/share/doc/getvpn/LICENSE",
            0o644,
            read(&root().join("LICENSE"))?,
        );
        // Names of the two users; /etc/hosts is asked before DNS.
        for (path, text) in [
            (
                "etc/passwd",
                "root:x:0:0:root:/:/nologin\nnonroot:x:65532:65532:nonroot:/:/nologin\n",
            ),
            ("etc/group", "root:x:0:\nnonroot:x:65532:\n"),
            ("etc/nsswitch.conf", "hosts: files dns\n"),
        ] {
            add(path, 0o644, text.as_bytes().to_vec());
        }
        files.insert("tmp".to_owned(), Entry::Directory(0o1777));
        for program in self.system {
            files.extend(debian::program_with_libraries(program)?);
        }
        let mut entry_point = Vec::new();
        if self.tools {
            files.extend(shell()?);
        } else if let Some((_, program)) = self.programs.first() {
            entry_point.push(format!("/usr/bin/{program}"));
        }
        let labels = [
            ("title", format!("getvpn {}", self.name)),
            ("description", self.title.to_owned()),
            ("version", tag.to_owned()),
            ("licenses", env!("CARGO_PKG_LICENSE").to_owned()),
        ];
        Ok(Image {
            reference: format!("docker.io/getvpn/{}:{tag}", self.name),
            files,
            entry_point,
            user: self.user.to_owned(),
            environment: vec!["PATH=/usr/bin:/bin".to_owned()],
            labels: BTreeMap::from(
                labels.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)),
            ),
        })
    }
}

/// Busybox, which must be the one with shared libraries (the static one cannot resolve names), and a link for each of its
/// tools.
fn shell() -> Result<Tree> {
    let mut files = debian::program_with_libraries("busybox")?;
    let list = e2e_cluster::command::run(Command::new("busybox").arg("--list"))?;
    for name in list.lines().filter(|name| *name != "busybox") {
        files.insert(
            format!("bin/{name}"),
            Entry::Link("/usr/bin/busybox".to_owned()),
        );
    }
    Ok(files)
}
