//! The ledger on a real file.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::error::Error;

use jiff::{SignedDuration, Timestamp};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::heartbeat::{Heartbeat, StreamProgress};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};

use super::*;

mod destinations;

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// A new ledger in a folder of its own.
pub(crate) fn ledger() -> Result<(tempfile::TempDir, Ledger), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let ledger = Ledger::open_or_create(dir.path())?;
    Ok((dir, ledger))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("in range")
}

pub(crate) fn new_batch() -> NewBatch {
    NewBatch {
        source: "198.51.100.1".parse().expect("valid"),
        group: "web-1".parse().expect("valid"),
        log: None,
        window: Window {
            start: 1_790_000_400,
            seconds: 1200,
            utc_offset: 21_600,
        },
        base_name: "accessLog_26092120_00-19_198-51-100-1".to_owned(),
    }
}

/// A commit that only advances a stream.
pub(crate) fn advance(from: u64, record: StreamRecord) -> Commit {
    let from = Offset::new(from);
    Commit {
        streams: vec![StreamMove {
            from,
            record,
            oldest_window: None,
        }],
        ..Commit::default()
    }
}

pub(crate) fn stream_record(committed: u64, lines: u64) -> StreamRecord {
    let file = FileKey { dev: 1, inode: 2 };
    let head = Head::of(b"first\n").expect("a line");
    StreamRecord {
        source: "198.51.100.1".parse().expect("valid"),
        stream: StreamId::derive(file, head, 0),
        log: "access".parse().expect("valid"),
        file,
        head,
        committed: Offset::new(committed),
        tail: Tail::of(b"first\n"),
        lines: LineCounts {
            sent: lines,
            excluded: 1,
        },
        last_window: Some((1_790_000_400, 21_600)),
        last_line_time: Some(1_790_000_401),
        timed_at: now(),
        open_line_in: None,
        writer: None,
        finished: false,
        updated_at: now(),
    }
}

pub(crate) fn published(path: &str) -> PublishedBatch {
    PublishedBatch {
        certainty: DeliveryCertainty::Published,
        path: path.to_owned(),
        bytes: 0,
        sha256: "e3".to_owned(),
        file_sha256: "af".to_owned(),
    }
}

#[test]
fn commit_survives_a_reopen() -> TestResult {
    let (dir, mut ledger) = ledger()?;
    let record = stream_record(100, 3);
    ledger.note_contact(&record.source, &"web-1".parse()?, now())?;
    let batch = ledger.open_batch(&new_batch(), now())?;
    let contents = BatchContents {
        lines: 3,
        bytes: 90,
        crc32c: u32::MAX,
    };
    let growth = BatchGrowth {
        batch: batch.id,
        contents,
    };
    ledger.commit(&Commit {
        batches: vec![growth],
        ..advance(0, record.clone())
    })?;
    drop(ledger);

    let ledger = Ledger::open(dir.path())?;
    let found = ledger.stream(&record.source, record.stream)?;
    assert_eq!(found.as_ref(), Some(&record));
    let with_head = ledger.streams_with_head(&record.source, &record.log, record.head, 9)?;
    assert_eq!(with_head, found.as_slice());
    assert_eq!(ledger.live_streams(&"web-1".parse()?)?, [record]);
    let open = ledger.open_batches(&"web-1".parse()?)?;
    assert_eq!((open.len(), open[0].contents), (1, contents));
    assert_eq!(ledger.sources()?[0].last_lines, Some(now()));
    let totals = ledger.source_line_totals()?;
    assert_eq!((totals[0].lines_sent, totals[0].lines_batched), (3, 3));
    assert_eq!(totals[0].lines_excluded, 1);
    Ok(())
}

#[test]
fn room_in_the_log_changes_nothing_and_a_copy_of_the_files_is_whole() -> TestResult {
    let (dir, mut ledger) = ledger()?;
    let before = ledger.open_batch(&new_batch(), now())?;
    ledger.reserve_wal()?;
    let log = |dir: &std::path::Path| std::fs::metadata(dir.join("ledger.db-wal")).map(|log| log.len());
    let reserved = log(dir.path())?;
    assert!(reserved >= WAL_BYTES, "{reserved}");
    let after = ledger.open_batch(&new_batch(), now())?;
    ledger.reserve_wal()?;
    assert_eq!(log(dir.path())?, reserved, "the commit overwrote what was there");
    // As a crash leaves them.
    let copy = tempfile::tempdir()?;
    for name in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name))?;
    }
    let copied = Ledger::open(copy.path())?;
    assert_eq!(copied.batches(&BatchFilter::default())?, [before, after]);
    copied.check_file(|| true)?;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'undone'";
    let left: u32 = copied.connection.query_row(tables, [], |row| row.get(0))?;
    assert_eq!(left, 0);
    Ok(())
}

