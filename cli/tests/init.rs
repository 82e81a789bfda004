//! `logferry init` from outside: what it writes is valid, works, and replaces nothing.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use logferry_embedded_servers::{MailSink, SftpOptions, SftpServer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A host: a folder with a log; its configuration is not there yet.
struct NewHost(TempDir);

impl NewHost {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("access.log"), "line\n").unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn config(&self) -> String {
        fs::read_to_string(self.path("etc/logferry.yaml")).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
        command
            .args(arguments)
            .args(["-c", &self.shown("etc/logferry.yaml")])
            .env_remove("LOGFERRY_LOG")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    /// The exit code and all that was printed.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// `init ROLE`, with its state below the folder.
    fn init(&self, role: &str, more: &[&str]) -> (i32, String) {
        let (state, log) = (self.shown("state"), self.shown("access.log"));
        let arguments = ["init", role, "--state", &state, "--log", &log];
        self.run(&[&arguments, more].concat())
    }
}

/// A role's process; it ends with the value.
struct RunningHost(Child);

impl Drop for RunningHost {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// An SFTP server with the folder `drop`, and a mail server; the options that name them.
async fn servers(host: &NewHost) -> (SftpServer, MailSink, Vec<String>) {
    fs::create_dir(host.path("drop")).unwrap();
    fs::write(host.path("password"), "open sesame\n").unwrap();
    fs::set_permissions(host.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let options = SftpOptions {
        root: host.path("drop"),
        user: "ferry".to_owned(),
        password: Some("open sesame".to_owned()),
        authorized_key: None,
    };
    let (sftp, mail) = (
        SftpServer::start(options).await.unwrap(),
        MailSink::start().await.unwrap(),
    );
    let options = [
        "--yes".to_owned(),
        format!("--sftp=ferry@127.0.0.1:{}:/", sftp.port()),
        format!("--password-file={}", host.shown("password")),
        format!("--smtp=127.0.0.1:{}", mail.port()),
        "--to=ops@example.com".to_owned(),
    ];
    (sftp, mail, options.to_vec())
}

/// A port that is free now.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Runs a step that blocks beside the servers.
async fn beside<T: Send + 'static>(step: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(step).await.unwrap()
}

#[test]
fn a_sender_is_set_up_by_two_options_and_passes_check() {
    let host = NewHost::new();
    let (code, text) = host.init("sender", &["--yes", "--relay", "http://127.0.0.1:1"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("relay http://127.0.0.1:1: cannot connect"),
        "it was tried: {text}"
    );
    assert!(text.contains("\nNext:\n1. "), "{text}");
    assert_eq!(host.run(&["check"]).0, 0, "{text}");
    let mode = host
        .path("etc/logferry.yaml")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert!(!host.path("state").exists(), "no role has run");
}

#[test]
fn a_sender_with_a_collector_is_set_up_by_options() {
    let host = NewHost::new();
    let (state, log) = (host.shown("state"), host.shown("access.log"));
    let options = [
        "init",
        "sender",
        "--yes",
        "--state",
        &state,
        "--relay",
        "http://127.0.0.1:1",
        "--log",
        &log,
        "--collect",
        "syslog=127.0.0.1:0",
        "--collect",
        "http=127.0.0.1:0",
    ];
    let (code, text) = host.run(&options);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("for sender, collector\n"), "{text}");
    assert!(
        text.contains("curl --data-binary hello http://127.0.0.1:0/lines"),
        "{text}"
    );
    let (code, text) = host.run(&["check"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = host.run(&[&options[..], &["--force", "--collect", "http=127.0.0.1:1"]].concat());
    assert!(
        code == 2 && text.contains("nothing was written"),
        "a source's name must be its own: {text}"
    );
    let (code, text) = host.run(&["init", "collector", "--yes", "--force", "--state", &state]);
    assert_eq!(code, 0, "{text}");
    assert!(
        host.config()
            .contains("{type: http, name: http, listen: \"127.0.0.1:5000\"}"),
        "{}",
        host.config()
    );
}

#[test]
fn a_console_is_set_up_with_a_login_or_without() {
    let host = NewHost::new();
    let (code, text) = host.init("console", &["--yes", "--console-listen", "127.0.0.1:0"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("logferry console user add NAME"), "{text}");
    assert!(host.config().contains("# open: false"), "{}", host.config());
    let open = ["--yes", "--force", "--console-open", "--console-listen"];
    let (code, text) = host.init("console", &[&open[..], &["127.0.0.1:0"]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("open the console, on this host"), "{text}");
    assert_eq!(host.run(&["check"]).0, 0);
    let (code, text) = host.init("console", &[&open[..], &["192.0.2.1:8080"]].concat());
    assert!(
        code == 2 && text.contains("can be reached from other hosts"),
        "{text}"
    );
}

#[test]
fn what_has_no_default_is_told_with_the_options_that_say_it() {
    let host = NewHost::new();
    assert_eq!(
        host.init("sender", &["--yes"]),
        (
            2,
            "logferry: nothing was written, as this has no default on this host:\n  \
             the relay: address of the middle host, and the port of this host's group: give --relay http://192.0.2.10:5001\n"
                .to_owned()
        )
    );
    // Without a terminal nobody can be asked: `--yes` makes no difference.
    let (code, text) = host.init("relay-host", &["--smtp", "127.0.0.1:1"]);
    assert_eq!(code, 2);
    assert!(
        text.contains("give --sftp ferry@drop.example.com:/cdrdata/source_data"),
        "{text}"
    );
    assert!(text.contains("give --to ops@example.com"), "{text}");
    assert!(!host.path("etc").exists());
    let (code, text) = host.run(&["init"]);
    assert!(code == 2 && text.contains("ROLE"), "{text}");
}

#[test]
fn an_answer_that_cannot_be_used_is_refused_and_nothing_is_written() {
    let host = NewHost::new();
    for (options, expected) in [
        (&["--relay", "ftp://x"][..], "http://192.0.2.10:5001"),
        (&["--sftp", "drop"], "is not USER@HOST:DIR"),
        (&["--to", "ops"], "is not a mail address"),
        (&["--smtp", "mail:smtp"], "is not a mail server"),
    ] {
        let (code, text) = host.init("all", &[options, &["--yes"]].concat());
        assert!(code == 2 && text.contains(expected), "{code} {text}");
    }
    let (code, text) = host.init("relay", &["--yes", "--sources", "198.51.100.300"]);
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("nothing was written, as an answer cannot be used:\n  relay.groups[0].sources[0]: "),
        "{text}"
    );
    assert!(!host.path("etc").exists());
}

#[test]
fn a_file_that_is_there_is_kept() {
    let host = NewHost::new();
    fs::create_dir(host.path("etc")).unwrap();
    fs::write(host.path("etc/logferry.yaml"), "mine\n").unwrap();
    let options = ["--yes", "--relay", "http://127.0.0.1:1"];
    let (code, text) = host.init("sender", &options);
    assert_eq!(code, 2);
    assert!(
        text.contains("is there already and was not changed; --force"),
        "{text}"
    );
    assert_eq!(host.config(), "mine\n");
    let (code, text) = host.init("sender", &[&options[..], &["--force"]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(host.config().contains("sender:"));
    let old = host.path("etc/logferry.yaml.old");
    assert_eq!(fs::read_to_string(&old).unwrap(), "mine\n");
    assert!(
        text.contains(&format!("the old one is {}\n", old.display())),
        "{text}"
    );
}

/// A relay host and a sender in one, as `init all` makes it; a line is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_for_all_roles_ships_a_line() {
    let host = NewHost::new();
    let (sftp, mail, mut options) = servers(&host).await;
    options.push(format!("--listen={}", free_address()));
    options.push("--console-listen=127.0.0.1:0".to_owned());
    beside(move || {
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let (code, text) = host.init("all", &options);
        assert_eq!(code, 0, "{text}");
        assert!(
            text.contains("SHA256:") && text.contains("no key of this host is known yet"),
            "{text}"
        );
        assert!(text.contains("logferry trust edw -c "), "{text}");
        let known_hosts = || fs::read_to_string(host.path("etc/known_hosts")).unwrap();
        assert!(
            !known_hosts().contains("ssh-ed25519"),
            "nothing is trusted silently"
        );
        assert_eq!(host.run(&["check"]).0, 0, "{:?}", host.run(&["check"]));

        assert_eq!(host.run(&["trust", "edw", "--yes"]).0, 0);
        assert!(known_hosts().contains("ssh-ed25519"));
        // A short window, so that the batch is sealed within this test.
        let fast = host.config().replace(
            "  # batch: {window: 20m}",
            "  batch: {window: 10s, seal_after: 1s, timestamp: arrival}\n  #",
        );
        let fast = fast.replace(
            "  # limits: {min_free_disk: 1GiB}",
            "  limits: {min_free_disk: 0}\n  #",
        );
        // Another test's relay may have the port meanwhile.
        let (metrics, without) = ("  metrics: 127.0.0.1:", "  metrics: null #");
        fs::write(host.path("etc/logferry.yaml"), fast.replace(metrics, without)).unwrap();
        let (code, text) = host.run(&["check", "--connect"]);
        let relay_only = text
            .lines()
            .filter(|line| line.starts_with('✗'))
            .all(|line| line.starts_with("✗ relay http"));
        assert!(code == 1 && relay_only, "only the relay does not run yet: {text}");
        let roles = host
            .command(&["run"])
            .stderr(Stdio::null())
            .spawn()
            .map(RunningHost)
            .unwrap();
        let delivered = || {
            fs::read_dir(host.path("drop"))
                .unwrap()
                .flatten()
                .any(|file| fs::read(file.path()).unwrap() == b"line\n")
        };
        wait_until("the line is delivered", delivered);
        let (_, status) = host.run(&["status"]);
        assert!(status.contains("edw"), "{status}");
        drop(roles);
    })
    .await;
    sftp.stop().await;
    mail.stop().await;
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn templates_of_mails_are_written_and_accepted_by_check() {
    let host = NewHost::new();
    let folder = host.shown("templates");
    let (code, text) = host.run(&["init", "--templates", &folder]);
    assert_eq!(code, 0, "{text}");
    assert!(Path::new(&folder).join("summary.html").exists());
    fs::create_dir(host.path("etc")).unwrap();
    let config = format!(
        "monitor:\n  data_dir: {}\n  templates_dir: {folder}\n  smtp: {{host: m, from: a@b.c, to: [a@b.c]}}\n",
        host.shown("relay")
    );
    fs::write(host.path("etc/logferry.yaml"), config).unwrap();
    let (code, text) = host.run(&["check"]);
    assert!(code == 0 && text.contains("✓ mail templates: "), "{text}");
    fs::write(Path::new(&folder).join("summary.txt"), "mine").unwrap();
    assert_eq!(host.run(&["init", "--templates", &folder]).0, 2);
    assert_eq!(
        fs::read_to_string(Path::new(&folder).join("summary.txt")).unwrap(),
        "mine"
    );
}
