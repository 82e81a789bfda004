//! Files on a real disk, and what is left out of them.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tempfile::TempDir;

use super::*;

/// A log folder with an offset file.
struct Host {
    dir: TempDir,
    config: SenderSettings,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = crate::tail::scenarios::simulation::config(4096, 100, 2048);
        config.logs.truncate(1);
        config.state_dir = dir.path().join("state");
        config.logs[0].path = dir.path().join("access.log").display().to_string();
        Self { dir, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file last changed at so many seconds since 1970.
    fn file(&self, name: &str, bytes: &[u8], modified: u64) {
        fs::write(self.path(name), bytes).expect("written");
        let file = fs::File::options()
            .append(true)
            .open(self.path(name))
            .expect("it is there");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(modified))
            .expect("a time");
    }

    fn adopt(&self) -> Result<Takeover, AdoptError> {
        let offset_file = self.path("latest.offset");
        adopt(
            &self.config,
            AdoptRequest {
                offset_file: &offset_file,
                log: None,
                live_file: None,
                counted_in: None,
                dry_run: false,
            },
        )
    }

    /// With an offset file of its own.
    fn adopt_file(&self, offset_file: &str, live_file: &str) -> Result<Takeover, AdoptError> {
        let (offset_file, live_file) = (self.path(offset_file), self.path(live_file));
        let request = AdoptRequest {
            offset_file: &offset_file,
            log: None,
            live_file: Some(&live_file),
            counted_in: None,
            dry_run: false,
        };
        adopt(&self.config, request)
    }

    /// One more log, with this path.
    fn other_log(&mut self, file: &str) {
        let mut other = self.config.logs[0].clone();
        other.name = "other".parse().expect("a name");
        other.path = self.path(file).display().to_string();
        self.config.logs.push(other);
    }

    fn skipped(&self) -> Vec<SkippedStart> {
        let saved = saved_checkpoint(&self.config.state_dir);
        saved.expect("readable").expect("written").skipped
    }

    /// Of each mark the file's name, its end, and whether another shipper has shipped the bytes before it.
    fn all_marks(&self) -> Vec<(String, u64, bool)> {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let skipped = self.skipped();
        let marks = skipped
            .iter()
            .map(|mark| (name(&mark.path), mark.end.get(), mark.exact));
        marks.collect()
    }

    fn marks(&self) -> Vec<(String, u64)> {
        let saved = saved_checkpoint(&self.config.state_dir)
            .expect("readable")
            .expect("written");
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        assert!(saved.skipped.iter().all(|mark| mark.exact && mark.confirmed));
        let marks = saved
            .skipped
            .iter()
            .map(|mark| (name(&mark.path), mark.end.get()));
        marks.collect()
    }
}

const BASE: i64 = 1_795_227_600;

/// Lines at these seconds after [`BASE`].
fn lines(seconds: &[i64]) -> Vec<u8> {
    let line = |second: &i64| {
        let at = Timestamp::from_second(BASE + second).expect("in range");
        format!(
            "192.0.2.1 - - [{}] \"GET /{second} HTTP/1.1\" 200 1\n",
            at.strftime("%d/%b/%Y:%H:%M:%S +0000")
        )
    };
    seconds.iter().map(line).collect::<String>().into_bytes()
}

