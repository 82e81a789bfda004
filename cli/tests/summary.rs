//! `logferry summary` from outside: the mail of an hour or a day, printed, as a page, and over SMTP; and users' templates.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use logferry_durable::RealDisk;
use logferry_embedded_servers::MailSink;
use logferry_ledger::{BatchState, Ledger};
use logferry_numbers::{CountedLine, IndexChange, IndexDb, NumbersKept, SeriesKey};
use logferry_testkit::batches::{add_batch, new_batch, put_file};

/// In the window of `new_batch`.
const LINES: &[u8] = b"one\ntwo\nthree\n";

fn logferry(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command
        .args(arguments)
        .env_remove("LOGFERRY_CONFIG")
        .env_remove("LOGFERRY_LOG")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A relay host with one delivered file, counted by an indexer. Returns its configuration.
fn host(dir: &Path, mail_port: u16, more: &str) -> String {
    let (data_dir, store_dir) = (dir.join("relay"), dir.join("index"));
    std::fs::create_dir_all(&data_dir).unwrap();
    std::fs::create_dir_all(&store_dir).unwrap();
    let mut ledger = Ledger::open_or_create(&data_dir).unwrap();
    let now = Timestamp::now();
    let (source, group) = ("198.51.100.1".parse().unwrap(), "web-1".parse().unwrap());
    ledger.note_contact(&source, &group, now).unwrap();
    let new = new_batch("198.51.100.1", "accessLog_26112102_20-39_198-51-100-1");
    let batch = add_batch(&mut ledger, &new, LINES, BatchState::Sent, now);
    let file = data_dir.join("sent/198.51.100.1").join(batch.file_name());
    put_file(&RealDisk, &file, LINES);

    let mut change = IndexChange {
        ledger: "l".to_owned(),
        store_position: "1:2:3:4:5:6".to_owned(),
        ..IndexChange::default()
    };
    let series = change.tally.series(SeriesKey {
        source: "198.51.100.1".to_owned(),
        group: "web-1".to_owned(),
        log: None,
    });
    for status in [200, 200, 503] {
        change
            .tally
            .minute(new.window.start + 5, series)
            .count(&CountedLine {
                bytes: 5,
                status: Some(status),
                level: None,
                is_parsed: true,
                request_micros: None,
            });
    }
    let kept = NumbersKept {
        minutes: std::time::Duration::from_hours(9000),
        hours: std::time::Duration::from_hours(9000),
        gaps: std::time::Duration::from_hours(9000),
    };
    let mut index = IndexDb::open_or_create(&store_dir).unwrap();
    index.record(&mut change, kept, new.window.start + 60).unwrap();

    let config = dir.join("logferry.yaml");
    let (data_dir, store_dir) = (data_dir.display(), store_dir.display());
    let smtp =
        format!("{{host: 127.0.0.1, port: {mail_port}, from: ferry@example.com, to: [ops@example.com]}}");
    std::fs::write(
        &config,
        format!("monitor:\n  data_dir: {data_dir}\n  store_dir: {store_dir}\n  metrics: null\n  smtp: {smtp}\n{more}"),
    )
    .unwrap();
    config.to_str().unwrap().to_owned()
}

/// A part of a mail: its type, its headers and its decoded content; and the parts in it.
struct MimePart {
    kind: String,
    head: String,
    content: Vec<u8>,
    parts: Vec<MimePart>,
}

impl MimePart {
    /// Reads RFC 2045, as far as our mails have it.
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let kind = header("Content-Type:");
        let boundary = kind
            .split("boundary=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let parts = boundary.map_or_else(Vec::new, |boundary| {
            let inner = body.split(&format!("--{boundary}--")).next().unwrap();
            let begin = format!("--{boundary}\r\n");
            inner.split(&begin).skip(1).map(Self::read).collect()
        });
        let content = match header("Content-Transfer-Encoding:").as_str() {
            "base64" => STANDARD.decode(body.replace("\r\n", "").trim()).unwrap(),
            "quoted-printable" => unquoted(body),
            _ => body.as_bytes().to_vec(),
        };
        Self {
            kind: kind.split(';').next().unwrap().to_owned(),
            head,
            content,
            parts,
        }
    }

    fn tree(&self) -> String {
        let inner: Vec<_> = self.parts.iter().map(Self::tree).collect();
        if inner.is_empty() {
            return self.kind.clone();
        }
        format!("{}({})", self.kind, inner.join(" "))
    }
}

