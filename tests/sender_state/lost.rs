//! The sender loses its state folder.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};

/// Enough for several chunks.
const LINES: usize = 3_000;

#[test]
fn deleted_state_folder_doubles_nothing() {
    state_is_lost("deleted", |state| fs::remove_dir_all(state).unwrap());
}

#[test]
fn state_folder_full_of_zeros_doubles_nothing() {
    state_is_lost("zeros", |state| {
        for file in fs::read_dir(state).unwrap() {
            let path = file.unwrap().path();
            let len = fs::metadata(&path).unwrap().len();
            fs::write(&path, vec![0; usize::try_from(len).unwrap()]).unwrap();
        }
    });
}

/// Loses the state twice. The first time, the sender is stopped and the log is unchanged. The second time, the sender is
/// killed at work and the log is rotated.
fn state_is_lost(test: &str, lose: impl Fn(&Path)) {
    let mut pipeline = Pipeline::new(test, "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic(test, 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());

    pipeline.stop(Role::Sender, Signal::SIGTERM);
    lose(&pipeline.config.state_dir);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start(Role::Sender);
    let written = WrittenLog::read(log.path()).kept_lines();
    append(&mut log, &mut traffic, Timestamp::now(), 10 * LINES);
    pipeline.wait_for_received(written);

    pipeline.kill(Role::Sender);
    lose(&pipeline.config.state_dir);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    log.rename().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start(Role::Sender);

    let written = WrittenLog::read(log.path());
    pipeline.finish(&written, LineOrder::WholeLog);
}