fn at(second: i64) -> u64 {
    u64::try_from(BASE + second).expect("after 1970")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

#[test]
fn the_place_is_found_whether_the_log_was_rotated_and_compressed_or_not() {
    let (old, read, live) = (lines(&[1, 2]), lines(&[3, 4, 5]), lines(&[6, 7, 8, 9, 10, 11]));
    let offset = lines(&[3, 4]).len();
    for compressed in [false, true] {
        let host = Host::new();
        let (name, bytes) = if compressed {
            ("access.log.1.gz", gzip(&read))
        } else {
            ("access.log.1", read.clone())
        };
        host.file("access.log.2.gz", &gzip(&old), at(2));
        host.file(name, &bytes, at(5));
        host.file("access.log", &live, at(11));
        host.file("latest.offset", format!("{offset}\n").as_bytes(), at(4));
        let found = host.adopt().expect("it is certain");
        assert_eq!(
            (found.path, found.offset, found.inside_line),
            (host.path(name), offset as u64, 0)
        );
        assert_eq!(found.newer, [host.path("access.log")]);
        assert_eq!(
            host.marks(),
            [
                ("access.log.2.gz".to_owned(), old.len() as u64),
                (name.to_owned(), offset as u64)
            ]
        );
    }
    let host = Host::new();
    host.file("access.log.1", &old, at(2));
    host.file("access.log", &read, at(5));
    host.file("latest.offset", offset.to_string().as_bytes(), at(4));
    let found = host.adopt().expect("it is certain");
    assert_eq!((found.path, found.newer.len()), (host.path("access.log"), 0));
    assert_eq!(host.marks().len(), 2);
}

#[test]
fn a_time_without_year_or_zone_decides_nothing() {
    for line in [
        "Oct 11 22:14:15 host cron[1]: x\n",
        "2026/11/21 02:20:03 [error] 7#7: x\n",
    ] {
        let host = Host::new();
        // Rotated since: the newest file has as many bytes.
        host.file("access.log.1", line.repeat(5).as_bytes(), at(5));
        host.file("access.log", line.repeat(6).as_bytes(), at(9));
        host.file("latest.offset", (3 * line.len()).to_string().as_bytes(), at(4));
        let found = host.adopt().expect("nothing else was changed later");
        assert_eq!(found.path, host.path("access.log.1"));
    }
    let host = Host::new();
    let line = "Oct 11 22:14:15 host cron[1]: x\n";
    host.file("access.log.1", line.repeat(5).as_bytes(), at(3));
    host.file("access.log", line.repeat(6).as_bytes(), at(9));
    host.file("latest.offset", (3 * line.len()).to_string().as_bytes(), at(4));
    let refused = host.adopt().expect_err("either of them").to_string();
    assert!(
        refused.contains("several files") && refused.contains("--in"),
        "{refused}"
    );
}

#[test]
fn an_offset_inside_a_line_counts_as_it_stands() {
    let host = Host::new();
    let offset = lines(&[1]).len() + 7;
    host.file("access.log", &lines(&[1, 2, 3]), at(3));
    host.file("latest.offset", offset.to_string().as_bytes(), at(2));
    assert_eq!(host.adopt().expect("it is certain").inside_line, 7);
    assert_eq!(host.marks(), [("access.log".to_owned(), offset as u64)]);
}

#[test]
fn a_place_that_is_not_certain_is_refused_and_nothing_is_written() {
    let host = Host::new();
    let refused = |text: &str| {
        let error = host.adopt().expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
        assert!(!host.path("state/checkpoint").exists());
    };
    refused("cannot read");
    host.file("access.log", &lines(&[6, 7, 8]), at(8));
    for content in ["", "-5", "12a", "0x10", "99999999999999999999"] {
        host.file("latest.offset", content.as_bytes(), at(4));
        refused("is no byte offset");
    }
    host.file("latest.offset", b"100", at(4));
    refused("is gone");
    host.file("latest.offset", b"100000", at(7));
    refused("has only");
    host.file("access.log.1.gz", &gzip(&lines(&[1, 2, 3]))[..20], at(5));
    refused("ends in the middle");
}

#[test]
fn a_log_that_the_sender_knows_is_not_taken_over_again() {
    let host = Host::new();
    host.file("access.log", &lines(&[1, 2, 3]), at(3));
    host.file("latest.offset", b"60", at(2));
    host.adopt().expect("the first time");
    assert!(matches!(host.adopt(), Err(AdoptError::AlreadyShipped { .. })));
    let _lock = LockFile::acquire(&host.path("state/lock")).expect("free");
    assert!(matches!(host.adopt(), Err(AdoptError::SenderRuns(_))));
}

#[test]
fn a_dry_run_and_a_named_file_say_the_place() {
    let host = Host::new();
    host.file("access.log.1", &lines(&[1, 2, 3]), at(3));
    host.file("access.log", &lines(&[6, 7, 8]), at(8));
    host.file("latest.offset", b"60", at(2));
    let (offset_file, live) = (host.path("latest.offset"), host.path("access.log"));
    let request = AdoptRequest {
        offset_file: &offset_file,
        log: None,
        live_file: None,
        counted_in: Some(&live),
        dry_run: true,
    };
    let found = adopt(&host.config, request).expect("named");
    assert_eq!((found.path, found.found_by), (live.clone(), FoundBy::Named));
    assert!(!host.path("state").exists());
    let other = host.path("latest.offset");
    let request = AdoptRequest {
        counted_in: Some(&other),
        ..request
    };
    assert!(matches!(
        adopt(&host.config, request),
        Err(AdoptError::NotThere { .. })
    ));
}

#[test]
fn other_logs_that_start_at_their_end_are_marked_there() {
    let mut host = Host::new();
    host.other_log("other.log");
    host.config.logs[1].start = StartPosition::End;
    host.file("access.log", &lines(&[1, 2, 3]), at(3));
    host.file("other.log", b"one\ntwo\n", at(3));
    host.file("latest.offset", b"60", at(2));
    let offset_file = host.path("latest.offset");
    let name = host.config.logs[0].name.clone();
    let request = AdoptRequest {
        offset_file: &offset_file,
        log: Some(&name),
        live_file: None,
        counted_in: None,
        dry_run: false,
    };
    adopt(&host.config, request).expect("it is certain");
    let saved = saved_checkpoint(&host.config.state_dir)
        .expect("readable")
        .expect("written");
    let ends: Vec<_> = saved
        .skipped
        .iter()
        .map(|mark| (mark.end.get(), mark.exact, mark.confirmed))
        .collect();
    assert_eq!(ends, [(8, false, false), (60, true, true)]);
}

/// The offset after the first of three lines.
fn offset_after_one(seconds: &[i64]) -> Vec<u8> {
    lines(&seconds[..1]).len().to_string().into_bytes()
}

#[test]
fn two_sites_of_one_glob_are_taken_over_one_after_the_other_rotated_and_compressed() {
    let mut host = Host::new();
    host.config.logs[0].path = host.path("*.log").display().to_string();
    let (a, b) = ([1, 2, 3], [11, 12, 13]);
    host.file("a.log.1.gz", &gzip(&lines(&a)), at(3));
    host.file("a.log", &lines(&[21]), at(21));
    host.file("a.offset", &offset_after_one(&a), at(1));
    host.file("b.log.1.gz", &gzip(&lines(&b)), at(13));
    host.file("b.log", &lines(&[22]), at(22));
    host.file("b.offset", &offset_after_one(&b), at(11));
    // A file of a third site that does not concern the two.
    host.file("c.log.1.gz", &gzip(&lines(&a))[..20], at(5));
    host.file("c.log", &lines(&[23]), at(23));
    host.file("latest.offset", b"1", at(1));
    let error = host.adopt().expect_err("there are three").to_string();
    assert!(error.contains("b.log") && error.contains("--file"), "{error}");
    let error = host
        .adopt_file("a.offset", "d.log")
        .expect_err("it is not there")
        .to_string();
    assert!(
        error.contains("d.log is no live file") && error.contains("c.log"),
        "{error}"
    );
    assert!(!host.path("state/checkpoint").exists());

    let end = lines(&[1]).len() as u64;
    let found = host.adopt_file("a.offset", "a.log").expect("it is certain");
    assert_eq!(
        (found.path, found.newer),
        (host.path("a.log.1.gz"), vec![host.path("a.log")])
    );
    assert_eq!(host.all_marks(), [("a.log.1.gz".to_owned(), end, true)]);
    assert!(matches!(
        host.adopt_file("a.offset", "a.log"),
        Err(AdoptError::AlreadyShipped { .. })
    ));
    // Meanwhile the log of the second site is rotated once more.
    fs::rename(host.path("b.log.1.gz"), host.path("b.log.2.gz")).expect("renamed");
    fs::rename(host.path("b.log"), host.path("b.log.1")).expect("renamed");
    host.file("b.log", &lines(&[31]), at(31));
    let found = host.adopt_file("b.offset", "b.log").expect("it is certain");
    assert_eq!(found.newer, [host.path("b.log.1"), host.path("b.log")]);
    let second = ("b.log.2.gz".to_owned(), lines(&[11]).len() as u64, true);
    assert_eq!(host.all_marks(), [("a.log.1.gz".to_owned(), end, true), second]);
    for site in ["a", "b"] {
        let again = host.adopt_file(&format!("{site}.offset"), &format!("{site}.log"));
        assert!(matches!(again, Err(AdoptError::AlreadyShipped { .. })), "{site}");
    }
}

#[test]
fn a_takeover_is_known_again_after_its_file_was_compressed() {
    let mut host = Host::new();
    host.config.logs[0].path = host.path("*.log").display().to_string();
    host.file("a.log", &lines(&[1, 2, 3]), at(3));
    host.file("b.log", &lines(&[2]), at(2));
    host.file("a.offset", &offset_after_one(&[1]), at(1));
    host.adopt_file("a.offset", "a.log").expect("it is certain");
    fs::remove_file(host.path("a.log")).expect("removed");
    host.file("a.log.1.gz", &gzip(&lines(&[1, 2, 3])), at(3));
    host.file("a.log", &lines(&[9]), at(9));
    assert!(matches!(
        host.adopt_file("a.offset", "a.log"),
        Err(AdoptError::AlreadyShipped { .. })
    ));
}

#[test]
fn two_logs_that_start_at_their_end_are_both_taken_over() {
    for is_compressed in [false, true] {
        let mut host = Host::new();
        host.other_log("other.log");
        for log in &mut host.config.logs {
            log.start = StartPosition::End;
        }
        host.file("access.log", &lines(&[1, 2, 3]), at(3));
        host.file("access.offset", &offset_after_one(&[1]), at(1));
        host.file("other.log", &lines(&[4, 5, 6]), at(6));
        host.file("other.offset", &offset_after_one(&[4]), at(4));
        host.adopt_file("access.offset", "access.log")
            .expect("it is certain");
        let (end, all) = (lines(&[1]).len() as u64, lines(&[4, 5, 6]).len() as u64);
        let first = ("access.log".to_owned(), end, true);
        assert_eq!(
            host.all_marks(),
            [("other.log".to_owned(), all, false), first.clone()]
        );
        // The end that was marked for it is of the same bytes in another file now.
        if is_compressed {
            fs::remove_file(host.path("other.log")).expect("removed");
            host.file("other.log.1.gz", &gzip(&lines(&[4, 5, 6])), at(6));
            host.file("other.log", &lines(&[9]), at(9));
        }
        host.adopt_file("other.offset", "other.log")
            .expect("it is certain");
        let name = if is_compressed {
            "other.log.1.gz"
        } else {
            "other.log"
        };
        assert_eq!(host.all_marks(), [first, (name.to_owned(), end, true)], "{name}");
        for log in ["access", "other"] {
            let again = host.adopt_file(&format!("{log}.offset"), &format!("{log}.log"));
            assert!(matches!(again, Err(AdoptError::AlreadyShipped { .. })), "{log}");
        }
    }
}

#[test]
fn other_live_files_of_a_log_that_starts_at_its_end_are_marked_there_also_unreadable_ones() {
    let mut host = Host::new();
    host.config.logs[0].path = host.path("*.log").display().to_string();
    host.config.logs[0].start = StartPosition::End;
    host.file("a.log", &lines(&[1, 2, 3]), at(3));
    host.file("a.offset", &offset_after_one(&[1]), at(1));
    host.file("b.log.1.gz", &gzip(&lines(&[1, 2, 3]))[..20], at(3));
    host.file("b.log", &lines(&[4, 5]), at(5));
    host.adopt_file("a.offset", "a.log").expect("it is certain");
    let expected = [
        ("b.log.1.gz".to_owned(), 20, false),
        ("b.log".to_owned(), lines(&[4, 5]).len() as u64, false),
        ("a.log".to_owned(), lines(&[1]).len() as u64, true),
    ];
    assert_eq!(host.all_marks(), expected);
    assert!(host.skipped()[0].tail.is_none());
}

#[test]
fn a_file_that_belongs_to_two_logs_or_to_none_needs_the_name_of_the_log() {
    let mut host = Host::new();
    host.other_log("a*.log");
    host.file("access.log", &lines(&[1, 2, 3]), at(3));
    host.file("access.offset", b"60", at(2));
    let refused = |file: &str| {
        let refused = host.adopt_file("access.offset", file);
        refused.expect_err("it is not certain")
    };
    assert!(matches!(refused("access.log"), AdoptError::UnclearLog { .. }));
    assert!(matches!(refused("else.log"), AdoptError::NoLogOfFile { .. }));
}

#[test]
fn a_log_that_a_running_sender_got_later_is_taken_over_although_it_starts_at_its_end() {
    for offset in [0, lines(&[1]).len() as u64] {
        let mut host = Host::new();
        host.config.logs[0].path = host.path("*.log").display().to_string();
        host.config.logs[0].start = StartPosition::End;
        host.file("a.log.1", &lines(&[1, 2, 3]), at(3));
        host.file("a.log", &lines(&[4, 5]), at(5));
        host.file("a.offset", offset.to_string().as_bytes(), at(1));
        host.file("b.log", &lines(&[6]), at(6));
        let saved = Checkpoint {
            seen_logs: Some(Vec::new()),
            ..Checkpoint::default()
        };
        fs::create_dir_all(&host.config.state_dir).expect("created");
        fs::write(host.path("state/checkpoint"), saved.to_bytes()).expect("written");
        let request = AdoptRequest {
            offset_file: &host.path("a.offset"),
            log: None,
            live_file: Some(&host.path("a.log")),
            counted_in: Some(&host.path("a.log.1")),
            dry_run: false,
        };
        adopt(&host.config, request).expect("it is certain");
        let saved = saved_checkpoint(&host.config.state_dir).expect("readable");
        let log = &host.config.logs[0];
        assert_eq!(
            start_of(log, saved.as_ref()),
            StartPosition::Beginning,
            "{offset}"
        );
        let of_other = ("b.log".to_owned(), lines(&[6]).len() as u64, false);
        let mut marks = host.all_marks();
        marks.retain(|mark| *mark != of_other);
        let adopted = (offset > 0).then(|| ("a.log.1".to_owned(), offset, true));
        assert_eq!(marks, Vec::from_iter(adopted), "{offset}");
        assert_eq!(
            host.all_marks().len(),
            marks.len() + 1,
            "the other live file is marked at its end"
        );
    }
}
