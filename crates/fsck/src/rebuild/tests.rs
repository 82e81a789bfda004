//! Rebuilds from generated spools, and from spools with odd files.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, FileTimes};
use std::time::{Duration, SystemTime};

use logferry_config::{Config, parse};
use logferry_durable::LockFile;
use logferry_ledger::{Batch, BatchFilter, Window};
use logferry_protocol::names::LogName;
use logferry_testkit::batches::{contents_of, new_batch};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tests::{gzip, kinds_and_paths, spool_contents, write};
use crate::{FindingKind, check};

pub(super) const SOURCE: &str = "198.51.100.1";
/// 21 November 2026, 02:20:00 UTC.
const START: i64 = 1_795_227_600;

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(START + 100).expect("in range")
}

/// A relay host without a ledger, whose files were written one after the other.
pub(super) struct Host {
    pub(super) dir: TempDir,
    pub(super) config: Config,
    written: std::cell::Cell<u64>,
}

impl Host {
    pub(super) fn new() -> Self {
        Self::with("timestamp: auto")
    }

    fn with(batch: &str) -> Self {
        let text = format!(
            "relay:\n  groups:\n    - {{name: web-1, listen: \"127.0.0.1:1\", sources: [192.0.2.0/24]}}\n    \
             - {{name: web-2, listen: \"127.0.0.1:2\", sources: [198.51.100.0/24]}}\n  batch: {{{batch}}}\n\
             forwarder:\n  destinations:\n    - {{name: drop, host: h, user: u, directory: /in/, password: p, \
             known_hosts: /k}}\n"
        );
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            config: parse(&text, Path::new("logferry.yaml"), &|_| None).expect("valid"),
            written: std::cell::Cell::new(0),
        }
    }

    pub(super) fn put(&self, path: &str, contents: &[u8]) -> PathBuf {
        let path = self.dir.path().join(path);
        write(&path, contents);
        let number = self.written.get() + 1;
        self.written.set(number);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(START.unsigned_abs() + number);
        let file = fs::File::options().append(true).open(&path).expect("there");
        file.set_times(FileTimes::new().set_modified(at)).expect("set");
        path
    }

    /// Puts a file into the source's folder of a state.
    pub(super) fn put_batch(&self, state: &str, file: &str, contents: &[u8]) -> PathBuf {
        self.put(&format!("{state}/{SOURCE}/{file}"), contents)
    }

    fn rebuild(&self) -> Result<RebuildReport, FsckError> {
        self.rebuild_on(&RealDisk)
    }

    pub(super) fn rebuild_on(&self, disk: &impl Disk) -> Result<RebuildReport, FsckError> {
        let relay = self.config.relay.as_ref().expect("there");
        let destinations = &self.config.forwarder.as_ref().expect("there").destinations;
        rebuild_on(disk, self.dir.path(), relay, destinations, now())
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger::open(self.dir.path()).expect("a ledger")
    }

    pub(super) fn batches(&self) -> Vec<Batch> {
        self.ledger().batches(&BatchFilter::default()).expect("read")
    }

    fn findings(&self) -> Vec<(FindingKind, PathBuf)> {
        let rebuilt = self.rebuild().expect("rebuilt");
        assert_eq!(rebuilt.fine, rebuilt.findings.is_empty());
        kinds_and_paths(rebuilt.findings)
    }
}

/// Lines of that minute, in a zone six hours ahead.
pub(super) fn lines(minute: u32, count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|number| format!("[21/Nov/2026:08:{minute:02}:03 +0600] {number}\n").into_bytes())
        .collect()
}

pub(super) fn name(label: &str) -> String {
    format!("accessLog_26112108_{label}_198-51-100-1")
}

