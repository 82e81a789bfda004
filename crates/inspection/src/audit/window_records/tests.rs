use jiff::SignedDuration;
use logferry_durable::{Disk, RealDisk};
use logferry_ledger::{BatchFilter, LAST_RECORD_FILE, Ledger};
use rusqlite::Connection;

use crate::audit::page;
use crate::audit::survey::survey;
use crate::audit::{Audit, AuditScope, DiscrepancyKind, RowCheck, audit};
use crate::sign_off::{KEY_FILE, PUBLIC_KEY_FILE, SigningReach, sign_windows};
use logferry_testkit::relay_host::{RelayHost, at, subscriber};

const NOW: &str = "2026-11-21T06:00:00Z";

/// Three windows of two sources, all delivered and signed.
fn signed_host() -> RelayHost {
    let mut host = RelayHost::new();
    for start in [
        "2026-11-21T03:00:00Z",
        "2026-11-21T03:20:00Z",
        "2026-11-21T03:40:00Z",
    ] {
        for source in ["198.51.100.1", "198.51.100.2"] {
            deliver(&mut host, source, start);
        }
    }
    assert_eq!(look(&mut host), 3);
    assert_eq!(look(&mut host), 0, "each window is signed once");
    host
}

fn deliver(host: &mut RelayHost, source: &str, start: &str) {
    let open = host.take(source, start, "one\ntwo\n", at(start));
    let ready = host.seal(&open, at(start));
    host.deliver(&ready, "edw", at(start));
}

fn look(host: &mut RelayHost) -> usize {
    let data_dir = host.data_dir().to_owned();
    sign_windows(&mut host.ledger, &data_dir, SigningReach::Recent, at(NOW), || {
        true
    })
    .expect("looked")
}

fn check(host: &RelayHost) -> Audit {
    let subscribers = [subscriber("edw")];
    let scope = AuditScope {
        rows: RowCheck::Full,
        ..AuditScope::of(&subscribers)
    };
    audit(host.data_dir(), &BatchFilter::default(), scope).expect("audited")
}

fn kinds(audit: &Audit) -> Vec<DiscrepancyKind> {
    audit.discrepancies.iter().map(|found| found.kind).collect()
}

#[test]
fn signed_windows_are_counted_and_complete() {
    let audit = check(&signed_host());
    assert_eq!(kinds(&audit), []);
    assert_eq!((audit.signed.windows, audit.signed.row_by_row), (3, 3));
    assert_eq!(audit.signed.key.map(|key| key.len()), Some(64));
}

#[test]
fn a_window_that_is_not_delivered_or_just_over_is_not_signed() {
    let mut host = RelayHost::new();
    let open = host.take("198.51.100.1", "2026-11-21T03:00:00Z", "one\n", at(NOW));
    deliver(&mut host, "198.51.100.2", "2026-11-21T03:00:00Z");
    deliver(&mut host, "198.51.100.2", "2026-11-21T05:40:00Z");
    assert_eq!(look(&mut host), 0);
    host.seal(&open, at(NOW));
    assert_eq!(look(&mut host), 0, "sealed and waiting");
}

#[test]
fn sums_of_a_window_whose_rows_left_the_ledger_stay_true() {
    let mut host = signed_host();
    let whole = check(&host);
    for batch in host.ledger.batches(&BatchFilter::default()).expect("read") {
        host.ledger.mark_expired(batch.id, at(NOW)).expect("marked");
    }
    let later = at(NOW) + SignedDuration::from_hours(1);
    assert_eq!(host.forget_oldest(later), 2);
    let audit = check(&host);
    assert_eq!(kinds(&audit), []);
    assert_eq!((audit.signed.windows, audit.signed.row_by_row), (3, 2));
    assert_eq!((audit.totals, audit.sources), (whole.totals, whole.sources));

    let sqlite = Connection::open(host.ledger.path()).expect("opened");
    let change = |by: i64| {
        let changed = sqlite.execute("UPDATE forgotten_windows SET lines = lines + ?1", [by]);
        assert_eq!(changed.expect("changed"), 1);
    };
    change(-1);
    assert_eq!(kinds(&check(&host)), [DiscrepancyKind::RecordDiffers]);
    change(1);
    deliver(&mut host, "198.51.100.1", "2026-11-21T03:00:00Z");
    assert_eq!(kinds(&check(&host)), [], "a late line of it opens a part");
    assert_eq!(
        (look(&mut host), look(&mut host)),
        (1, 0),
        "and the part is signed"
    );
    assert_eq!(kinds(&check(&host)), []);
}

