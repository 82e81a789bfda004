//! `logferry search`, over the spool alone and with an index, by what it prints.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, BatchState, Commit, Ledger, StreamMove, StreamRecord};
use logferry_numbers::{IndexChange, IndexDb, IndexGap, IndexedBatch, NumbersKept};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};
use logferry_spool::Spool;
use logferry_store::{LineOrigin, LineRecord, StoreWriter};
use logferry_testkit::batches::{add_batch, new_batch, put_file};
use serde_json::Value;
use tempfile::TempDir;

use program::result_of;

/// The first second of the batch's window.
const START: i64 = 1_795_227_600;

fn line_at(second: usize, path: &str, status: u16) -> String {
    format!(
        "192.0.2.7 - - [21/Nov/2026:02:20:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} 5 \"-\" \"-\"\n"
    )
}

fn lines() -> Vec<String> {
    let status = |second: usize| if second.is_multiple_of(10) { 503 } else { 200 };
    (0..50)
        .map(|second| line_at(second, &format!("/page/{second}"), status(second)))
        .collect()
}

/// A relay host with one batch of 50 lines. `with`: more sections.
fn host(with: &str) -> (TempDir, String, Batch) {
    host_of(with, &lines().concat())
}

/// A relay host with one batch of these lines.
fn host_of(with: &str, text: &str) -> (TempDir, String, Batch) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("relay");
    std::fs::create_dir(&data_dir).unwrap();
    let mut ledger = Ledger::open_or_create(&data_dir).unwrap();
    let new = new_batch("198.51.100.1", "accessLog_26112102_20-39_198-51-100-1");
    let batch = add_batch(
        &mut ledger,
        &new,
        text.as_bytes(),
        BatchState::Ready,
        Timestamp::now(),
    );
    let path = Spool::new(RealDisk, &data_dir).path(&batch, BatchState::Ready);
    put_file(&RealDisk, &path, text.as_bytes());
    let file = dir.path().join("logferry.yaml");
    let config = format!(
        "relay:\n  data_dir: {}\n  metrics: null\n  groups: [{{name: web-1, listen: \"127.0.0.1:0\", sources: [198.51.100.1]}}]\n{with}",
        data_dir.display()
    );
    std::fs::write(&file, config.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    (dir, file.to_str().unwrap().to_owned(), batch)
}

/// An index that has the first lines of the batch.
fn index(dir: &Path, batch: &Batch, count: usize) {
    index_with(dir, batch, count, Vec::new());
}

/// The same, with these gaps.
fn index_with(dir: &Path, batch: &Batch, count: usize, gaps: Vec<IndexGap>) {
    let store_dir = dir.join("index");
    std::fs::create_dir(&store_dir).unwrap();
    let mut writer = StoreWriter::open(RealDisk, &store_dir, None, START * 1000)
        .unwrap()
        .writer;
    let mut bytes = 0;
    for (second, line) in (0_i64..).zip(lines().iter().take(count)) {
        let origin = LineOrigin {
            source: &batch.source,
            group: &batch.group,
            log: None,
            batch: &batch.name(),
            format: "combined",
        };
        let status = Some(if second % 10 == 0 { 503 } else { 200 });
        let time_ms = (START + second) * 1000;
        let record = LineRecord {
            origin,
            offset: bytes,
            time_ms,
            level: None,
            status,
            line: line.as_bytes(),
        };
        writer.append(&record).unwrap();
        bytes += line.len() as u64;
    }
    let place = IndexedBatch {
        bytes,
        lines: count as u64,
        is_read: false,
    };
    let mut change = IndexChange {
        batches: BTreeMap::from([(batch.name(), place)]),
        gaps,
        ledger: "1".to_owned(),
        store_position: writer.sync(START * 1000).unwrap().to_string(),
        ..IndexChange::default()
    };
    let day = Duration::from_hours(24);
    let kept = NumbersKept {
        minutes: day,
        hours: day,
        gaps: day,
    };
    IndexDb::open_or_create(&store_dir)
        .unwrap()
        .record(&mut change, kept, START)
        .unwrap();
}

