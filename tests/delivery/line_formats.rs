//! Lines of other formats than nginx's `combined`, and lines that try to choose their window.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::pipeline::{Pipeline, Role};

/// The names in the destination's folder.
fn delivered_names(pipeline: &Pipeline) -> Vec<String> {
    let files = fs::read_dir(&pipeline.config.destination.directory).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn write_lines(log: &Path, lines: impl Iterator<Item = String>) {
    fs::write(log, lines.map(|line| line + "\n").collect::<String>()).unwrap();
}

#[test]
fn ltsv_and_a_pasted_format_over_two_hours_give_two_windows() {
    let mut pipeline = Pipeline::new("line-formats", "1h");
    let other = pipeline.config.log.with_file_name("shop.log");
    pipeline.config.other_log = Some(other.clone());
    pipeline.config.formats = "{shop: '$remote_addr|$time_local|$request'}";
    let times =
        || (0..120).map(|minute| format!("20/Nov/2024:{:02}:{:02}:00 +0000", 8 + minute / 60, minute % 60));
    let ltsv = times()
        .enumerate()
        .map(|(n, time)| format!("time:{time}\thost:10.0.0.1\treq:GET /{n} HTTP/1.1"));
    write_lines(&pipeline.config.log, ltsv);
    let forged = "|01/Jan/2020:00:00:00 +0000|";
    let shop = times()
        .enumerate()
        .map(|(n, time)| format!("10.0.0.1|{time}|GET /{n}{forged} HTTP/1.1"));
    write_lines(&other, shop);
    pipeline.start_all();
    let written = WrittenLog::read(&pipeline.config.log).and(WrittenLog::read(&other));
    pipeline.wait_for_delivery(&written);
    let names = delivered_names(&pipeline);
    assert_eq!(
        names
            .iter()
            .map(|name| &name[..18])
            .collect::<std::collections::BTreeSet<_>>(),
        ["accessLog_24112008", "accessLog_24112009"].into(),
        "{names:?}"
    );
    pipeline.finish(&written, LineOrder::WithinWindow);
}

#[test]
fn user_names_that_look_like_times_give_no_window() {
    let mut pipeline = Pipeline::new("forged-times", "20m");
    let lines = (0..24).map(|hour| {
        let user = format!("x [01/Jan/2020:{hour:02}:00:00 +0000]:p");
        format!(r#"10.0.0.1 - {user} [20/Nov/2024:08:00:03 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#)
    });
    write_lines(&pipeline.config.log, lines);
    pipeline.start_all();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.wait_for_delivery(&written);
    assert_eq!(
        delivered_names(&pipeline),
        ["accessLog_24112008_00-19_127-0-0-1.log"]
    );
    pipeline.finish(&written, LineOrder::WithinWindow);
}

#[test]
fn lines_without_time_are_delivered_while_more_of_them_come() {
    let mut pipeline = Pipeline::new("arrival", "1s");
    pipeline.config.seal_after = "10m";
    fs::write(&pipeline.config.log, b"").unwrap();
    pipeline.start_all();
    let log = pipeline.config.log.clone();
    let mut number = 0;
    let arrived = pipeline.becomes_true(|pipeline| {
        let mut file = OpenOptions::new().append(true).open(&log).unwrap();
        writeln!(file, "line {number} has no time").unwrap();
        number += 1;
        delivered_names(pipeline).len() >= 3
    });
    assert!(arrived, "{}", pipeline.output(Role::Relay));
}
