//! A folder of the spool that cannot be made for a while.

use std::fs;

use logferry_traffic::LogFile;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role, files_below};

const LINES: usize = 1_000;

#[test]
fn delivered_batch_whose_sent_folder_cannot_be_made_is_moved_without_a_restart() {
    let mut pipeline = Pipeline::new("sent-folder", "20m");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let past = "2024-11-20T02:20:00Z".parse().unwrap();
    pipeline.start_all();
    let data_dir = pipeline.config.data_dir.clone();
    assert!(pipeline.becomes_true(|_| data_dir.join("sent").is_dir()));
    let in_the_way = data_dir.join("sent/127.0.0.1");
    fs::write(&in_the_way, "a plain file").unwrap();
    append(&mut log, &mut traffic("sent-folder", 1), past, LINES);
    let written = WrittenLog::read(log.path());
    pipeline.wait_for_output(Role::Forwarder, "cannot find a batch's file, or move it", 1);
    assert!(pipeline.becomes_true(|pipeline| pipeline.delivered_lines() >= written.kept_lines()));
    assert!(!files_below(&data_dir.join("ready")).unwrap().is_empty());

    fs::remove_file(&in_the_way).unwrap();
    pipeline.wait_for_delivery(&written);
    assert!(!files_below(&data_dir.join("sent")).unwrap().is_empty());
    pipeline.finish(&written, LineOrder::WholeLog);
}
