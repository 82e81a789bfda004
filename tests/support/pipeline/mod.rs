//! A pipeline: sender, relay and forwarder as processes, a drop folder, and the checks of the result.

pub(crate) mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use std::{fs, io};

use logferry_test_servers::Sshd;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::logs::comparison::{DeliveredFiles, LineOrder, WrittenLog, count_lines};
use crate::support::process::Process;
use crate::support::test_folder::{OUTPUT, TestFolder};
use crate::support::{WAIT_LIMIT, becomes_true, logferry};
use config::Config;

/// The guaranteed limit for a clean stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Sender,
    Relay,
    Forwarder,
    Collector,
    /// All of them in one process.
    AllInOne,
}

impl Role {
    /// The separate processes between a log and the drop folder.
    pub(crate) const ALL: [Self; 3] = [Self::Sender, Self::Relay, Self::Forwarder];

    /// The command of the role.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Relay => "relay",
            Self::Forwarder => "forwarder",
            Self::Collector => "collector",
            Self::AllInOne => "run",
        }
    }
}

/// The processes between a log and the drop folder. Roles are dropped before the folder in which they work.
pub(crate) struct Pipeline {
    roles: BTreeMap<Role, Process>,
    _sshd: Sshd,
    pub(crate) config: Config,
    pub(crate) test_folder: TestFolder,
}

impl Pipeline {
    /// Starts the SFTP server. The roles are not started yet.
    pub(crate) fn new(test: &str, window: &'static str) -> Self {
        let test_folder = TestFolder::new(test);
        let sshd = Sshd::start_with("MaxStartups 100\nLogLevel ERROR\n");
        let config = Config::new(&test_folder, window, &sshd);
        Self {
            roles: BTreeMap::new(),
            _sshd: sshd,
            config,
            test_folder,
        }
    }

    /// Writes the present configuration.
    pub(crate) fn write_config(&self) -> PathBuf {
        self.test_folder.write("logferry.yaml", &self.config.to_string())
    }

    /// Starts a role with the present configuration.
    pub(crate) fn start(&mut self, role: Role) {
        let file = self.write_config();
        let mut command = logferry();
        command.arg("-c").arg(file).arg(role.name());
        let process = Process::start(&self.test_folder, role.name(), &mut command);
        self.roles.insert(role, process);
    }

    /// Starts every role in a process of its own.
    pub(crate) fn start_all(&mut self) {
        for role in Role::ALL {
            self.start(role);
        }
    }

    /// Kills a role without warning.
    pub(crate) fn kill(&mut self, role: Role) {
        self.role(role).kill();
    }

    /// A role's process id.
    pub(crate) fn process_id(&self, role: Role) -> u32 {
        self.roles[&role].id()
    }

    /// Sends a signal to a role.
    pub(crate) fn signal(&mut self, role: Role, signal: Signal) {
        self.role(role).signal(signal);
    }

    /// Writes the present configuration and makes a role read it again.
    pub(crate) fn reload(&mut self, role: Role) {
        self.write_config();
        self.signal(role, Signal::SIGHUP);
    }

