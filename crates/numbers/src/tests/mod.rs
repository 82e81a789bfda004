//! What is recorded is read back, by minute and hour.

use std::time::Duration;

use logferry_fields::Level;

use super::*;
use crate::index_db::UNKNOWN_KEPT;

/// 2026-11-21T02:20:00Z.
const NOW: i64 = 1_795_227_600;

const KEPT: NumbersKept = NumbersKept {
    minutes: Duration::from_hours(2),
    hours: Duration::from_hours(48),
    gaps: Duration::from_hours(96),
};

fn key(source: &str, log: Option<&str>) -> SeriesKey {
    SeriesKey {
        source: source.to_owned(),
        group: "web-1".to_owned(),
        log: log.map(str::to_owned),
    }
}

fn line(status: u16, level: Level) -> CountedLine {
    CountedLine {
        bytes: 100,
        status: Some(status),
        level: Some(level),
        is_parsed: true,
        request_micros: Some(2_000),
    }
}

fn change(lines: &[(i64, SeriesKey, CountedLine)]) -> IndexChange {
    let mut change = IndexChange {
        ledger: "l".to_owned(),
        store_position: "1:2:3:4:5:6".to_owned(),
        ..IndexChange::default()
    };
    for (unix, key, line) in lines {
        let series = change.tally.series(key.clone());
        change.tally.minute(*unix, series).count(line);
    }
    change
}

fn shown(reader: &IndexReader, query: &NumbersQuery) -> Vec<String> {
    let show = |row: NumbersRow| {
        let value = row.value.map(|value| value + " ").unwrap_or_default();
        format!("{} {value}{}", (row.start - NOW) / 60, row.counts.lines())
    };
    let rows = reader.numbers(query).expect("read");
    rows.into_iter().map(show).collect()
}

#[test]
fn rows_of_a_time_are_in_the_order_of_people_and_logs_are_listed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let of = |source, log| (NOW, key(source, log), line(200, Level::Info));
    let lines = [of("198.51.100.10", Some("pay")), of("198.51.100.9", None)];
    db.record(&mut change(&lines), KEPT, NOW).expect("recorded");
    let reader = IndexReader::open(dir.path()).expect("there");
    let by_source = NumbersQuery {
        by: Some(NumbersDimension::Source),
        ..NumbersQuery::default()
    };
    assert_eq!(
        shown(&reader, &by_source),
        ["0 198.51.100.9 1", "0 198.51.100.10 1"]
    );
    assert_eq!(reader.logs().expect("read"), ["pay"]);
}

#[test]
fn lines_count_in_their_own_minute_and_hour_also_when_they_are_late() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let (a, b) = (key("a", Some("access")), key("b", None));
    let first = [
        (NOW - 61, a.clone(), line(200, Level::Info)),
        (NOW + 1, a.clone(), line(500, Level::Error)),
        (NOW + 59, a.clone(), line(503, Level::Error)),
        (NOW + 60, b.clone(), line(404, Level::Warn)),
    ];
    db.record(&mut change(&first), KEPT, NOW + 60).expect("recorded");
    let late = [
        (NOW - 62, b, CountedLine::default()),
        (NOW + 2, a, line(301, Level::Info)),
    ];
    db.record(&mut change(&late), KEPT, NOW + 90).expect("recorded");

    let reader = IndexReader::open(dir.path()).expect("there");
    let minutes = NumbersQuery::default();
    assert_eq!(shown(&reader, &minutes), ["-2 2", "0 3", "1 1"]);
    let hours = NumbersQuery {
        per: NumbersSpan::Hour,
        ..minutes.clone()
    };
    assert_eq!(shown(&reader, &hours), ["-20 6"]);
    let by = |by| NumbersQuery {
        by: Some(by),
        ..hours.clone()
    };
    assert_eq!(
        shown(&reader, &by(NumbersDimension::Source)),
        ["-20 a 4", "-20 b 2"]
    );
    assert_eq!(
        shown(&reader, &by(NumbersDimension::Log)),
        ["-20 2", "-20 access 4"]
    );
    assert_eq!(
        shown(&reader, &by(NumbersDimension::Status)),
        ["-20 2xx 1", "-20 3xx 1", "-20 4xx 1", "-20 5xx 2"]
    );
    assert_eq!(
        shown(&reader, &by(NumbersDimension::Level)),
        ["-20 error 2", "-20 info 2", "-20 warn 1"]
    );
    let of_a = NumbersQuery {
        since: Some(NOW),
        until: Some(NOW + 60),
        source: Some("a".to_owned()),
        ..minutes
    };
    let rows = reader.numbers(&of_a).expect("read");
    let counts = &rows[0].counts;
    assert_eq!((rows.len(), counts.bytes(), counts.unparsed()), (1, 300, 0));
    assert_eq!(counts.request_times(), (3, 6_000));
    assert_eq!(counts.request_quantile(0.95), Some(2_500));
    assert_eq!(counts.statuses()[4], (2, 200));
}

