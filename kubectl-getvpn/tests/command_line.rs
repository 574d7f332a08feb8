//! The command line: exit codes, and words that say what is wrong and what to do.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The plugin under test.
const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-getvpn");

/// User and group id of nobody.
const NOBODY: u32 = 65_534;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

/// Whether the test can run here; in continuous integration it must.
fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "continuous integration must run the lab tests as root"
    );
    root
}

/// Exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    finish(Command::new(PLUGIN).args(arguments))
}

fn finish(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("the plugin runs");
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("text");
    (
        output.status.code().expect("no signal"),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Runs `lab up` with this text as its file.
fn up_with(text: &str) -> (i32, String) {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("lab.yaml");
    std::fs::write(&file, text).expect("file");
    let (code, _, errors) = run(&["lab", "up", "-f", file.to_str().expect("text")]);
    (code, errors)
}

#[test]
fn help_shows_examples_and_version_is_one_line() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    assert!(help.contains("kubectl getvpn lab up -f examples/quickstart.yaml"));
    assert!(help.contains("Exit codes"));
    let (code, version, _) = run(&["version"]);
    assert_eq!(code, 0);
    assert_eq!(version.lines().count(), 1, "{version}");
}

#[test]
fn the_rule_that_decides_about_a_packet_is_named() {
    let file = example("quickstart.yaml");
    let file = file.to_str().expect("text");
    let (code, said, errors) = run(&["explain", "-f", file, "10.1.1.2", "10.1.2.2"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(
        said,
        "branch: rule `branches` of `branch-to-branch` encrypts it\n"
    );
    let (_, said, _) = run(&["explain", "-f", file, "192.0.2.1", "10.1.2.2"]);
    assert_eq!(said, "branch: no rule fits it, so it goes in clear\n");
}

#[test]
fn completion_knows_every_command_but_not_the_hidden_one() {
    let (code, script, _) = run(&["completion", "bash"]);
    assert_eq!(code, 0);
    for command in [
        "up",
        "status",
        "ping",
        "capture",
        "partition",
        "heal",
        "down",
    ] {
        assert!(script.contains(command), "{command}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut plugin = Command::new(PLUGIN)
        .arg("version")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the plugin runs");
    drop(plugin.stdout.take());
    let output = plugin.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.is_empty(), "{errors}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [
        &["lab"][..],
        &["lab", "up"],
        &["lab", "ping", "m-1"],
        &["lab", "ping", "m-1", "m-2", "--all"],
        &["lab", "capture", "--seconds", "0"],
        &["lab", "status", "-o", "xml"],
    ] {
        let (code, _, errors) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {errors}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, errors) = run(&["lab", "up", "-f", "/nowhere/group.yaml"]);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("cannot read /nowhere/group.yaml"),
        "{errors}"
    );
}

#[test]
fn what_the_operator_would_not_accept_is_refused_with_object_field_and_remedy() {
    let good = std::fs::read_to_string(example("quickstart.yaml")).expect("example");
    let stray = good.replacen(
        "groupRef:\n    name: branch",
        "groupRef:\n    name: brunch",
        1,
    );
    assert_ne!(stray, good);
    let (code, errors) = up_with(&stray);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("SecurityAssociation `branch-to-branch`"),
        "{errors}"
    );
    assert!(
        errors.contains("there is no GetVpnGroup `brunch`"),
        "{errors}"
    );

    let (_, member_alone) = good.rsplit_once("---\n").expect("several documents");
    let (code, errors) = up_with(member_alone);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("there is no GetVpnGroup in this file"),
        "{errors}"
    );
}

#[test]
fn a_wrong_lab_annotation_says_what_it_may_be() {
    let good = std::fs::read_to_string(example("quickstart.yaml")).expect("example");
    for wrong in ["\"0\"", "\"four\"", "\"m-1,x\"", "\"2000\""] {
        let text = good.replace("members: \"4\"", &format!("members: {wrong}"));
        assert_ne!(text, good);
        let (code, errors) = up_with(&text);
        assert_eq!(code, 2, "{errors}");
        assert!(
            errors.contains("it must be a number from 1 to 1000, or names"),
            "{errors}"
        );
    }
    let text = good.replacen(
        "metadata:\n",
        "metadata:\n  annotations: {lab.getvpn.dev/time-scale: \"20\"}\n",
        1,
    );
    let (code, errors) = up_with(&text);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("above 0 and at most 1"), "{errors}");
}

#[test]
fn a_name_that_could_leave_the_state_directory_is_refused() {
    if !root() {
        return;
    }
    for name in ["../x", "A", ""] {
        let (code, _, errors) = run(&["lab", "down", "--name", name]);
        assert_eq!(code, 2, "{name}: {errors}");
        assert!(errors.contains("must be 1 to 30 characters"), "{errors}");
    }
}

#[test]
fn a_lab_that_is_not_up_is_said_to_be_so() {
    if !root() {
        return;
    }
    let (code, _, errors) = run(&["lab", "status", "--name", "never-started"]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("no lab `never-started` is up"), "{errors}");
    assert!(errors.contains("lab up -f FILE"), "{errors}");
    let (code, output, _) = run(&["lab", "down", "--name", "never-started"]);
    assert_eq!(code, 0, "ending what is not there is fine");
    assert!(output.contains("was not up"), "{output}");
}

#[test]
fn without_root_the_lab_says_so_in_one_line() {
    if !root() {
        return;
    }
    // The target directory may be one that this user cannot read.
    let directory = tempfile::tempdir().expect("directory");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybody).expect("mode");
    let plugin = directory.path().join("kubectl-getvpn");
    std::fs::copy(PLUGIN, &plugin).expect("copy");
    let file = directory.path().join("lab.yaml");
    std::fs::copy(example("quickstart.yaml"), &file).expect("copy");
    let up = [Path::new("lab"), Path::new("up"), Path::new("-f"), &file];
    let (code, _, errors) = finish(
        Command::new(&plugin)
            .args(up)
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY),
    );
    assert_eq!(code, 2, "{errors}");
    assert_eq!(errors.trim().lines().count(), 1, "{errors}");
    assert!(errors.contains("needs root"), "{errors}");
}

#[test]
fn a_missing_program_of_the_product_is_named_with_the_way_to_get_it() {
    if !root() {
        return;
    }
    let empty = tempfile::tempdir().expect("directory");
    let (code, _, errors) = finish(
        Command::new(PLUGIN)
            .args([Path::new("lab"), Path::new("up"), Path::new("-f")])
            .arg(example("quickstart.yaml"))
            .env("GETVPN_BIN_DIR", empty.path()),
    );
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("the program `keyserver` is not in"),
        "{errors}"
    );
    assert!(errors.contains("cargo build"), "{errors}");
}