/// The exit code, stdout and stderr.
fn search(file: &str, arguments: &[&str]) -> (i32, String, String) {
    result_of(file, &[&["search"], arguments].concat())
}

const WITH_INDEX: &str = "indexer:\n  store_dir: DIR/index\n";

#[test]
fn spool_is_searched_without_an_indexer_and_the_command_says_so() {
    let (_dir, file, _) = host("");
    let (code, stdout, stderr) = search(&file, &["status:5xx", "get", "--limit", "3"]);
    assert_eq!(code, 0, "{stderr}");
    let expected: String = [40, 30, 20]
        .map(|second| line_at(second, &format!("/page/{second}"), 503))
        .concat();
    assert_eq!(stdout, expected);
    assert!(
        stderr.contains("has no indexer section: only what the spool still has is searched"),
        "{stderr}"
    );
    let cursor = stderr
        .split("go on with --after '")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    let (_, stdout, stderr) = search(&file, &["status:5xx", "--after", cursor]);
    assert_eq!(stdout.lines().count(), 2);
    assert!(
        stderr.contains("2 lines; all that is kept of this time was searched"),
        "{stderr}"
    );
    let (code, _, stderr) = search(&host(WITH_INDEX).1, &["x"]);
    assert_eq!(code, 0);
    assert!(
        stderr.contains("index.db does not exist, so the indexer has never run"),
        "{stderr}"
    );
}

#[test]
fn json_is_one_object_a_line_and_the_last_says_how_far_it_looked() {
    let (dir, file, batch) = host(WITH_INDEX);
    index(dir.path(), &batch, 30);
    let (code, stdout, stderr) = search(
        &file,
        &["path:/page/3*", "--json", "--since", "2026-11-21T02:20:05Z"],
    );
    assert_eq!((code, stderr.as_str()), (0, ""));
    let objects: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 11);
    let (first, last) = (&objects[0], &objects[10]);
    let offset: usize = lines()[..39].iter().map(String::len).sum();
    assert_eq!(first["id"], format!("{}@{offset}", batch.name()));
    assert_eq!(first["time"], "2026-11-21T02:20:39Z");
    assert_eq!(first["source"], "198.51.100.1");
    assert_eq!(
        (&first["group"], &first["log"], &first["level"]),
        (&"web-1".into(), &Value::Null, &"info".into())
    );
    assert_eq!(first["line"], lines()[39].trim_end());
    assert_eq!(first["fields"]["request"], "GET /page/39 HTTP/1.1");
    assert_eq!((&last["hits"], &last["complete"]), (&10.into(), &true.into()));
    assert_eq!(last["searched_to"], "2026-11-21T02:20:05Z");
}

#[test]
fn lines_of_store_and_spool_are_counted_once() {
    let (dir, file, batch) = host(WITH_INDEX);
    index(dir.path(), &batch, 30);
    for (arguments, expected) in [
        (&["--count"][..], "50\n"),
        (&["--count", "--status", "503"], "5\n"),
        (&["--count", "--not", "503", "--source", "198.51.100.1"], "45\n"),
        (&["--count", "--regex", "/page/[0-4] "], "5\n"),
        (
            &[
                "--count",
                "--field",
                "method=GET",
                "--until",
                "2026-11-21T02:20:10Z",
            ],
            "10\n",
        ),
        (&["--count", "--group", "web-1", "192.0.2.7"], "50\n"),
        (&["--count", "192.0.2.70"], "0\n"),
    ] {
        let (code, stdout, stderr) = search(&file, arguments);
        assert_eq!((code, stdout.as_str()), (0, expected), "{arguments:?}: {stderr}");
    }
    let (_, stdout, _) = search(&file, &["--limit", "1000"]);
    let mut expected = lines();
    expected.reverse();
    assert_eq!(stdout, expected.concat());
}

