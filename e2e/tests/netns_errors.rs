//! What users see when something is wrong: one clear line, the right exit code, nothing lost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::rig::{Rig, example, root};
use kubectl_getvpn::lab::provision::certificates::{Authority, Subject};

const LIMIT: Duration = Duration::from_secs(30);
/// The files of a member's certificate and its key.
const CERTIFICATE: [&str; 2] = ["ike.pem", "ike.key"];

fn program(name: &str) -> PathBuf {
    let running = std::env::current_exe().expect("running program");
    let beside = running
        .parent()
        .and_then(Path::parent)
        .expect("target directory")
        .join(name);
    std::env::var_os("GETVPN_BIN_DIR")
        .map_or(beside, |directory| PathBuf::from(directory).join(name))
}

/// Exit code and everything printed.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("runs");
    let text = [output.stdout, output.stderr]
        .map(|octets| String::from_utf8_lossy(&octets).into_owned())
        .concat();
    println!("{text}");
    (output.status.code().unwrap_or(-1), text)
}

fn lab_up(text: &str) -> (i32, String) {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("group.yaml");
    std::fs::write(&file, text).expect("file");
    run(Command::new(program("kubectl-getvpn"))
        .args(["lab", "up", "--name", "wrong", "-f"])
        .arg(&file))
}

fn assert_says((code, text): &(i32, String), expected_code: i32, words: &[&str]) {
    assert_eq!(*code, expected_code, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn a_wrong_file_is_refused_with_line_field_and_remedy() {
    if !root() {
        return;
    }
    let good = std::fs::read_to_string(example("quickstart.yaml")).expect("example");
    assert_says(&lab_up("kind: [\n"), 2, &["group.yaml"]);
    let cipher = good.replace("AES256GCM", "AES256CBC");
    assert_says(
        &lab_up(&cipher),
        2,
        &[
            "spec.transform.encryption",
            "may not be a CBC cipher",
            "AES256GCM",
        ],
    );
    let field = good.replace("groupID: 1234", "groupId: 1234");
    assert_says(&lab_up(&field), 2, &["spec.groupId", "groupID"]);
    let prefix = good.replace("source: 10.1.0.0/16", "source: 10.1.0.1/16");
    assert_says(&lab_up(&prefix), 2, &["source", "CIDR without host bits"]);
}

#[test]
fn without_a_tun_device_the_lab_says_so_in_one_line() {
    if !root() {
        return;
    }
    let script = format!(
        "mount -t tmpfs none /dev/net && exec {} lab up --name notun -f {}",
        program("kubectl-getvpn").display(),
        example("quickstart.yaml").display()
    );
    let answer = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
    assert_says(&answer, 2, &["/dev/net/tun", "modprobe tun"]);
    assert_eq!(answer.1.trim().lines().count(), 1, "{}", answer.1);
}

#[test]
fn a_key_server_refuses_what_is_not_its_own() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "ownership", Some(2)).expect("lab");
    let node = rig.lab.node("ks-2").expect("node").clone();
    let start = || {
        run(Command::new("ip")
            .args(["netns", "exec", &node.namespace])
            .arg(&node.program)
            .arg("--config")
            .arg(&node.configuration))
    };
    // The same addresses twice.
    assert_says(&start(), 2, &["metrics.listen", "127.0.0.1:9445", "in use"]);
    // A second process on one volume.
    let configuration = std::fs::read_to_string(&node.configuration).expect("configuration");
    std::fs::write(&node.configuration, configuration.replace("9445", "9545")).expect("write");
    assert_says(&start(), 13, &["data"]);
    std::fs::write(&node.configuration, configuration).expect("write");
    rig.kill("ks-2").expect("kill");
    let database = node
        .configuration
        .parent()
        .expect("directory")
        .join("data/keyserver.redb");
    let kept = std::fs::read(&database).expect("database");
    // A file of somebody else.
    std::fs::write(&database, b"this is no database of a key server").expect("write");
    let (code, text) = start();
    assert!(matches!(code, 10 | 12), "{code}: {text}");
    assert!(text.contains("keyserver.redb"), "{text}");
    assert_eq!(
        std::fs::read(&database).expect("database"),
        b"this is no database of a key server"
    );
    // Another sealing key.
    std::fs::write(&database, &kept).expect("write");
    let sealing = node
        .configuration
        .parent()
        .expect("directory")
        .join("sealing.key");
    let right = std::fs::read(&sealing).expect("key");
    std::fs::write(&sealing, "5a".repeat(32)).expect("write");
    let (code, text) = start();
    assert_eq!(code, 10, "{text}");
    assert!(text.contains("seal"), "{text}");
    // With its own key it is back, and nothing is lost.
    std::fs::write(&sealing, right).expect("write");
    rig.heal("ks-2").expect("heal");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
}

/// Restarts a member and waits until its log says `word`.
fn restart_until_it_says(rig: &mut Rig, name: &str, word: &str) -> String {
    let node = rig.lab.node(name).expect("node").clone();
    rig.kill(name).expect("kill");
    let mut child = Command::new("ip")
        .args(["netns", "exec", &node.namespace])
        .arg(&node.program)
        .arg("--config")
        .arg(&node.configuration)
        .stderr(std::fs::File::create(node.log.with_extension("retry")).expect("log"))
        .spawn()
        .expect("member");
    let text = Rig::wait_for(&format!("`{word}` in the log of {name}"), LIMIT, || {
        let text = std::fs::read_to_string(node.log.with_extension("retry"))?;
        Ok(text.contains(word).then_some(text))
    });
    child.kill().expect("kill");
    child.wait().expect("wait");
    let text = text.unwrap_or_else(|error| {
        panic!(
            "{error:#}: {}",
            std::fs::read_to_string(node.log.with_extension("retry")).unwrap_or_default()
        )
    });
    println!(
        "{}",
        text.lines()
            .rfind(|line| line.contains(word))
            .unwrap_or_default()
    );
    text
}

