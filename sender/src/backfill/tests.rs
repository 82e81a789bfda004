//! Backfills of real files against a relay in memory.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use logferry_config as config;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::backfill::BackfillError;
use crate::backfill::driver::BackfillDriver;
use crate::backfill::plan::BackfillPlan;
use crate::backfill::report::{BackfillEvent, FileOutcome, FileReport};
use crate::clock::Now;
use crate::error::RequestError;
use crate::files::compressed::CompressionFormat;
use crate::files::compressed::tests::compress;
use crate::messages::{RelayRequest, SenderEvent};
use crate::tail::scenarios::sim_relay::{RequestOutcome, SimRelay, busy};

/// A sender section with a log for each of these paths.
pub(super) fn config(paths: &[&str]) -> config::SenderSettings {
    let mut config = crate::tail::scenarios::simulation::config(4096, 50, 1024);
    let template = config.logs.remove(0);
    config.logs = paths
        .iter()
        .map(|path| {
            let stem = Path::new(path).file_stem().expect("a name").to_string_lossy();
            config::LogSettings {
                path: (*path).into(),
                rotated: config::RotatedNames::Auto,
                name: stem.trim_end_matches('*').parse().expect("a name"),
                ..template.clone()
            }
        })
        .collect();
    config
}

struct BackfillFixture {
    folder: TempDir,
    relay: SimRelay,
    now: Now,
}

impl BackfillFixture {
    fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            relay: SimRelay::default(),
            // Long after the last write to any file.
            now: Now::read().after(Duration::from_mins(5)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    fn driver(&self, paths: &[PathBuf], dry_run: bool) -> (BackfillDriver, Receiver<SenderEvent>) {
        let live = self.path("access.log");
        let config = config(&[live.to_str().expect("a path")]);
        let plan = BackfillPlan::new(&config, paths.to_vec(), None).expect("one log");
        let (home, inbox) = channel();
        (BackfillDriver::new(&config, plan, dry_run, home, 1), inbox)
    }

    /// Ships the files with these outcomes of chunks, until there is none: a crash.
    fn run(
        &mut self,
        paths: &[PathBuf],
        dry_run: bool,
        mut outcomes: impl FnMut() -> Option<RequestOutcome>,
    ) -> Vec<FileReport> {
        let (mut driver, inbox) = self.driver(paths, dry_run);
        let mut reports = Vec::new();
        for _ in 0..10_000 {
            let requests = driver.run_due(self.now);
            reports.extend(done(driver.take_events()));
            if driver.is_over() {
                driver.into_result().expect("the relay takes all");
                return reports;
            }
            // Several are in flight, and the last one is answered first.
            for request in requests.into_iter().rev() {
                let event = match request {
                    RelayRequest::Streams(question) => {
                        SenderEvent::Streams(Ok(self.relay.resolve(&question)))
                    }
                    RelayRequest::Chunk { connection, chunk } => {
                        let Some(outcome) = outcomes() else {
                            return reports;
                        };
                        self.relay.end_request(connection, &chunk, outcome)
                    }
                    RelayRequest::Heartbeat(_) => panic!("a backfill sends no heartbeat"),
                };
                driver.handle(event, self.now);
            }
            for event in inbox.try_iter() {
                driver.handle(event, self.now);
            }
            self.now.instant = driver.deadline(self.now).unwrap_or(self.now.instant);
        }
        panic!("the backfill does not end");
    }

    fn ship(&mut self, paths: &[PathBuf]) -> Vec<FileReport> {
        self.run(paths, false, || Some(RequestOutcome::Done))
    }

    fn arrived(&self) -> String {
        String::from_utf8_lossy(&self.relay.arrived).into_owned()
    }
}

fn done(news: Vec<BackfillEvent>) -> impl Iterator<Item = FileReport> {
    news.into_iter().filter_map(|news| match news {
        BackfillEvent::Done(report) => Some(report),
        BackfillEvent::Progress { .. } | BackfillEvent::Waiting(_) => None,
    })
}

fn results(reports: &[FileReport]) -> Vec<String> {
    let text = |report: &FileReport| match &report.result {
        Ok(FileOutcome::Shipped { from }) => format!("shipped from {from}"),
        Ok(outcome) => format!("{outcome:?}"),
        Err(refusal) => format!("{refusal}"),
    };
    reports.iter().map(text).collect()
}

/// Numbered lines, a tenth of them to be excluded.
fn lines(name: &str, count: usize) -> String {
    let line = |number| match number % 10 {
        7 => format!("{name} {number} ping check\n"),
        _ => format!("{name} {number}\n"),
    };
    (0..count).map(line).collect()
}

fn kept(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.contains("ping check")).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    compress(CompressionFormat::Gzip, text.as_bytes())
}

