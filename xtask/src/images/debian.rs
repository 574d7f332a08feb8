//! A program of this machine with exactly the shared libraries that it needs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use e2e_cluster::command::find;
use e2e_cluster::tar::{Entry, Tree};

use super::read;

/// The program in `/usr/bin`, and its libraries and loader where it looks for them.
pub(super) fn program_with_libraries(name: &str) -> Result<Tree> {
    let program = find(name)
        .with_context(|| format!("{name} is not installed: run `xtask/setup --tests`"))?;
    let mut files = Tree::new();
    files.insert(
        format!("usr/bin/{name}"),
        Entry::File(0o755, read(&program)?),
    );
    for library in libraries(&program)? {
        files.insert(
            library.trim_start_matches('/').to_owned(),
            Entry::File(0o755, read(Path::new(&library))?),
        );
    }
    Ok(files)
}

/// Paths that the loader would open; none for a static program.
pub(super) fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot start ldd")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    parse(&said).with_context(|| program.display().to_string())
}

fn parse(said: &str) -> Result<Vec<String>> {
    if said.contains("not a dynamic executable") || said.contains("statically linked") {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for line in said.lines().map(str::trim) {
        // The kernel brings this one.
        if line.is_empty() || line.starts_with("linux-vdso") {
            continue;
        }
        let file = line.split_once(" => ").map_or(line, |(_, file)| file);
        let path = file.split_once(" (").map_or(file, |(path, _)| path);
        if !path.starts_with('/') {
            bail!("a library is not found: {line}");
        }
        paths.push(path.to_owned());
    }
    Ok(paths)
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernels_own_is_not() {
        let said = "\tlinux-vdso.so.1 (0x00007ffb)\n\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            parse(said).expect("parsed"),
            [
                "/lib/x86_64-linux-gnu/libmnl.so.0",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert!(
            parse("\tnot a dynamic executable\n")
                .expect("static")
                .is_empty()
        );
        assert!(parse("\tlibx.so.1 => not found\n").is_err());
    }
}