#[test]
fn rows_are_read_some_spans_at_once_and_go_on_after_the_last_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let of = |minute: i64, source| (NOW + 60 * minute, key(source, None), CountedLine::default());
    let lines = [of(-2, "a"), of(-1, "a"), of(-1, "b"), of(-1, "c"), of(0, "b")];
    db.record(&mut change(&lines), KEPT, NOW).expect("recorded");
    let reader = IndexReader::open(dir.path()).expect("there");
    let mut query = NumbersQuery {
        by: Some(NumbersDimension::Source),
        ..NumbersQuery::default()
    };
    let all = shown(&reader, &query);
    assert_eq!(all, ["-2 a 1", "-1 a 1", "-1 b 1", "-1 c 1", "0 b 1"]);
    let first = reader.first_numbers(&query, 2).expect("read");
    assert_eq!(first.len(), 4, "of whole spans");
    query.go_on_after(first.last().expect("a row"));
    assert_eq!(shown(&reader, &query), ["0 b 1"]);
}

#[test]
fn rows_are_kept_for_their_time_and_none_is_of_a_far_future() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let at = |unix| (unix, key("a", None), CountedLine::default());
    let lines = [
        at(0),
        at(NOW - 7200),
        at(NOW - 7261),
        at(NOW - 48 * 3600),
        at(NOW + (1 << 40)),
    ];
    db.record(&mut change(&lines), KEPT, NOW).expect("recorded");
    let reader = IndexReader::open(dir.path()).expect("there");
    let minutes = NumbersQuery::default();
    assert_eq!(shown(&reader, &minutes), ["-120 1", "0 1"]);
    let hours = NumbersQuery {
        per: NumbersSpan::Hour,
        ..minutes.clone()
    };
    assert_eq!(shown(&reader, &hours), ["-2900 1", "-140 2", "-20 1"]);
    db.remove_expired(&[], KEPT, NOW + 3600).expect("removed");
    assert_eq!(shown(&reader, &minutes), ["0 1"]);
    assert_eq!(shown(&reader, &hours), ["-140 2", "-20 1"]);
}

#[test]
fn lines_keep_their_time_while_the_clock_is_known_to_be_wrong() {
    let ahead = NOW + 400 * 86_400;
    // In the last case the clock was believed when it was wrong, and is right now.
    let cases = [(NOW - 40 * 86_400, NOW - 60), (ahead, NOW - 60), (NOW, ahead)];
    for (shown_now, believed_before) in cases {
        let dir = tempfile::tempdir().expect("a folder");
        let mut db = IndexDb::open_or_create(dir.path()).expect("created");
        let mut all = change(&[(NOW, key("a", None), CountedLine::default())]);
        all.believed_before = Some(believed_before);
        db.record(&mut all, KEPT, shown_now).expect("recorded");
        let reader = IndexReader::open(dir.path()).expect("there");
        assert_eq!(shown(&reader, &NumbersQuery::default()), ["0 1"], "{shown_now}");
    }
}

