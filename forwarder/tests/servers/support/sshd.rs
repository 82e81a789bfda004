//! OpenSSH's own server on a loopback port, as whoever runs the tests, with a drop folder.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running sshd; it ends with the value.
pub(crate) struct Sshd {
    dir: TempDir,
    pub(crate) port: u16,
    pub(crate) user: String,
    child: Option<Child>,
    /// What is done as root in a mount namespace of its own before it starts; nothing if it needs none.
    setup: String,
}

/// The user of an [`Sshd::start_with_account`], and who that is.
pub(crate) const ACCOUNT: &str = "ferry";
pub(crate) const ACCOUNT_ID: u32 = 64_999;

/// The password of that user.
pub(crate) const PASSWORD: &str = "open sesame";

/// The same as `crypt(3)` has it, by SHA-512.
const PASSWORD_HASH: &str =
    "$6$ferry$TZuKZK9DkCGG.aZ7/w69SgDOOT4oIODwVurEnwMeBYy5H41WFtzMgmPFNs2eibnaxegm7.dDiymGjtoyZpblS0";

/// Whether the user's password is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordAge {
    Fresh,
    Expired,
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

    /// Starts one that knows an ordinary user with a password, as [`Self::prepare_account`] lays it out.
    pub(crate) fn start_with_account(config: &str, age: PasswordAge) -> Self {
        let mut sshd = Self::prepare_account(config, age);
        sshd.launch();
        sshd
    }

    /// Lays everything out for one that knows an ordinary user with a password: in a mount namespace of its own, over
    /// the system's lists of users, which stay as they are. Needs root, as CI has.
    pub(crate) fn prepare_account(config: &str, age: PasswordAge) -> Self {
        let mut sshd = Self::prepare(config);
        ACCOUNT.clone_into(&mut sshd.user);
        fs::set_permissions(sshd.dir.path(), Permissions::from_mode(0o755)).unwrap();
        chown(sshd.drop_dir(), Some(ACCOUNT_ID), Some(ACCOUNT_ID)).unwrap();
        let (changed, longest) = match age {
            PasswordAge::Fresh => (20_000, 99_999),
            PasswordAge::Expired => (10_000, 1),
        };
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let shadow = fs::read_to_string("/etc/shadow").unwrap();
        for (name, there, text) in [
            (
                "passwd",
                "/etc/passwd",
                format!("{users}{ACCOUNT}:x:{ACCOUNT_ID}:{ACCOUNT_ID}::/:/bin/sh\n"),
            ),
            (
                "shadow",
                "/etc/shadow",
                format!("{shadow}{ACCOUNT}:{PASSWORD_HASH}:{changed}:0:{longest}:7:::\n"),
            ),
            (
                "pam",
                "/etc/pam.d/sshd",
                "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
                    .to_owned(),
            ),
        ] {
            fs::write(sshd.path(name), text).unwrap();
            sshd.mount(&format!("--bind {} {there}", sshd.path(name).display()));
        }
        sshd
    }

    /// Has something mounted in the server's own namespace before it starts; arguments of `mount(8)`.
    pub(crate) fn mount(&mut self, arguments: &str) {
        write!(self.setup, "mount {arguments} && ").unwrap();
    }

    /// A path as the server sees it, which may have something mounted there.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// The process that listens.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
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
            setup: String::new(),
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
        let server = format!(
            "exec /usr/sbin/sshd -D -e -f {}",
            self.path("sshd_config").display()
        );
        let mut command = if self.setup.is_empty() {
            Command::new("sh")
        } else {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh"]);
            command
        };
        let child = command
            .args(["-c", &format!("{}{server}", self.setup)])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().expect("just started").try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < Duration::from_secs(30),
                "sshd does not start (a user or mounts of its own need root): {}",
                self.log()
            );
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

pub(crate) fn keygen(args: &[&str]) {
    let output = Command::new("ssh-keygen").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
