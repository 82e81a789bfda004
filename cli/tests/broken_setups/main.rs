//! Broken set-ups, each with all that `logferry check` prints about it, word for word; lines about what is right are left out.
//!
//! Each text was read with three questions: what is wrong, where, what to do? A change of a text is a change here; a new kind of
//! mistake gets a set-up here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod configuration;
mod connections;
mod credentials;
mod logs_and_folders;
mod middle_host;
mod running_roles;
mod service_user;
mod users;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// `nobody`, an ordinary user that every host has.
const NOBODY: u32 = 65_534;

/// The sender's section without its logs.
const SENDER: &str = "sender:\n  relay: http://127.0.0.1:1\n  state_dir: DIR/state\n";

/// A relay's section.
const RELAY: &str =
    "relay:\n  data_dir: DIR/relay\n  metrics: null\n  groups: [{name: web-1, listen: '127.0.0.1:7001'}]\n";

/// A forwarder's section without the login of its destination.
const FORWARDER: &str = "forwarder:\n  data_dir: DIR/relay\n  destinations:\n    - name: edw\n      host: 127.0.0.1\n      port: 1\n      \
                         user: ferry\n      directory: /in\n";

/// The key of a server.
const HOST_KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// A host: a folder with a log. In a configuration, in arguments and in what is printed it is `DIR`.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let host = Self(dir);
        host.write("access.log", "line\n");
        host.mode("access.log", 0o644);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of this user alone.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.mode(name, 0o600);
    }

    fn folder(&self, name: &str, mode: u32) {
        fs::create_dir(self.path(name)).unwrap();
        self.mode(name, mode);
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// All that `check` prints about a configuration, and its exit code.
    fn check(&self, config: &str) -> String {
        self.write("logferry.yaml", &config.replace("DIR", &self.shown()));
        self.run(&["check"])
    }

    /// The same with `--connect`.
    fn check_connect(&self, config: &str) -> String {
        self.write("logferry.yaml", &config.replace("DIR", &self.shown()));
        self.run(&["check", "--connect"])
    }

    /// The same as `check`, as the user [`NOBODY`], who may read the configuration.
    fn check_as_nobody(&self, config: &str) -> String {
        self.write("logferry.yaml", &config.replace("DIR", &self.shown()));
        self.mode("logferry.yaml", 0o644);
        self.run_as_nobody(&["check"])
    }

    fn run_as_nobody(&self, arguments: &[&str]) -> String {
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        let mut command = Command::new("setpriv");
        command
            .args([&user, &group, "--clear-groups"])
            .arg(self.program());
        self.output(command.args(arguments))
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.output(Command::new(env!("CARGO_BIN_EXE_logferry")).args(arguments))
    }

    /// A copy of the program: the program itself may be in a folder that is closed to others.
    fn program(&self) -> PathBuf {
        let program = self.path("logferry");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_logferry"), &program).unwrap();
        }
        program
    }

    fn output(&self, command: &mut Command) -> String {
        command.arg("-c").arg(self.path("logferry.yaml"));
        command
            .env_remove("LOGFERRY_LOG")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let code = output.status.code().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap().replace(&self.shown(), "DIR");
        let wrong = text.lines().filter(|line| !line.starts_with("✓ "));
        let wrong = wrong.fold(String::new(), |text, line| text + line + "\n");
        format!("{wrong}exit code {code}\n")
    }

    fn shown(&self) -> String {
        self.0.path().display().to_string()
    }
}

/// Runs openssl with these arguments, which have no spaces, in a folder.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes the authority `NAME.pem` with `NAME.key`.
fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        ),
    );
}

/// Makes a certificate for 127.0.0.1 by the authority `by`: `cert.pem` and `key.pem`.
fn certificate(folder: &Path, by: &str, days: i32) {
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=relay -addext subjectAltName=IP:127.0.0.1 -keyout \
         key.pem -out request",
    );
    openssl(
        folder,
        &format!(
            "x509 -req -in request -CA {by}.pem -CAkey {by}.key -CAcreateserial -days {days} -copy_extensions copy -out cert.pem"
        ),
    );
}
