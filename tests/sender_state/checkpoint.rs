//! The sender's state folder: damaged, outdated, copied, locked, or not writable.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::support::logs::comparison::{LineOrder, WrittenLog, count_lines};
use crate::support::logs::writer::{LogWriter, append, traffic};
use crate::support::pipeline::{Pipeline, Role, files_below};
use crate::support::process::Process;
use crate::support::{WAIT_LIMIT, becomes_true, logferry, seed, wait_for};

const LINES: usize = 500;

/// The number of kills of a sender that saves its checkpoint.
const KILLS: usize = 40;

fn checkpoint(pipeline: &Pipeline) -> PathBuf {
    pipeline.config.state_dir.join("checkpoint")
}

/// The checkpoint's first line; `None` unless the second line is its checksum.
fn body(checkpoint: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(checkpoint).ok()?;
    let (body, checksum) = text.split_once('\n')?;
    (signed(body) == format!("{body}\n{checksum}")).then(|| serde_json::from_str(body).unwrap())
}

fn signed(body: &str) -> String {
    let checksum = crc32c::crc32c(format!("{body}\n").as_bytes());
    format!("{body}\ncrc32c {checksum:08x}\n")
}

/// Waits until the sender has moved a checkpoint aside that holds `damaged`.
fn wait_for_aside(state_dir: &Path, damaged: &[u8]) {
    wait_for("the bad checkpoint to be put aside", WAIT_LIMIT, || {
        let files = fs::read_dir(state_dir).unwrap().map(|file| file.unwrap().path());
        files
            .filter(|path| path.to_string_lossy().contains("checkpoint.bad-"))
            .any(|path| fs::read(path).is_ok_and(|bytes| bytes == damaged))
    });
}

/// Changes a checkpoint while the sender is down.
type Damage = fn(&[u8]) -> Vec<u8>;