#[test]
fn a_window_that_is_forgotten_during_the_audit_is_no_difference() {
    let mut host = signed_host();
    let filter = BatchFilter::default();
    let survey = survey(&host.ledger, &filter, &[subscriber("edw")]).expect("read");
    let records = host.ledger.window_records(&filter).expect("read");
    for batch in host.ledger.batches(&filter).expect("read") {
        host.ledger.mark_expired(batch.id, at(NOW)).expect("marked");
    }
    let later = at(NOW) + SignedDuration::from_hours(1);
    assert_eq!(host.forget_oldest(later), 2);
    let compare = || {
        let (ledger, dir) = (&host.ledger, host.data_dir());
        super::check(ledger, dir, &filter, &survey, &records, RowCheck::Full).expect("compared")
    };
    let found = compare();
    assert_eq!(found.discrepancies, []);
    assert_eq!((found.signed.windows, found.signed.row_by_row), (3, 2));

    let sqlite = Connection::open(host.ledger.path()).expect("opened");
    sqlite
        .execute("DELETE FROM forgotten_windows", [])
        .expect("deleted");
    let kinds: Vec<_> = compare().discrepancies.iter().map(|it| it.kind).collect();
    assert_eq!(
        kinds,
        [DiscrepancyKind::RecordDiffers],
        "rows that nobody forgot are missing"
    );
}

#[test]
fn an_audit_of_a_period_checks_the_records_of_its_windows_only() {
    let host = signed_host();
    let of = |since: &str, until: &str| {
        let filter = BatchFilter {
            since: Some(at(since)),
            until: Some(at(until)),
            ..BatchFilter::default()
        };
        let records = host.ledger.window_records(&filter).expect("read");
        let audit = audit(host.data_dir(), &filter, AuditScope::of(&[subscriber("edw")])).expect("audited");
        let numbers: Vec<_> = records.iter().map(|record| record.number).collect();
        (numbers, audit.signed.windows, kinds(&audit))
    };
    let middle = || of("2026-11-21T03:20:01Z", "2026-11-21T03:30:00Z");
    let first = || of("2026-11-21T02:00:00Z", "2026-11-21T03:20:00Z");
    assert_eq!(middle(), (vec![1, 2], 1, vec![]), "with the record before it");
    assert_eq!(first(), (vec![1], 1, vec![]));
    assert_eq!(
        of("2026-11-21T04:00:00Z", "2026-11-21T05:00:00Z"),
        (vec![], 0, vec![])
    );

    let sqlite = Connection::open(host.ledger.path()).expect("opened");
    let change = |change: &str| sqlite.execute(change, []).expect("changed");
    change("UPDATE window_records SET content = replace(content, 'lines', 'Lines') WHERE number = 1");
    let differs = DiscrepancyKind::RecordDiffers;
    assert_eq!(first().2, [differs]);
    assert_eq!(middle().2, [differs], "the hash in it is of another text");
    change("DELETE FROM window_records WHERE number = 2");
    let last = of("2026-11-21T03:40:01Z", "2026-11-21T03:50:00Z");
    assert_eq!(
        last,
        (vec![1, 3], 0, vec![differs]),
        "the record before it was removed"
    );
}

#[test]
fn a_late_part_gets_a_record_of_its_own() {
    let mut host = signed_host();
    deliver(&mut host, "198.51.100.1", "2026-11-21T03:20:00Z");
    assert_eq!(kinds(&check(&host)), [], "what came later is not signed yet");
    assert_eq!(look(&mut host), 1);
    let audit = check(&host);
    assert_eq!(kinds(&audit), []);
    assert_eq!(audit.signed.windows, 3);
}

#[test]
fn a_window_that_is_delivered_days_after_newer_ones_is_signed_by_a_look_at_all() {
    let mut host = signed_host();
    deliver(&mut host, "198.51.100.1", "2026-11-18T03:00:00Z");
    assert_eq!(
        look(&mut host),
        0,
        "it is too old for the looks around the newest"
    );
    let data_dir = host.data_dir().to_owned();
    let mut look_at_all = || {
        let reach = SigningReach::All;
        sign_windows(&mut host.ledger, &data_dir, reach, at(NOW), || true).expect("looked")
    };
    assert_eq!((look_at_all(), look_at_all()), (1, 0));
    let audit = check(&host);
    assert_eq!(kinds(&audit), []);
    assert_eq!(audit.signed.windows, 4);
}

#[test]
fn an_old_ledger_is_signed_in_few_looks_that_end_when_they_are_told_to() {
    let mut host = RelayHost::new();
    let hour = |number: i64| at("2026-11-11T00:00:00Z") + SignedDuration::from_mins(20 * number);
    for number in 0..130 {
        deliver(&mut host, "198.51.100.1", &hour(number).to_string());
    }
    let data_dir = host.data_dir().to_owned();
    let mut passes = 2;
    let part = sign_windows(&mut host.ledger, &data_dir, SigningReach::Recent, at(NOW), || {
        passes -= 1;
        passes >= 0
    });
    let part = part.expect("looked");
    assert!(
        part > 0 && part < 130,
        "{part}: it ends in time, and what it did counts"
    );
    assert_eq!(look(&mut host), 130 - part, "the next look does the rest");
    assert_eq!(kinds(&check(&host)), []);
}

