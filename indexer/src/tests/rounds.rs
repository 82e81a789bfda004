//! Rounds without crashes.

use std::fs;

use jiff::Timestamp;
use logferry_numbers::{NumbersDimension, NumbersQuery};

use super::relay_host::{NOW, RelayHost, now};

fn access(second: u32, request: &str, status: u16) -> Vec<u8> {
    format!(
        "10.0.0.1 - - [21/Nov/2026:02:2{}:{:02} +0000] \"{request} HTTP/1.1\" {status} 5 \"-\" \"x\"\n",
        second / 60,
        second % 60
    )
    .into_bytes()
}

#[test]
fn lines_count_by_their_own_time_wherever_their_batch_is() {
    let counter = "  counters: [{name: orders, where: {path: \"/order*\", method: post, status: 2xx}}]\n";
    let mut host = RelayHost::new(counter);
    let batch = host.open("a", "b1");
    host.write(&batch, &access(63, "GET /", 200));
    host.write(&batch, &access(64, "POST /order?x", 201));
    assert_eq!(host.index().lag.bytes, 0);
    // Late, and cut off: the rest of the line is not durable yet.
    host.write(&batch, &access(5, "POST /order", 500));
    host.write(&batch, b"10.0.0.1 - -");
    let mut session = host.session().expect("opened");
    let round = session.round(now(), &|| false).expect("a round");
    assert_eq!((round.lag.bytes, round.lag.lines), (12, 0));
    drop(session);
    host.write(&batch, b" no access line: error\n");
    host.write(&batch, &access(6, "GET /", 200).repeat(2));
    host.seal(&batch);
    host.index();
    let sealed = host.open("b", "b2");
    host.write(&sealed, &access(65, "GET /", 404));
    host.seal(&sealed);
    host.deliver(&sealed);
    host.compress(&sealed);
    host.index();
    host.assert_whole();

    let reader = host.reader();
    let rows = reader.numbers(&NumbersQuery::default()).expect("read");
    let orders = reader.counters().expect("read")[0].1;
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.start - (NOW - 300),
                row.counts.lines(),
                row.counts.unparsed(),
                row.counts.named(orders),
            )
        })
        .collect();
    assert_eq!(shown, [(0, 4, 1, 0), (60, 3, 0, 1)]);
    let by_level = NumbersQuery {
        by: Some(NumbersDimension::Level),
        per: logferry_numbers::NumbersSpan::Hour,
        ..NumbersQuery::default()
    };
    let levels = reader.numbers(&by_level).expect("read").into_iter();
    let levels: Vec<_> = levels
        .map(|row| (row.value.expect("a level"), row.counts.lines()))
        .collect();
    let expected = [("error", 2), ("info", 4), ("warn", 1)].map(|(level, lines)| (level.to_owned(), lines));
    assert_eq!(levels, expected);
    let entries = &host.store.lock().expect("no panic").entries;
    let is_odd = |line: &Vec<u8>| line.ends_with(b"no access line: error\n");
    let mut odd = entries.iter().filter(|entry| is_odd(&entry.line));
    let odd = odd.next().expect("stored");
    assert_eq!(odd.level.as_deref(), Some("error"));
    let before = (NOW - 300 + 5) * 1000;
    assert_eq!(
        odd.time_ms, before,
        "that of the line before, which another session read"
    );
}

#[test]
fn batch_that_was_deleted_or_lost_before_it_was_read_is_a_gap() {
    let mut host = RelayHost::new("");
    let (deleted, lost, short) = (host.open("a", "b1"), host.open("a", "b2"), host.open("a", "b3"));
    for batch in [&deleted, &lost, &short] {
        host.write(batch, b"one\n");
    }
    host.index();
    for batch in [&deleted, &lost, &short] {
        host.write(batch, b"two\nthree\n");
        host.seal(batch);
    }
    host.deliver(&deleted);
    host.expire(&deleted);
    fs::remove_file(host.path(&lost, "ready")).expect("removed");
    fs::write(host.path(&short, "ready"), b"one\ntwo\nth").expect("cut");
    host.index();
    host.assert_whole();
    let gaps = host.reader().gaps(0).expect("read").into_iter();
    let gaps: Vec<_> = gaps.map(|gap| (gap.batch, gap.from, gap.bytes)).collect();
    let expected = [("b1", 4, 10), ("b2", 4, 10), ("b3", 8, 6)];
    assert_eq!(
        gaps,
        expected.map(|(batch, from, bytes)| (batch.to_owned(), from, bytes))
    );
    host.index();
    host.assert_whole();
}

