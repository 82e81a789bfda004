//! Child processes: their output goes to a file, and they end with their value.

use std::fs::OpenOptions;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::test_folder::{OUTPUT, TestFolder};
use crate::support::wait_for;

/// A running child.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command`; its output is appended to `output/NAME.log`.
    pub(crate) fn start(test_folder: &TestFolder, name: &str, command: &mut Command) -> Self {
        let path = test_folder.path(OUTPUT).join(format!("{name}.log"));
        let output = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Fails the test if it has ended.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended by itself: {status}", self.name);
        }
    }

    /// Ends it without warning, as a power loss does (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.assert_running();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends `signal` to it.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.assert_running();
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(id, signal).unwrap();
    }

    /// Sends `signal` to it and waits for its end; returns its exit status.
    pub(crate) fn stop(&mut self, signal: Signal, limit: Duration) -> ExitStatus {
        self.signal(signal);
        let what = format!("{} to end after {signal}", self.name);
        wait_for(&what, limit, || !self.is_running());
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both calls fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a tool, which must succeed; returns its output. `package`: the Debian package of the tool.
pub(crate) fn run_tool(command: &mut Command, package: &str) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot start {command:?} ({error}); install the Debian package {package}")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails the test if a program is not installed.
pub(crate) fn require(program: &str, package: &str) {
    assert!(
        std::path::Path::new(program).exists(),
        "{program} is not there; install the Debian package {package}"
    );
}