#[test]
fn usage_that_is_wrong_is_refused_with_advice() {
    let (_dir, file, _) = host("");
    for (arguments, expected) in [
        (&["\"open"][..], "`\"open` has no second quote"),
        (&["--regex", "(a"], "`(a` is no regular expression"),
        (&["--status", "9xx"], "`9xx` is no status"),
        (
            &["--level", "bad"],
            "`bad` is no level; write error, warn, info or debug",
        ),
        (
            &["--since", "2h", "--until", "3h"],
            "--since is not before --until",
        ),
        (&["--not", ""], "`` stands for nothing; write a word"),
        (&["--field", "a"], "`a` is no field with its value"),
        (
            &["--source", "198.51.100.2"],
            "the nearest known one is 198.51.100.1",
        ),
        (&["--since", "soon"], "`soon` is no time"),
        (&["--after", "x"], "`x` is no cursor of a search"),
        (&["--limit", "0"], "0 is not in 1.."),
        (&["--count", "--after", "7"], "cannot be used with"),
    ] {
        let (code, _, stderr) = search(&file, arguments);
        assert!(
            code == 2 && stderr.contains(expected),
            "{arguments:?}: {code} {stderr}"
        );
    }
    let (_, _, stderr) = search(&file, &["one|other"]);
    assert!(stderr.contains("write --regex 'one|other'"), "{stderr}");
    let (_, stdout, stderr) = search(&file, &["--count", "--", "-get"]);
    assert_eq!(stdout, "0\n", "{stderr}");
    let (_, _, stderr) = search(&file, &["localhost:8080"]);
    assert!(
        stderr.contains("`localhost` was read as the name of a field"),
        "{stderr}"
    );
}

#[test]
fn damage_is_named_and_is_exit_code_1() {
    let (dir, file, batch) = host(WITH_INDEX);
    index(dir.path(), &batch, 30);
    let tail = dir.path().join("index/segments/0000000000.tail");
    let mut bytes = std::fs::read(&tail).unwrap();
    let middle = bytes.len() - 20;
    bytes[middle] ^= 1;
    std::fs::write(&tail, bytes).unwrap();
    let (code, stdout, stderr) = search(&file, &["page"]);
    assert_eq!((code, stdout.lines().count()), (1, 20));
    assert!(
        stderr.contains("0000000000.tail is damaged at byte 0: 30 lines are not found"),
        "{stderr}"
    );
}

#[test]
fn gaps_are_named_by_searches_of_their_time_and_source() {
    let (dir, file, batch) = host(WITH_INDEX);
    let gap = |number: u64| IndexGap {
        batch: format!("lost-{number:02}"),
        from: 7,
        bytes: 1 << 20,
        source: if number < 11 { "198.51.100.1" } else { "192.0.2.1" }.to_owned(),
        group: "web-1".to_owned(),
        window_start: START,
        window_end: START + 1200,
        reason: "the housekeeper deleted the file before it was read".to_owned(),
        noticed_at: START,
    };
    index_with(dir.path(), &batch, 50, (0..12).map(gap).collect());
    let (code, _, stderr) = search(&file, &["page", "--since", "2026-11-21T02:39:59Z"]);
    assert_eq!(code, 0, "a gap is no damage");
    assert!(
        stderr.contains(
            "1.0 MiB of lost-09 were never indexed, so lines of it may be missing here: the housekeeper"
        ),
        "{stderr}"
    );
    assert!(
        stderr.contains("2 more such gaps with 2.0 MiB; --json") && !stderr.contains("lost-10"),
        "{stderr}"
    );
    for arguments in [
        &["--since", "2026-11-21T02:40:00Z"][..],
        &["--until", "2026-11-21T02:20:00Z"],
    ] {
        let (_, _, stderr) = search(&file, arguments);
        assert!(!stderr.contains("never indexed"), "{arguments:?}: {stderr}");
    }
    let (_, _, stderr) = search(&file, &["--source", "198.51.100.1"]);
    assert!(
        stderr.contains("1 more such gap with 1.0 MiB; --json"),
        "{stderr}"
    );
    let (_, stdout, _) = search(&file, &["--json", "--limit", "1"]);
    let end: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(end["gaps"].as_array().unwrap().len(), 12);
    let first = &end["gaps"][0];
    assert_eq!(
        (&first["batch"], &first["offset"]),
        (&"lost-00".into(), &7.into())
    );
    assert_eq!(first["window_end"], "2026-11-21T02:40:00Z");
}