fn gap() -> IndexGap {
    IndexGap {
        batch: "b1".to_owned(),
        from: 7,
        bytes: 5,
        source: "a".to_owned(),
        group: "web-1".to_owned(),
        window_start: NOW,
        window_end: NOW + 1200,
        reason: "deleted".to_owned(),
        noticed_at: NOW,
    }
}

#[test]
fn places_gaps_and_named_counters_are_of_the_same_transaction() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(matches!(
        IndexReader::open(dir.path()),
        Err(IndexError::Missing { .. })
    ));
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    assert_eq!(db.state().expect("read"), IndexState::default());
    let names = ["orders".to_owned(), "errors".to_owned()];
    let ids = db.counter_ids(&names).expect("named");
    assert_eq!(db.counter_ids(&names).expect("named"), ids, "they stay");
    let gap = gap();
    let place = IndexedBatch {
        bytes: 12,
        lines: 2,
        is_read: true,
    };
    let mut all = change(&[(NOW, key("a", None), CountedLine::default())]);
    let series = all.tally.series(key("a", None));
    all.tally.minute(NOW, series).count_named(ids[1]);
    all.gaps.push(gap.clone());
    all.batches.insert("b1".to_owned(), place);
    all.newest_batch = Some(3);
    let format = |log: Option<&str>, format: &str| FoundLogFormat {
        source: "a".to_owned(),
        log: log.map(str::to_owned),
        format: format.to_owned(),
    };
    all.formats = vec![
        format(Some("access"), "json"),
        format(None, "auto"),
        format(Some("access"), "combined"),
    ];
    all.lag.seconds = 4;
    db.record(&mut all, KEPT, NOW).expect("recorded");

    let reader = IndexReader::open(dir.path()).expect("there");
    let state = reader.state().expect("read");
    assert_eq!(state, db.state().expect("read"));
    assert_eq!(
        (state.newest_batch, state.recorded_at, state.lag.seconds),
        (Some(3), Some(NOW), 4)
    );
    assert_eq!(state.store_position.as_deref(), Some("1:2:3:4:5:6"));
    assert_eq!(reader.places().expect("read"), [("b1".to_owned(), place)].into());
    let formats = [format(None, "auto"), format(Some("access"), "combined")];
    assert_eq!(db.formats().expect("read"), formats);
    assert_eq!(reader.gaps(NOW + 1199).expect("read"), [gap]);
    assert_eq!(reader.gaps(NOW + 1200).expect("read"), []);
    let counters = reader.counters().expect("read");
    let rows = reader.numbers(&NumbersQuery::default()).expect("read");
    let counted: Vec<_> = counters
        .iter()
        .map(|(name, id)| (name.as_str(), rows[0].counts.named(*id)))
        .collect();
    assert_eq!(counted, [("errors", 1), ("orders", 0)]);
    db.remove_expired(&[("b1".to_owned(), LedgerLookup::Gone)], KEPT, NOW)
        .expect("removed");
    assert_eq!(reader.places().expect("read"), [].into());
}

#[test]
fn series_of_a_transaction_that_failed_are_made_by_the_next_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let at = |source| (NOW, key(source, None), CountedLine::default());
    db.record(&mut change(&[at("a")]), KEPT, NOW).expect("recorded");
    let rename = |db: &mut IndexDb, from: &str, to: &str| {
        let text = format!("ALTER TABLE {from} RENAME TO {to}");
        db.write("rename a table", |sql| sql.execute(&text, []))
            .expect("renamed");
    };
    rename(&mut db, "gaps", "away");
    let mut both = change(&[at("a"), at("b")]);
    both.gaps.push(gap());
    assert!(db.record(&mut both, KEPT, NOW).is_err());
    rename(&mut db, "away", "gaps");
    db.record(&mut both, KEPT, NOW).expect("recorded");
    let by_source = NumbersQuery {
        by: Some(NumbersDimension::Source),
        ..NumbersQuery::default()
    };
    let reader = IndexReader::open(dir.path()).expect("there");
    assert_eq!(shown(&reader, &by_source), ["0 a 2", "0 b 1"]);
}

