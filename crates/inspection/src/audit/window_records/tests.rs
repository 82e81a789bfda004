use jiff::SignedDuration;
use logferry_ledger::{BatchFilter, Ledger};
use rusqlite::Connection;

use crate::audit::page;
use crate::audit::{Audit, AuditScope, DiscrepancyKind, RowCheck, audit};
use crate::sign_off::{KEY_FILE, PUBLIC_KEY_FILE, sign_windows};
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
    sign_windows(&mut host.ledger, &data_dir, at(NOW)).expect("looked")
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
fn another_key_is_a_warning() {
    let host = signed_host();
    for file in [KEY_FILE, PUBLIC_KEY_FILE] {
        std::fs::remove_file(host.data_dir().join(file)).expect("removed");
    }
    let mut ledger = Ledger::open(host.data_dir()).expect("opened");
    let later = at(NOW) + SignedDuration::from_hours(1);
    sign_windows(&mut ledger, host.data_dir(), later).expect("looked");
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
        covers_all_times: true,
        is_verified: false,
        version: "1".to_owned(),
        made_at: at(NOW),
    };
    let page = page::page(&audit, &facts);
    assert!(page.contains("Not complete: 1 thing is wrong."));
    assert!(
        page.contains("its streams sent 17 lines, its batches hold 12") || page.contains("its streams sent")
    );
    assert!(page.contains("3 windows were signed"));
    assert!(!page.contains("<script>") && !page.contains("<b>"));
}
