//! OpenSSH's own server on a loopback port, as whoever runs the tests, with a drop folder.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running sshd; it ends with the value.
pub(crate) struct Sshd {
    dir: TempDir,
    pub(crate) port: u16,
    pub(crate) user: String,
    child: Option<Child>,
}

impl Sshd {
    /// Starts one with an ed25519 host key.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with further lines in its configuration.
    pub(crate) fn start_with(config: &str) -> Self {
        let mut sshd = Self::prepare(config);
        sshd.launch();
        sshd
    }

    /// Lays everything out, keys and a free port, and does not start.
    pub(crate) fn prepare(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        for (name, kind) in [
            ("host_ed25519", "ed25519"),
            ("host_rsa", "rsa"),
            ("client", "ed25519"),
        ] {
            keygen(&[
                "-q",
                "-t",
                kind,
                "-N",
                "",
                "-f",
                path.join(name).to_str().unwrap(),
            ]);
        }
        fs::create_dir(path.join("drop")).unwrap();
        fs::copy(path.join("client.pub"), path.join("authorized_keys")).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let sshd = Self {
            user: String::from_utf8(user).unwrap().trim().to_owned(),
            dir,
            port,
            child: None,
        };
        let text = format!(
            "{config}\nListenAddress 127.0.0.1\nPort {port}\nHostKey {dir}/host_ed25519\nUsePAM no\nPidFile none\n\
             AuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nSubsystem sftp internal-sftp\n",
            dir = sshd.dir.path().display(),
        );
        fs::write(sshd.path("sshd_config"), text).unwrap();
        sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{port}"));
        sshd
    }

    /// Starts what was prepared or stopped.
    pub(crate) fn launch(&mut self) {
        // sshd wants the folder that its package's service makes.
        let _ = fs::create_dir_all("/run/sshd");
        let log = fs::File::create(self.path("log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(self.path("sshd_config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(30), "sshd: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes `known_hosts` anew: the public key in `file` for `hosts`.
    pub(crate) fn know(&self, file: &str, hosts: &str) {
        let public = fs::read_to_string(self.path(file)).unwrap();
        let key: Vec<_> = public.split_whitespace().take(2).collect();
        fs::write(
            self.known_hosts(),
            format!("# known\n{hosts} {}\n", key.join(" ")),
        )
        .unwrap();
    }

    /// The fingerprint of the public key in `file`, as OpenSSH prints it.
    pub(crate) fn fingerprint(&self, file: &str) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.path(file))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Locks the client's key with a passphrase.
    pub(crate) fn lock_client_key(&self, passphrase: &str) {
        keygen(&[
            "-q",
            "-p",
            "-P",
            "",
            "-N",
            passphrase,
            "-f",
            self.client_key().to_str().unwrap(),
        ]);
    }

    /// Hides the host names in `known_hosts`.
    pub(crate) fn hash_known_hosts(&self) {
        keygen(&["-q", "-H", "-f", self.known_hosts().to_str().unwrap()]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn drop_dir(&self) -> PathBuf {
        self.path("drop")
    }

    pub(crate) fn client_key(&self) -> PathBuf {
        self.path("client")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.path("known_hosts")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Sessions that are ending are waited for, by sshd: killed before, it leaves them to nobody.
            let sessions = format!("/proc/{0}/task/{0}/children", child.id());
            let started = Instant::now();
            while fs::read_to_string(&sessions).is_ok_and(|pids| !pids.trim().is_empty())
                && started.elapsed() < Duration::from_secs(5)
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn keygen(args: &[&str]) {
    let output = Command::new("ssh-keygen").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