#[test]
fn gaps_are_kept_for_their_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let mut lost = change(&[]);
    lost.gaps.push(gap());
    db.record(&mut lost, KEPT, NOW).expect("recorded");
    let reader = IndexReader::open(dir.path()).expect("there");
    let kept_for = i64::try_from(KEPT.gaps.as_secs()).expect("small");
    for (later, left) in [(kept_for, 1), (kept_for + 1, 0)] {
        db.remove_expired(&[], KEPT, NOW + later).expect("removed");
        assert_eq!(reader.gaps(0).expect("read").len(), left, "after {later} s");
    }
}

#[test]
fn file_of_an_earlier_version_is_read_once_the_indexer_has_brought_it_up_to_date() {
    let dir = tempfile::tempdir().expect("a folder");
    let sql = rusqlite::Connection::open(dir.path().join(FILE_NAME)).expect("open");
    sql.execute_batch(crate::schema::STEPS[0])
        .expect("the first tables");
    sql.execute_batch("INSERT INTO gaps VALUES ('b1', 0, 5, 'a', 'web-1', 7200, 'deleted', 9000)")
        .expect("a gap");
    sql.pragma_update(None, "application_id", 0x6c66_6978)
        .expect("set");
    sql.pragma_update(None, "user_version", 1).expect("set");
    drop(sql);
    let error = IndexReader::open(dir.path()).expect_err("too old").to_string();
    assert!(error.contains("start the indexer of this version"), "{error}");
    drop(IndexDb::open_or_create(dir.path()).expect("brought up to date"));
    let gaps = IndexReader::open(dir.path())
        .expect("there")
        .gaps(0)
        .expect("read");
    assert_eq!((gaps[0].window_start, gaps[0].window_end), (7200, 10_800));
}

#[test]
fn place_of_a_batch_that_the_ledger_does_not_know_is_kept_for_a_bounded_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let mut all = change(&[]);
    for batch in ["b1", "b2"] {
        all.batches.insert(batch.to_owned(), IndexedBatch::default());
    }
    db.record(&mut all, KEPT, NOW).expect("recorded");
    let names =
        |places: Vec<(String, IndexedBatch)>| places.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let left = |db: &IndexDb| names(db.places_after("", 9).expect("read"));
    assert_eq!(names(db.places_after("", 1).expect("read")), ["b1"]);
    assert_eq!(names(db.places_after("b1", 9).expect("read")), ["b2"]);
    let look_up = |db: &mut IndexDb, fates: &[(&str, LedgerLookup)], at| {
        let fates: Vec<_> = fates
            .iter()
            .map(|(name, fate)| ((*name).to_owned(), *fate))
            .collect();
        db.remove_expired(&fates, KEPT, at).expect("removed");
    };
    let unknown = LedgerLookup::Unknown;
    look_up(&mut db, &[("b1", unknown), ("b2", unknown)], NOW);
    let later = NOW + i64::try_from(UNKNOWN_KEPT.as_secs()).expect("small");
    // A later look does not begin anew, and a ledger may know a batch again.
    look_up(&mut db, &[("b1", unknown), ("b2", LedgerLookup::Kept)], later);
    assert_eq!(left(&db), ["b1", "b2"]);
    look_up(&mut db, &[], later + 1);
    assert_eq!(left(&db), ["b2"]);
}

