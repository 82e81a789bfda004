//! Who sends: two senders with one source, and one sender at two addresses.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv6Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::pipeline::{files_below, spool_lines};
use crate::support::process::Process;
use crate::support::test_folder::{TestFolder, free_port};
use crate::support::{WAIT_LIMIT, logferry, wait_for};

/// A relay that listens on all addresses, and its senders, each with a folder of its own.
struct Site {
    processes: BTreeMap<String, Process>,
    relay_config: PathBuf,
    port: u16,
    test_folder: TestFolder,
}

impl Site {
    fn start(test: &str) -> Self {
        let (test_folder, port) = (TestFolder::new(test), free_port());
        let listen = if has_ipv6() { "[::]" } else { "0.0.0.0" };
        let relay = format!(
            "relay:\n  data_dir: {:?}\n  groups: [{{name: web-1, listen: \"{listen}:{port}\", sources: [\"127.0.0.1-127.0.0.2\", \"::1\"]}}]\n  \
             batch: {{window: 60m}}\n  limits: {{min_free_disk: 1MiB}}\n  metrics: null\n",
            test_folder.path("relay")
        );
        let relay_config = test_folder.write("relay.yaml", &relay);
        let mut site = Self {
            processes: BTreeMap::new(),
            relay_config,
            port,
            test_folder,
        };
        site.run("relay", "relay", &site.relay_config.clone());
        site
    }

    /// A site whose second sender is a clone of the first, made after 500 lines; the first is running.
    fn with_clone(test: &str) -> Self {
        let mut site = Self::start(test);
        site.write("first", "both", 0..500);
        site.start_sender("first", "127.0.0.1");
        site.wait_for_lines(500);
        site.stop("first");
        site.clone_sender("first", "second");
        site.start_sender("first", "127.0.0.1");
        site
    }

    fn run(&mut self, name: &str, role: &str, config: &Path) {
        let mut command = logferry();
        command.arg(role).arg("-c").arg(config);
        let process = Process::start(&self.test_folder, name, &mut command);
        self.processes.insert(name.to_owned(), process);
    }

    fn folder(&self, sender: &str) -> PathBuf {
        self.test_folder.create_dir(sender)
    }

    fn log(&self, sender: &str) -> PathBuf {
        self.folder(sender).join("access.log")
    }

    /// Starts a sender whose log and state are in the folder of its name.
    fn start_sender(&mut self, sender: &str, relay: &str) {
        self.start_sender_with(sender, relay, "");
    }

    /// `settings`: further ones of its section, each on a line of its own.
    fn start_sender_with(&mut self, sender: &str, relay: &str, settings: &str) {
        let (folder, port) = (self.folder(sender), self.port);
        let config = format!(
            "sender:\n  relay: \"http://{relay}:{port}\"\n  state_dir: {:?}\n  logs: [{{path: {:?}}}]\n  \
             chunk: {{max_delay: 50ms}}\n  retry: {{initial: 50ms, max: 500ms}}\n{settings}",
            folder.join("state"),
            self.log(sender)
        );
        let config = self.test_folder.write(&format!("{sender}.yaml"), &config);
        self.run(sender, "sender", &config);
    }

    fn stop(&mut self, name: &str) {
        let mut process = self.processes.remove(name).expect("started");
        assert_eq!(process.stop(Signal::SIGTERM, WAIT_LIMIT).code(), Some(0));
    }

