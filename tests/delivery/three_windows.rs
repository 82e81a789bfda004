//! A log that exists before the sender starts, with lines of three windows.

use std::fs;

use jiff::tz::{self, TimeZone};
use jiff::{SignedDuration, Timestamp};
use logferry_traffic::{Traffic, TrafficOptions};

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::pipeline::Pipeline;

const LINES: i64 = 200_000;
const HOUR_MS: i64 = 3_600_000;

/// The predecessor's names for the windows from 08:20 to 09:20 on 20 November 2024.
const NAMES: [&str; 3] = [
    "accessLog_24112008_20-39_127-0-0-1.log",
    "accessLog_24112008_40-59_127-0-0-1.log",
    "accessLog_24112009_00-19_127-0-0-1.log",
];

#[test]
fn backlog_of_three_windows_becomes_three_files_with_the_same_bytes() {
    let mut pipeline = Pipeline::new("backlog", "20m");
    let windows = windows();
    fs::write(&pipeline.config.log, windows.concat()).unwrap();
    pipeline.start_all();

    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.wait_for_delivery(&written);
    let drop = &pipeline.config.destination.directory;
    let mut names: Vec<_> = fs::read_dir(drop)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, NAMES);
    for (name, window) in NAMES.iter().zip(&windows) {
        assert!(
            fs::read(drop.join(name)).unwrap() == *window,
            "{name} is not what was written"
        );
    }
    let (_, audit) = pipeline.json("audit");
    let sizes: Vec<_> = audit["batches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|batch| batch["bytes"].as_u64())
        .collect();
    assert_eq!(
        sizes,
        windows.each_ref().map(|window| u64::try_from(window.len()).ok())
    );
    pipeline.finish(&written, LineOrder::WholeLog);
}

/// The lines of one hour from 08:20 on, at equal intervals, by window.
fn windows() -> [Vec<u8>; 3] {
    let mut traffic = Traffic::new(TrafficOptions {
        seed: 1,
        ids: Some("backlog".to_owned()),
        health_every: None,
        zone: TimeZone::fixed(tz::offset(6)),
    });
    let start: Timestamp = "2024-11-20T08:20:00+06:00".parse().unwrap();
    let mut windows = [const { Vec::new() }; 3];
    for line in 0..LINES {
        let after_ms = line * HOUR_MS / LINES;
        let window = usize::try_from(after_ms / (HOUR_MS / 3)).unwrap();
        traffic.line(
            start + SignedDuration::from_millis(after_ms),
            &mut windows[window],
        );
    }
    windows
}
