//! OpenSSH's own server on a loopback port, run by the current user, with a drop folder.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running sshd; it ends with the value.
pub struct Sshd {
    dir: TempDir,
    /// The port.
    pub port: u16,
    /// The user who logs in.
    pub user: String,
    child: Option<Child>,
    /// Shell commands that root runs in a mount namespace of its own before the server starts; usually none.
    setup: String,
    /// The command that changes the server's root folder; usually none.
    chroot: String,
}

/// The user of an [`Sshd::start_with_account`].
pub const ACCOUNT: &str = "ferry";

/// The id of that user.
pub const ACCOUNT_ID: u32 = 64_999;

/// The password of that user.
pub const PASSWORD: &str = "open sesame";

/// Its SHA-512 hash (crypt(3)).
const PASSWORD_HASH: &str =
    "$6$ferry$TZuKZK9DkCGG.aZ7/w69SgDOOT4oIODwVurEnwMeBYy5H41WFtzMgmPFNs2eibnaxegm7.dDiymGjtoyZpblS0";

/// Whether the user's password has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordAge {
    /// It is valid.
    Fresh,
    /// It has expired.
    Expired,
}

impl Sshd {
    /// Starts a server with an ed25519 host key.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with further lines in its configuration.
    pub fn start_with(config: &str) -> Self {
        let mut sshd = Self::prepare(config);
        sshd.launch();
        sshd
    }

    /// Starts a server with an ordinary user and a password, see [`Self::prepare_account`].
    pub fn start_with_account(config: &str, age: PasswordAge) -> Self {
        let mut sshd = Self::prepare_account(config, age);
        sshd.launch();
        sshd
    }

    /// Prepares a server with an ordinary user and a password. In its own mount namespace, it mounts files over the
    /// system's lists of users; the lists do not change. It needs root, if only of a user namespace
    /// ([`crate::ran_as_root`]).
    pub fn prepare_account(config: &str, age: PasswordAge) -> Self {
        let mut sshd = Self::prepare(config);
        ACCOUNT.clone_into(&mut sshd.user);
        fs::set_permissions(sshd.dir.path(), Permissions::from_mode(0o755)).unwrap();
        chown(sshd.drop_dir(), Some(ACCOUNT_ID), Some(ACCOUNT_ID)).unwrap();
        let (changed, longest) = match age {
            PasswordAge::Fresh => (20_000, 99_999),
            PasswordAge::Expired => (10_000, 1),
        };
        let users = fs::read_to_string("/etc/passwd").unwrap();
        // Root of a user namespace may not read it, and nobody else logs in.
        let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
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

    /// Mounts something in the server's own namespace before it starts. `arguments`: of mount(8).
    pub fn mount(&mut self, arguments: &str) {
        write!(self.setup, "mount {arguments} && ").unwrap();
    }

    /// Gives the server a root folder of its own, with all that is mounted now below it. sshd wants root to own each folder
    /// above a jail, and to root of a user namespace the system's root folder is nobody's.
    pub fn own_root(&mut self) {
        let root = self.path("root");
        fs::create_dir(&root).unwrap();
        let root = root.display();
        write!(
            self.setup,
            "mount -t tmpfs -o mode=755 none {root} && for entry in /*; do if [ -L $entry ]; then cp -P $entry {root}; \
             elif [ -d $entry ]; then mkdir {root}$entry && mount --rbind $entry {root}$entry; fi || exit 1; done && "
        )
        .unwrap();
        self.chroot = format!("chroot {root} ");
    }

    /// The path at which this process sees `path` of the server's mount namespace.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// The id of the listening process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// The server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Prepares folders, keys and a free port, without starting.
    pub fn prepare(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        make_key("ed25519", &path.join("host_ed25519"));
        make_key("ed25519", &path.join("client"));
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
            setup: run_folder().to_owned(),
            chroot: String::new(),
        };
        let text = format!(
            "{config}\nListenAddress 127.0.0.1\nPort {port}\nHostKey {dir}/host_ed25519\nUsePAM no\nPidFile none\n\
             AuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nSubsystem sftp internal-sftp\n",
            dir = sshd.dir.path().display(),
        );
        fs::write(sshd.path("sshd_config"), &text).unwrap();
        // OpenSSH 9.8 and later blocks addresses whose clients disconnect early, as tests do. Older versions do not know
        // the setting.
        fs::write(sshd.path("sshd_config.new"), text + "PerSourcePenalties no\n").unwrap();
        let mut check = Command::new("/usr/sbin/sshd");
        check.args(["-t", "-f"]).arg(sshd.path("sshd_config.new"));
        if check.output().is_ok_and(|checked| checked.status.success()) {
            fs::rename(sshd.path("sshd_config.new"), sshd.path("sshd_config")).unwrap();
        }
        sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{port}"));
        sshd
    }