#[test]
fn every_file_becomes_the_batch_that_it_was() {
    let host = Host::new();
    host.put_batch("sent", &(name("00-19") + ".log.gz"), &gzip(&lines(5, 3)));
    host.put(&format!("sent/{SOURCE}/{}.2.log", name("00-19")), &lines(6, 4));
    host.put(&format!("failed/{SOURCE}/{}.log", name("20-39")), &lines(20, 5));
    host.put(&format!("ready/{SOURCE}/{}.12.log", name("20-39")), &lines(39, 6));
    host.put(&format!("open/{SOURCE}/{}.log", name("40-59")), &lines(40, 70));
    let rebuilt = host.rebuild().expect("rebuilt");
    assert_eq!((&rebuilt.findings[..], rebuilt.kept), (&[][..], None));
    assert!(rebuilt.fine);
    assert_eq!((rebuilt.batches, rebuilt.lines, rebuilt.sources), (5, 88, 1));
    let shape = |batch: Batch| {
        assert_eq!((batch.group.as_str(), batch.window.utc_offset), ("web-2", 21_600));
        let window = (batch.window.start - START) / 60;
        (batch.name(), batch.state, window, batch.contents.lines)
    };
    let expected = [
        (name("00-19"), BatchState::Sent, -20, 3),
        (name("00-19") + ".2", BatchState::Sent, -20, 4),
        (name("20-39"), BatchState::Failed, 0, 5),
        (name("20-39") + ".12", BatchState::Ready, 0, 6),
        (name("40-59"), BatchState::Open, 20, 70),
    ];
    let found: Vec<_> = host.batches().into_iter().map(shape).collect();
    assert_eq!(found, expected);
    let sent = &host.batches()[1];
    let delivery = &host.ledger().deliveries(sent.id).expect("read")[0];
    let path = format!("/in/{}.2.log", name("00-19"));
    assert_eq!(delivery.path.as_ref(), Some(&path));
    assert_eq!(delivery.destination.as_str(), "drop");
    let end = host.ledger().source_end(&sent.source).expect("read");
    let end = end.expect("certain");
    assert!(lines(40, 70).ends_with(&end.bytes) && end.bytes.len() == 1024);
    assert_eq!(check(host.dir.path()).expect("checked").findings, []);
    let totals = host.ledger().source_line_totals().expect("read");
    assert_eq!(totals[0].lines_sent, totals[0].lines_batched);
}

#[test]
fn whole_ledger_is_never_replaced() {
    let host = Host::new();
    let id = Ledger::open_or_create(host.dir.path()).and_then(|ledger| ledger.id());
    assert!(matches!(host.rebuild(), Err(FsckError::Whole { .. })));
    assert_eq!(host.ledger().id().expect("read"), id.expect("made"));
}

#[test]
fn damaged_ledger_is_kept_with_the_files_beside_it() {
    let host = Host::new();
    let ledger = host.put("ledger.db", &[7; 5000]);
    host.put("ledger.db-wal", b"wal");
    host.put("damaged-1/ledger.db", b"older");
    host.put("rebuild.tmp/ledger.db", b"an earlier attempt");
    let kept = host.rebuild().expect("rebuilt").kept.expect("kept");
    assert_eq!(fs::read(format!("{kept}/ledger.db")).expect("kept"), [7; 5000]);
    assert_eq!(fs::read(format!("{kept}/ledger.db-wal")).expect("kept"), b"wal");
    assert!(kept.ends_with("damaged-2") && ledger.exists());
    assert!(!host.dir.path().join("rebuild.tmp").exists());
    assert_eq!(host.batches(), []);
    assert!(host.ledger().rebuilt_at().expect("read").is_some());
}

#[test]
fn nothing_is_rebuilt_while_a_role_runs() {
    let host = Host::new();
    host.put("ledger.db", b"damaged");
    for role in ["relay", "forwarder", "housekeeper", "monitor"] {
        let _lock = LockFile::acquire(&host.dir.path().join(format!("{role}.lock"))).expect("free");
        assert!(matches!(host.rebuild(), Err(FsckError::Busy(_))), "{role}");
    }
    let ledger = host.dir.path().join("ledger.db");
    assert_eq!(fs::read(ledger).expect("there"), b"damaged");
}

#[test]
fn open_batch_is_taken_up_to_its_last_whole_line_and_the_rest_is_kept() {
    let host = Host::new();
    let whole = lines(20, 50);
    let torn = [&whole[..], b"[21/Nov/2026:08:2"].concat();
    let path = host.put(&format!("open/{SOURCE}/{}.log", name("20-39")), &torn);
    let half = host.put(&format!("open/{SOURCE}/{}.log", name("40-59")), b"[21/Nov");
    let torn_files = [path.clone(), half].map(|path| (FindingKind::Torn, path));
    assert_eq!(host.findings(), torn_files);
    let rest = format!("damaged-1/rest/{SOURCE}/{}.log", name("20-39"));
    let rest = fs::read(host.dir.path().join(rest)).expect("kept");
    assert_eq!(rest, b"[21/Nov/2026:08:2");
    assert_eq!(fs::read(&path).expect("there"), torn, "the relay cuts it");
    let batches = host.batches();
    assert_eq!(batches[0].contents.bytes, whole.len() as u64);
    assert_eq!(host.ledger().source_end(&batches[0].source).expect("read"), None);
}