#[test]
fn each_change_of_the_ledger_behind_logferrys_back_is_noticed() {
    let changes = [
        "UPDATE batches SET lines = lines + 1 WHERE id = 3",
        "UPDATE batches SET bytes = bytes - 1 WHERE id = 3",
        "UPDATE batches SET crc32c = crc32c + 1 WHERE id = 3",
        "UPDATE batches SET sha256 = replace(sha256, 'a', 'c') WHERE id = 3",
        "UPDATE batches SET source = '198.51.100.9' WHERE id = 3",
        "UPDATE batches SET base_name = 'another' WHERE id = 3",
        "UPDATE batches SET window_start = window_start + 1200 WHERE id = 3",
        // Two rows that change places keep every sum.
        "UPDATE batches SET lines = 3 WHERE id = 3; UPDATE batches SET lines = 1 WHERE id = 4",
        "DELETE FROM deliveries WHERE batch = 3; DELETE FROM batches WHERE id = 3",
        "UPDATE window_records SET content = replace(content, '\"lines\":4', '\"lines\":5') WHERE number = 2",
        "UPDATE window_records SET signature = replace(signature, '1', '2') WHERE number = 2",
        "UPDATE window_records SET last = last + 1 WHERE number = 2",
        "DELETE FROM window_records WHERE number = 2",
    ];
    for change in changes {
        let host = signed_host();
        let sqlite = Connection::open(host.data_dir().join("ledger.db")).expect("opened");
        sqlite.execute_batch(change).expect(change);
        let found = kinds(&check(&host));
        assert!(
            found.contains(&DiscrepancyKind::RecordDiffers),
            "{change}: {found:?}"
        );
    }
}

#[test]
fn records_that_are_cut_off_at_either_end_are_noticed_and_no_new_one_hides_it() {
    for change in [
        "DELETE FROM window_records WHERE number = 1",
        "DELETE FROM window_records WHERE number = 3",
        "DELETE FROM window_records",
    ] {
        let mut host = signed_host();
        let sqlite = Connection::open(host.data_dir().join("ledger.db")).expect("opened");
        sqlite.execute_batch(change).expect(change);
        assert!(
            kinds(&check(&host)).contains(&DiscrepancyKind::RecordDiffers),
            "{change}"
        );
        let data_dir = host.data_dir().to_owned();
        deliver(&mut host, "198.51.100.1", "2026-11-21T04:00:00Z");
        let signed = sign_windows(&mut host.ledger, &data_dir, SigningReach::Recent, at(NOW), || {
            true
        });
        let last_is_there = change.ends_with("= 1");
        assert_eq!(signed.is_ok(), last_is_there, "{change}: {signed:?}");
        assert!(
            kinds(&check(&host)).contains(&DiscrepancyKind::RecordDiffers),
            "{change}"
        );
    }
}

#[test]
fn file_of_the_last_record_is_missed_and_its_changes_are_noticed() {
    let host = signed_host();
    let file = host.data_dir().join(LAST_RECORD_FILE);
    let text = std::fs::read_to_string(&file).expect("read");
    let changed = text.replace("\\\"number\\\":3", "\\\"number\\\":2");
    assert_ne!(changed, text);
    RealDisk.replace(&file, changed.as_bytes()).expect("written");
    assert_eq!(kinds(&check(&host)), [DiscrepancyKind::RecordDiffers]);
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(kinds(&check(&host)), [DiscrepancyKind::RecordDiffers]);
}

#[test]
fn crash_between_a_record_and_the_file_about_it_is_no_fault() {
    let mut host = signed_host();
    let file = host.data_dir().join(LAST_RECORD_FILE);
    let older = std::fs::read(&file).expect("read");
    deliver(&mut host, "198.51.100.1", "2026-11-21T04:00:00Z");
    assert_eq!(look(&mut host), 1);
    RealDisk.replace(&file, &older).expect("written");
    assert_eq!(kinds(&check(&host)), []);
    deliver(&mut host, "198.51.100.1", "2026-11-21T04:20:00Z");
    assert_eq!(look(&mut host), 1);
    let current = std::fs::read_to_string(&file).expect("read");
    assert!(current.contains("\\\"number\\\":5"), "{current}");
    assert_eq!(kinds(&check(&host)), []);
}

