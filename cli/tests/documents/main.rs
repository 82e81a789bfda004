//! The commands in the documents work: those that only look, or that only touch a folder of their own, are run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod quoted_messages;
mod units;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use logferry_durable::RealDisk;
use logferry_inspection::sign_off::{SigningReach, sign_windows};
use logferry_ledger::{BatchState, Ledger};
use logferry_numbers::IndexDb;
use logferry_testkit::batches::{add_batch, new_batch, put_file};
use logferry_testkit::documents::{self, DocumentPage, ShownCommand};

/// Commands that talk to nobody, and that end.
const HARMLESS: [&str; 14] = [
    "alerts",
    "audit",
    "check",
    "completions",
    "fsck",
    "housekeeper",
    "numbers",
    "resend",
    "retry",
    "rules",
    "search",
    "silence",
    "status",
    "summary",
];

/// With these they talk to others, do not end, or are for a host that is damaged.
const TALKING: [&str; 6] = [
    "--connect",
    "--send",
    "--verify",
    "--watch",
    "--index",
    "--rebuild",
];

const LINES: &[u8] = b"192.0.2.7 - - [21/Nov/2026:02:20:01 +0000] \"GET / HTTP/1.1\" 503 5 \"-\" \"-\"\n";

fn can_run(shown: &ShownCommand) -> bool {
    let words = &shown.words;
    let is_harmless = words.get(1).is_some_and(|word| HARMLESS.contains(&word.as_str()));
    let is_role = words.get(1).is_some_and(|word| word == "housekeeper");
    let ends = !is_role || words.iter().any(|word| word == "--once" || word == "--dry-run");
    let is_quiet = !words.iter().any(|word| TALKING.contains(&word.as_str()));
    shown.is_whole && is_harmless && ends && is_quiet
}

/// A relay host with one delivered batch of the window that the documents name, and its configuration.
fn lay_out(dir: &Path) {
    let (data_dir, store_dir) = (dir.join("relay"), dir.join("index"));
    fs::create_dir_all(&data_dir).unwrap();
    fs::create_dir_all(&store_dir).unwrap();
    let mut ledger = Ledger::open_or_create(&data_dir).unwrap();
    for source in ["198.51.100.1", "198.51.100.7"] {
        let (source, group) = (source.parse().unwrap(), "web-1".parse().unwrap());
        ledger.note_contact(&source, &group, Timestamp::now()).unwrap();
    }
    let mut new = new_batch("198.51.100.1", "accessLog_26112108_20-39_198-51-100-1");
    new.window.start += 6 * 3600;
    let batch = add_batch(&mut ledger, &new, LINES, BatchState::Sent, Timestamp::now());
    put_file(
        &RealDisk,
        &data_dir.join("sent/198.51.100.1").join(batch.file_name()),
        LINES,
    );
    let now = Timestamp::now();
    sign_windows(&mut ledger, &data_dir, SigningReach::All, now, || true).unwrap();
    drop(IndexDb::open_or_create(&store_dir).unwrap());
    fs::write(dir.join("key"), "k").unwrap();
    let text = "formats: {access: combined, app: json}
relay:
  data_dir: DIR/relay
  metrics: null
  groups: [{name: web-1, listen: '127.0.0.1:0', sources: [198.51.100.0/24]}]
forwarder:
  destinations: [{name: edw, host: 127.0.0.1, port: 1, user: ferry, directory: /in, password_file: DIR/key, known_hosts: DIR/key}]
monitor:
  metrics: null
  smtp: {host: 127.0.0.1, port: 1, from: a@example.com, to: [a@example.com]}
  rules: [{name: server errors, counter: status_5xx, measure: share, above: 5%}]
indexer: {store_dir: DIR/index}
housekeeper: {}
";
    fs::write(
        dir.join("logferry.yaml"),
        text.replace("DIR", dir.to_str().unwrap()),
    )
    .unwrap();
}

/// What is wrong with a run of the command in `dir`: it may find a problem, but not fail.
fn fault(shown: &ShownCommand, dir: &Path) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(&shown.words[1..])
        .current_dir(dir)
        .env("LOGFERRY_CONFIG", dir.join("logferry.yaml"))
        .env_remove("LOGFERRY_LOG")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let is_well = matches!(output.status.code(), Some(0 | 1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (!is_well).then(|| {
        format!(
            "{}: {}: {}: {text}",
            shown.at,
            shown.words.join(" "),
            output.status
        )
    })
}

#[test]
fn commands_in_the_documents_run() {
    let mut faults = Vec::new();
    let mut count = 0;
    for page in documents::pages() {
        // A page is read from the top: what one command writes, the next ones may read.
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path());
        for shown in DocumentPage::commands(&page)
            .iter()
            .filter(|shown| can_run(shown))
        {
            count += 1;
            faults.extend(fault(shown, dir.path()));
        }
    }
    assert!(count > 40, "only {count} commands were run");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn ansible_role_knows_every_unit() {
    let vars = documents::page("deploy/ansible/roles/logferry/vars/main.yml").text;
    let list = vars
        .lines()
        .find_map(|line| line.strip_prefix("logferry_all_roles: ["));
    let known: BTreeSet<_> = list
        .unwrap()
        .trim_end_matches(']')
        .split(", ")
        .map(str::to_owned)
        .collect();
    let units = fs::read_dir(documents::repository().join("deploy/systemd")).unwrap();
    let names = units.map(|unit| unit.unwrap().file_name().into_string().unwrap());
    let roles = names.filter_map(|name| {
        let role = name.strip_prefix("logferry-")?.strip_suffix(".service")?;
        // A single run, for the timer.
        (!role.ends_with("-once")).then(|| role.to_owned())
    });
    assert_eq!(known, roles.collect());
}
