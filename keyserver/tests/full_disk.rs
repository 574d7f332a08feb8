//! A disk without room: the key server ends rather than promise what it cannot keep, and goes on when there is room.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyserver_api::request::RekeyRequest;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use support::cluster::PATIENCE;
use support::process::{Processes, keyed, policy};

/// A small file system in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        let none = None::<&Path>;
        let options = Some("size=8m,mode=0700");
        mount(none, directory, Some("tmpfs"), MsFlags::empty(), options).expect("mounted");
        Self(directory.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves not an octet free.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        for size in [64 << 10, 4096, 1] {
            let block = vec![0_u8; size];
            while file.write_all(&block).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_key_server_with_its_name_and_nothing_is_lost() {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "continuous integration must run this as root"
        );
        return;
    }
    let mut servers = Processes::prepare(1);
    let disk = SmallDisk::on(&servers.data(0));
    servers.start(0);
    servers.ready(0).await;
    let client = servers.client(&[0]);
    client
        .put_group(&policy("voice", 7))
        .await
        .expect("accepted");
    let before = keyed(&client, "voice").await;

    disk.fill();
    let deadline = runtime::clock::now() + PATIENCE;
    // A refused change is one that did not happen; the file may still have room for some.
    while client
        .rekey("voice", &RekeyRequest::default())
        .await
        .is_ok()
    {
        assert!(runtime::clock::now() < deadline, "it still finds room");
    }
    while !servers.log(0).contains("no space left") {
        assert!(
            runtime::clock::now() < deadline,
            "it does not say so: {}",
            servers.log(0)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = servers.end(0, Signal::SIGTERM);
    assert_eq!(status.code(), Some(i32::from(runtime::exit::DISK)));
    println!(
        "{}",
        servers
            .log(0)
            .lines()
            .rfind(|line| line.contains("no space left"))
            .unwrap_or_default()
    );

    std::fs::remove_file(disk.filler()).expect("room");
    servers.start(0);
    servers.ready(0).await;
    let after = keyed(&servers.client(&[0]), "voice").await;
    assert_eq!(after.signing_key, before.signing_key);
    assert!(after.generation >= before.generation);
}
