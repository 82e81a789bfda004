//! Rotation by the real logrotate: each method, with and without load, with the sender running or down; bursts of
//! rotations; and lines larger than all buffers. The relay's files are compared with the written lines.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use logferry_traffic::{LogFile, Traffic};
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::traffic;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::{require, run_tool};
use crate::support::test_folder::TestFolder;
use crate::support::{WAIT_LIMIT, wait_for};

const LOGROTATE: &str = "/usr/sbin/logrotate";

/// Rotations of each cell of the table.
const ROTATIONS: usize = 3;

/// Lines between two rotations without load. Enough for several chunks.
const LINES: usize = 1_500;

/// How logrotate rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RotationMethod {
    Create,
    CopyTruncate,
    Dated,
    Compress,
}

impl RotationMethod {
    const fn directives(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CopyTruncate => "copytruncate",
            Self::Dated => "create\n  dateext\n  dateformat -%Y%m%d-%s",
            Self::Compress => "create\n  compress",
        }
    }

    /// Whether logrotate itself loses lines written while it works: after the copy, or into the file that it compresses.
    const fn loses_concurrent_writes(self) -> bool {
        matches!(self, Self::CopyTruncate | Self::Compress)
    }
}

/// Whether lines are written during the rotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriterLoad {
    Idle,
    Busy,
}

/// Whether the sender runs during the rotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SenderState {
    Running,
    Down,
}

#[test]
fn logs_rotated_by_create_arrive_once_and_in_order() {
    check(RotationMethod::Create);
}

#[test]
fn logs_rotated_by_copytruncate_arrive_once_and_in_order() {
    check(RotationMethod::CopyTruncate);
}

#[test]
fn logs_rotated_to_dated_names_arrive_once_and_in_order() {
    check(RotationMethod::Dated);
}

#[test]
fn logs_compressed_at_once_arrive_once_and_in_order() {
    check(RotationMethod::Compress);
}

/// A row of the table.
fn check(method: RotationMethod) {
    for load in [WriterLoad::Idle, WriterLoad::Busy] {
        for sender in [SenderState::Running, SenderState::Down] {
            check_cell(method, load, sender);
        }
    }
}

fn check_cell(method: RotationMethod, load: WriterLoad, sender: SenderState) {
    let cell = format!("{method:?}-{load:?}-{sender:?}").to_lowercase();
    let mut pipeline = Pipeline::new(&cell, "10s");
    let writer = RecordingWriter::new(&pipeline.config.log, &cell);
    let logrotate = Logrotate::new(&pipeline.test_folder, writer.lock().log.path(), method);
    pipeline.start(Role::Relay);
    pipeline.start(Role::Sender);
    writer.lock().append(LINES);
    pipeline.wait_for_received(writer.written().kept_lines());

    if sender == SenderState::Down {
        pipeline.stop(Role::Sender, Signal::SIGTERM);
    }
    writer.under(load, || {
        for _ in 0..ROTATIONS {
            writer.lock().append(LINES);
            logrotate.rotate(&writer);
        }
    });
    writer.lock().append(LINES);
    if sender == SenderState::Down {
        pipeline.start(Role::Sender);
    }
    pipeline.wait_for_received(writer.written().kept_lines());

    // A restart reveals lines that the sender would ship twice.
    pipeline.kill(Role::Sender);
    pipeline.start(Role::Sender);
    writer.lock().append(1);
    pipeline.finish_at_relay(&writer.written(), LineOrder::WholeLog);
}

#[test]
fn twenty_rotations_in_two_seconds_under_load_lose_nothing() {
    let mut pipeline = Pipeline::new("burst", "10s");
    let writer = RecordingWriter::new(&pipeline.config.log, "burst");
    pipeline.start(Role::Relay);
    pipeline.start(Role::Sender);
    writer.under(WriterLoad::Busy, || {
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(95));
            writer.lock().log.rename().unwrap();
            // As with nginx, lines still go to the renamed file for a moment.
            std::thread::sleep(Duration::from_millis(5));
            writer.lock().log.reopen().unwrap();
        }
    });
    assert_eq!(WrittenLog::read(&pipeline.config.log).files(), 21);
    pipeline.finish_at_relay(&writer.written(), LineOrder::WholeLog);
}

