//! Debian's postfix on loopback ports, with a configuration, a queue and mailboxes of its own. It needs root, or the root of a
//! user namespace ([`crate::ran_as_root`]).
//!
//! It refuses what strict servers on the internet refuse: a name without a domain in EHLO (504), and unknown recipients (550).

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::iter;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// `nobody`, to whom the mailboxes belong.
const MAILBOX_OWNER: u32 = 65_534;

/// Much longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The services that a mail to a local mailbox takes, as in the `master.cf` that postfix comes with, but without a chroot.
const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
";

/// The kernel gives out ports from 32768 on.
const PORTS: Range<u16> = 10_000..30_000;

const PORTS_OF_A_PROCESS: usize = 16;

/// A running postfix; it ends with the value.
pub struct Postfix {
    dir: TempDir,
    /// Answers at once.
    pub port: u16,
    /// Waits for some seconds before its greeting.
    pub slow_greeting_port: u16,
    /// Waits for some seconds before it answers to the end of a mail.
    pub slow_answer_port: u16,
}

impl Postfix {
    /// Starts a server with a mailbox for each of `users` at example.com. `slow`: seconds before a slow greeting, and before a
    /// slow answer. `tls`: the files of certificate and key; with them it offers STARTTLS.
    pub fn start(users: &[&str], slow: (u32, u32), tls: Option<(&Path, &Path)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The services run as the users postfix and nobody.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let [port, slow_greeting_port, slow_answer_port] = free_ports();
        let postfix = Self {
            dir,
            port,
            slow_greeting_port,
            slow_answer_port,
        };
        for folder in ["etc", "queue", "data", "mail"] {
            fs::create_dir(postfix.path(folder)).unwrap();
        }
        chown(postfix.path("mail"), Some(MAILBOX_OWNER), Some(MAILBOX_OWNER)).unwrap();
        let owned = Command::new("chown")
            .arg("postfix")
            .arg(postfix.path("data"))
            .status();
        assert!(
            owned.unwrap().success(),
            "there is no user postfix: is postfix installed?"
        );
        fs::write(postfix.path("etc/main.cf"), postfix.main_cf(users, tls)).unwrap();
        fs::write(postfix.path("etc/master.cf"), postfix.master_cf(slow)).unwrap();
        let started = postfix.run("start");
        assert!(started.status.success(), "{started:?}\n{}", postfix.log());
        postfix.wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        postfix
    }

    fn main_cf(&self, users: &[&str], tls: Option<(&Path, &Path)>) -> String {
        let root = self.dir.path().display();
        let mailboxes: Vec<_> = users
            .iter()
            .map(|user| format!("{user}@example.com={user}/"))
            .collect();
        let mut text = format!(
            "compatibility_level = 3.6\nqueue_directory = {root}/queue\ndata_directory = {root}/data\n\
             maillog_file_prefixes = {root}\nmaillog_file = {root}/log\n\
             inet_interfaces = loopback-only\ninet_protocols = ipv4\nmyhostname = mail.example.com\nmydestination =\n\
             mynetworks = 127.0.0.0/8\nvirtual_mailbox_domains = example.com\nvirtual_mailbox_base = {root}/mail\n\
             virtual_mailbox_maps = inline:{{{}}}\nvirtual_uid_maps = static:{MAILBOX_OWNER}\n\
             virtual_gid_maps = static:{MAILBOX_OWNER}\nsmtpd_delay_reject = no\nsmtpd_helo_required = yes\n\
             smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname\n\
             smtpd_recipient_restrictions = reject_unauth_destination\nsmtpd_tls_received_header = yes\n",
            mailboxes.join(", ")
        );
        if let Some((certificate, key)) = tls {
            let (certificate, key) = (certificate.display(), key.display());
            write!(
                text,
                "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {key}, {certificate}\n"
            )
            .unwrap();
        }
        text
    }

    fn master_cf(&self, (greeting, answer): (u32, u32)) -> String {
        let (port, greeting_port, answer_port) = (self.port, self.slow_greeting_port, self.slow_answer_port);
        // Without smtpd_delay_reject these restrictions are looked at before the greeting.
        format!(
            "127.0.0.1:{port} inet n - n - - smtpd\n\
             127.0.0.1:{greeting_port} inet n - n - - smtpd\n  -o smtpd_client_restrictions=sleep,{greeting},permit\n\
             127.0.0.1:{answer_port} inet n - n - - smtpd\n  -o smtpd_end_of_data_restrictions=sleep,{answer},permit\n\
             {SERVICES}"
        )
    }

    /// The mails in the mailbox of a user, as they were delivered; waits until there are so many.
    pub fn mails(&self, user: &str, number: usize) -> Vec<String> {
        let folder = self.path("mail").join(user).join("new");
        let read = || {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            entries
                .map(|entry| fs::read_to_string(entry.path()).unwrap())
                .collect::<Vec<_>>()
        };
        self.wait_until("the mail is in the mailbox", || read().len() >= number);
        read()
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, command: &str) -> Output {
        let mut postfix = Command::new("/usr/sbin/postfix");
        postfix.arg("-c").arg(self.path("etc")).arg(command);
        postfix
            .stdin(Stdio::null())
            .output()
            .expect("postfix is installed")
    }

    fn wait_until(&self, event: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !is_so() {
            assert!(
                Instant::now() < end,
                "waited in vain until {event}\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Waits until the services have ended.
        let _ = self.run("stop");
    }
}

/// Ports that are free, each another one, also for other processes that ask at the same time.
///
/// Postfix binds them later, and ports that the kernel gives out (ip(7), `ip_local_port_range`) could have another owner by
/// then. So they are below those, and each process begins at its own.
fn free_ports<const N: usize>() -> [u16; N] {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    let of_process = usize::try_from(process::id()).unwrap() * PORTS_OF_A_PROCESS;
    [(); N].map(|()| {
        let mut ports = iter::repeat_with(|| {
            let number = of_process + TAKEN.fetch_add(1, Ordering::Relaxed);
            PORTS.start + u16::try_from(number % PORTS.len()).unwrap()
        });
        let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        ports.find(is_free).unwrap()
    })
}