#[test]
fn changes_made_together_are_seen_by_others_at_the_end_and_a_refused_one_leaves_the_others() -> TestResult {
    let (dir, mut ledger) = ledger()?;
    let other = Ledger::open(dir.path())?;
    ledger.begin_together()?;
    let first = ledger.open_batch(&new_batch(), now())?;
    let refused = Commit {
        batches: vec![BatchGrowth {
            batch: BatchId::of_number(first.id.number() + 1),
            contents: BatchContents::default(),
        }],
        ..Commit::default()
    };
    assert!(ledger.commit(&refused).is_err());
    let second = ledger.open_batch(&new_batch(), now())?;
    assert_eq!(other.batches(&BatchFilter::default())?, []);
    ledger.end_together()?;
    assert_eq!(other.batches(&BatchFilter::default())?, [first, second]);
    Ok(())
}

#[test]
fn each_part_of_a_window_has_its_own_name() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let first = ledger.open_batch(&new_batch(), now())?;
    ledger.seal(first.id, now())?;
    let second = ledger.open_batch(&new_batch(), now())?;
    assert_eq!(first.file_name(), "accessLog_26092120_00-19_198-51-100-1.log");
    assert_eq!(second.file_name(), "accessLog_26092120_00-19_198-51-100-1.2.log");
    let found = ledger.batch_named(&second.name())?;
    assert_eq!(found, Some(second));
    Ok(())
}

#[test]
fn sealed_batch_does_not_grow() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let batch = ledger.open_batch(&new_batch(), now())?;
    ledger.seal(batch.id, now())?;
    let growth = BatchGrowth {
        batch: batch.id,
        contents: BatchContents {
            lines: 1,
            bytes: 2,
            crc32c: 3,
        },
    };
    let record = stream_record(100, 1);
    let commit = Commit {
        batches: vec![growth],
        ..advance(0, record.clone())
    };
    assert!(ledger.commit(&commit).is_err());
    let found = ledger.stream(&record.source, record.stream)?;
    assert_eq!(found, None, "nothing of the commit is recorded");
    Ok(())
}

#[test]
fn batch_becomes_failed_then_ready_then_sent() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let batch = ledger.open_batch(&new_batch(), now())?;
    let destination = "edw".parse()?;
    ledger.seal(batch.id, now())?;
    let why = (FailureKind::NoFolder, "there is no folder");
    ledger.record_failure(batch.id, &destination, why, now(), true)?;
    let delivery = ledger.delivery(batch.id, &destination)?.ok_or("no delivery")?;
    assert_eq!(delivery.error_kind, Some(FailureKind::NoFolder));
    assert_eq!(ledger.count_by_state()?, [0, 0, 0, 1]);
    assert!(ledger.retry(batch.id)?);
    assert!(!ledger.retry(batch.id)?, "it is ready already");
    let published = published("/in/x.log");
    let note = PublishingNote {
        file: Some(PublishedFile::Manifest),
        place: "drop/in/x.log".to_owned(),
        batch: Some(DeliveryCertainty::Presumed),
    };
    ledger.note_publishing(&destination, &[(batch.id, Some(note.clone()))])?;
    let in_flight = ledger.delivery(batch.id, &destination)?.ok_or("no delivery")?;
    assert_eq!(in_flight.publishing, Some(note));
    assert_eq!(in_flight.attempts, 0, "a note is no attempt");
    ledger.record_delivery(batch.id, &destination, &published, true, now())?;
    assert_eq!(ledger.count_by_state()?, [0, 0, 1, 0]);
    let delivery = ledger.delivery(batch.id, &destination)?.ok_or("no delivery")?;
    assert_eq!(delivery.path.as_deref(), Some("/in/x.log"));
    assert_eq!(delivery.delivered_at, Some(now()));
    assert_eq!((delivery.bytes, delivery.publishing), (Some(0), None));
    assert_eq!(delivery.file_sha256.as_deref(), Some("af"));
    Ok(())
}

#[test]
fn deliveries_in_flight_are_replaced_and_expire() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let batch = ledger.open_batch(&new_batch(), now())?.id;
    let (edw, backup) = ("edw".parse()?, "backup".parse()?);
    let at = |bytes_done| TransferRecord {
        batch,
        bytes_done,
        bytes_total: 9,
        bytes_per_second: 3,
    };
    ledger.record_transfers(&edw, &[at(1)], now())?;
    ledger.record_transfers(&backup, &[at(2)], now())?;
    ledger.record_transfers(&edw, &[at(4)], now())?;
    assert_eq!(ledger.transfers(&edw, now())?, [at(4)]);
    let later = now().checked_add(jiff::SignedDuration::from_secs(1))?;
    assert_eq!(ledger.transfers(&edw, later)?, []);
    ledger.record_transfers(&edw, &[], now())?;
    assert_eq!(ledger.transfers(&edw, now())?, []);
    assert_eq!(ledger.transfers(&backup, now())?, [at(2)]);
    Ok(())
}

