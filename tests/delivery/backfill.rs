//! Old logs, shipped once by `logferry backfill`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role, files_below};
use crate::support::process::Process;
use crate::support::{WAIT_LIMIT, logferry, wait_for};

/// Enough for several chunks.
const LINES: usize = 3_000;

/// Old logs of some hours, one hour in each file, outside the sender's log folder.
struct OldLogs {
    log: LogFile,
    folder: PathBuf,
    hours: u32,
}

impl OldLogs {
    fn new(pipeline: &Pipeline, hours: u32, lines: usize) -> Self {
        let mut log = LogFile::open(pipeline.test_folder.create_dir("original").join("access.log")).unwrap();
        let mut traffic = traffic("old", 1);
        for hour in (0..hours).rev() {
            let age = SignedDuration::from_hours(24 + i64::from(hour));
            append(&mut log, &mut traffic, Timestamp::now() - age, lines);
            log.rename().unwrap();
            log.reopen().unwrap();
        }
        let folder = pipeline.test_folder.create_dir("old");
        Self { log, folder, hours }
    }

    /// The bytes of one hour; hour 0 is the oldest.
    fn bytes(&self, hour: u32) -> Vec<u8> {
        fs::read(self.log.rotated(self.hours - hour)).unwrap()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn written(&self) -> WrittenLog {
        WrittenLog::read(self.log.path())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Runs `backfill` to its end; returns the exit code and stdout.
fn backfill(pipeline: &Pipeline, options: &[&str], files: &[PathBuf]) -> (i32, String) {
    let files = files.iter().map(|file| file.to_str().unwrap());
    let arguments: Vec<&str> = ["backfill"]
        .into_iter()
        .chain(options.iter().copied())
        .chain(files)
        .collect();
    let Output {
        status,
        stdout,
        stderr,
    } = pipeline.command(&arguments);
    print!("{}", String::from_utf8_lossy(&stderr));
    let printed = String::from_utf8_lossy(&stdout).into_owned();
    print!("{printed}");
    (status.code().unwrap(), printed)
}

/// The result of each file, without names, numbers and the total.
fn results(printed: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = printed.lines().collect();
    assert!(lines.pop().unwrap().starts_with("total: "), "{printed}");
    lines
        .into_iter()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect()
}

/// A relay and a forwarder, without a sender.
fn pipeline(test: &str) -> Pipeline {
    let mut pipeline = Pipeline::new(test, "2s");
    pipeline.start(Role::Relay);
    pipeline.start(Role::Forwarder);
    pipeline
}

#[test]
fn old_files_of_each_kind_are_delivered_once_even_if_given_again() {
    let pipeline = pipeline("backfill");
    let old = OldLogs::new(&pipeline, 3, LINES);
    let files = [
        old.file("a.log", &old.bytes(0)),
        old.file("b.log.gz", &gzip(&old.bytes(1))),
        old.file("c.log.zst", &zstd::encode_all(&old.bytes(2)[..], 1).unwrap()),
        old.file("b.log", &old.bytes(1)),
    ];
    let (code, printed) = backfill(&pipeline, &[], &files);
    assert_eq!(
        (code, results(&printed)),
        (0, vec!["shipped", "shipped", "shipped", "already shipped"])
    );
    let (code, printed) = backfill(&pipeline, &[], &files);
    assert_eq!((code, results(&printed)), (0, vec!["already shipped"; 4]));
    pipeline.finish(&old.written(), LineOrder::WholeLog);
}

#[test]
fn killed_backfill_continues_from_its_last_position() {
    let mut pipeline = pipeline("backfill-killed");
    let old = OldLogs::new(&pipeline, 2, 40 * LINES);
    let files = [
        old.file("a.log", &old.bytes(0)),
        old.file("b.log.gz", &gzip(&old.bytes(1))),
    ];
    let mut kills = 0;
    for quarter in 1..=3 {
        let config = pipeline.test_folder.path("logferry.yaml");
        let mut command = logferry();
        command.arg("-c").arg(config).arg("backfill").args(&files);
        let mut process = Process::start(&pipeline.test_folder, "backfill", &mut command);
        pipeline.wait_for_received(quarter * 10 * LINES);
        // On a fast machine it may have ended already.
        if process.is_running() {
            process.kill();
            kills += 1;
        }
    }
    println!("killed {kills} times");
    assert_eq!(backfill(&pipeline, &[], &files).0, 0);
    pipeline.finish(&old.written(), LineOrder::WholeLog);
}

#[test]
fn dry_run_reports_the_files_to_ship_and_sends_nothing() {
    let pipeline = pipeline("backfill-dry");
    let old = OldLogs::new(&pipeline, 1, LINES);
    let files = [old.file("a.log.gz", &gzip(&old.bytes(0))), old.file("empty", b"")];
    let (code, printed) = backfill(&pipeline, &["--dry-run"], &files);
    assert_eq!((code, results(&printed)), (0, vec!["would be shipped", "empty"]));
    let kept = old.written().kept_lines() / 1000;
    assert!(
        printed.contains(&format!("would be shipped: {kept},")),
        "{printed}"
    );
    for state in ["open", "ready", "sent"] {
        let files = files_below(&pipeline.config.data_dir.join(state));
        assert!(files.unwrap_or_default().is_empty());
    }
    assert_eq!(backfill(&pipeline, &[], &files).0, 0);
    pipeline.finish(&old.written(), LineOrder::WholeLog);
}

#[test]
fn damaged_file_is_refused_as_a_whole_and_the_others_are_shipped() {
    let pipeline = pipeline("backfill-damaged");
    let old = OldLogs::new(&pipeline, 2, LINES);
    let whole = gzip(&old.bytes(0));
    let files = [
        old.file("cut.gz", &whole[..whole.len() / 2]),
        old.file("b.log", &old.bytes(1)),
        old.folder.clone(),
        old.folder.join("none"),
    ];
    let (code, printed) = backfill(&pipeline, &[], &files);
    assert_eq!(
        (code, results(&printed)),
        (1, vec!["refused", "shipped", "refused", "refused"])
    );
    // The repaired file is shipped.
    let repaired = old.file("cut.gz", &whole);
    assert_eq!(backfill(&pipeline, &[], &[repaired]).0, 0);
    pipeline.finish(&old.written(), LineOrder::WithinWindow);
}

#[test]
fn only_the_unshipped_part_of_a_file_is_shipped() {
    let mut pipeline = Pipeline::new("backfill-rest", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("rest", 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);

    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    let live = log.path().to_owned();
    let (code, printed) = backfill(&pipeline, &[], &[live]);
    assert_eq!((code, results(&printed)), (1, vec!["refused"]));
    assert!(printed.contains("log `access`"), "{printed}");

    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    let bytes = fs::read(log.rotated(1)).unwrap();
    let away = pipeline.test_folder.create_dir("old").join("yesterday.gz");
    fs::write(&away, gzip(&bytes)).unwrap();
    let (code, printed) = backfill(&pipeline, &[], &[away]);
    assert_eq!(code, 0);
    assert!(printed.contains("shipped from byte "), "{printed}");
    pipeline.start(Role::Sender);
    pipeline.finish(&WrittenLog::read(log.path()), LineOrder::WholeLog);
}

#[test]
fn running_sender_on_the_same_files_doubles_nothing() {
    let mut pipeline = pipeline("backfill-beside");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("beside", 1);
    for _ in 0..3 {
        append(&mut log, &mut traffic, Timestamp::now(), 10 * LINES);
        log.rename().unwrap();
        log.reopen().unwrap();
    }
    pipeline.start(Role::Sender);
    let files = [3, 2, 1].map(|number| log.rotated(number));
    assert_eq!(backfill(&pipeline, &[], &files).0, 0);
    pipeline.finish(&WrittenLog::read(log.path()), LineOrder::WithinWindow);
}

#[test]
fn backfill_waits_for_the_relay_and_a_stop_has_its_own_exit_code() {
    let mut pipeline = Pipeline::new("backfill-away", "2s");
    pipeline.start(Role::Forwarder);
    let old = OldLogs::new(&pipeline, 1, LINES);
    let files = [old.file("a.log", &old.bytes(0))];
    let start = |pipeline: &Pipeline| {
        let config = pipeline.test_folder.path("logferry.yaml");
        let mut command = logferry();
        command.arg("-c").arg(config).arg("backfill").args(&files);
        Process::start(&pipeline.test_folder, "backfill", &mut command)
    };
    let printed = |pipeline: &Pipeline| {
        let path: &Path = &pipeline.test_folder.path("output").join("backfill.log");
        fs::read_to_string(path).unwrap_or_default()
    };
    let mut process = start(&pipeline);
    wait_for("it to wait", WAIT_LIMIT, || {
        printed(&pipeline).contains("waiting for the relay: ")
    });
    assert_eq!(process.stop(Signal::SIGINT, WAIT_LIMIT).code(), Some(3));
    assert!(
        printed(&pipeline).contains("run it again"),
        "{}",
        printed(&pipeline)
    );

    let mut process = start(&pipeline);
    pipeline.start(Role::Relay);
    wait_for("it to end", WAIT_LIMIT, || !process.is_running());
    pipeline.finish(&old.written(), LineOrder::WholeLog);
}

#[test]
fn log_missing_from_the_configuration_is_bad_usage() {
    let pipeline = pipeline("backfill-usage");
    let file = pipeline.test_folder.write("a.log", "1\n");
    assert_eq!(backfill(&pipeline, &["--log", "web"], &[file]).0, 2);
    assert_eq!(backfill(&pipeline, &[], &[]).0, 2);
}