    /// Starts a prepared or stopped server.
    pub fn launch(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let server = format!(
            "exec {}/usr/sbin/sshd -D -e -f {}",
            self.chroot,
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
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Replaces `known_hosts`: the public key in `file` for `hosts`.
    pub fn know(&self, file: &str, hosts: &str) {
        let public = fs::read_to_string(self.path(file)).unwrap();
        let key: Vec<_> = public.split_whitespace().take(2).collect();
        fs::write(
            self.known_hosts(),
            format!("# known\n{hosts} {}\n", key.join(" ")),
        )
        .unwrap();
    }

    /// The fingerprint of the public key in `file`, as OpenSSH prints it.
    pub fn fingerprint(&self, file: &str) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.path(file))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Locks the client's key with a passphrase.
    pub fn lock_client_key(&self, passphrase: &str) {
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
    pub fn hash_known_hosts(&self) {
        keygen(&["-q", "-H", "-f", self.known_hosts().to_str().unwrap()]);
    }

    /// A path in the server's folder. The key `host_rsa` is made at its first use, because this is slow.
    pub fn path(&self, name: &str) -> PathBuf {
        let rsa = self.dir.path().join("host_rsa");
        if name.starts_with("host_rsa") && !rsa.exists() {
            make_key("rsa", &rsa);
        }
        self.dir.path().join(name)
    }

    /// The folder for deliveries.
    pub fn drop_dir(&self) -> PathBuf {
        self.path("drop")
    }

    /// The user's private key.
    pub fn client_key(&self) -> PathBuf {
        self.path("client")
    }

    /// The file with the server's public key.
    pub fn known_hosts(&self) -> PathBuf {
        self.path("known_hosts")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if thread::panicking() {
                eprintln!("log of sshd: {}", self.log());
            }
            // sshd waits for sessions that are ending. Killed earlier, it would leave them running.
            let sessions = format!("/proc/{0}/task/{0}/children", child.id());
            let started = Instant::now();
            while fs::read_to_string(&sessions).is_ok_and(|pids| !pids.trim().is_empty())
                && started.elapsed() < Duration::from_secs(5)
            {
                thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What makes the folder that sshd of root needs, which its package's service creates. To root of a user namespace the
/// system's is nobody's, so the server gets its own.
fn run_folder() -> &'static str {
    let _ = fs::create_dir_all("/run/sshd");
    let is_roots = |path: &str| fs::metadata(path).is_ok_and(|file| file.uid() == 0);
    if is_roots("/proc/self") && !is_roots("/run/sshd") {
        "mount -t tmpfs none /run && mkdir -m 0755 /run/sshd && "
    } else {
        ""
    }
}

fn make_key(kind: &str, path: &Path) {
    let path = path.to_str().unwrap();
    keygen(&["-q", "-t", kind, "-N", "", "-C", "", "-f", path]);
}

/// Runs ssh-keygen, which must succeed.
pub fn keygen(args: &[&str]) {
    let output = Command::new("ssh-keygen").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
