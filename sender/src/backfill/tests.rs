//! Backfills of real files against a relay in memory.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use logferry_config as config;
use proptest::prelude::*;
use tempfile::TempDir;

use super::course::Course;
use super::*;
use crate::tail::histories::relay::Relay;
use crate::tail::histories::world;
use crate::tail::{Job, Now};
use crate::wire::WireError;

/// A sender section with a log for each of these paths.
pub(super) fn config(paths: &[&str]) -> config::SenderSettings {
    let mut config = world::config(4096, 50, 1024);
    let template = config.logs.remove(0);
    config.logs = paths
        .iter()
        .map(|path| {
            let stem = Path::new(path).file_stem().expect("a name").to_string_lossy();
            config::LogSettings {
                path: (*path).into(),
                rotated: vec![format!("{path}.*"), format!("{path}-*")],
                name: stem.trim_end_matches('*').parse().expect("a name"),
                ..template.clone()
            }
        })
        .collect();
    config
}

/// What becomes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Stored,
    /// The relay has it, but the answer is lost.
    AnswerLost,
    Lost,
    Busy,
}

/// A folder with logs, and a relay.
struct World {
    folder: TempDir,
    relay: Relay,
    now: Now,
}

impl World {
    fn new() -> Self {
        let now = Now {
            tick: Instant::now(),
            // Whatever was written is quiet by now.
            wall: SystemTime::now() + Duration::from_mins(5),
        };
        Self {
            folder: TempDir::new().expect("a folder"),
            relay: Relay::default(),
            now,
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

    fn course(&self, paths: &[PathBuf], dry_run: bool) -> (Course, Receiver<Event>) {
        let live = self.path("access.log");
        let config = config(&[live.to_str().expect("a path")]);
        let plan = Plan::new(&config, paths.to_vec(), None).expect("one log");
        let (home, inbox) = channel();
        (Course::new(&config, plan, dry_run, home, 1), inbox)
    }

    /// Ships the files; `luck` says what becomes of the next chunks, until it ends with `None`: a crash.
    fn run(&mut self, paths: &[PathBuf], mut luck: impl FnMut() -> Option<Luck>) -> Vec<Report> {
        let (mut course, inbox) = self.course(paths, false);
        let mut reports = Vec::new();
        for _ in 0..10_000 {
            let jobs = course.turn(self.now);
            reports.extend(done(course.take_news()));
            if course.is_over() {
                course.into_result().expect("the relay takes all");
                return reports;
            }
            // Several are under way, and the last one is answered first.
            for job in jobs.into_iter().rev() {
                let event = match job {
                    Job::Streams(question) => Event::Streams(Ok(self.relay.resolve(&question))),
                    Job::Chunk { worker, chunk } => {
                        let Some(luck) = luck() else { return reports };
                        let seq = chunk.seq;
                        let arrives = matches!(luck, Luck::Stored | Luck::AnswerLost);
                        let receipt = arrives.then(|| self.relay.take(&chunk));
                        let busy = WireError::Refused {
                            relay: "relay".into(),
                            status: 503,
                            reason: "busy".into(),
                            retry_after: None,
                        };
                        let result = match (luck, receipt) {
                            (Luck::Stored, Some(receipt)) => Ok(receipt),
                            (Luck::Busy, _) => Err(busy),
                            _ => Err(WireError::Silent {
                                relay: "relay".into(),
                                after: Duration::ZERO,
                            }),
                        };
                        Event::Chunk { worker, seq, result }
                    }
                    Job::Heartbeat(_) => panic!("a backfill is no sender"),
                };
                course.handle(event, self.now);
            }
            for event in inbox.try_iter() {
                course.handle(event, self.now);
            }
            self.now.tick = course.deadline(self.now).unwrap_or(self.now.tick);
        }
        panic!("it does not come to an end");
    }

    fn ship(&mut self, paths: &[PathBuf]) -> Vec<Report> {
        self.run(paths, || Some(Luck::Stored))
    }

    fn arrived(&self) -> String {
        String::from_utf8_lossy(&self.relay.arrived).into_owned()
    }
}

fn done(news: Vec<News>) -> impl Iterator<Item = Report> {
    news.into_iter().filter_map(|news| match news {
        News::Done(report) => Some(report),
        News::Progress { .. } | News::Waiting(_) => None,
    })
}

fn fates(reports: &[Report]) -> Vec<String> {
    let fate = |report: &Report| match &report.result {
        Ok(Fate::Shipped { from }) => format!("shipped from {from}"),
        Ok(fate) => format!("{fate:?}"),
        Err(refusal) => format!("{refusal}"),
    };
    reports.iter().map(fate).collect()
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
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn files_of_each_kind_are_shipped_once_in_their_order() {
    let mut world = World::new();
    let texts = ["a", "b", "c"].map(|name| lines(name, 1000));
    let zstd = zstd::encode_all(texts[2].as_bytes(), 1).expect("memory");
    let files = [
        world.write("access.log.3", &texts[0]),
        world.write("access.log.2.gz", gzip(&texts[1])),
        world.write("access.log.1.zst", zstd),
    ];
    let reports = world.ship(&files);
    assert_eq!(fates(&reports), ["shipped from 0"; 3]);
    assert_eq!(world.arrived(), kept(&texts.concat()));
    for (report, text) in reports.iter().zip(&texts) {
        assert_eq!((report.lines.sent, report.lines.excluded), (900, 100));
        assert_eq!(report.bytes, text.len() as u64);
    }
    assert_eq!(fates(&world.ship(&files)), ["AlreadyShipped"; 3]);
    assert_eq!(world.arrived(), kept(&texts.concat()), "nothing is doubled");
    assert!(world.relay.streams.iter().all(|stream| stream.finished));
}

#[test]
fn a_file_is_recognised_under_another_name_and_compressed() {
    let mut world = World::new();
    let text = lines("a", 1000);
    let files = [
        world.write("one.log", &text),
        world.write("two.log", &text),
        world.write("three.gz", gzip(&text)),
    ];
    assert_eq!(
        fates(&world.ship(&files)),
        ["shipped from 0", "AlreadyShipped", "AlreadyShipped"]
    );
}

#[test]
fn of_a_file_that_was_shipped_in_part_only_the_rest_goes() {
    let mut world = World::new();
    let text = lines("a", 1000);
    let whole_lines = text[..5000].rfind('\n').expect("lines") + 1;
    let half = world.write("half", &text[..whole_lines]);
    world.ship(&[half]);
    let whole = world.write("whole.gz", gzip(&text));
    let reports = world.ship(&[whole]);
    assert_eq!(fates(&reports), [format!("shipped from {whole_lines}")]);
    assert_eq!(reports[0].bytes, (text.len() - whole_lines) as u64);
    assert_eq!(world.arrived(), kept(&text));
}

#[test]
fn a_last_line_without_a_newline_gets_one_and_an_empty_file_is_fine() {
    let mut world = World::new();
    let files = [
        world.write("a", "1\n2"),
        world.write("b", ""),
        world.write("c", "3"),
        world.write("d.gz", gzip("")),
    ];
    let first = world.ship(&files);
    assert_eq!(
        fates(&first),
        ["shipped from 0", "Empty", "shipped from 0", "Empty"]
    );
    assert_eq!(world.arrived(), "1\n2\n3\n");
    assert_eq!(
        fates(&world.ship(&files)),
        ["AlreadyShipped", "Empty", "AlreadyShipped", "Empty"]
    );
}

#[test]
fn what_is_damaged_or_no_file_is_refused_and_the_others_go_on() {
    let mut world = World::new();
    let mut damaged = gzip(&lines("a", 1000));
    let cut = world.write("cut.gz", &damaged[..damaged.len() / 2]);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let files = [
        world.write("damaged.gz", damaged),
        cut,
        world.path("none"),
        world.folder.path().to_owned(),
        world.write("good", "1\n"),
    ];
    let fates = fates(&world.ship(&files));
    assert_eq!(
        fates,
        [
            "is damaged",
            "is compressed and ends in the middle: it is still being compressed, or was cut off",
            "cannot be read",
            "is no regular file; name the log files themselves",
            "shipped from 0",
        ]
    );
    assert_eq!(world.arrived(), "1\n");
}

#[test]
fn the_live_log_and_copies_of_it_are_left_to_the_sender() {
    let mut world = World::new();
    let text = lines("a", 100);
    let live = world.write("access.log", &text);
    let copy = world.write("copy.gz", gzip(&text[..text.len() / 2]));
    let refused = "is what is being written to as log `access`, and the sender ships it";
    assert_eq!(fates(&world.ship(&[live, copy])), [refused; 2]);
    assert_eq!(world.arrived(), "");
}

#[test]
fn half_a_line_that_may_get_its_end_is_not_shipped() {
    let mut world = World::new();
    let path = world.write("access.log.1", "1\nhal");
    let refused = "ends in the middle of a line and may still be written to; try again in half a minute";
    let writer = fs::OpenOptions::new().append(true).open(&path).expect("writable");
    assert_eq!(fates(&world.ship(std::slice::from_ref(&path))), [refused]);
    drop(writer);
    assert_eq!(fates(&world.ship(&[path])), ["shipped from 0"]);
}

#[test]
fn what_may_be_the_beginning_of_a_longer_log_is_refused() {
    let mut world = World::new();
    let text = lines("a", 1000);
    let (whole, part) = (
        world.write("whole", &text),
        world.write("part", &text[..text.len() / 2]),
    );
    let fates = fates(&world.ship(&[whole, part]));
    assert!(
        fates[1].starts_with("begins like a log of which the relay has"),
        "{fates:?}"
    );
    assert_eq!(world.arrived(), kept(&text));
}

#[test]
fn files_that_only_begin_alike_are_all_shipped() {
    let mut world = World::new();
    let texts = ["1\n2\n", "1\n3\n", "1\n3\n4\n5\n"];
    let files: Vec<_> = ["a", "b", "c"]
        .iter()
        .zip(texts)
        .map(|(name, text)| world.write(name, text))
        .collect();
    let fates = fates(&world.ship(&files));
    assert_eq!(fates, ["shipped from 0", "shipped from 0", "shipped from 4"]);
    assert_eq!(world.arrived(), "1\n2\n1\n3\n4\n5\n");
}

#[test]
fn a_dry_run_counts_what_would_be_shipped_and_sends_nothing() {
    let world = World::new();
    let text = lines("a", 1000);
    let file = world.write("a.gz", gzip(&text));
    let (mut course, inbox) = world.course(&[file], true);
    let mut reports = Vec::new();
    while !course.is_over() {
        for job in course.turn(world.now) {
            let Job::Streams(question) = job else {
                panic!("a dry run sent {job:?}")
            };
            course.handle(Event::Streams(Ok(world.relay.resolve(&question))), world.now);
        }
        for event in inbox.try_iter() {
            course.handle(event, world.now);
        }
        reports.extend(done(course.take_news()));
    }
    assert_eq!(fates(&reports), ["shipped from 0"]);
    assert_eq!((reports[0].lines.sent, reports[0].lines.excluded), (900, 100));
    assert_eq!(world.arrived(), "");
}

#[test]
fn a_relay_that_refuses_the_question_ends_it_and_one_that_is_away_is_asked_again() {
    let world = World::new();
    let file = world.write("a", "1\n");
    let (mut course, _inbox) = world.course(&[file], false);
    assert!(matches!(course.turn(world.now)[..], [Job::Streams(_)]));
    let silent = WireError::Silent {
        relay: "relay".into(),
        after: Duration::ZERO,
    };
    course.handle(Event::Streams(Err(silent)), world.now);
    assert!(matches!(&course.take_news()[..], [News::Waiting(_)]));
    assert!(course.turn(world.now).is_empty(), "it waits");
    let later = Now {
        tick: course.deadline(world.now).expect("a time"),
        ..world.now
    };
    assert!(matches!(course.turn(later)[..], [Job::Streams(_)]));
    let refused = WireError::Refused {
        relay: "relay".into(),
        status: 403,
        reason: "not allowed".into(),
        retry_after: None,
    };
    course.handle(Event::Streams(Err(refused)), later);
    assert!(course.is_over());
    assert!(matches!(course.into_result(), Err(BackfillError::Refused(_))));
}

proptest! {
    #[test]
    fn whatever_gets_lost_and_however_often_it_crashes_each_line_arrives_once(
        counts in prop::collection::vec(0_usize..400, 1..4),
        runs in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec![
                Luck::Stored, Luck::Stored, Luck::Stored, Luck::AnswerLost, Luck::Lost, Luck::Busy,
            ]), 0..12),
            0..5,
        ),
    ) {
        let mut world = World::new();
        let (mut files, mut text) = (Vec::new(), String::new());
        for (nth, count) in counts.into_iter().enumerate() {
            let lines = lines(&format!("file{nth}"), count);
            files.push(match nth % 2 {
                0 => world.write(&format!("{nth}"), lines.trim_end()),
                _ => world.write(&format!("{nth}.gz"), gzip(&lines)),
            });
            text += &lines;
        }
        for run in runs {
            let mut luck = run.into_iter();
            world.run(&files, || luck.next());
        }
        world.ship(&files);
        prop_assert_eq!(world.arrived(), kept(&text));
    }
}