#[test]
fn file_that_is_not_proven_is_left_alone_and_its_name_is_reserved() {
    let host = Host::new();
    let half = b"[21/Nov/2026:08:05:00 +0600] a";
    let torn = host.put_batch("ready", &(name("00-19") + ".log"), half);
    let twice = format!("{}.2.log", name("00-19"));
    let one = host.put(&format!("ready/{SOURCE}/{twice}"), &lines(5, 1));
    let other = host.put(&format!("failed/{SOURCE}/{twice}"), &lines(5, 2));
    let bad = host.put(&format!("sent/{SOURCE}/{}.log.gz", name("20-39")), b"no gzip");
    let early = host.put(&format!("failed/{SOURCE}/{}.log.gz", name("40-59")), &gzip(b""));
    let unknown = host.put(&format!("ready/{SOURCE}/notes.log"), b"x\n");
    let shifted = host.put(&format!("ready/{SOURCE}/{}.3.log", name("00-19")), &lines(20, 1));
    let nowhere = host.put(&format!("ready/{}.4.log", name("00-19")), &lines(5, 1));
    let tmp = host.put(&format!("ready/{SOURCE}/{}.5.log.tmp", name("00-19")), b"");
    let text = host.put(&format!("ready/{SOURCE}/notes.txt"), b"");
    let expected = BTreeSet::from([
        (FindingKind::Size, torn),
        (FindingKind::Double, one),
        (FindingKind::Double, other),
        (FindingKind::Contents, bad),
        (FindingKind::Misplaced, early),
        (FindingKind::Unknown, unknown),
        (FindingKind::Unknown, shifted),
        (FindingKind::Unknown, nowhere),
        (FindingKind::Leftover, tmp),
        (FindingKind::Unknown, text),
    ]);
    assert_eq!(BTreeSet::from_iter(host.findings()), expected);
    assert_eq!(host.batches(), []);
    let new = |label| new_batch(SOURCE, &name(label));
    let part = |label| host.ledger().open_batch(&new(label), now()).expect("opened").part;
    assert_eq!((part("00-19"), part("20-39"), part("40-59")), (4, 2, 2));
}

#[test]
fn window_is_that_of_the_lines_in_any_zone() {
    let host = Host::with("name: \"{log}_{yymmddHH}_{window}_{source}\", window: 10s");
    // The clock showed this hour twice; the first line is of the second one.
    let winter = b"more of the line before\n[25/Oct/2026:02:30:05 +0100] a\n[25/Oct/2026:03:30:06 +0200] b\n";
    host.put_batch("ready", "access_26102502_3000-3009_198-51-100-1.2.log", winter);
    assert_eq!(host.findings(), []);
    let batch = &host.batches()[0];
    let expected = Window {
        start: 1_792_891_800,
        seconds: 10,
        utc_offset: 3600,
    };
    assert_eq!((batch.window, batch.part), (expected, 2));
    assert_eq!(batch.log.as_ref().map(LogName::as_str), Some("access"));
}

#[test]
fn window_of_lines_without_time_is_taken_as_utc_and_reported() {
    let file = format!("ready/{SOURCE}/{}.log", name("20-39"));
    for (batch, is_certain) in [("timestamp: auto", false), ("timestamp: arrival", true)] {
        let host = Host::with(batch);
        let path = host.put(&file, b"no time\n");
        let uncertain = (!is_certain).then_some((FindingKind::Window, path));
        assert_eq!(host.findings(), Vec::from_iter(uncertain));
        assert_eq!(host.batches()[0].window.start, START + 6 * 3600);
    }
}

#[test]
fn batch_that_a_line_without_time_opened_is_proven_by_its_other_lines() {
    let host = Host::new();
    let contents = [b"no time\n".to_vec(), lines(25, 2)].concat();
    host.put_batch("ready", "accessLog_26112102_20-39_198-51-100-1.log", &contents);
    assert_eq!(host.findings(), []);
    let window = host.batches()[0].window;
    assert_eq!((window.start, window.utc_offset), (START, 0));
}