#[test]
fn a_member_with_the_wrong_key_or_group_says_why_and_leaks_nothing() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("quickstart.yaml"), "wrongkey", Some(2)).expect("lab");
    let watch = rig.watch().expect("capture");
    let node = rig.lab.node("m-1").expect("node").clone();
    let directory = node.configuration.parent().expect("directory").to_owned();
    let right = std::fs::read(directory.join("psk.key")).expect("key");
    std::fs::write(directory.join("psk.key"), "ab".repeat(32)).expect("write");
    restart_until_it_says(&mut rig, "m-1", "refused our identity or our proof of it");
    std::fs::write(directory.join("psk.key"), right).expect("write");

    let configuration = std::fs::read_to_string(&node.configuration).expect("configuration");
    std::fs::write(&node.configuration, configuration.replace("1234", "4321")).expect("write");
    restart_until_it_says(&mut rig, "m-1", "does not know this group");
    std::fs::write(&node.configuration, configuration).expect("write");

    let (answered, _) = rig.ping_all().expect("ping");
    assert_eq!(answered, 0, "an unregistered member is closed");
    rig.heal("m-1").expect("heal");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
    let audit = watch.finish().expect("capture");
    assert!(audit.is_clean(), "{audit:?}");
}

/// Replaces the certificate and key of the member `m-1` by what `authority` issues, and gives what was there before.
fn replace_certificate(
    directory: &Path,
    authority: &Authority,
    last_day: Option<(i32, u8, u8)>,
) -> [Vec<u8>; 2] {
    let subject = Subject {
        common_name: "m-1".to_owned(),
        dns_names: vec!["m-1.member.getvpn".to_owned()],
        addresses: Vec::new(),
    };
    let files = CERTIFICATE.map(|name| directory.join(name));
    let kept = files.each_ref().map(|file| {
        let content = std::fs::read(file).expect("file");
        std::fs::remove_file(file).expect("remove");
        content
    });
    let [chain, key] = &files;
    authority
        .issue_until(&subject, last_day, chain, key)
        .expect("certificate");
    kept
}

/// Puts the right certificate back, with which the member works again.
fn restore_certificate(rig: &mut Rig, directory: &Path, kept: [Vec<u8>; 2]) {
    for (name, content) in CERTIFICATE.iter().zip(kept) {
        std::fs::write(directory.join(name), content).expect("write");
    }
    rig.heal("m-1").expect("heal");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
}

#[test]
fn a_certificate_of_a_foreign_authority_is_refused() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("certificates.yaml"), "foreign", Some(2)).expect("lab");
    let node = rig.lab.node("m-1").expect("node").clone();
    let directory = node.configuration.parent().expect("directory").to_owned();
    let foreign = Authority::new("somebody else").expect("authority");
    let kept = replace_certificate(&directory, &foreign, None);
    restart_until_it_says(&mut rig, "m-1", "refused our identity or our proof of it");
    restore_certificate(&mut rig, &directory, kept);
}

#[test]
fn a_certificate_that_is_over_is_refused_and_the_key_server_says_since_when() {
    if !root() {
        return;
    }
    let mut rig = Rig::up(&example("certificates.yaml"), "expired", Some(2)).expect("lab");
    let authority = Authority::new("trusted as well").expect("authority");
    let key_servers: Vec<_> = ["ks-0", "ks-1", "ks-2"]
        .map(|name| rig.lab.node(name).expect("node").clone())
        .into();
    for node in &key_servers {
        let trust = node
            .configuration
            .parent()
            .expect("directory")
            .join("ike-ca.pem");
        let both = std::fs::read_to_string(&trust).expect("trust anchors");
        std::fs::write(&trust, both + authority.certificate()).expect("write");
        rig.kill(&node.name).expect("kill");
        rig.heal(&node.name).expect("heal");
    }
    let node = rig.lab.node("m-1").expect("node").clone();
    let directory = node.configuration.parent().expect("directory").to_owned();
    let kept = replace_certificate(&directory, &authority, Some((2024, 5, 6)));
    restart_until_it_says(&mut rig, "m-1", "refused our identity or our proof of it");
    let said = key_servers.iter().any(|node| {
        let log = std::fs::read_to_string(&node.log).expect("log");
        let line = log.lines().find(|line| line.contains("2024-05-06"));
        println!("{}", line.unwrap_or_default());
        line.is_some_and(|line| line.contains("CN=m-1") && line.contains("expired"))
    });
    assert!(said, "no key server says what was wrong");
    restore_certificate(&mut rig, &directory, kept);
    // With a certificate of the same authority that is not over, it is let in.
    let kept = replace_certificate(&directory, &authority, None);
    rig.kill("m-1").expect("kill");
    rig.heal("m-1").expect("heal");
    assert_eq!(rig.ping_all().expect("ping"), (2, 2));
    restore_certificate(&mut rig, &directory, kept);
}
