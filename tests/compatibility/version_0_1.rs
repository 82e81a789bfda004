//! Version 0.1: its data folder, sender state and requests, as `tests/data/version_0_1/README.md` describes them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use logferry_embedded_servers::MailSink;
use serde_json::Value;

use crate::support::WAIT_LIMIT;
use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::network::http_interceptor::read_message;
use crate::support::pipeline::{Pipeline, Role, spool_lines};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/version_0_1");

/// A foreign file in the drop folder. Because of it, version 0.1 could not deliver a batch.
const FOREIGN_FILE: &str = "accessLog_24112008_40-59_127-0-0-1.log";

/// Lines in the spool of version 0.1, and unshipped lines of its sender.
const SPOOL_LINES: usize = 100;
const UNSHIPPED_LINES: usize = 40;

/// A pipeline that works on copies of the data of version 0.1. `relay`: the name of the data folder to copy.
fn pipeline_on_copy(test: &str, relay: &str) -> Pipeline {
    let pipeline = Pipeline::new(test, "20m");
    let data = Path::new(DATA);
    let config = &pipeline.config;
    copy_folder(&data.join(relay), &config.data_dir);
    copy_folder(&data.join("sender"), &config.state_dir);
    copy_folder(&data.join("log"), config.log.parent().unwrap());
    copy_folder(&data.join("delivered"), &config.destination.directory);
    pipeline
}

/// Copies a folder. The ledger's files are stored compressed and are unpacked here; compressed batches are not.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            copy_folder(&path, &to.join(name));
        } else if let Some(name) = name
            .strip_suffix(".gz")
            .filter(|name| name.starts_with("ledger.db"))
        {
            let mut decoder = GzDecoder::new(File::open(&path).unwrap());
            io::copy(&mut decoder, &mut File::create(to.join(name)).unwrap()).unwrap();
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn assert_fsck_finds_nothing(pipeline: &Pipeline) {
    let (code, report) = pipeline.json("fsck");
    assert_eq!((code, &report["fine"]), (0, &true.into()), "{report}");
}

/// Checks that all lines of version 0.1, shipped or not, are delivered once.
fn check_that_new_roles_continue(test: &str, relay: &str) {
    let mut pipeline = pipeline_on_copy(test, relay);
    pipeline.write_config();
    assert_fsck_finds_nothing(&pipeline);
    let (code, audit) = pipeline.json("audit");
    assert_eq!((code, &audit["complete"]), (0, &true.into()), "{audit}");
    assert_eq!(audit["totals"]["lines_received"], SPOOL_LINES, "{audit}");
    let (code, status) = pipeline.json("status");
    assert_eq!(code, 1, "a batch has failed: {status}");
    for state in ["open", "ready", "failed"] {
        assert_eq!(status["batches"][state], 1, "{state}: {status}");
    }
    assert_monitor_sends_the_waiting_mail(&pipeline);

    fs::remove_file(pipeline.config.destination.directory.join(FOREIGN_FILE)).unwrap();
    pipeline.start_all();
    let written = WrittenLog::read(&pipeline.config.log);
    assert_eq!(written.kept_lines(), SPOOL_LINES + UNSHIPPED_LINES);
    pipeline.wait_for_delivery(&written);
    assert_fsck_finds_nothing(&pipeline);
    let output = pipeline.output(Role::Sender);
    assert!(
        !output.contains("moved aside"),
        "the checkpoint is readable: {output}"
    );
    pipeline.finish(&written, LineOrder::WithinWindow);
}

/// Version 0.1 could not send its mail about the failed batch. The new monitor sends it.
fn assert_monitor_sends_the_waiting_mail(pipeline: &Pipeline) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sink = runtime.block_on(MailSink::start()).unwrap();
    let text = format!(
        "monitor:\n  data_dir: {:?}\n  metrics: null\n  \
         smtp: {{host: 127.0.0.1, port: {}, from: ferry@example.com, to: [ops@example.com]}}\n",
        pipeline.config.data_dir,
        sink.port()
    );
    let config = pipeline.test_folder.write("monitor.yaml", &text);
    let monitor = crate::support::logferry()
        .args(["monitor", "--once", "-c"])
        .arg(config)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&monitor.stderr);
    assert_eq!(monitor.status.code(), Some(0), "{stderr}");
    let mails = sink.messages();
    let has_subject = mails
        .iter()
        .any(|mail| String::from_utf8_lossy(&mail.data).contains("Subject: [logferry]"));
    assert!(has_subject, "{mails:?}, {stderr}");
}

#[test]
fn new_roles_continue_after_a_clean_stop_of_version_0_1() {
    check_that_new_roles_continue("version-0-1-stopped", "relay_stopped");
}

#[test]
fn new_roles_continue_after_a_kill_of_version_0_1() {
    assert!(Path::new(DATA).join("relay_killed/ledger.db-wal.gz").exists());
    check_that_new_roles_continue("version-0-1-killed", "relay_killed");
}

/// Sends the recorded requests in their order; returns each response with the request's name.
fn replay(port: u16) -> Vec<(String, u16, String)> {
    let files = fs::read_dir(Path::new(DATA).join("requests")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let responses = files.iter().map(|file| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
        stream.write_all(&fs::read(file).unwrap()).unwrap();
        let (bytes, body) = read_message(&mut stream).unwrap().expect("a response");
        let (head, body) = (String::from_utf8_lossy(&bytes), &bytes[body..]);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let name = name.split_once('-').unwrap().1.to_owned();
        (name, status, String::from_utf8_lossy(body).into_owned())
    });
    responses.collect()
}

#[test]
fn requests_of_a_sender_of_version_0_1_are_accepted() {
    let mut pipeline = pipeline_on_copy("version-0-1-requests", "relay_stopped");
    pipeline.config.seal_after = "1h";
    pipeline.start(Role::Relay);
    let port = pipeline.config.relay_port;
    crate::support::wait_for("the relay to listen", WAIT_LIMIT, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    for outcome in ["stored", "duplicate"] {
        let responses = replay(port);
        assert!(responses.len() >= 4, "{responses:?}");
        for (name, status, body) in responses {
            match name.as_str() {
                "heartbeat" => assert_eq!(status, 204, "{body}"),
                "streams" => {
                    assert_eq!(status, 200, "{body}");
                    let answer: Value = serde_json::from_str(&body).unwrap();
                    assert_eq!(answer["source"], "127.0.0.1", "{body}");
                }
                "chunks" => {
                    assert_eq!(status, 200, "{body}");
                    let receipt: Value = serde_json::from_str(&body).unwrap();
                    assert_eq!(receipt["outcome"], outcome, "{body}");
                }
                other => panic!("an unknown request was recorded: {other}"),
            }
        }
    }
    // One batch is compressed; its lines are not counted here.
    let lines = spool_lines(&pipeline.config.data_dir).unwrap();
    assert!(
        lines >= SPOOL_LINES - 20 + UNSHIPPED_LINES,
        "{lines} lines in the spool"
    );
    pipeline.stop(Role::Relay, nix::sys::signal::Signal::SIGTERM);

    fs::remove_file(pipeline.config.destination.directory.join(FOREIGN_FILE)).unwrap();
    pipeline.config.seal_after = "1s";
    pipeline.start(Role::Relay);
    pipeline.start(Role::Forwarder);
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WithinWindow);
}