#[test]
fn lines_of_up_to_100_mib_and_a_hole_pass_without_being_held_in_memory() {
    const MIB: usize = 1 << 20;
    let mut pipeline = Pipeline::new("giants", "10s");
    let writer = RecordingWriter::new(&pipeline.config.log, "giants");
    pipeline.start(Role::Relay);
    pipeline.start(Role::Sender);
    for size in [1, 16, 100] {
        let mut state = writer.lock();
        state.append(10);
        state.append_raw(&long_line(size * MIB));
        state.append(10);
    }
    pipeline.wait_for_received(writer.written().kept_lines());
    // A hole of NUL bytes, as a writer without O_APPEND leaves it after a truncation.
    let mut state = writer.lock();
    let end = state.written.len() + 64 * MIB;
    let log = fs::OpenOptions::new()
        .append(true)
        .open(state.log.path())
        .unwrap();
    log.set_len(end as u64).unwrap();
    state.written.resize(end, 0);
    state.append(10);
    drop(state);
    pipeline.wait_for_received(writer.written().kept_lines());
    let peak = peak_memory(pipeline.process_id(Role::Sender));
    assert!(peak < 48 * MIB, "{peak} bytes");
    pipeline.finish_at_relay(&writer.written(), LineOrder::WholeLog);
}

/// A line of `size` bytes with a time.
fn long_line(size: usize) -> Vec<u8> {
    let mut line = format!(
        "192.0.2.1 - - [{}] \"GET /giant?size={size}",
        Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S %z")
    )
    .into_bytes();
    line.resize(size - 1, b'x');
    line.push(b'\n');
    line
}

/// The peak resident size of a process, in bytes (proc(5), `VmHWM`).
fn peak_memory(id: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// A writer that records the written lines.
struct RecordingWriter(Mutex<RecordedLog>);

struct RecordedLog {
    log: LogFile,
    traffic: Traffic,
    written: Vec<u8>,
}

impl RecordedLog {
    fn append(&mut self, lines: usize) {
        let mut text = Vec::new();
        for _ in 0..lines {
            self.traffic.line(Timestamp::now(), &mut text);
        }
        self.append_raw(&text);
    }

    fn append_raw(&mut self, text: &[u8]) {
        self.log.append(text).unwrap();
        self.written.write_all(text).unwrap();
    }
}

impl RecordingWriter {
    fn new(log: &Path, name: &str) -> Self {
        Self(Mutex::new(RecordedLog {
            log: LogFile::open(log).unwrap(),
            traffic: traffic(name, 1),
            written: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, RecordedLog> {
        self.0.lock().unwrap()
    }

    fn written(&self) -> WrittenLog {
        WrittenLog::of(self.lock().written.clone())
    }

    /// Runs `work` under `load`.
    fn under(&self, load: WriterLoad, work: impl FnOnce()) {
        let stop = AtomicBool::new(load == WriterLoad::Idle);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    self.lock().append(10);
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            work();
            stop.store(true, Ordering::Relaxed);
        });
    }
}

/// logrotate with its own configuration.
struct Logrotate {
    method: RotationMethod,
    config: PathBuf,
    state: PathBuf,
}

impl Logrotate {
    fn new(test_folder: &TestFolder, log: &Path, method: RotationMethod) -> Self {
        require(LOGROTATE, "logrotate");
        let text = format!("{log:?} {{\n  rotate 50\n  {}\n}}\n", method.directives());
        Self {
            method,
            config: test_folder.write("logrotate.conf", &text),
            state: test_folder.path("logrotate.state"),
        }
    }

    /// Rotates once; the writer continues in the new file.
    fn rotate(&self, writer: &RecordingWriter) {
        let idle_writer = self.method.loses_concurrent_writes().then(|| writer.lock());
        if self.method == RotationMethod::Dated {
            next_second();
        }
        let mut command = Command::new(LOGROTATE);
        command.arg("-f").arg("-s").arg(&self.state).arg(&self.config);
        run_tool(&mut command, "logrotate");
        let mut state = idle_writer.unwrap_or_else(|| writer.lock());
        if self.method != RotationMethod::CopyTruncate {
            state.log.reopen().unwrap();
        }
    }
}

/// Waits for the next second. Dated names differ only from second to second, and logrotate's clock is a few milliseconds
/// behind this one (time(2)).
fn next_second() {
    const BEHIND: Duration = Duration::from_millis(50);
    let second = || {
        SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .saturating_sub(BEHIND)
            .as_secs()
    };
    let before = second();
    wait_for("the next second", WAIT_LIMIT, || second() > before);
}
