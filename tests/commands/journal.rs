//! What a person reads in the journal: one process of all roles with some twenty kinds of trouble, whose events go to a
//! journal as systemd's stores them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use jiff::Timestamp;
use logferry_durable::RealDisk;
use logferry_ledger::{
    BatchState, Incident, IncidentMail, IncidentUpdate, Ledger, NewBatch, NewMail, Severity, SummaryKey,
};
use logferry_testkit::batches::{add_batch, new_batch, put_file};
use nix::sys::signal::Signal;

use crate::support::journal::Journal;
use crate::support::process::Process;
use crate::support::test_folder::{OUTPUT, TestFolder, free_port};
use crate::support::{WAIT_LIMIT, becomes_true};

/// Why nothing answers at the closed port.
const REFUSED: &str = "Connection refused (os error 111)";

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The ports of the test. Nothing listens on `closed`.
struct Ports {
    relay: u16,
    closed: u16,
}

fn config(folder: &TestFolder, ports: &Ports) -> String {
    let path = |name: &str| folder.path(name).display().to_string();
    let Ports { relay, closed } = ports;
    format!(
        "sender:
  relay: http://127.0.0.1:{closed}
  state_dir: {state}
  logs: [{{path: {access}}}]
relay:
  data_dir: {data}
  groups: [{{name: web, listen: \"127.0.0.1:{relay}\", sources: [127.0.0.1]}}]
  limits: {{min_free_disk: 1048576GiB}}
  tokens_file: {tokens}
  metrics: null
forwarder:
  destinations:
    - {{name: edw, host: 127.0.0.1, port: {closed}, user: ferry, directory: /in, password: x,
       host_key: \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\", sources: [198.51.100.1, 198.51.100.9]}}
monitor:
  smtp: {{host: 127.0.0.1, port: {closed}, from: ops@example.com, to: [ops@example.com]}}
  hold: {{clear: 0s}}
  metrics: null
housekeeper:
  schedule: \"* * * * * *\"
",
        state = path("state"),
        access = path("logs/access.log"),
        data = path("data"),
        tokens = path("tokens"),
    )
}

/// A batch's row, without its file.
fn batch(ledger: &mut Ledger, source: &str, name: &str, group: &str, state: BatchState) {
    let new = NewBatch {
        group: group.parse().unwrap(),
        ..new_batch(source, name)
    };
    add_batch(ledger, &new, b"one line\n", state, Timestamp::now());
}

/// The troubles that are there before the start.
fn lay_out_troubles(folder: &TestFolder) {
    let data = folder.path("data");
    fs::create_dir_all(&data).unwrap();
    let mut ledger = Ledger::open_or_create(&data).unwrap();
    let put = |path: &str, bytes: &[u8]| put_file(&RealDisk, &folder.path(path), bytes);

    // The sender's.
    put("state/checkpoint", &[0; 100]);
    put("state/id", b"no id\n");
    put("state/relay", &[0; 40]);
    put("logs/access.log", b"127.0.0.1 a line\n");
    put(
        "logs/access.log.2.gz",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03damaged, not deflate",
    );
    // The relay's: a stray file, a file that is too short, a group that is gone.
    put("data/open/198.51.100.1/stray.log", b"?\n");
    batch(&mut ledger, "198.51.100.1", "short", "web", BatchState::Open);
    put("data/open/198.51.100.1/short.log", b"one\n");
    batch(&mut ledger, "198.51.100.1", "orphan", "gone", BatchState::Open);
    put("data/open/198.51.100.1/orphan.log", b"one line\n");
    // The forwarder's: a stray file, a batch that nobody wants, one whose file is gone.
    put("data/ready/198.51.100.1/foreign.log", b"?\n");
    batch(&mut ledger, "198.51.100.7", "unwanted", "web", BatchState::Ready);
    put("data/ready/198.51.100.7/unwanted.log", b"one line\n");
    // The housekeeper's.
    put("data/sent/198.51.100.1/unknown.log", b"?\n");
    // The monitor's: a mail that waits, and a source that is back.
    let mail = NewMail {
        subject: "2026-11-21 03:00-04:00: 1 line".to_owned(),
        text: "text\n".to_owned(),
        html: None,
    };
    let now = Timestamp::now();
    assert!(
        ledger
            .queue_summary_mail(SummaryKey::Hour(now), &mail, &[], now)
            .unwrap()
    );
    let (back, group) = ("198.51.100.9".parse().unwrap(), "web".parse().unwrap());
    let missing = IncidentUpdate {
        incident: Incident {
            id: None,
            rule: "missing".to_owned(),
            subject: "198.51.100.9".to_owned(),
            severity: Severity::Critical,
            text: "source 198.51.100.9 is missing".to_owned(),
            advice: String::new(),
            channels: Vec::new(),
            clear_after: Duration::ZERO,
            since: now,
            opened_at: Some(now),
            gone_since: None,
            closed_at: None,
            told: Some(Severity::Critical),
            told_at: Some(now),
            returns: 0,
            relapses: 0,
        },
        entries: Vec::new(),
        is_dropped: false,
    };
    let mail = IncidentMail {
        mail,
        news: String::new(),
    };
    ledger
        .record_incidents(&[missing], |_| Some(mail), &[], now)
        .unwrap();
    ledger.note_contact(&back, &group, now).unwrap();
}

/// A request without a token.
fn send_without_token(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n{\"log\":\"a\"}";
    stream.write_all(request.as_bytes()).unwrap();
    // A connection that is closed before the answer need not be answered.
    let mut status = [0; "HTTP/1.1 401".len()];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(status, *b"HTTP/1.1 401");
}

/// What must stand together in one message: the subject, its values, the cause, the advice.
fn expected(folder: &TestFolder, ports: &Ports) -> Vec<Vec<String>> {
    [of_sender_and_relay(folder, ports), of_the_others(folder, ports)].concat()
}

fn list(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|&part| part.to_owned()).collect()
}

fn of_sender_and_relay(folder: &TestFolder, ports: &Ports) -> Vec<Vec<String>> {
    let path = |name: &str| folder.path(name).display().to_string();
    let closed = ports.closed;
    vec![
        list(&[
            "nothing can be shipped to the relay",
            &format!("127.0.0.1:{closed}"),
            ". Cause: ",
            REFUSED,
        ]),
        list(&[
            "the checkpoint is unusable and was moved aside",
            &path("state/checkpoint"),
            ". Cause: ",
        ]),
        list(&[
            "the file with the sender's id is unusable; a new id replaces it",
            &path("state/id"),
        ]),
        list(&[
            "the file that names the relay is unusable",
            &path("state/relay"),
            ". Cause: ",
        ]),
        list(&[
            "the compressed log is damaged",
            &path("logs/access.log.2.gz"),
            ". Cause: ",
        ]),
        list(&[
            "no open batch for this file",
            &path("data/open/198.51.100.1/stray.log"),
            "fsck",
        ]),
        list(&[
            "this file is shorter than the ledger says",
            "short.log",
            "found 4, expected 9",
        ]),
        list(&["batch orphan is sealed", "its group gone is not configured"]),
        list(&[
            "the disk has less free space than min_free_disk",
            " of 1",
            "make space",
            "group web",
        ]),
        list(&[
            "a source is refused",
            "group web",
            "source 127.0.0.1",
            ". Cause: ",
            "401",
        ]),
        list(&[
            "files have changed and cannot be used",
            "tokens",
            ". Cause: ",
            &path("tokens"),
        ]),
    ]
}

fn of_the_others(folder: &TestFolder, ports: &Ports) -> Vec<Vec<String>> {
    let path = |name: &str| folder.path(name).display().to_string();
    let relay = ports.relay;
    vec![
        list(&["group web: listening on", &format!("127.0.0.1:{relay}")]),
        list(&["foreign.log is no file of a batch that the ledger knows"]),
        list(&["no destination wants some batches: 1; they wait in ready/"]),
        list(&["destination edw is down (unreachable)", ". Cause: ", REFUSED]),
        list(&[
            "mail \"2026-11-21 03:00-04:00: 1 line\" is not sent, 1 attempt",
            "tried again in 30 s",
            ". Cause: ",
            "refused",
        ]),
        list(&["over: source 198.51.100.9 is missing"]),
        list(&["sent/198.51.100.1/unknown", "not in the ledger"]),
        list(&[
            "the new configuration is not valid; the old one stays in force",
            &path("logferry.yaml"),
        ]),
        list(&["sender.state_dri", "did you mean `state_dir`"]),
    ]
}

/// The expectations that no message meets yet.
fn unmet(messages: &[String], expected: &[Vec<String>]) -> Vec<Vec<String>> {
    let is_met = |parts: &&Vec<String>| {
        !messages
            .iter()
            .any(|message| parts.iter().all(|part| message.contains(part.as_str())))
    };
    expected.iter().filter(is_met).cloned().collect()
}

#[test]
fn journal_says_what_happened_to_what_and_why() {
    let folder = TestFolder::new("journal");
    let ports = Ports {
        relay: free_port(),
        closed: free_port(),
    };
    let file = folder.write("logferry.yaml", &config(&folder, &ports));
    folder.write("tokens", &format!("{TOKEN} *\n"));
    lay_out_troubles(&folder);
    let mut journal = Journal::listen(&folder.path("journal"));
    let stderr = folder.path(OUTPUT).join("all.log");
    let mut command = journal.logferry(&stderr);
    let mut roles = Process::start(&folder, "all", command.arg("run").arg("-c").arg(&file));
    let has = |journal: &mut Journal, part: &str| journal.messages().iter().any(|it| it.contains(part));
    let is_up = becomes_true(WAIT_LIMIT, || has(&mut journal, "listening on"));
    let said = fs::read_to_string(&stderr).unwrap();
    assert!(
        is_up,
        "this test needs root, or a user namespace (unshare --user --mount): {said}"
    );
    assert_eq!(said, "", "the journal gets all");

    send_without_token(ports.relay);
    folder.write("tokens", "a-token-without-a-source\n");
    let broken = config(&folder, &ports).replace("state_dir", "state_dri");
    folder.write("logferry.yaml", &broken);
    roles.signal(Signal::SIGHUP);

    let expected = expected(&folder, &ports);
    let is_complete = becomes_true(WAIT_LIMIT, || unmet(journal.messages(), &expected).is_empty());
    let messages = journal.messages().join("\n");
    println!("{messages}");
    assert!(
        is_complete,
        "missing: {:#?}\n{messages}",
        unmet(journal.messages(), &expected)
    );
    assert_one_line_each(journal.messages());
    roles.stop(Signal::SIGTERM, WAIT_LIMIT);
}

fn assert_one_line_each(messages: &[String]) {
    for message in messages {
        assert!(!message.chars().any(char::is_control), "{message:?}");
        assert_eq!(message.matches("Cause:").count().max(1), 1, "{message}");
    }
}
