//! Rotated logs that real compressors made, and files beside a log that are no rotated logs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jiff::Timestamp;
use logferry_traffic::LogFile;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::Pipeline;
use crate::support::process::run_tool;

/// Enough for several chunks.
const LINES: usize = 2_000;

/// Each with its Debian package, the name that it gives the file, and its arguments.
const COMPRESSORS: [(&str, &str, &str, &[&str]); 5] = [
    ("xz", "xz-utils", ".xz", &[]),
    ("bzip2", "bzip2", ".bz2", &[]),
    ("zstd", "zstd", ".zst", &["--rm", "-q", "--long=27"]),
    ("pzstd", "zstd", ".zst", &["--rm", "-q"]),
    ("gzip", "gzip", ".gz", &[]),
];

#[test]
fn archives_of_every_compressor_are_shipped_and_neighbours_are_not() {
    let mut pipeline = Pipeline::new("compressors", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("compressors", 1);
    for _ in COMPRESSORS {
        append(&mut log, &mut traffic, Timestamp::now(), LINES);
        log.rename().unwrap();
        log.reopen().unwrap();
    }
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    let written = WrittenLog::read(log.path());
    for (number, (program, package, suffix, arguments)) in (1..).zip(COMPRESSORS) {
        let rotated = log.rotated(number);
        run_tool(Command::new(program).args(arguments).arg(&rotated), package);
        if program == "gzip" {
            // A rotation that compresses what is compressed already.
            let once = PathBuf::from(format!("{}{suffix}", rotated.display()));
            let again = PathBuf::from(format!("{}.2", once.display()));
            fs::rename(&once, &again).unwrap();
            run_tool(Command::new(program).arg(&again), package);
        }
    }
    let path = |suffix: &str| PathBuf::from(format!("{}{suffix}", log.path().display()));
    for neighbour in [".offset", ".html", ".au", ".1~"] {
        fs::write(path(neighbour), "GET /foreign\n").unwrap();
    }
    fs::write(path(".9"), b"\x7fELF\0\0 not text\n").unwrap();
    pipeline.start_all();
    pipeline.wait_for_received(written.kept_lines());

    let is_named = |pipeline: &Pipeline| {
        let (code, status) = pipeline.json("status");
        let held = &status["held"][0];
        let reason = held["reason"].as_str().unwrap_or_default();
        code == 1 && held["path"] == path(".9").to_str().unwrap() && reason.contains("not text")
    };
    assert!(pipeline.becomes_true(is_named));
    let (_, status) = pipeline.json("status");
    let neighbours = &status["sources"][0]["neighbours"];
    assert_eq!(neighbours.as_array().map(Vec::len), Some(4), "{neighbours}");
    let checked = pipeline.command(&["check"]);
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains(".au: is left alone"), "{checked}");

    fs::remove_file(path(".9")).unwrap();
    assert!(pipeline.becomes_true(|pipeline| pipeline.json("status").1["held"] == serde_json::json!([])));
    // pzstd does not keep the time of its file, so the order of the archives is not known.
    pipeline.finish(&written, LineOrder::WithinWindow);
}