#[test]
fn heartbeat_reports_the_lag() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let record = stream_record(100, 3);
    let progress = StreamProgress {
        stream: record.stream,
        log: record.log.clone(),
        path: "/log/access.log".to_owned(),
        read: Offset::new(200),
        sent: Offset::new(200),
        acked: Offset::new(100),
        size: Offset::new(350),
        oldest_unread_ms: 0,
        lines: LineCounts::default(),
        rotated: false,
        deleted: false,
    };
    let heartbeat = Heartbeat {
        version: "0.1.0".to_owned(),
        streams: vec![progress],
        ..Heartbeat::default()
    };
    ledger.note_heartbeat(&record.source, &"web-1".parse()?, &heartbeat, now())?;
    let sources = ledger.sources()?;
    assert_eq!(sources[0].lag_bytes, 250);
    assert_eq!(sources[0].heartbeat, Some(heartbeat));
    ledger.commit(&advance(0, stream_record(300, 3)))?;
    let lag = ledger.sources()?[0].lag_bytes;
    assert_eq!(lag, 50, "what came after the report is no lag");
    Ok(())
}

#[test]
fn a_mail_that_the_server_took_is_not_due_whatever_the_clock_does() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let mail = NewMail {
        subject: "s".to_owned(),
        text: "t".to_owned(),
        html: None,
    };
    ledger.queue_summary_mail(SummaryKey::Hour(now()), &mail, &[], now())?;
    let due = ledger.due_mails(now())?;
    assert_eq!(due.len(), 1);
    ledger.mail_failed(due[0].id, "busy", now() + MAIL_WAIT_MAX, 0)?;
    assert!(ledger.due_mails(now())?.is_empty());
    let back = now() - SignedDuration::from_secs(1);
    assert_eq!(ledger.due_mails(back)?.len(), 1, "the clock was set back");
    ledger.mail_presumed_sent(due[0].id, "the server took it", now())?;
    assert!(ledger.due_mails(now())?.is_empty());
    Ok(())
}

#[test]
fn damaged_foreign_or_newer_ledger_is_refused() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join(FILE_NAME);
    let open = || Ledger::open_or_create(dir.path());
    let missing = Ledger::open(dir.path());
    assert!(matches!(missing, Err(LedgerError::Missing { .. })));

    std::fs::write(
        &path,
        b"not a database, but long enough to be looked at as one; ".repeat(20),
    )?;
    let before = std::fs::read(&path)?;
    assert!(matches!(open(), Err(LedgerError::Damaged { .. })));
    assert_eq!(std::fs::read(&path)?, before);

    std::fs::remove_file(&path)?;
    Connection::open(&path)?.execute_batch("CREATE TABLE theirs (x)")?;
    assert!(matches!(open(), Err(LedgerError::Foreign { .. })));

    std::fs::remove_file(&path)?;
    drop(open()?);
    Connection::open(&path)?.pragma_update(None, "user_version", 99)?;
    assert!(matches!(open(), Err(LedgerError::TooNew { found: 99, .. })));
    Ok(())
}

#[test]
fn stream_advances_only_from_its_committed_offset() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let mut commit = |from, to| ledger.commit(&advance(from, stream_record(to, 1)));
    commit(0, 100)?;
    commit(100, 200)?;
    let conflict = commit(100, 300).expect_err("somebody else moved it to 200");
    assert!(matches!(conflict, LedgerError::Conflict { .. }));
    commit(200, 300)?;
    Ok(())
}

#[test]
fn groups_and_roles_can_create_one_ledger_at_the_same_time() -> TestResult {
    const AT_ONCE: usize = 3;
    for _ in 0..100 {
        let dir = tempfile::tempdir()?;
        let together = std::sync::Barrier::new(AT_ONCE);
        std::thread::scope(|scope| {
            let openers: Vec<_> = std::iter::repeat_with(|| {
                scope.spawn(|| {
                    together.wait();
                    Ledger::open_or_create(dir.path()).map(drop)
                })
            })
            .take(AT_ONCE)
            .collect();
            openers
                .into_iter()
                .try_for_each(|opener| opener.join().expect("no panic"))
        })?;
    }
    Ok(())
}