fn unquoted(body: &str) -> Vec<u8> {
    let body = body.replace("=\r\n", "");
    let mut pieces = body.split('=');
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    bytes
}

#[test]
fn an_hour_is_printed_and_a_day_becomes_a_page_with_its_picture() {
    let dir = tempfile::tempdir().unwrap();
    let config = host(dir.path(), 25, "");
    let hour = logferry(&["-c", &config, "summary", "--hour", "2026-11-21T02"]);
    assert_eq!(hour.status.code(), Some(0), "{}", text(hour.stderr));
    let shown = text(hour.stdout);
    assert!(
        shown.contains("\n2026-11-21 02:00-03:00 (+00:00): 3 lines, all delivered"),
        "{shown}"
    );
    assert!(shown.contains("\nstatus 5xx      33.3%"), "{shown}");
    assert!(shown.contains("02:20-02:40: whole\n"), "{shown}");

    let page = dir.path().join("page.html");
    let page = page.to_str().unwrap();
    let day = logferry(&["-c", &config, "summary", "--day", "2026-11-21", "--html", page]);
    assert_eq!(day.status.code(), Some(0), "{}", text(day.stderr));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("<img src=\"data:image/png;base64,iVBOR"), "{html}");

    for wrong in [["--day", "soon"], ["--hour", "soon"]] {
        let output = logferry(&["-c", &config, "summary", wrong[0], wrong[1]]);
        assert_eq!(output.status.code(), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_summary_has_text_html_its_picture_and_two_tables() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MailSink::start().await.unwrap();
    let config = host(dir.path(), sink.port(), "");
    let sent = logferry(&["-c", &config, "summary", "--hour", "2026-11-21T02", "--send"]);
    assert_eq!(sent.status.code(), Some(0), "{}", text(sent.stderr));
    let mails = sink.messages();
    assert_eq!(mails.len(), 1);
    let mail = MimePart::read(&String::from_utf8_lossy(&mails[0].data));
    assert!(
        mail.head
            .contains("Subject: [logferry] 2026-11-21 02:00-03:00: 3 lines"),
        "{}",
        mail.head
    );
    assert_eq!(
        mail.tree(),
        "multipart/mixed(multipart/alternative(text/plain multipart/related(text/html image/png)) text/csv text/csv)"
    );
    let [shown, sources, files] = mail.parts.as_slice() else {
        unreachable!("three parts")
    };
    let [html, picture] = shown.parts[1].parts.as_slice() else {
        unreachable!("two parts")
    };
    let id = picture
        .head
        .lines()
        .find_map(|line| line.strip_prefix("Content-ID: <"))
        .unwrap();
    let id = id.trim_end_matches('>');
    assert!(
        text(html.content.clone()).contains(&format!("src=\"cid:{id}\"")),
        "{id}"
    );
    assert!(picture.content.starts_with(b"\x89PNG"));
    assert!(
        sources.head.contains("filename=\"sources-2026-11-21T02.csv\""),
        "{}",
        sources.head
    );
    let files = text(files.content.clone());
    let row = files.lines().nth(1).unwrap();
    assert!(
        row.contains(",accessLog_26112102_20-39_198-51-100-1.log,3,Sent,198.51.100.1,"),
        "{files}"
    );
}

#[test]
fn check_names_file_and_line_of_a_mistake_in_a_template() {
    let dir = tempfile::tempdir().unwrap();
    let templates = dir.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    let config = host(
        dir.path(),
        25,
        &format!("  templates_dir: {}\n", templates.display()),
    );
    let template = templates.join("summary.txt");
    std::fs::write(&template, "{{ verdict }}\n{{ verdikt }}\n").unwrap();
    let checked = logferry(&["-c", &config, "check"]);
    let shown = text(checked.stdout);
    assert!(
        shown.contains(&format!("{}:2: the template is wrong: ", template.display())),
        "{shown}"
    );
    assert_eq!(checked.status.code(), Some(1), "{shown}");
    std::fs::write(&template, "{{ verdict }}\n").unwrap();
    let hour = logferry(&["-c", &config, "summary", "--hour", "2026-11-21T02"]);
    let shown = text(hour.stdout);
    assert!(
        shown.starts_with("Not all is well: ") && shown.lines().count() == 1,
        "{shown}"
    );
}