#[test]
fn file_that_another_key_signed_names_one_way_out() {
    let host = signed_host();
    for file in [KEY_FILE, PUBLIC_KEY_FILE] {
        std::fs::remove_file(host.data_dir().join(file)).expect("removed");
    }
    crate::sign_off::SigningKeyFile::open_or_create(host.data_dir()).expect("a new key");
    let found = check(&host).discrepancies;
    let [found] = &found[..] else { panic!("{found:?}") };
    assert!(found.detail.contains("move audit.last away"), "{}", found.detail);
    assert!(!found.detail.contains("audit.pub"), "{}", found.detail);
}

#[test]
fn restore_explains_that_the_newest_records_are_missing() {
    let mut host = signed_host();
    let sqlite = Connection::open(host.data_dir().join("ledger.db")).expect("opened");
    sqlite
        .execute("DELETE FROM window_records WHERE number = 3", [])
        .expect("deleted");
    let restored = at(NOW) + SignedDuration::from_mins(1);
    host.ledger.note_restore(at(NOW), restored).expect("noted");
    assert_eq!(kinds(&check(&host)), []);
    let data_dir = host.data_dir().to_owned();
    let later = at(NOW) + SignedDuration::from_mins(2);
    let signed = sign_windows(&mut host.ledger, &data_dir, SigningReach::Recent, later, || true);
    assert_eq!(signed.expect("signed"), 1, "it is signed again");
    assert_eq!(kinds(&check(&host)), []);
}

#[test]
fn records_of_another_key_are_compared_too() {
    let host = signed_host();
    for file in [KEY_FILE, PUBLIC_KEY_FILE, LAST_RECORD_FILE] {
        std::fs::remove_file(host.data_dir().join(file)).expect("removed");
    }
    crate::sign_off::SigningKeyFile::open_or_create(host.data_dir()).expect("a new key");
    assert_eq!(kinds(&check(&host)), []);
    let sqlite = Connection::open(host.data_dir().join("ledger.db")).expect("opened");
    sqlite
        .execute("UPDATE batches SET lines = lines + 1 WHERE id = 3", [])
        .expect("changed");
    assert!(kinds(&check(&host)).contains(&DiscrepancyKind::RecordDiffers));
}

#[test]
fn sources_are_listed_in_the_order_of_people() {
    let mut host = RelayHost::new();
    for source in ["198.51.100.10", "198.51.100.9"] {
        deliver(&mut host, source, "2026-11-21T03:00:00Z");
    }
    let listed: Vec<_> = check(&host).sources.into_iter().map(|it| it.source).collect();
    assert_eq!(listed, ["198.51.100.9", "198.51.100.10"]);
    let known = host.ledger.sources().expect("read");
    let known: Vec<_> = known.iter().map(|it| it.source.as_str()).collect();
    assert_eq!(known, ["198.51.100.9", "198.51.100.10"]);
}

#[test]
fn another_key_is_a_warning() {
    let host = signed_host();
    for file in [KEY_FILE, PUBLIC_KEY_FILE, LAST_RECORD_FILE] {
        std::fs::remove_file(host.data_dir().join(file)).expect("removed");
    }
    let mut ledger = Ledger::open(host.data_dir()).expect("opened");
    let later = at(NOW) + SignedDuration::from_hours(1);
    sign_windows(&mut ledger, host.data_dir(), SigningReach::Recent, later, || true).expect("looked");
    let mut host = host;
    deliver(&mut host, "198.51.100.1", "2026-11-21T04:00:00Z");
    assert_eq!(look(&mut host), 1);
    let audit = check(&host);
    assert_eq!(kinds(&audit), []);
    let warnings: Vec<_> = audit.warnings.iter().map(|found| found.kind).collect();
    assert_eq!(warnings, [DiscrepancyKind::RecordOfOtherKey]);
    assert!(
        audit.warnings[0]
            .detail
            .starts_with("3 signed windows are signed by key ")
    );
}

#[test]
fn a_page_says_what_was_found_and_no_name_becomes_markup() {
    let mut host = signed_host();
    host.claim("198.51.100.1", 5, 0, at(NOW));
    let mut audit = check(&host);
    audit.warnings = audit.discrepancies.clone();
    audit.warnings[0].batch = Some("<script>alert(1)</script>".to_owned());
    let facts = page::PageFacts {
        ledger: "ledger.db <b>".to_owned(),
        period: "all windows".to_owned(),
        filter: BatchFilter::default(),
        read_back: None,
        key: "the key".to_owned(),
        version: "1".to_owned(),
        made_at: at(NOW),
    };
    let page = page::page(&audit, &facts);
    assert!(page.contains("Not complete: 1 thing is wrong."));
    assert!(
        page.contains("its streams sent 17 lines, its batches hold 12") || page.contains("its streams sent")
    );
    assert!(page.contains("3 windows were signed"));
    assert!(page.contains("key <code>the key</code>"));
    assert!(!page.contains("<script>") && !page.contains("<b>"));
}