#[test]
fn files_of_each_kind_are_shipped_once_in_their_order() {
    let mut fixture = BackfillFixture::new();
    let texts = ["a", "b", "c"].map(|name| lines(name, 1000));
    let zstd = compress(CompressionFormat::Zstd, texts[2].as_bytes());
    let files = [
        fixture.write("access.log.3", &texts[0]),
        fixture.write("access.log.2.gz", gzip(&texts[1])),
        fixture.write("access.log.1.zst", zstd),
    ];
    let reports = fixture.ship(&files);
    assert_eq!(results(&reports), ["shipped from 0"; 3]);
    assert_eq!(fixture.arrived(), kept(&texts.concat()));
    for (report, text) in reports.iter().zip(&texts) {
        assert_eq!((report.lines.sent, report.lines.excluded), (900, 100));
        assert_eq!(report.bytes, text.len() as u64);
    }
    assert_eq!(results(&fixture.ship(&files)), ["AlreadyShipped"; 3]);
    assert_eq!(fixture.arrived(), kept(&texts.concat()), "nothing is doubled");
    assert!(fixture.relay.streams.iter().all(|stream| stream.finished));
}

#[test]
fn a_file_is_recognised_under_another_name_and_compressed() {
    let mut fixture = BackfillFixture::new();
    let text = lines("a", 1000);
    let files = [
        fixture.write("one.log", &text),
        fixture.write("two.log", &text),
        fixture.write("three.gz", gzip(&text)),
    ];
    let expected = ["shipped from 0", "AlreadyShipped", "AlreadyShipped"];
    assert_eq!(results(&fixture.ship(&files)), expected);
}

#[test]
fn only_the_rest_of_a_partly_shipped_file_is_sent() {
    let mut fixture = BackfillFixture::new();
    let text = lines("a", 1000);
    let whole_lines = text[..5000].rfind('\n').expect("lines") + 1;
    let half = fixture.write("half", &text[..whole_lines]);
    fixture.ship(&[half]);
    let whole = fixture.write("whole.gz", gzip(&text));
    let reports = fixture.ship(&[whole]);
    assert_eq!(results(&reports), [format!("shipped from {whole_lines}")]);
    assert_eq!(reports[0].bytes, (text.len() - whole_lines) as u64);
    assert_eq!(fixture.arrived(), kept(&text));
}

#[test]
fn a_last_line_without_a_newline_gets_one_and_an_empty_file_is_fine() {
    let mut fixture = BackfillFixture::new();
    let files = [
        fixture.write("a", "1\n2"),
        fixture.write("b", ""),
        fixture.write("c", "3"),
        fixture.write("d.gz", gzip("")),
    ];
    let first = ["shipped from 0", "Empty", "shipped from 0", "Empty"];
    assert_eq!(results(&fixture.ship(&files)), first);
    assert_eq!(fixture.arrived(), "1\n2\n3\n");
    let second = ["AlreadyShipped", "Empty", "AlreadyShipped", "Empty"];
    assert_eq!(results(&fixture.ship(&files)), second);
}

#[test]
fn damaged_and_missing_files_are_refused_and_the_others_are_shipped() {
    let mut fixture = BackfillFixture::new();
    let mut damaged = gzip(&lines("a", 1000));
    let cut = fixture.write("cut.gz", &damaged[..damaged.len() / 2]);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let files = [
        fixture.write("damaged.gz", damaged),
        cut,
        fixture.path("none"),
        fixture.folder.path().to_owned(),
        fixture.write("good", "1\n"),
    ];
    let results = results(&fixture.ship(&files));
    assert_eq!(
        results,
        [
            "is damaged",
            "is compressed and ends in the middle: it is still being compressed, or was cut off",
            "cannot be read",
            "is no regular file; name the log files themselves",
            "shipped from 0",
        ]
    );
    assert_eq!(fixture.arrived(), "1\n");
}

#[test]
fn the_live_log_and_copies_of_it_are_left_to_the_sender() {
    let mut fixture = BackfillFixture::new();
    let text = lines("a", 100);
    let live = fixture.write("access.log", &text);
    let copy = fixture.write("copy.gz", gzip(&text[..text.len() / 2]));
    let refused = "is the live file of log `access`, which the sender ships, or a copy of it";
    assert_eq!(results(&fixture.ship(&[live, copy])), [refused; 2]);
    assert_eq!(fixture.arrived(), "");
}