    /// Copies a sender's log and state, as a clone of its machine has them.
    fn clone_sender(&self, from: &str, to: &str) {
        fs::create_dir_all(self.folder(to).join("state")).unwrap();
        fs::copy(self.log(from), self.log(to)).unwrap();
        for file in fs::read_dir(self.folder(from).join("state")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), self.folder(to).join("state").join(file.file_name())).unwrap();
        }
    }

    /// Appends numbered lines of a writer; all of the same length.
    fn write(&self, sender: &str, writer: &str, numbers: Range<u32>) {
        let lines = numbers.map(|number| {
            format!("127.0.0.1 - - [28/Nov/2026:08:00:00 +0000] \"GET /{writer}/{number:06}\"\n")
        });
        let text: String = lines.collect();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(sender));
        log.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn wait_for_lines(&self, lines: usize) {
        let data_dir = self.test_folder.path("relay");
        wait_for(&format!("{lines} lines"), WAIT_LIMIT, || {
            spool_lines(&data_dir).is_ok_and(|received| received >= lines)
        });
    }

    /// The lines in the spool by source folder, sorted.
    fn stored(&self) -> BTreeMap<String, Vec<String>> {
        let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for state in ["open", "ready"] {
            for file in files_below(&self.test_folder.path("relay").join(state)).unwrap() {
                let source = file.parent().and_then(Path::file_name).expect("a source");
                let lines = fs::read_to_string(&file).unwrap();
                let of_source = stored.entry(source.to_string_lossy().into_owned()).or_default();
                of_source.extend(lines.lines().map(str::to_owned));
            }
        }
        for lines in stored.values_mut() {
            lines.sort();
        }
        stored
    }

    fn written(&self, senders: &[&str]) -> Vec<String> {
        let text = senders
            .iter()
            .map(|sender| fs::read_to_string(self.log(sender)).unwrap());
        let mut lines: Vec<String> = text
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.sort();
        lines.dedup();
        lines
    }

    fn json(&self, command: &str) -> (i32, Value) {
        let output = logferry()
            .args([command, "--json", "-c"])
            .arg(&self.relay_config)
            .output()
            .unwrap();
        let value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().expect("not killed"), value)
    }

    fn only_source(&self) -> String {
        let stored = self.stored();
        assert_eq!(stored.len(), 1, "{:?}", stored.keys());
        stored.into_keys().next().expect("one")
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn a_cloned_sender_and_its_original_lose_no_line_and_are_named() {
    let mut site = Site::with_clone("cloned-sender");
    site.write("first", "first", 0..200);
    site.wait_for_lines(700);
    site.start_sender("second", "127.0.0.1");
    for round in 1..6 {
        site.write("second", "second", round * 100..round * 100 + 100);
        site.write("first", "first", round * 100 + 100..round * 100 + 200);
        site.wait_for_lines(700 + 200 * (round as usize - 1));
    }
    site.wait_for_lines(1_700);
    let two_are_named = || {
        let (code, status) = site.json("status");
        let senders = status["sources"][0]["senders"].as_array().map_or(0, Vec::len);
        code == 1 && senders == 2
    };
    wait_for("status to name two senders", WAIT_LIMIT, two_are_named);
    let (code, audit) = site.json("audit");
    assert_eq!((code, &audit["complete"]), (0, &Value::Bool(true)), "{audit}");
    assert_eq!(audit["warnings"][0]["kind"], "two_senders", "{audit}");
    let ids =
        ["first", "second"].map(|sender| fs::read_to_string(site.folder(sender).join("state/id")).unwrap());
    assert_ne!(ids[0], ids[1]);
    site.stop("first");
    site.stop("second");
    assert_eq!(site.stored()["127.0.0.1"], site.written(&["first", "second"]));
}

#[test]
fn a_clone_on_another_host_has_a_source_of_its_own() {
    let mut site = Site::with_clone("clone-elsewhere");
    site.write("first", "first", 0..10);
    site.wait_for_lines(510);
    site.start_sender_with("second", "127.0.0.1", "  local_address: 127.0.0.2\n");
    site.write("second", "second", 0..20);
    // The past of the clone is shipped as its own: nobody else has shipped it as this source.
    site.wait_for_lines(1030);
    let (code, status) = site.json("status");
    assert_eq!(code, 0, "{status}");
    site.stop("first");
    site.stop("second");
    let stored = site.stored();
    assert_eq!(stored["127.0.0.1"], site.written(&["first"]));
    assert_eq!(stored["127.0.0.2"], site.written(&["second"]));
}

#[test]
fn a_sender_that_comes_from_another_address_stays_one_source() {
    // Without IPv6 the sender changes to another IPv4 address, as by DHCP.
    let (source, relay, settings) = if has_ipv6() {
        ("::1", "[::1]", "")
    } else {
        ("127.0.0.2", "127.0.0.1", "  local_address: 127.0.0.2\n")
    };
    let mut site = Site::start("two-addresses");
    site.write("first", "both", 0..500);
    site.start_sender_with("first", relay, settings);
    site.wait_for_lines(500);
    site.stop("first");
    site.write("first", "later", 0..100);
    site.start_sender("first", "127.0.0.1");
    site.wait_for_lines(600);
    let is_shown = || {
        let (_, status) = site.json("status");
        status["sources"][0]["address"] == "127.0.0.1"
    };
    wait_for("status to show the new address", WAIT_LIMIT, is_shown);
    let (_, status) = site.json("status");
    assert_eq!(status["sources"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["sources"][0]["source"], source, "{status}");
    site.stop("first");
    assert_eq!(site.only_source(), source);
    assert_eq!(site.stored()[source], site.written(&["first"]));
    assert_eq!(site.json("audit").0, 0);
}

#[test]
fn a_sender_that_lost_its_state_is_not_a_second_one() {
    let mut site = Site::start("lost-id");
    site.write("first", "both", 0..500);
    site.start_sender("first", "127.0.0.1");
    site.wait_for_lines(500);
    site.stop("first");
    let id = fs::read_to_string(site.folder("first").join("state/id")).unwrap();
    fs::remove_dir_all(site.folder("first").join("state")).unwrap();
    site.write("first", "later", 0..100);
    site.start_sender("first", "127.0.0.1");
    site.wait_for_lines(600);
    let new_id = fs::read_to_string(site.folder("first").join("state/id")).unwrap();
    assert_ne!(id, new_id);
    let is_settled = || site.json("status").0 == 0;
    wait_for("a healthy status", WAIT_LIMIT, is_settled);
    let (_, status) = site.json("status");
    assert_eq!(
        status["sources"][0]["senders"],
        Value::Array(Vec::new()),
        "{status}"
    );
    site.stop("first");
    assert_eq!(site.stored()["127.0.0.1"], site.written(&["first"]));
}