/// A commit whose flush fails may leave all its bytes in the write-ahead log. The test imitates this: it writes the bytes
/// there without the knowledge of the open ledger.
#[test]
fn failed_commit_stays_absent_after_a_crash_once_the_stale_wal_is_overwritten() -> TestResult {
    let source = "198.51.100.9".parse()?;
    let wal = |dir: &Path| dir.join(FILE_NAME).with_extension("db-wal");
    let copy = |from: &Path, to: &Path| -> TestResult {
        std::fs::copy(from.join(FILE_NAME), to.join(FILE_NAME))?;
        std::fs::copy(wal(from), wal(to))?;
        Ok(())
    };
    for is_overwritten in [false, true] {
        let (dir, failed, crashed) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
        let mut ledger = Ledger::open_or_create(dir.path())?;
        copy(dir.path(), failed.path())?;
        let mut affected = Ledger::open(failed.path())?;
        assert!(affected.sources()?.is_empty());
        let before = std::fs::read(wal(failed.path()))?;
        ledger.note_contact(&source, &"web-1".parse()?, now())?;
        let after = std::fs::read(wal(dir.path()))?;
        assert!(after.starts_with(&before) && after.len() > before.len());
        std::fs::write(wal(failed.path()), after)?;
        assert!(affected.sources()?.is_empty(), "nobody sees it");
        if is_overwritten {
            affected.overwrite_stale_wal()?;
        }
        copy(failed.path(), crashed.path())?;
        let sources = Ledger::open(crashed.path())?.sources()?.len();
        let expected = usize::from(!is_overwritten);
        assert_eq!(sources, expected, "overwritten: {is_overwritten}");
    }
    Ok(())
}

#[test]
fn full_disk_is_recognised() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let sql = &ledger.connection;
    let pages: i64 = sql.pragma_query_value(None, "page_count", |row| row.get(0))?;
    sql.pragma_update(None, "max_page_count", pages)?;
    let fill = |ledger: &mut Ledger| -> Result<(), LedgerError> {
        for number in 0..10_000 {
            let source = format!("host-{number}").parse().expect("a name");
            ledger.note_contact(&source, &"web-1".parse().expect("a name"), now())?;
        }
        Ok(())
    };
    let error = fill(&mut ledger).expect_err("no room for so many");
    assert!(error.is_disk_full(), "{error:?}");
    let sql = &ledger.connection;
    sql.pragma_update(None, "max_page_count", 1_000_000)?;
    ledger.overwrite_stale_wal()?;
    ledger.note_contact(&"host".parse()?, &"web-1".parse()?, now())?;
    Ok(())
}

/// Groups commit, a forwarder delivers, and readers open and close the ledger, all without a pause.
#[test]
fn roles_that_share_a_ledger_never_find_it_locked() -> TestResult {
    const ROUNDS: u64 = 60;
    let dir = tempfile::tempdir()?;
    drop(Ledger::open_or_create(dir.path())?);
    let group = |number: u64| -> Result<(), LedgerError> {
        let mut ledger = Ledger::open(dir.path())?;
        let name = format!("web-{number}").parse().expect("a name");
        let source = format!("host-{number}").parse().expect("a name");
        for round in 0..ROUNDS {
            ledger.note_contact(&source, &name, now())?;
            let mut new = new_batch();
            new.base_name = format!("batch-{number}-{round}");
            let batch = ledger.open_batch(&new, now())?;
            let mut record = stream_record(round + 1, round + 1);
            record.source = source.clone();
            ledger.commit(&advance(round, record))?;
            ledger.seal(batch.id, now())?;
        }
        Ok(())
    };
    let forwarder = || -> Result<(), LedgerError> {
        let mut delivered = 0;
        while delivered < 3 * ROUNDS {
            // A new connection each time, as commands and `--once` roles make it.
            let mut ledger = Ledger::open(dir.path())?;
            for batch in ledger.batches_in(BatchState::Ready)? {
                let published = published("/in/x.log");
                let destination = "edw".parse().expect("a name");
                ledger.record_delivery(batch.id, &destination, &published, true, now())?;
                delivered += 1;
            }
        }
        Ok(())
    };
    let reader = || -> Result<(), LedgerError> {
        while Ledger::open(dir.path())?.count_by_state()?[2] < 3 * ROUNDS {}
        Ok(())
    };
    std::thread::scope(|scope| {
        let group = &group;
        let mut roles: Vec<_> = (0..3).map(|number| scope.spawn(move || group(number))).collect();
        roles.push(scope.spawn(forwarder));
        roles.push(scope.spawn(reader));
        roles
            .into_iter()
            .try_for_each(|role| role.join().expect("no panic"))
    })?;
    assert!(Ledger::open(dir.path())?.integrity()?.is_empty());
    Ok(())
}

#[test]
fn ledger_that_is_opened_read_only_is_read_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Ledger::open_read_only(dir.path()),
        Err(LedgerError::Missing { .. })
    ));
    let ledger = Ledger::open_or_create(dir.path()).unwrap();
    let mut reader = Ledger::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.id().unwrap(), ledger.id().unwrap());
    assert!(reader.overwrite_stale_wal().is_err());
    assert_eq!(reader.newest_batch().unwrap().map(BatchId::number), None);
}