#[test]
fn too_many_series_are_counted_together() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let lines: Vec<_> = (0..SERIES_MAX + 5)
        .map(|number| (NOW, key(&number.to_string(), None), CountedLine::default()))
        .collect();
    db.record(&mut change(&lines), KEPT, NOW).expect("recorded");
    let reader = IndexReader::open(dir.path()).expect("there");
    let query = NumbersQuery {
        source: Some("(others)".to_owned()),
        ..NumbersQuery::default()
    };
    assert_eq!(shown(&reader, &query), ["0 5"]);
    // Once those without numbers are gone, others have room; that is looked for once in a while only.
    let later = NOW + 50 * 3600;
    db.remove_expired(&[], KEPT, later).expect("removed");
    let added = |db: &mut IndexDb, source: &str, at| {
        db.record(
            &mut change(&[(at, key(source, None), CountedLine::default())]),
            KEPT,
            at,
        )
        .expect("recorded");
        let query = NumbersQuery {
            source: Some(source.to_owned()),
            ..NumbersQuery::default()
        };
        reader.numbers(&query).expect("read").len()
    };
    assert_eq!(added(&mut db, "new", later), 1);
    // Of each second series the only hour ends before the next look.
    let times = [later, later - 48 * 3600].into_iter().cycle();
    let lines: Vec<_> = (0..SERIES_MAX)
        .zip(times)
        .map(|(number, time)| (time, key(&format!("n{number}"), None), CountedLine::default()))
        .collect();
    db.record(&mut change(&lines), KEPT, later).expect("recorded");
    assert_eq!(added(&mut db, "one more", later), 0);
    for (passed, count, why) in [(2400, 0, "too soon"), (3600, 1, "there is room")] {
        db.remove_expired(&[], KEPT, later + passed).expect("removed");
        assert_eq!(added(&mut db, "one more", later + passed), count, "{why}");
    }
}

#[test]
fn files_of_others_and_of_later_versions_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join(FILE_NAME);
    drop(IndexDb::open_or_create(dir.path()).expect("created"));
    let sql = rusqlite::Connection::open(&path).expect("open");
    sql.pragma_update(None, "user_version", 99).expect("set");
    assert!(matches!(
        IndexDb::open_or_create(dir.path()),
        Err(IndexError::TooNew { .. })
    ));
    sql.pragma_update(None, "application_id", 1).expect("set");
    assert!(matches!(
        IndexReader::open(dir.path()),
        Err(IndexError::Foreign { .. })
    ));
    drop(sql);
    #[expect(clippy::disallowed_methods, reason = "tests lay out files")]
    std::fs::write(&path, "no database").expect("written");
    assert!(matches!(
        IndexReader::open(dir.path()),
        Err(IndexError::Damaged { .. })
    ));
}

#[test]
fn minutes_are_given_by_series_and_series_without_lines_lately_are_left_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut db = IndexDb::open_or_create(dir.path()).expect("created");
    let (a, b) = (key("a", Some("access")), key("b", None));
    let lines = [
        (NOW - 7_300, a.clone(), line(200, Level::Info)),
        (NOW - 60, b.clone(), line(503, Level::Error)),
        (NOW, a.clone(), line(200, Level::Info)),
        (NOW + 60, b.clone(), line(200, Level::Info)),
    ];
    let kept = NumbersKept {
        minutes: Duration::from_hours(5),
        ..KEPT
    };
    db.record(&mut change(&lines), kept, NOW + 60).expect("recorded");
    let reader = IndexReader::open(dir.path()).expect("there");
    let mut seen = Vec::new();
    let each = |minute: i64, key: &SeriesKey, counts: &Counts| {
        seen.push((minute - NOW, key.source.clone(), counts.statuses()[4].0));
    };
    reader.each_minute(NOW - 60, NOW + 60, each).expect("read");
    assert_eq!(seen, [(-60, "b".to_owned(), 1), (0, "a".to_owned(), 0)]);
    let first = NOW - 7_300;
    assert_eq!(
        reader.first_minute().expect("read"),
        Some(first - first.rem_euclid(60))
    );
    assert_eq!(reader.series_since(NOW - 1_200).expect("read"), [a, b]);
    assert_eq!(reader.series_since(NOW + 7_200).expect("read"), []);
}
