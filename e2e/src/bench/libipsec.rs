//! strongSwan with its ESP in user space (kernel-libipsec): AES-256-GCM in UDP, authenticated by a pre-shared key.
//!
//! strongSwan's own documentation says that this data path is not for much traffic. It is here because it is the other
//! ESP in user space; what strongSwan is for, the kernel's IPsec, is not compared.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use runtime::shutdown::Shutdown;

use super::child::{inside, run};
use super::daemons::Daemons;
use super::link::ip;
use super::{ENDS, End, NEAR};

/// How long `swanctl` may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Brings a tunnel up between both ends.
///
/// # Errors
/// When a program fails.
pub(super) fn up(program: &Path, shutdown: &Shutdown) -> Result<Daemons> {
    let mut daemons = Daemons::none()?;
    let directory = daemons.directory().to_owned();
    for (end, other) in ENDS {
        let letter = end.letter;
        // Each charon takes /run for its own.
        let run_directory = directory.join(format!("{letter}.run"));
        fs::create_dir(&run_directory)?;
        let settings = daemons.write(&format!("{letter}.conf"), &settings(end, &directory))?;
        daemons.write(&format!("{letter}.swanctl"), &connection(end, other))?;
        ip(
            &format!("-n {} address add {}/32 dev lo", end.namespace, end.inner),
            shutdown,
        )?;
        let script = format!(
            "mount --bind '{}' /run && exec '{}'",
            run_directory.display(),
            program.display()
        );
        let settings = settings.to_str().context("a path of letters")?;
        daemons.start(
            end,
            Path::new("sh"),
            &["-c", &script],
            &[("STRONGSWAN_CONF", settings)],
        )?;
    }
    for (end, _) in ENDS {
        let file = directory.join(format!("{}.swanctl", end.letter));
        daemons.wait_for("charon's control socket", shutdown, || {
            let file = file.to_str().context("a path of letters")?;
            swanctl(end, &directory, &["--load-all", "--file", file], shutdown)
        })?;
    }
    daemons.wait_for("the IPsec SAs", shutdown, || {
        let arguments = ["--initiate", "--child", "all", "--timeout", "8"];
        swanctl(&NEAR, &directory, &arguments, shutdown)
    })?;
    Ok(daemons)
}

fn swanctl(end: &End, directory: &Path, arguments: &[&str], shutdown: &Shutdown) -> Result<()> {
    let mut command = inside(end.namespace, "swanctl");
    command
        .args(arguments)
        .args(["--uri", &socket(end, directory)])
        .env(
            "STRONGSWAN_CONF",
            directory.join(format!("{}.conf", end.letter)),
        );
    run(&mut command, LIMIT, shutdown).map(drop)
}

fn socket(end: &End, directory: &Path) -> String {
    format!("unix://{}/{}.vici", directory.display(), end.letter)
}

/// The plugin of the data path has to come before the one for the kernel.
fn settings(end: &End, directory: &Path) -> String {
    let socket = socket(end, directory);
    format!(
        "charon-systemd {{
  load = random nonce openssl hmac kdf kernel-libipsec kernel-netlink socket-default vici
  threads = 16
  install_virtual_ip = no
  plugins {{
    vici {{ socket = {socket} }}
    kernel-libipsec {{ allow_peer_ts = yes }}
  }}
}}
swanctl {{ load = pem openssl random }}
"
    )
}

fn connection(end: &End, other: &End) -> String {
    let (own, theirs) = (end.letter, other.letter);
    format!(
        "connections {{ bench {{
  version = 2
  local_addrs = {}
  remote_addrs = {}
  proposals = aes256gcm16-prfsha256-ecp256
  local {{
    auth = psk
    id = {own}.bench
  }}
  remote {{
    auth = psk
    id = {theirs}.bench
  }}
  children {{ all {{
    local_ts = {}/32
    remote_ts = {}/32
    esp_proposals = aes256gcm16
    mode = tunnel
    start_action = none
  }} }}
}} }}
secrets {{ ike-1 {{
  id-1 = a.bench
  id-2 = b.bench
  secret = \"two namespaces and nobody else\"
}} }}
",
        end.outer, other.outer, end.inner, other.inner
    )
}
