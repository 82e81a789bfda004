//! A relay process alone, for tests of its port.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::network::http_client::{request, send};
use crate::support::pipeline::files_below;
use crate::support::process::Process;
use crate::support::test_folder::{TestFolder, free_port};
use crate::support::{WAIT_LIMIT, logferry, wait_for};

/// Its limit for one chunk or upload.
pub(crate) const MAX_CHUNK: usize = 64 << 10;

/// A relay with one group, named web-1.
pub(crate) struct RelayProcess {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) test_folder: TestFolder,
    config: PathBuf,
}

impl RelayProcess {
    /// Starts it. `group`: further settings of its group, such as `sources: ["127.0.0.1"]`.
    pub(crate) fn start(test: &str, group: &str) -> Self {
        let test_folder = TestFolder::new(test);
        let port = free_port();
        let written = format!(
            "relay:\n  data_dir: {:?}\n  groups: [{{name: web-1, listen: \"127.0.0.1:{port}\", {group}}}]\n  \
             batch: {{window: 60m}}\n  limits: {{max_chunk: 64KiB, min_free_disk: 1MiB}}\n  metrics: null\n",
            test_folder.path("relay")
        );
        let config = test_folder.write("relay.yaml", &written);
        let process = Self::run(&test_folder, &config);
        let relay = Self {
            process,
            port,
            test_folder,
            config,
        };
        relay.wait_until_it_listens();
        relay
    }

    fn run(test_folder: &TestFolder, config: &PathBuf) -> Process {
        Process::start(
            test_folder,
            "relay",
            logferry().arg("relay").arg("-c").arg(config),
        )
    }

    fn wait_until_it_listens(&self) {
        wait_for("the relay to listen", WAIT_LIMIT, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
    }

    /// Kills it without warning and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill();
        self.restart();
    }

    /// Starts it again after it has ended.
    pub(crate) fn restart(&mut self) {
        self.process = Self::run(&self.test_folder, &self.config);
        self.wait_until_it_listens();
    }

    /// The contents of its spool, in the order of the file names.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let mut files: Vec<_> = ["open", "ready"]
            .iter()
            .flat_map(|state| files_below(&self.test_folder.path("relay").join(state)).unwrap())
            .collect();
        files.sort_by_key(|file| {
            (
                file.parent().map(PathBuf::from),
                file.file_stem().map(ToOwned::to_owned),
            )
        });
        files.iter().flat_map(|file| fs::read(file).unwrap()).collect()
    }

    /// Stops it by SIGTERM.
    pub(crate) fn stop(&mut self) {
        let status = self.process.stop(Signal::SIGTERM, WAIT_LIMIT);
        assert_eq!(status.code(), Some(0));
    }

    /// A command with its configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = logferry();
        command.args(arguments).arg("-c").arg(&self.config);
        command
    }

    /// The exit code and the JSON output of a command.
    pub(crate) fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.command(arguments).arg("--json").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let value = serde_json::from_slice(&output.stdout);
        let value = value.unwrap_or_else(|error| panic!("{arguments:?} prints no JSON ({error}): {stderr}"));
        (output.status.code().expect("not killed"), value)
    }

    /// Posts lines to `POST /upload`, as an old shipper does.
    pub(crate) fn post(&self, lines: &str) {
        let body = serde_json::json!({"log": lines}).to_string();
        let response = send(self.port, &request("POST", "/upload", &[], body.as_bytes()));
        assert_eq!(response.status, 200, "{response:?}");
    }
}