#[test]
fn lines_are_read_in_the_format_of_their_log() {
    let format =
        "name: '{log}_{yymmddHH}_{window}_{source}'}\nformats: {shop: '$remote_user|$time_local|$status'";
    let host = Host::with(format);
    let line = "x|01/Jan/2020:00:00:00 +0000|21/Nov/2026:08:25:03 +0600|200\n";
    host.put_batch("ready", "shop_26112108_20-39_198-51-100-1.log", line.as_bytes());
    assert_eq!(host.findings(), []);
    assert_eq!(host.batches()[0].window.start, START);
}

#[test]
fn plain_file_counts_while_it_is_compressed_and_empty_open_file_does_not() {
    let host = Host::new();
    let file = name("00-19");
    host.put(&format!("sent/{SOURCE}/{file}.log"), &lines(5, 3));
    host.put(&format!("sent/{SOURCE}/{file}.log.gz"), b"half of");
    host.put(&format!("sent/{SOURCE}/{file}.log.gz.tmp"), b"");
    host.put(&format!("open/{SOURCE}/{}.log", name("20-39")), b"");
    assert_eq!(host.findings(), []);
    let batches = host.batches();
    assert_eq!((batches.len(), batches[0].compressed_at), (1, None));
}

#[test]
fn end_of_a_source_is_certain_only_in_the_one_file_written_last() {
    let source = SOURCE.parse().expect("valid");
    let first = format!("open/{SOURCE}/{}.log", name("00-19"));
    let second = format!("open/{SOURCE}/{}.log", name("20-39"));
    let end = |host: &Host| {
        host.rebuild().expect("rebuilt");
        let end = host.ledger().source_end(&source).expect("read");
        end.map(|end| end.window.0)
    };
    let host = Host::new();
    host.put(&second, &lines(20, 50));
    host.put(&first, &lines(5, 50));
    assert_eq!(end(&host), Some(START - 1200), "the older window may be the last");

    let host = Host::new();
    host.put(&first, &lines(5, 50));
    host.written.set(0);
    host.put(&second, &lines(20, 50));
    assert_eq!(end(&host), None, "at the same time");

    let host = Host::new();
    host.put(&first, &b"[21/Nov/2026:08:05:03 +0600] the same\n".repeat(100));
    assert_eq!(end(&host), None, "the file has this ending more than once");

    let host = Host::new();
    host.put(&first, &lines(5, 50));
    host.put_batch("sent", &(name("20-39") + ".log.gz"), &gzip(&lines(20, 1)));
    assert_eq!(end(&host), None, "a later window is sent and compressed already");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The new ledger has all batches and agrees with the spool, and no byte has changed.
    #[test]
    fn rebuilt_ledger_agrees_with_the_spool(
        batches in prop::collection::btree_map(
            (0_u32..3, 1_u32..4), (0_usize..4, 1_u32..80, prop::bool::ANY), 0..9),
    ) {
        let host = Host::new();
        let mut expected = BTreeMap::new();
        for ((window, part), (state, count, is_compressed)) in batches {
            let label = ["00-19", "20-39", "40-59"][window as usize];
            let part = if part == 1 { String::new() } else { format!(".{part}") };
            let state = BatchState::ALL[state];
            let written = lines(window * 20 + 3, count);
            let (suffix, contents) = match state {
                BatchState::Sent if is_compressed => (".gz", gzip(&written)),
                _ => ("", written.clone()),
            };
            host.put(&format!("{state}/{SOURCE}/{}{part}.log{suffix}", name(label)), &contents);
            expected.insert(name(label) + &part, (state, contents_of(&written)));
        }
        let before = spool_contents(host.dir.path());
        host.put("ledger.db", b"damaged");
        prop_assert_eq!(host.findings(), vec![]);
        prop_assert_eq!(spool_contents(host.dir.path()), before);
        let state_and_contents = |batch: Batch| (batch.name(), (batch.state, batch.contents));
        let found: BTreeMap<_, _> = host.batches().into_iter().map(state_and_contents).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(check(host.dir.path()).expect("checked").findings, vec![]);
    }
}
