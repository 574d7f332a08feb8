//! A stock strongSwan `charon` in a namespace: an IKEv2 peer that shares no code with getvpn.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// How long charon may take to open its control socket.
const START: Duration = Duration::from_secs(20);

/// A running charon with its own configuration directory and control socket.
pub struct Charon {
    namespace: String,
    directory: TempDir,
    process: Child,
}

impl Charon {
    /// Starts charon in `namespace`. `swanctl` is the text of its `swanctl.conf`; `files` are put below the
    /// configuration directory, for example `x509/peer.pem`.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub fn start(namespace: &str, swanctl: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        let directory = tempfile::tempdir().context("directory for charon")?;
        for name in ["x509", "x509ca", "private", "pkcs8", "rsa", "ecdsa"] {
            fs::create_dir_all(directory.path().join(name))?;
        }
        fs::write(
            directory.path().join("strongswan.conf"),
            strongswan_conf(directory.path()),
        )?;
        fs::write(directory.path().join("swanctl.conf"), swanctl)?;
        for (name, content) in files {
            fs::write(directory.path().join(name), content)?;
        }
        let log = fs::File::create(directory.path().join("output.log"))?;
        let process = inside(namespace, directory.path(), "/usr/sbin/charon-systemd")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start charon-systemd")?;
        let mut charon = Self {
            namespace: namespace.to_owned(),
            directory,
            process,
        };
        charon.wait_for_socket()?;
        charon.swanctl(&["--load-all"])?;
        Ok(charon)
    }

    /// Runs `swanctl` against this charon and answers what it printed.
    ///
    /// # Errors
    /// When it fails; the message has its output and the end of charon's log.
    pub fn swanctl(&self, arguments: &[&str]) -> Result<String> {
        let output = inside(&self.namespace, self.directory.path(), "swanctl")
            .args(arguments)
            .arg("--uri")
            .arg(self.uri())
            .output()
            .context("start swanctl")?;
        let printed = [output.stdout, output.stderr]
            .map(|octets| String::from_utf8_lossy(&octets).into_owned())
            .concat();
        if !output.status.success() {
            bail!("swanctl {}: {printed}\n{}", arguments.join(" "), self.log());
        }
        Ok(printed)
    }

    /// What charon has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("charon.log")).unwrap_or_default()
    }

    fn uri(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("vici")
    }

    fn wait_for_socket(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("charon ended with {status}: {}", self.log());
            }
            if Instant::now() > deadline {
                bail!("charon did not open its control socket: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Charon {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "charon's log:\n{}", self.log());
        }
    }
}

fn inside(namespace: &str, directory: &Path, program: &str) -> Command {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace, program])
        .env("STRONGSWAN_CONF", directory.join("strongswan.conf"))
        .env("SWANCTL_DIR", directory);
    command
}

fn strongswan_conf(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "charon-systemd {{
  load = random nonce openssl pem pkcs1 pkcs8 x509 revocation constraints pubkey aes sha2 sha1 hmac gcm kdf socket-default vici kernel-netlink
  install_routes = no
  install_virtual_ip = no
  signature_authentication_constraints = no
  rsa_pss = yes
  plugins {{ vici {{ socket = unix://{directory}/vici }} }}
  filelog {{ log {{
    path = {directory}/charon.log
    default = 1
    ike = 2
    cfg = 2
    flush_line = yes
  }} }}
}}
"
    )
}
