//! What the configuration says about a log changes between two starts, and what the first start remembers.

use std::fs;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{WAIT_LIMIT, wait_for};

#[test]
fn a_log_with_a_new_name_goes_on_where_it_was() {
    let mut pipeline = Pipeline::new("new-name", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("new-name", 1);
    append(&mut log, &mut traffic, Timestamp::now(), 300);
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), 200);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);

    pipeline.config.log_name = "other";
    append(&mut log, &mut traffic, Timestamp::now(), 200);
    pipeline.start(Role::Sender);
    let written = WrittenLog::read(log.path());
    pipeline.wait_for_received(written.kept_lines());
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn the_end_is_where_the_first_start_saw_it_although_the_relay_was_away() {
    let mut pipeline = Pipeline::new("start-end", "2s");
    pipeline.config.start = "end";
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("start-end", 1);
    append(&mut log, &mut traffic, Timestamp::now(), 100);
    let left_out = fs::read(log.path()).unwrap().len();
    pipeline.start(Role::Sender);
    let checkpoint = pipeline.config.state_dir.join("checkpoint");
    wait_for("the first checkpoint", WAIT_LIMIT, || checkpoint.exists());
    append(&mut log, &mut traffic, Timestamp::now(), 100);
    pipeline.kill(Role::Sender);
    let mut written = fs::read(log.path()).unwrap();
    written.drain(..left_out);
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), 50);
    written.extend(fs::read(log.path()).unwrap());

    pipeline.start_all();
    let written = WrittenLog::of(written);
    pipeline.wait_for_received(written.kept_lines());
    pipeline.finish(&written, LineOrder::WholeLog);
}