#[test]
fn file_that_cannot_be_read_becomes_a_gap_and_stops_no_other_batch() {
    let mut host = RelayHost::new("");
    let (damaged, folder, other) = (host.open("a", "b1"), host.open("a", "b2"), host.open("b", "b3"));
    for batch in [&damaged, &folder, &other] {
        host.write(batch, b"one\ntwo\n");
        host.seal(batch);
        host.deliver(batch);
    }
    host.compress(&damaged);
    let file = host.path(&damaged, "sent").with_extension("log.gz");
    let whole = fs::read(&file).expect("read");
    fs::write(&file, &whole[..12]).expect("cut");
    fs::remove_file(host.path(&folder, "sent")).expect("removed");
    fs::create_dir(host.path(&folder, "sent")).expect("made");
    let mut session = host.session().expect("opened");
    let round = session.round(now(), &|| false).expect("a round");
    assert_eq!(round.lag.bytes, 16, "the other batch is read");
    let trouble = round.trouble.expect("a file that cannot be read");
    assert!(trouble.contains("b1.log.gz"), "{trouble}");
    drop(session);
    assert!(host.index().trouble.is_some(), "told until it is a gap");
    host.assert_whole();
    let gaps = host.reader().gaps(0).expect("read").into_iter();
    let gaps: Vec<_> = gaps.map(|gap| (gap.batch, gap.from, gap.bytes)).collect();
    assert_eq!(gaps, [("b1".to_owned(), 0, 8), ("b2".to_owned(), 0, 8)]);
}

#[test]
fn new_folder_is_filled_from_what_the_spool_still_has() {
    let mut host = RelayHost::new("");
    let (old, kept) = (host.open("a", "b1"), host.open("a", "b2"));
    for batch in [&old, &kept] {
        host.write(batch, b"one\n");
        host.seal(batch);
        host.deliver(batch);
    }
    host.compress(&kept);
    host.index();
    host.assert_whole();
    host.expire(&old);
    fs::remove_dir_all(&host.settings.store_dir).expect("removed");
    fs::create_dir_all(&host.settings.store_dir).expect("made");
    host.index();
    assert_eq!(host.counted(), (1, 4), "what had expired before is no gap");
    assert_eq!(host.reader().gaps(0).expect("read"), []);
}

#[test]
fn lines_after_a_restart_are_read_by_the_format_that_was_found_before() {
    let mut host = RelayHost::new("");
    let batch = host.open("a", "b1");
    host.write(&batch, old_line(0).repeat(3).as_bytes());
    host.index();
    // A start that looks at this line alone would find another format.
    host.write(&batch, b"{\"level\":\"error\"}\n");
    host.index();
    let rows = host.reader().numbers(&NumbersQuery::default()).expect("read");
    let unparsed: u64 = rows.iter().map(|row| row.counts.unparsed()).sum();
    assert_eq!((host.counted().0, unparsed), (4, 1));
}

/// A line of so many minutes before the window.
fn old_line(minutes: i64) -> String {
    let time = now() - jiff::SignedDuration::from_mins(minutes);
    format!("time={time} level=info\n")
}

#[test]
fn lines_of_very_many_minutes_end_a_round_early() {
    let mut host = RelayHost::new("  keep: {minutes: 3600d, hours: 3600d}\n");
    let batches = ["b1", "b2"].map(|name| host.open("a", name));
    let half = 9_000;
    for (batch, from) in batches.iter().zip([0, half]) {
        let text: String = (from..from + half).map(old_line).collect();
        host.write(batch, text.as_bytes());
    }
    let last = host.open("a", "b3");
    host.write(&last, b"one\n");
    let mut session = host.session().expect("opened");
    let round = session.round(now(), &|| false).expect("a round");
    assert_eq!((round.has_more, round.lag.bytes), (true, 4));
    let round = session.round(now(), &|| false).expect("a round");
    assert_eq!((round.has_more, round.lag.bytes), (false, 0));
    host.assert_whole();
}

#[test]
fn lines_that_are_too_old_for_the_numbers_share_one_row() {
    let mut host = RelayHost::new("  keep: {minutes: 1d, hours: 2d}\n");
    let batch = host.open("a", "b1");
    let first_old = 60 * 24 * 3;
    let text: String = (first_old..first_old + 20_000).map(old_line).collect();
    host.write(&batch, text.as_bytes());
    let last = host.open("a", "b2");
    host.write(&last, old_line(1).as_bytes());
    let mut session = host.session().expect("opened");
    let round = session.round(now(), &|| false).expect("a round");
    assert_eq!((round.has_more, round.lag.bytes), (false, 0), "one round");
    assert_eq!(host.counted().0, 1, "only the line that is kept");
    assert_eq!(host.store.lock().expect("no panic").entries.len(), 20_001);
}