#[test]
fn unusable_checkpoint_is_kept_aside_and_doubles_nothing() {
    let kinds: [Damage; 5] = [
        |_| Vec::new(),
        |good| vec![0; good.len()],
        |good| good[..good.len() - 1].to_vec(),
        |good| good[..good.len() / 3].to_vec(),
        // A valid checkpoint of a later version.
        |_| signed(r#"{"version":2,"streams":{"anything":"else"}}"#).into_bytes(),
    ];
    let mut pipeline = Pipeline::new("bad-checkpoint", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("bad-checkpoint", 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    for damage in kinds {
        pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
        pipeline.stop(Role::Sender, Signal::SIGTERM);
        let path = checkpoint(&pipeline);
        let damaged = damage(&fs::read(&path).unwrap());
        fs::write(&path, &damaged).unwrap();
        append(&mut log, &mut traffic, Timestamp::now(), LINES);
        log.rename().unwrap();
        log.reopen().unwrap();
        append(&mut log, &mut traffic, Timestamp::now(), LINES);
        pipeline.start(Role::Sender);
        wait_for_aside(&pipeline.config.state_dir, &damaged);
    }
    let written = WrittenLog::read(log.path());
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn checkpoint_that_is_behind_or_ahead_of_the_relay_doubles_nothing() {
    let mut pipeline = Pipeline::new("other-checkpoint", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("other-checkpoint", 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    let path = checkpoint(&pipeline);
    let older_checkpoint = fs::read(&path).unwrap();

    pipeline.start(Role::Sender);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    let newer_checkpoint = fs::read(&path).unwrap();
    fs::write(&path, older_checkpoint).unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start(Role::Sender);
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);

    // The third checkpoint is ahead of the relay and of the log files.
    let mut body = body(&newer_checkpoint).expect("a good checkpoint");
    for stream in body["streams"].as_array_mut().unwrap() {
        let committed = &mut stream["stream"]["committed"];
        *committed = (committed.as_u64().unwrap() + 1_000_000).into();
    }
    fs::write(&path, signed(&body.to_string())).unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start(Role::Sender);
    let written = WrittenLog::read(log.path());
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn sender_killed_while_it_saves_always_has_a_good_checkpoint() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pipeline = Pipeline::new("killed-saving", "2s");
    let load = LogWriter::start(&pipeline.config.log, 4_000, seed);
    pipeline.start_all();
    let path = checkpoint(&pipeline);
    wait_for("the first checkpoint", WAIT_LIMIT, || path.exists());
    for _ in 0..KILLS {
        // The temporary file exists for a short time: the kill comes while it exists, or soon after.
        let temporary = path.with_file_name("checkpoint.tmp");
        let after = Duration::from_micros(rng.random_range(0..3_000));
        becomes_true(Duration::from_millis(1_500), || temporary.exists());
        std::thread::sleep(after);
        pipeline.kill(Role::Sender);
        let bytes = fs::read(&path).unwrap();
        assert!(body(&bytes).is_some(), "{}", String::from_utf8_lossy(&bytes));
        pipeline.start(Role::Sender);
    }
    load.stop();
    assert!(!pipeline.output(Role::Sender).contains("moved aside"));
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn unwritable_state_folder_loses_no_line() {
    let mut pipeline = Pipeline::new("unwritable-state", "1s");
    // No user, not even root, can replace a folder by a file.
    let in_the_way = checkpoint(&pipeline).with_file_name("checkpoint.tmp");
    fs::create_dir_all(&in_the_way).unwrap();
    let load = LogWriter::start(&pipeline.config.log, 4_000, seed());
    pipeline.start_all();
    pipeline.wait_for_output(
        Role::Sender,
        "the checkpoint cannot be saved, shipping goes on",
        1,
    );
    pipeline.wait_for_received(1);
    pipeline.kill(Role::Sender);
    pipeline.start(Role::Sender);
    pipeline.wait_for_output(
        Role::Sender,
        "the checkpoint cannot be saved, shipping goes on",
        2,
    );
    let lines = pipeline.delivered_lines();
    wait_for("more lines at the drop", WAIT_LIMIT, || {
        pipeline.delivered_lines() > lines
    });
    fs::remove_dir(&in_the_way).unwrap();
    pipeline.wait_for_output(Role::Sender, "the checkpoint can be saved again", 1);
    assert!(body(&fs::read(checkpoint(&pipeline)).unwrap()).is_some());
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn second_sender_is_refused_with_the_process_id_of_the_first_and_a_crash_leaves_no_lock() {
    let mut pipeline = Pipeline::new("two-senders", "1s");
    let load = LogWriter::start(&pipeline.config.log, 4_000, seed());
    pipeline.start_all();
    for _ in 0..10 {
        let lock = pipeline.config.state_dir.join("lock");
        let holder = pipeline.process_id(Role::Sender).to_string();
        wait_for("the lock", WAIT_LIMIT, || {
            fs::read_to_string(&lock).is_ok_and(|text| text.trim() == holder)
        });
        let second = pipeline.command(&["sender"]);
        let stderr = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(3), "{stderr}");
        assert!(
            stderr.contains(&format!("is held by process {holder}")),
            "{stderr}"
        );
        pipeline.kill(Role::Sender);
        pipeline.start(Role::Sender);
    }
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

/// A virtual machine is cloned with log and state, and both continue. They have different addresses, so the relay keeps
/// their lines apart.
#[test]
fn cloned_host_is_a_separate_source() {
    let mut pipeline = Pipeline::new("cloned", "1h");
    pipeline.config.sources = "127.0.0.1-127.0.0.2";
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut lines = traffic("cloned", 1);
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);

    let clone_log = pipeline.test_folder.create_dir("clone").join("access.log");
    let clone_state = pipeline.test_folder.create_dir("clone-state");
    fs::copy(log.path(), &clone_log).unwrap();
    fs::copy(checkpoint(&pipeline), clone_state.join("checkpoint")).unwrap();
    let text = pipeline.config.to_string();
    let text = text
        .replace(pipeline.config.log.to_str().unwrap(), clone_log.to_str().unwrap())
        .replace(
            pipeline.config.state_dir.to_str().unwrap(),
            clone_state.to_str().unwrap(),
        )
        .replace("sender:\n", "sender:\n  local_address: 127.0.0.2\n");
    let clone_file = pipeline.test_folder.write("clone.yaml", &text);
    let mut command = logferry();
    command.arg("-c").arg(clone_file).arg("sender");
    let mut clone = Process::start(&pipeline.test_folder, "clone", &mut command);
    pipeline.start(Role::Sender);

    append(&mut log, &mut lines, Timestamp::now(), LINES);
    let mut cloned = LogFile::open(&clone_log).unwrap();
    append(&mut cloned, &mut traffic("clone", 2), Timestamp::now(), 2 * LINES);
    for (source, log) in [("127.0.0.1", log.path()), ("127.0.0.2", &clone_log)] {
        let expected: Vec<u8> = WrittenLog::read(log)
            .kept()
            .flat_map(|(line, _)| line)
            .copied()
            .collect();
        let mut received = Vec::new();
        wait_for("every line of a source", WAIT_LIMIT, || {
            received = received_from(&pipeline.config.data_dir, source);
            received.len() >= expected.len()
        });
        assert_eq!(count_lines(&received), count_lines(&expected), "{source}");
        assert!(received == expected, "the lines of {source} are its log's");
    }
    assert!(clone.stop(Signal::SIGTERM, WAIT_LIMIT).success());
}

/// The relay's bytes of one source in one window.
fn received_from(data_dir: &Path, source: &str) -> Vec<u8> {
    let states = ["open", "ready", "sent"].map(|state| data_dir.join(state));
    let files = states
        .iter()
        .flat_map(|state| files_below(state).unwrap_or_default());
    let mut of_source: Vec<_> = files
        .filter(|path| path.parent().is_some_and(|folder| folder.ends_with(source)))
        .collect();
    of_source.sort();
    of_source
        .iter()
        .flat_map(|path| fs::read(path).unwrap_or_default())
        .collect()
}