#[test]
fn damage_on_the_first_of_two_pages_is_named_at_the_end() {
    let many: String = (0..10_050)
        .map(|number| line_at(0, &format!("/page/{number}"), 200))
        .collect();
    let (dir, file, _) = host_of("", &many);
    let mut ledger = Ledger::open(&dir.path().join("relay")).unwrap();
    let mut newer = new_batch("198.51.100.1", "accessLog_26112102_40-59_198-51-100-1");
    newer.window.start += i64::from(newer.window.seconds);
    // Its file is not there.
    let newer = add_batch(&mut ledger, &newer, b"x\n", BatchState::Ready, Timestamp::now());
    let (code, stdout, stderr) = search(&file, &["--limit", "20000"]);
    assert_eq!((code, stdout.lines().count()), (1, 10_050), "{stderr}");
    let damage = format!("lines of {} are not found", newer.name());
    assert_eq!(stderr.matches(&damage).count(), 1, "{stderr}");
}

/// Makes the source have this log.
fn add_log(dir: &Path, log: &str, inode: u64) {
    let file = FileKey { dev: 1, inode };
    let head = Head::of(b"first\n").unwrap();
    let now = Timestamp::now();
    let record = StreamRecord {
        source: "198.51.100.1".parse().unwrap(),
        stream: StreamId::derive(file, head, 0),
        log: log.parse().unwrap(),
        file,
        head,
        committed: Offset::new(6),
        tail: Tail::of(b"first\n"),
        lines: LineCounts { sent: 1, excluded: 0 },
        last_window: None,
        last_line_time: None,
        timed_at: now,
        open_line_in: None,
        writer: None,
        finished: false,
        updated_at: now,
    };
    let from = Offset::new(0);
    let mut ledger = Ledger::open(&dir.join("relay")).unwrap();
    let commit = Commit {
        streams: vec![StreamMove {
            from,
            record,
            oldest_window: None,
        }],
        ..Commit::default()
    };
    ledger.commit(&commit).unwrap();
}

#[test]
fn lines_of_the_spool_have_the_log_and_the_format_of_a_source_with_one_log() {
    let text = "[21/Nov/2026:02:20:01 +0000] shop took 7 gave 503\n[21/Nov/2026:02:20:02 +0000] shop took 8 gave 200\n";
    let format = "formats:\n  shop: '[$time_local] shop took $request_time gave $status'\n";
    let (dir, file, _) = host_of(format, text);
    add_log(dir.path(), "shop", 1);
    for (arguments, expected) in [
        (&["--count", "--log", "shop"][..], "2\n"),
        (&["--count", "--status", "503"], "1\n"),
        (&["--count", "--field", "request_time=8"], "1\n"),
        (&["--count", "--log", "shop", "--status", "5xx"], "1\n"),
    ] {
        let (code, stdout, stderr) = search(&file, arguments);
        assert_eq!((code, stdout.as_str()), (0, expected), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("do not tell them apart"), "{stderr}");
    }
    let (code, stdout, stderr) = search(&file, &["--count", "--log", "shpo"]);
    assert_eq!(
        (code, stdout.as_str()),
        (2, ""),
        "a slip must not look like a search that finds nothing"
    );
    let told = "there is no log shpo; the nearest known one is shop";
    assert!(stderr.contains(told), "{stderr}");
    add_log(dir.path(), "pay", 2);
    let (code, stdout, stderr) = search(&file, &["--count", "--log", "shop"]);
    assert_eq!((code, stdout.as_str()), (0, "0\n"));
    assert!(
        stderr.contains("198.51.100.1 has 2 logs, and the names of its batches do not tell them apart"),
        "{stderr}"
    );
}