#[test]
fn a_file_with_an_unfinished_line_that_may_grow_is_refused() {
    let mut fixture = BackfillFixture::new();
    let path = fixture.write("access.log.1", "1\nhal");
    let refused = "ends in the middle of a line and may still be written to; try again in half a minute";
    let writer = fs::OpenOptions::new().append(true).open(&path).expect("writable");
    assert_eq!(results(&fixture.ship(std::slice::from_ref(&path))), [refused]);
    drop(writer);
    assert_eq!(results(&fixture.ship(&[path])), ["shipped from 0"]);
}

#[test]
fn a_possible_beginning_of_a_longer_log_is_refused() {
    let mut fixture = BackfillFixture::new();
    let text = lines("a", 1000);
    let whole = fixture.write("whole", &text);
    let part = fixture.write("part", &text[..text.len() / 2]);
    let results = results(&fixture.ship(&[whole, part]));
    let refused = "begins like a log of which the relay has";
    assert!(results[1].starts_with(refused), "{results:?}");
    assert_eq!(fixture.arrived(), kept(&text));
}

#[test]
fn files_with_the_same_beginning_are_all_shipped() {
    let mut fixture = BackfillFixture::new();
    let texts = ["1\n2\n", "1\n3\n", "1\n3\n4\n5\n"];
    let files = [0, 1, 2].map(|nth| fixture.write(&format!("{nth}"), texts[nth]));
    let results = results(&fixture.ship(&files));
    assert_eq!(results, ["shipped from 0", "shipped from 0", "shipped from 4"]);
    assert_eq!(fixture.arrived(), "1\n2\n1\n3\n4\n5\n");
}

#[test]
fn a_dry_run_counts_what_would_be_shipped_and_sends_nothing() {
    let mut fixture = BackfillFixture::new();
    let file = fixture.write("a.gz", gzip(&lines("a", 1000)));
    let reports = fixture.run(&[file], true, || panic!("a dry run sends nothing"));
    assert_eq!(results(&reports), ["shipped from 0"]);
    assert_eq!((reports[0].lines.sent, reports[0].lines.excluded), (900, 100));
    assert_eq!(fixture.arrived(), "");
}

#[test]
fn a_refused_question_ends_the_backfill_and_an_unanswered_one_is_repeated() {
    let fixture = BackfillFixture::new();
    let file = fixture.write("a", "1\n");
    let (mut driver, _inbox) = fixture.driver(&[file], false);
    let requests = driver.run_due(fixture.now);
    assert!(matches!(requests[..], [RelayRequest::Streams(_)]));
    driver.handle(SenderEvent::Streams(Err(busy())), fixture.now);
    assert!(matches!(&driver.take_events()[..], [BackfillEvent::Waiting(_)]));
    assert!(driver.run_due(fixture.now).is_empty(), "it waits");
    let later = Now {
        instant: driver.deadline(fixture.now).expect("a time"),
        ..fixture.now
    };
    assert!(matches!(driver.run_due(later)[..], [RelayRequest::Streams(_)]));
    let refused = RequestError::Refused {
        relay: "relay".into(),
        status: 403,
        reason: "not allowed".into(),
        retry_after: None,
    };
    driver.handle(SenderEvent::Streams(Err(refused)), later);
    assert!(driver.is_over());
    assert!(matches!(driver.into_result(), Err(BackfillError::Refused(_))));
}

proptest! {
    #[test]
    fn each_line_arrives_once_with_lost_answers_and_crashes(
        counts in prop::collection::vec(0_usize..400, 1..4),
        runs in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec![
                RequestOutcome::Done, RequestOutcome::Done, RequestOutcome::Done, RequestOutcome::AnswerLost, RequestOutcome::Lost, RequestOutcome::Busy,
            ]), 0..12),
            0..5,
        ),
    ) {
        let mut fixture = BackfillFixture::new();
        let (mut files, mut text) = (Vec::new(), String::new());
        for (nth, count) in counts.into_iter().enumerate() {
            let lines = lines(&format!("file{nth}"), count);
            files.push(match nth % 2 {
                0 => fixture.write(&format!("{nth}"), lines.trim_end()),
                _ => fixture.write(&format!("{nth}.gz"), gzip(&lines)),
            });
            text += &lines;
        }
        for run in runs {
            let mut outcomes = run.into_iter();
            fixture.run(&files, false, || outcomes.next());
        }
        fixture.ship(&files);
        prop_assert_eq!(fixture.arrived(), kept(&text));
    }
}
