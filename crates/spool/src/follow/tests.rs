//! The follower beside a relay that writes, seals and loses files.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use logferry_testkit::batches::{commit, new_batch};
use logferry_testkit::relay_host::RelayHost;
use tempfile::TempDir;

use super::batch_lines::BLOCK_LEN;
use super::*;

/// A data folder with the relay's ledger.
struct Host {
    dir: TempDir,
    ledger: Ledger,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        Self { dir, ledger }
    }

    fn open(&mut self, source: &str) -> Batch {
        let new = new_batch(source, &format!("a-{source}"));
        let opened = self.ledger.open_batch(&new, Timestamp::UNIX_EPOCH);
        opened.expect("opened")
    }

    fn path(&self, batch: &Batch, state: &str) -> PathBuf {
        let folder = self.dir.path().join(state).join(batch.source.as_str());
        fs::create_dir_all(&folder).expect("made");
        folder.join(batch.file_name())
    }

    /// Has `text` in the batch's file, and all but its last `uncommitted` bytes in the ledger.
    fn write(&mut self, batch: &Batch, text: &str, uncommitted: usize) {
        fs::write(self.path(batch, "open"), text).expect("written");
        let committed = &text.as_bytes()[..text.len() - uncommitted];
        commit(&mut self.ledger, batch, committed);
    }

    fn seal(&mut self, batch: &Batch) {
        self.ledger.seal(batch.id, Timestamp::UNIX_EPOCH).expect("sealed");
        fs::rename(self.path(batch, "open"), self.path(batch, "ready")).expect("moved");
    }

    fn follow(&self, source: Option<&str>) -> Follower {
        let source = source.map(|source| source.parse().expect("valid"));
        self.follow_only(LineFilter {
            source,
            ..LineFilter::default()
        })
    }

    fn follow_only(&self, filter: LineFilter) -> Follower {
        Follower::start(
            Ledger::open_read_only(self.dir.path()).expect("a ledger"),
            self.dir.path(),
            filter,
        )
        .expect("a ledger")
    }
}

fn of_log(log: &str) -> LineFilter {
    LineFilter {
        log: Some(log.parse().expect("valid")),
        ..LineFilter::default()
    }
}

fn shown(follower: &mut Follower) -> String {
    let mut text = String::new();
    let mut show = |event: FollowEvent<'_>| {
        match event {
            FollowEvent::Lines { lines, .. } => text.push_str(std::str::from_utf8(lines).expect("text")),
            FollowEvent::Skipped { batch, bytes } => {
                text.extend([bytes.to_string(), " of ".to_owned(), batch]);
            }
        }
        Ok(true)
    };
    follower.poll(&mut show).expect("the spool can be read");
    text
}

#[test]
fn lines_committed_after_the_start_are_shown_once_and_whole() {
    let mut host = Host::new();
    let old = host.open("a");
    host.write(&old, "before\n", 0);
    let mut follower = host.follow(None);
    assert_eq!(shown(&mut follower), "");
    host.write(&old, "before\none\ntwo\nthr", 5);
    assert_eq!(shown(&mut follower), "one\n");
    host.write(&old, "before\none\ntwo\nthr", 0);
    let new = host.open("b");
    host.write(&new, "new\n", 0);
    assert_eq!(shown(&mut follower), "two\nnew\n");
    assert_eq!(shown(&mut follower), "");
    host.write(&old, "before\none\ntwo\nthree\nend", 0);
    host.seal(&old);
    let late = host.open("a");
    host.write(&late, "late\n", 0);
    host.seal(&late);
    let rest = shown(&mut follower);
    assert_eq!(rest, "three\nendlate\n", "nothing follows in a sealed batch");
    assert_eq!(shown(&mut follower), "");
    assert_eq!(follower.progress.len(), 1, "sealed batches are forgotten");
}

#[test]
fn only_lines_that_match_the_filter_are_shown() {
    let mut host = Host::new();
    let (a, b) = (host.open("a"), host.open("b"));
    let mut follower = host.follow(Some("b"));
    host.write(&a, "a\n", 0);
    host.write(&b, "b\n", 0);
    host.seal(&a);
    assert_eq!(shown(&mut follower), "b\n");
    assert_eq!(follower.progress.len(), 1);
}

#[test]
fn only_lines_of_the_log_are_shown() {
    let mut host = Host::new();
    let mut open = |log: &str| {
        let mut new = new_batch("a", &format!("a-{log}"));
        new.log = Some(log.parse().expect("valid"));
        let opened = host.ledger.open_batch(&new, Timestamp::UNIX_EPOCH);
        opened.expect("opened")
    };
    let (access, error) = (open("access"), open("error"));
    let mut follower = host.follow_only(of_log("error"));
    host.write(&access, "access\n", 0);
    host.write(&error, "error\n", 0);
    assert_eq!(shown(&mut follower), "error\n");
}

#[test]
fn batch_whose_name_tells_no_log_is_of_the_only_log_of_its_source() {
    let mut host = RelayHost::new();
    let follow = |log: &str| {
        let ledger = Ledger::open_read_only(host.data_dir()).expect("a ledger");
        Follower::start(ledger, host.data_dir(), of_log(log)).expect("a ledger")
    };
    let (mut access, mut error) = (follow("access"), follow("error"));
    host.take(
        "198.51.100.1",
        "2026-11-21T02:20:00Z",
        "line\n",
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(shown(&mut access), "line\n");
    assert_eq!(shown(&mut error), "");
}

#[test]
fn reader_that_is_too_slow_is_told_what_is_left_out() {
    let mut host = Host::new();
    let batch = host.open("a");
    let mut follower = host.follow(None);
    host.write(&batch, "gone\n", 0);
    host.seal(&batch);
    fs::remove_file(host.path(&batch, "ready")).expect("removed");
    let seen: String = (0..2 * SEARCHES_MAX).map(|_| shown(&mut follower)).collect();
    assert_eq!(seen, "5 of a-a");
}

#[test]
fn a_line_that_is_too_long_is_shown_in_pieces() {
    let mut host = Host::new();
    let batch = host.open("a");
    let mut follower = host.follow(None);
    let long = "x".repeat(BLOCK_LEN + 10);
    host.write(&batch, &long, 0);
    assert_eq!(shown(&mut follower), long[..BLOCK_LEN]);
    host.write(&batch, &format!("{long}\n"), 0);
    assert_eq!(shown(&mut follower), format!("{}\n", &long[BLOCK_LEN..]));
}

#[test]
fn batch_with_the_number_of_a_discarded_one_is_shown_though_it_was_sealed_between_two_calls() {
    let mut host = Host::new();
    let discarded = ["a", "b"].map(|source| host.open(source).id);
    let mut follower = host.follow(None);
    for id in discarded {
        host.ledger.discard_empty_batch(id).expect("discarded");
    }
    assert_eq!(shown(&mut follower), "");
    let again = host.open("c");
    host.write(&again, "one\n", 0);
    host.seal(&again);
    assert_eq!([again.id, host.open("d").id], discarded);
    assert_eq!(shown(&mut follower), "one\n");
    assert_eq!(shown(&mut follower), "");
}
