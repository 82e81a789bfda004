//! OpenSSH's server on a loopback port, for the current user. It ends when its value is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::measurement::process::{Child, run_tool};

/// Where OpenSSH keeps its SFTP server, by distribution.
const SFTP_SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

const START_WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct BenchSshd {
    folder: PathBuf,
    pub(super) port: u16,
    pub(super) user: String,
    _child: Child,
}

impl BenchSshd {
    /// Starts it in `folder`, which it creates, and waits until it accepts connections.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for name in ["host", "client"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            run_tool(keygen.arg(folder.join(name)))?;
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = free.context("cannot find a free port")?.port();
        let Some(sftp) = SFTP_SERVERS.iter().find(|path| Path::new(path).is_file()) else {
            bail!("cannot find sftp-server; install the package openssh-sftp-server");
        };
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {dir}/host\nUsePAM no\nPidFile none\nStrictModes no\n\
             AuthorizedKeysFile {dir}/client.pub\nPermitRootLogin yes\nPasswordAuthentication no\n\
             Subsystem sftp {sftp}\n",
            dir = folder.display(),
        );
        write(&folder.join("sshd_config"), &config)?;
        // sshd needs this folder, which the package's service creates; without it sshd reports that.
        let _ = fs::create_dir_all("/run/sshd");
        let log = folder.join("log");
        let stderr = new_file(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
        let child = Child::start(command.stdin(Stdio::null()).stderr(stderr));
        let server = Self {
            folder: folder.to_owned(),
            port,
            user: current_user()?,
            _child: child.context("cannot run /usr/sbin/sshd; install the package openssh-server")?,
        };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() >= START_WAIT_MAX {
                bail!(
                    "sshd does not start: {}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Writes `known_hosts` for connections to `port`.
    pub(super) fn write_known_hosts(&self, port: u16) -> anyhow::Result<()> {
        let path = self.folder.join("host.pub");
        let public = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        write(&self.known_hosts(), &format!("[127.0.0.1]:{port} {public}"))
    }

    pub(super) fn client_key(&self) -> PathBuf {
        self.folder.join("client")
    }

    pub(super) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// The options of OpenSSH's tools for a login here. `port_option`: the tool's option for the port.
    pub(super) fn login_options(&self, port_option: &str, port: u16) -> Vec<String> {
        let mut options = vec![port_option.to_owned(), port.to_string()];
        for option in [
            format!("IdentityFile={}", self.client_key().display()),
            "IdentitiesOnly=yes".to_owned(),
            format!("UserKnownHostsFile={}", self.known_hosts().display()),
            "StrictHostKeyChecking=yes".to_owned(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }
}

fn current_user() -> anyhow::Result<String> {
    let output = Command::new("id").arg("-un").output().context("cannot run id")?;
    let name = String::from_utf8(output.stdout).context("the user's name is not text")?;
    Ok(name.trim().to_owned())
}

/// Writes a file for one run.
pub(super) fn write(path: &Path, contents: &str) -> anyhow::Result<()> {
    let written = new_file(path).and_then(|mut file| file.write_all(contents.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Creates or empties a file for one run, which need not survive a power loss.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).open(path)
}