#[test]
fn old_batch_stays_open_while_live_batches_are_read_between() {
    let mut host = RelayHost::new("");
    let (old, live) = (host.open("a", "b1"), host.open("b", "b2"));
    host.write(&old, &access(1, "GET /", 200).repeat(30_000));
    host.seal(&old);
    host.deliver(&old);
    host.compress(&old);
    let mut session = host.session().expect("opened");
    // The round ends after a block of the old batch.
    let looks = std::cell::Cell::new(0);
    let is_over = || looks.replace(looks.get() + 1) > 0;
    let round = session.round(now(), &is_over).expect("a round");
    let all = host.written[&old.name()].len() as u64;
    assert!((1..all).contains(&round.lag.bytes), "{round:?}");
    // Whoever opened the file anew would not find it.
    fs::remove_file(host.path(&old, "sent").with_extension("log.gz")).expect("removed");
    host.write(&live, b"one\n");
    let round = session.round(now(), &|| false).expect("a round");
    assert_eq!(round.lag.bytes, 0);
    drop(session);
    host.assert_whole();
}

#[test]
fn batch_with_the_number_of_a_discarded_one_is_read_though_it_was_sealed_between_two_looks() {
    let mut host = RelayHost::new("");
    let discarded = ["b1", "b2"].map(|name| host.open("a", name));
    let mut session = host.session().expect("opened");
    session.round(now(), &|| false).expect("a round");
    // A relay that was killed before the first line of these discards them at its next start.
    for batch in &discarded {
        host.ledger.discard_empty_batch(batch.id).expect("discarded");
    }
    session.round(now(), &|| false).expect("a round");
    let again = host.open("a", "b3");
    assert_eq!(again.id, discarded[0].id);
    host.write(&again, b"one\n");
    host.seal(&again);
    let newer = host.open("a", "b4");
    assert_eq!(newer.id, discarded[1].id);
    for _ in 0..2 {
        session.round(now(), &|| false).expect("a round");
    }
    host.assert_whole();
}

#[test]
fn line_without_a_time_after_a_restart_has_the_time_of_the_line_before() {
    let mut host = RelayHost::new("");
    let batch = host.open("a", "b1");
    for second in 0..600 {
        host.write(&batch, &access(second, "GET /", 200));
    }
    host.index();
    host.write(&batch, b"\tat java.lang.Thread.run\n");
    host.index();
    host.assert_whole();
    let rows = host.reader().numbers(&NumbersQuery::default()).expect("read");
    let lines: Vec<_> = rows.iter().map(|row| row.counts.lines()).collect();
    assert_eq!(lines, [60, 60, 60, 60, 60, 60, 60, 60, 60, 61]);
}

#[test]
fn store_that_is_due_is_synced_without_new_lines() {
    let mut host = RelayHost::new("");
    let batch = host.open("a", "b1");
    host.write(&batch, b"one\n");
    host.index();
    let mut session = host.session().expect("opened");
    session.round(now(), &|| false).expect("a round");
    host.store.lock().expect("no panic").is_due = true;
    session.round(now(), &|| false).expect("a round");
    assert!(!host.store.lock().expect("no panic").is_due);
    host.assert_whole();
}

#[test]
fn another_log_of_a_source_is_noticed_whether_or_not_the_clock_is_believed() {
    let mut host = RelayHost::new("");
    host.add_log("a", "access", 1);
    let batch = host.open("a", "b1");
    let mut session = host.session().expect("opened");
    host.write(&batch, b"one\n");
    session.round(now(), &|| false).expect("a round");
    host.add_log("a", "error", 2);
    session.tidy(now(), false).expect("tidied");
    host.write(&batch, b"two\n");
    session.round(now(), &|| false).expect("a round");
    let by_log = NumbersQuery {
        by: Some(NumbersDimension::Log),
        ..NumbersQuery::default()
    };
    let rows = host.reader().numbers(&by_log).expect("read").into_iter();
    let lines: Vec<_> = rows.map(|row| (row.value, row.counts.lines())).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.contains(&(Some("access".to_owned()), 1)), "{lines:?}");
    assert!(lines.contains(&(None, 1)), "the line may be of either: {lines:?}");
}

#[test]
fn lines_count_in_their_own_minute_while_the_clock_is_doubted() {
    for wrong in [0, NOW + 400 * 86_400] {
        let mut host = RelayHost::new("");
        let batch = host.open("a", "b1");
        host.write(&batch, &access(5, "GET /", 200));
        let mut session = host.session().expect("opened");
        session.believed_before = Some(NOW - 60);
        let wrong = Timestamp::from_second(wrong).expect("a time");
        session.round(wrong, &|| false).expect("a round");
        let rows = host.reader().numbers(&NumbersQuery::default()).expect("read");
        let starts: Vec<_> = rows.iter().map(|row| row.start).collect();
        assert_eq!(starts, [NOW - 300], "{wrong}");
    }
}
