//! What a role that runs says about its folders and keys, and what `status` says then.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use logferry_test_servers::ran_as_root;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{FORWARDER, HOST_KEY, Host, NOBODY, RELAY, SENDER};

/// A role in a process of its own; it ends with the value.
struct RunningRole(Child);

impl RunningRole {
    /// Starts it, and returns with its log up to a line with `until`, without the times.
    fn start(host: &Host, mut command: Command, until: &str) -> (Self, String) {
        command.arg("-c").arg(host.path("logferry.yaml"));
        command
            .env_remove("LOGFERRY_LOG")
            .current_dir("/")
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            log += line
                .split_once(' ')
                .map_or(line.as_str(), |(_, rest)| rest)
                .trim_start();
            log += "\n";
            if line.contains(until) {
                break;
            }
        }
        std::thread::spawn(move || lines.count());
        (Self(child), log.replace(&host.shown(), "DIR"))
    }
}

impl Drop for RunningRole {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_forwarder_without_its_key_says_so_at_its_start_and_status_shows_it() {
    let host = Host::new();
    let relay = RELAY.replace(":7001", ":0") + "  limits: {min_free_disk: 0}\n";
    let forwarder = format!("{FORWARDER}      known_hosts: DIR/known_hosts\n      key_file: DIR/key\n");
    host.write("known_hosts", &format!("127.0.0.1 ssh-ed25519 {HOST_KEY}\n"));
    host.write(
        "logferry.yaml",
        &format!("{relay}{forwarder}").replace("DIR", &host.shown()),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.arg("run");
    let (role, log) = RunningRole::start(&host, command, "forwarder started");
    let problem = "destination edw: key_file DIR/key does not exist; make the key (`ssh-keygen -t ed25519 -f DIR/key`), or correct \
                   the path";
    assert!(
        log.contains(&format!(
            "ERROR the forwarder cannot use one of its files: {problem}\n"
        )),
        "{log}"
    );
    // The first sign of life comes after a quarter of a second.
    let status = loop {
        let status = host.run(&["status"]);
        if status.contains("forwarder  running") {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let flat = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains(&format!("needs a look: - forwarder: {problem}")),
        "{status}"
    );
    assert!(
        flat.contains(
            "exit code 1, because: - the forwarder cannot use 1 path of its configuration: see above, and run `logferry check`"
        ),
        "{status}"
    );
    assert!(status.ends_with("exit code 1\n"), "{status}");
    drop(role);
    // Nobody knows better now than who asks.
    let status = host.run(&["status"]);
    assert!(
        status.contains("needs a look:\n- forwarder: destination edw: key_file"),
        "{status}"
    );
}

#[test]
fn a_sender_whose_state_folder_is_closed_ships_says_so_and_status_shows_it() {
    if ran_as_root("running_roles::a_sender_whose_state_folder_is_closed_ships_says_so_and_status_shows_it") {
        return;
    }
    let host = Host::new();
    host.folder("state", 0o755);
    let config = format!("{SENDER}  logs: [{{path: DIR/access.log}}]\n");
    host.write("logferry.yaml", &config.replace("DIR", &host.shown()));
    host.mode("logferry.yaml", 0o644);
    let mut command = Command::new("setpriv");
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    command
        .args([&user, &group, "--clear-groups"])
        .arg(host.program())
        .arg("sender");
    let (role, log) = RunningRole::start(&host, command, "the sender has started");
    let problem = "DIR/state (sender.state_dir) belongs to root:root (mode 0755), and user nobody may not write there; run `chown -R \
                   nobody:nogroup DIR/state`";
    assert!(
        log.starts_with(&format!(
            "ERROR the sender cannot use one of its files: {problem}\n"
        )),
        "{log}"
    );
    let status = host.run_as_nobody(&["status"]);
    assert!(
        status.starts_with("needs a look:\n- there is no status.json in "),
        "{status}"
    );
    // Where lines are broken depends on the length of the folder's name.
    let flat = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        flat,
        format!(
            "needs a look: \
             - there is no status.json in DIR/state: the sender has never run here, or may not write there, or is older than this \
             program; start it with `systemctl start logferry-sender`, and see `journalctl -u logferry-sender` \
             - {problem} \
             exit code 1"
        )
    );
    drop(role);
}

#[test]
fn status_that_is_watched_begins_with_the_time_on_a_senders_host_too() {
    let host = Host::new();
    let config = format!("{SENDER}  logs: [{{path: DIR/access.log}}]\n");
    host.write("logferry.yaml", &config.replace("DIR", &host.shown()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command
        .args(["status", "--watch", "-c"])
        .arg(host.path("logferry.yaml"));
    let mut watch = RunningRole(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let (time, empty, first) = (line(), line(), line());
    let is_time = |byte: u8| byte.is_ascii_digit() || b"-+: ".contains(&byte);
    assert!(
        time.len() == "2026-11-29 06:00:00 +00:00".len() && time.bytes().all(is_time),
        "{time}"
    );
    assert_eq!((empty.as_str(), first.as_str()), ("", "needs a look:"));
}
