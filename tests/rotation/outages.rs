//! Rotations during outages of the sender or the relay.

use std::fs;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};

/// Enough for several chunks.
const LINES: usize = 3_000;

#[test]
fn several_rotations_while_the_sender_is_down_lose_nothing() {
    let mut pipeline = Pipeline::new("down", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("down", 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());

    pipeline.stop(Role::Sender, Signal::SIGTERM);
    for _ in 0..4 {
        append(&mut log, &mut traffic, Timestamp::now(), LINES);
        log.rename().unwrap();
        append(&mut log, &mut traffic, Timestamp::now(), 1);
        log.reopen().unwrap();
    }
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start(Role::Sender);

    let written = WrittenLog::read(log.path());
    assert_eq!(written.files(), 5);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn file_that_is_deleted_before_it_is_shipped_is_read_to_its_end() {
    let mut pipeline = Pipeline::new("deleted-log", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("deleted-log", 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());

    pipeline.stop(Role::Relay, Signal::SIGTERM);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    let written = WrittenLog::read(log.path());
    fs::remove_file(log.rotated(1)).unwrap();
    pipeline.start(Role::Relay);

    pipeline.finish(&written, LineOrder::WholeLog);
}