    /// The output of a role since its first start.
    pub(crate) fn output(&self, role: Role) -> String {
        let path = self.test_folder.path(OUTPUT).join(format!("{}.log", role.name()));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Waits until a role's output contains `text` at least `times` times.
    pub(crate) fn wait_for_output(&mut self, role: Role, text: &str, times: usize) {
        let is_printed = self.becomes_true(|pipeline| pipeline.output(role).matches(text).count() >= times);
        assert!(
            is_printed,
            "waited {WAIT_LIMIT:?} for {role:?} to print {text:?} {times} times"
        );
    }

    /// Stops a role by a signal; it must end cleanly within the limit.
    pub(crate) fn stop(&mut self, role: Role, signal: Signal) {
        let status = self.role(role).stop(signal, STOP_LIMIT);
        assert_eq!(status.code(), Some(0), "{role:?} after {signal}: {status}");
        self.roles.remove(&role);
    }

    fn role(&mut self, role: Role) -> &mut Process {
        self.roles.get_mut(&role).expect("started")
    }

    /// The delivered files.
    pub(crate) fn delivered(&self) -> DeliveredFiles {
        DeliveredFiles::read(&self.config.destination.directory)
    }

    /// The number of delivered lines.
    pub(crate) fn delivered_lines(&self) -> usize {
        self.delivered().lines()
    }

    /// Waits until the relay has `lines` lines on disk.
    pub(crate) fn wait_for_received(&mut self, lines: usize) {
        let is_received = self.becomes_true(|pipeline| {
            // A file that is moved while it is counted gives an error; the next check counts again.
            spool_lines(&pipeline.config.data_dir).is_ok_and(|received| received >= lines)
        });
        assert!(
            is_received,
            "waited {WAIT_LIMIT:?} for the relay to have {lines} lines"
        );
    }

    /// Waits until all written lines are delivered and no batch is waiting.
    pub(crate) fn wait_for_delivery(&mut self, written: &WrittenLog) {
        let lines = written.kept_lines();
        let is_delivered = self.becomes_true(|pipeline| {
            let is_waiting = ["open", "ready", "failed"].iter().any(|state| {
                files_below(&pipeline.config.data_dir.join(state)).is_ok_and(|files| !files.is_empty())
            });
            !is_waiting && pipeline.delivered_lines() >= lines
        });
        if !is_delivered {
            // The differences are more useful than a message about the time limit.
            self.delivered().assert_is(written, LineOrder::WithinWindow);
            panic!("after {WAIT_LIMIT:?} everything is at the drop, and there are still batches that wait");
        }
    }

    /// Waits until `is_so`, while all roles run. Returns whether it became true.
    pub(crate) fn becomes_true(&mut self, mut is_so: impl FnMut(&Self) -> bool) -> bool {
        becomes_true(WAIT_LIMIT, || {
            self.roles.values_mut().for_each(Process::assert_running);
            is_so(self)
        })
    }

    /// Waits for delivery, stops every role, and checks the delivered files, `audit` and `status`.
    pub(crate) fn finish(mut self, written: &WrittenLog, order: LineOrder) {
        self.wait_for_delivery(written);
        self.wait_for_good_status();
        if self.roles.contains_key(&Role::Sender) || self.roles.contains_key(&Role::AllInOne) {
            // Just after its start a sender reports that it does not know its lag yet.
            let is_known =
                self.becomes_true(|pipeline| pipeline.json("status").1["sources"][0]["lag_bytes"] == 0);
            assert!(is_known, "{}", self.json("status").1);
        }
        for role in self.roles.keys().copied().collect::<Vec<_>>() {
            self.stop(role, Signal::SIGTERM);
        }
        self.delivered().assert_is(written, order);
        self.assert_audit(written);
        self.assert_status();
    }

    /// Waits until the relay has all written lines, stops every role, and checks the relay's files.
    pub(crate) fn finish_at_relay(mut self, written: &WrittenLog, order: LineOrder) {
        self.wait_for_received(written.kept_lines());
        for role in self.roles.keys().copied().collect::<Vec<_>>() {
            self.stop(role, Signal::SIGTERM);
        }
        let states = ["open", "ready"].map(|state| self.config.data_dir.join(state));
        let files = states.iter().flat_map(|state| files_below(state).unwrap());
        DeliveredFiles::of(files).assert_is(written, order);
    }

    /// Waits until `status` finds nothing wrong, if all roles run: without one of them it does.
    fn wait_for_good_status(&mut self) {
        if self.roles.len() == Role::ALL.len()
            && !self.becomes_true(|pipeline| pipeline.json("status").0 == 0)
        {
            let (code, status) = self.json("status");
            panic!("after {WAIT_LIMIT:?} status ends with {code}: {status}");
        }
    }

    fn assert_status(&self) {
        let (_, status) = self.json("status");
        assert_eq!(status["batches"]["open"], 0, "{status}");
        assert_eq!(status["batches"]["ready"], 0, "{status}");
        assert_eq!(status["batches"]["failed"], 0, "{status}");
        assert_eq!(status["sources"][0]["source"], "127.0.0.1", "{status}");
        assert_eq!(status["sources"][0]["lag_bytes"], 0, "{status}");
        assert_eq!(status["destinations"][0]["waiting_batches"], 0, "{status}");
    }

    fn assert_audit(&self, written: &WrittenLog) {
        let (code, audit) = self.json("audit");
        assert_eq!(audit["discrepancies"], Value::Array(Vec::new()));
        assert_eq!(audit["warnings"], Value::Array(Vec::new()));
        assert_eq!(audit["complete"], true);
        let totals = &audit["totals"];
        assert_eq!(totals["lines_read"], written.lines(), "{totals}");
        assert_eq!(
            totals["lines_excluded"],
            written.lines() - written.kept_lines(),
            "{totals}"
        );
        assert_eq!(totals["lines_received"], written.kept_lines(), "{totals}");
        assert_eq!(totals["lines_delivered"], written.kept_lines(), "{totals}");
        assert_eq!(code, 0);
    }

    /// Runs a command with the configuration of the roles.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let file = self.test_folder.path("logferry.yaml");
        logferry().args(arguments).arg("-c").arg(file).output().unwrap()
    }

    /// The exit code and output of a command that takes `--json`.
    pub(crate) fn json(&self, command: &str) -> (i32, Value) {
        let output = self.command(&[command, "--json"]);
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            panic!(
                "{command} --json prints no JSON ({error}), exit {:?}: {stderr}",
                output.status.code()
            )
        });
        (output.status.code().expect("not killed"), value)
    }
}

/// Lines in the files of every state. A file that moves on meanwhile counts once.
pub(crate) fn spool_lines(data_dir: &Path) -> io::Result<usize> {
    let (mut lines, mut counted) = (0, BTreeSet::new());
    for state in ["open", "ready", "sent", "failed"] {
        let state = data_dir.join(state);
        for file in files_below(&state)? {
            if counted.insert(file.strip_prefix(&state).map(Path::to_owned).ok()) {
                lines += count_lines(&fs::read(file)?);
            }
        }
    }
    Ok(lines)
}

/// The files in the source folders of one state.
pub(crate) fn files_below(state: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for source in fs::read_dir(state)? {
        for file in fs::read_dir(source?.path())? {
            files.push(file?.path());
        }
    }
    Ok(files)
}
