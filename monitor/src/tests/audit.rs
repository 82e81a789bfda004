//! The audit finds every discrepancy, and nothing else.

use logferry_ledger::{
    Batch, BatchFilter, BatchState, DeliveryCertainty, DuplicatesEnd, ResendRequestOutcome, StreamRecord,
};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::heartbeat::{Heartbeat, HostTime, ReportedGap};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};
use serde_json::json;

use logferry_inspection::audit::{Audit, AuditScope, DiscrepancyKind, audit};
use logferry_testkit::relay_host::{RelayHost, at, new_batch, source, subscriber, write};

const NOW: &str = "2026-11-21T03:10:00Z";

fn check(host: &RelayHost) -> Audit {
    audit(
        host.data_dir(),
        &BatchFilter::default(),
        AuditScope::of(&[subscriber("edw")]),
    )
    .expect("audited")
}

/// The kinds found, each with its batch.
fn kinds(host: &RelayHost) -> Vec<(DiscrepancyKind, Option<String>)> {
    let audit = check(host);
    assert_eq!(audit.complete, audit.discrepancies.is_empty());
    audit
        .discrepancies
        .into_iter()
        .map(|discrepancy| (discrepancy.kind, discrepancy.batch))
        .collect()
}

fn found(batch: &Batch, kind: DiscrepancyKind) -> Vec<(DiscrepancyKind, Option<String>)> {
    vec![(kind, Some(batch.name()))]
}

/// One batch in each state: open, ready, sent, failed.
fn busy_host() -> (RelayHost, [Batch; 4]) {
    let mut host = RelayHost::new();
    let mut take = |start| host.take("198.51.100.1", start, "one\ntwo\n", at(NOW));
    let [open, ready, sent, failed] = [
        "2026-11-21T03:00:00Z",
        "2026-11-21T02:40:00Z",
        "2026-11-21T02:20:00Z",
        "2026-11-21T02:00:00Z",
    ]
    .map(&mut take);
    let [ready, sent, failed] = [ready, sent, failed].map(|batch| host.seal(&batch, at(NOW)));
    let sent = host.deliver(&sent, "edw", at(NOW));
    let failed = host.give_up(&failed, "edw", at(NOW));
    host.claim("198.51.100.1", 0, 3, at(NOW));
    (host, [open, ready, sent, failed])
}

#[test]
fn a_busy_relay_host_is_complete_and_its_json_is_the_documented_one() {
    let (host, [_, _, sent, _]) = busy_host();
    let audit = serde_json::to_value(check(&host)).expect("JSON");
    assert_eq!(audit["complete"], json!(true));
    assert_eq!(audit["discrepancies"], json!([]));
    assert_eq!(
        audit["totals"],
        json!({"lines_read": 11, "lines_excluded": 3, "lines_received": 8, "lines_delivered": 2})
    );
    let states: Vec<_> = (0..4)
        .map(|index| audit["batches"][index]["state"].clone())
        .collect();
    assert_eq!(states, ["failed", "sent", "ready", "open"]);
    assert_eq!(
        audit["batches"][1],
        json!({
            "name": sent.name(), "source": "198.51.100.1", "window_start": "2026-11-21T08:20:00+06:00", "part": 1,
            "state": "sent", "lines": 2, "bytes": 8, "sha256": "ab".repeat(32),
            "destinations": [
                {"name": "edw", "path": format!("/in/{}.log", sent.name()), "bytes": 8,
                 "sha256": "ab".repeat(32), "delivered_at": "2026-11-21T03:10:00Z"},
            ],
        })
    );
    assert_eq!(
        audit["destinations"],
        json!([{"name": "edw", "batches": 3, "lines": 6, "delivered_batches": 1, "delivered_lines": 2}])
    );
    assert_eq!(audit["batches"][3]["sha256"], json!(null));
    assert_eq!(audit["batches"][3]["destinations"], json!([]));
}

#[test]
fn a_discrepancy_is_written_as_documented() {
    let (host, [_, ready, ..]) = busy_host();
    std::fs::remove_file(host.path(&ready, BatchState::Ready)).expect("removed");
    let audit = serde_json::to_value(check(&host)).expect("JSON");
    assert_eq!(audit["complete"], json!(false));
    assert_eq!(
        audit["discrepancies"],
        json!([{
            "kind": "file_missing", "source": "198.51.100.1", "batch": ready.name(),
            "detail": "the ledger has 8 bytes of it as ready, but its file is in no folder of the spool",
        }])
    );
}

#[test]
fn a_missing_short_long_or_altered_file_is_found_in_every_folder() {
    use DiscrepancyKind::{ContentDiffers, FileMissing, SizeDiffers};
    for index in 0..4 {
        let (host, batches) = busy_host();
        let batch = &batches[index];
        let path = host.path(batch, batch.state);
        write(&path, "one\n");
        assert_eq!(kinds(&host), found(batch, SizeDiffers), "short");
        write(&path, "one\nTWO\n");
        assert_eq!(kinds(&host), found(batch, ContentDiffers), "altered");
        write(&path, "one\ntwo\nthree\n");
        match batch.state {
            BatchState::Open => assert_eq!(kinds(&host), [], "not committed yet"),
            _ => assert_eq!(kinds(&host), found(batch, SizeDiffers), "long"),
        }
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(kinds(&host), found(batch, FileMissing));
    }
}

#[test]
fn a_file_that_is_being_moved_is_no_discrepancy() {
    let (host, [open, ..]) = busy_host();
    for state in [BatchState::Ready, BatchState::Sent, BatchState::Failed] {
        std::fs::remove_file(host.path(&open, BatchState::Open)).expect("removed");
        write(&host.path(&open, state), "one\ntwo\n");
        assert_eq!(kinds(&host), [], "{state}");
        std::fs::remove_file(host.path(&open, state)).expect("removed");
        write(&host.path(&open, BatchState::Open), "one\ntwo\n");
    }
}

#[test]
fn compressed_and_expired_files_and_new_batches_are_no_discrepancy() {
    let (mut host, [_, _, sent, _]) = busy_host();
    let path = host.path(&sent, BatchState::Sent);
    host.compress(&sent, "one\ntwo\n");
    assert_eq!(kinds(&host), []);
    std::fs::remove_file(path.with_added_extension("gz")).expect("removed");
    assert_eq!(kinds(&host), found(&sent, DiscrepancyKind::FileMissing));
    host.ledger.mark_expired(sent.id, at(NOW)).expect("noted");
    assert_eq!(kinds(&host), []);
    host.ledger
        .open_batch(&new_batch("198.51.100.9", "2026-11-21T03:00:00Z"), at(NOW))
        .expect("opened");
    assert_eq!(kinds(&host), []);
}

#[test]
fn damaged_compressed_file_is_found() {
    use DiscrepancyKind::{ContentDiffers, FileMissing, SizeDiffers};
    let (host, [_, ready, sent, _]) = busy_host();
    for (text, kind) in [
        ("one\n", SizeDiffers),
        ("one\nTWO\n", ContentDiffers),
        ("onetwo\n\n", ContentDiffers),
    ] {
        host.compress(&sent, text);
        assert_eq!(kinds(&host), found(&sent, kind), "{text:?}");
    }
    let file = host.compress(&sent, "one\ntwo\n");
    let intact = std::fs::read(&file).expect("read");
    for damaged in [&intact[..intact.len() - 1], b"not gzip", b""] {
        std::fs::write(&file, damaged).expect("written");
        assert_eq!(kinds(&host), found(&sent, ContentDiffers), "{damaged:?}");
    }
    let mut altered = intact.clone();
    altered[12] ^= 1;
    std::fs::write(&file, altered).expect("written");
    assert_eq!(kinds(&host), found(&sent, ContentDiffers), "one bit differs");
    std::fs::write(&file, &intact).expect("written");
    assert_eq!(kinds(&host), []);
    // Only sent batches are compressed.
    std::fs::rename(
        host.path(&ready, BatchState::Ready),
        file.with_file_name("elsewhere"),
    )
    .expect("moved");
    write(
        &host.path(&ready, BatchState::Ready).with_added_extension("gz"),
        "",
    );
    let name = ready.file_name() + ".gz";
    let unknown = (DiscrepancyKind::UnknownFile, Some(name));
    assert_eq!(kinds(&host), [found(&ready, FileMissing), vec![unknown]].concat());
}

#[test]
fn unknown_files_are_found() {
    use DiscrepancyKind::UnknownFile;
    let (host, [_, ready, ..]) = busy_host();
    let folder = host.data_dir().join("ready");
    write(&folder.join("198.51.100.1/extra.log"), "x\n");
    write(&folder.join("198.51.100.7").join(ready.file_name()), "x\n");
    write(&folder.join("stray"), "x\n");
    let unknown = |file: &str| (UnknownFile, Some(file.to_owned()));
    assert_eq!(
        kinds(&host),
        [
            unknown("extra.log"),
            unknown(&ready.file_name()),
            unknown("stray")
        ]
    );
}

#[test]
fn lines_missing_in_batches_are_found() {
    let (mut host, _) = busy_host();
    host.claim("198.51.100.2", 5, 0, at(NOW));
    let audit = check(&host);
    assert_eq!(audit.discrepancies.len(), 1);
    let found = &audit.discrepancies[0];
    assert_eq!(found.kind, DiscrepancyKind::LinesDiffer);
    assert_eq!(found.source.as_deref(), Some("198.51.100.2"));
    assert_eq!(found.detail, "its streams sent 5 lines, its batches hold 0");
}

#[test]
fn a_missing_delivery_is_found_unless_the_batch_was_sent_before_the_destination_existed() {
    let mut host = RelayHost::new();
    let mut deliver = |start, name, now: &str| {
        let open = host.take("198.51.100.1", start, "one\n", at(now));
        let ready = host.seal(&open, at(now));
        host.deliver(&ready, name, at(now))
    };
    deliver("2026-11-21T01:00:00Z", "old", "2026-11-21T01:30:00Z");
    deliver("2026-11-21T02:00:00Z", "edw", "2026-11-21T02:30:00Z");
    assert_eq!(kinds(&host), [], "the first was sent before edw existed");
    let mut deliver = |start, name, now: &str| {
        let open = host.take("198.51.100.1", start, "one\n", at(now));
        let ready = host.seal(&open, at(now));
        host.deliver(&ready, name, at(now))
    };
    let lacking = deliver("2026-11-21T03:00:00Z", "old", "2026-11-21T03:30:00Z");
    assert_eq!(kinds(&host), found(&lacking, DiscrepancyKind::DeliveryMissing));
}

#[test]
fn two_batches_with_one_name_are_found() {
    let mut host = RelayHost::new();
    let first = new_batch("198.51.100.1", "2026-11-21T03:00:00Z");
    host.ledger.open_batch(&first, at(NOW)).expect("opened");
    let second = host.ledger.open_batch(&first, at(NOW)).expect("opened");
    let mut clash = first;
    clash.base_name = "clash".to_owned();
    host.ledger.open_batch(&clash, at(NOW)).expect("opened");
    // An older version could give a name twice.
    let sqlite = rusqlite::Connection::open(host.ledger.path()).expect("a ledger");
    let rename = "UPDATE batches SET base_name = ?1 WHERE base_name = 'clash'";
    sqlite.execute(rename, [second.name()]).expect("renamed");
    assert_eq!(kinds(&host), found(&second, DiscrepancyKind::NameDoubled));
}

#[test]
fn a_filter_limits_batches_and_totals() {
    let (mut host, _) = busy_host();
    host.take("198.51.100.2", "2026-11-21T02:00:00Z", "a\nb\nc\n", at(NOW));
    let by_source = BatchFilter {
        source: Some(source("198.51.100.2")),
        ..BatchFilter::default()
    };
    let other = audit(host.data_dir(), &by_source, AuditScope::of(&[])).expect("audited");
    assert_eq!(
        (
            other.batches.len(),
            other.totals.lines_read,
            other.totals.lines_received
        ),
        (1, 3, 3)
    );
    let by_time = BatchFilter {
        since: Some(at("2026-11-21T03:00:00Z")),
        ..BatchFilter::default()
    };
    let late = audit(host.data_dir(), &by_time, AuditScope::of(&[])).expect("audited");
    assert_eq!((late.batches.len(), late.totals.lines_received), (1, 2));
    assert_eq!(late.totals.lines_read, 14, "lines read are not counted by window");
    assert!(late.complete && late.lines_read_of_all_times && !other.lines_read_of_all_times);
}

#[test]
fn a_loss_is_a_gap_with_offsets_and_a_possible_loss_a_warning() {
    let (mut host, _) = busy_host();
    let lossy = source("198.51.100.7");
    let file = FileKey { dev: 1, inode: 7 };
    let stream = StreamId::derive(file, Head::of(b"first\n").expect("a line"), 0);
    let gap = |from, until: Option<u64>| ReportedGap {
        stream,
        log: "access".parse().expect("a name"),
        path: "/log/access.log.9".to_owned(),
        from: Offset::new(from),
        until: until.map(Offset::new),
        noticed_at: HostTime::from_millis(0),
    };
    let heartbeat = Heartbeat {
        gaps: vec![gap(1500, Some(2500)), gap(2500, None)],
        ..Heartbeat::default()
    };
    let group = "web-1".parse().expect("a group");
    host.ledger
        .note_heartbeat(&lossy, &group, &heartbeat, at(NOW))
        .expect("noted");

    let found = serde_json::to_value(check(&host)).expect("JSON");
    assert_eq!(found["complete"], json!(false));
    let place = json!({"log": "access", "stream": stream, "path": "/log/access.log.9", "noticed_at": NOW});
    let expect = |kind: &str, from: u64, until: Option<u64>, detail: &str| {
        let mut entry = json!({"kind": kind, "source": "198.51.100.7", "batch": null, "detail": detail,
                               "from": from, "until": until});
        for (key, value) in place.as_object().expect("a map") {
            entry[key] = value.clone();
        }
        json!([entry])
    };
    let detail =
        "/log/access.log.9 was deleted or truncated before it was sent: bytes 1,500 to 2,500 are lost";
    assert_eq!(found["discrepancies"], expect("gap", 1500, Some(2500), detail));
    let detail = "/log/access.log.9 disappeared before its sender read it to a known end; \
                  the 2,500 bytes read are stored";
    assert_eq!(found["warnings"], expect("unfinished", 2500, None, detail));

    let of = |filter| audit(host.data_dir(), &filter, AuditScope::of(&[subscriber("edw")])).expect("audited");
    let after = BatchFilter {
        since: Some(at("2026-11-21T03:10:01Z")),
        ..BatchFilter::default()
    };
    let before = BatchFilter {
        until: Some(at(NOW)),
        ..BatchFilter::default()
    };
    let other = BatchFilter {
        source: Some(source("198.51.100.1")),
        ..BatchFilter::default()
    };
    for filter in [after, before, other] {
        let audit = of(filter);
        assert!(
            audit.complete && audit.warnings.is_empty(),
            "{:?}",
            audit.discrepancies
        );
    }
}

#[test]
fn an_audit_with_only_warnings_is_complete() {
    let (mut host, _) = busy_host();
    let heartbeat = Heartbeat {
        gaps: vec![ReportedGap {
            stream: StreamId::derive(
                FileKey { dev: 1, inode: 7 },
                Head::of(b"first\n").expect("a line"),
                0,
            ),
            log: "access".parse().expect("a name"),
            path: "/log/access.log.9".to_owned(),
            from: Offset::new(10),
            until: None,
            noticed_at: HostTime::from_millis(0),
        }],
        ..Heartbeat::default()
    };
    let group = "web-1".parse().expect("a group");
    host.ledger
        .note_heartbeat(&source("198.51.100.7"), &group, &heartbeat, at(NOW))
        .expect("noted");
    let audit = check(&host);
    assert!(audit.complete);
    assert_eq!(audit.warnings.len(), 1);
}

#[test]
fn lines_of_each_source_add_up_and_a_source_with_a_difference_is_named() {
    let (mut host, _) = busy_host();
    host.take("198.51.100.2", "2026-11-21T02:00:00Z", "a\nb\nc\n", at(NOW));
    host.claim("198.51.100.2", 0, 4, at(NOW));
    for name in ["198.51.100.1", "198.51.100.2"] {
        let by_source = BatchFilter {
            source: Some(source(name)),
            ..BatchFilter::default()
        };
        let totals = audit(host.data_dir(), &by_source, AuditScope::of(&[]))
            .expect("audited")
            .totals;
        assert_eq!(
            totals.lines_read,
            totals.lines_excluded + totals.lines_received,
            "{name}"
        );
    }
    host.claim("198.51.100.2", 1, 0, at(NOW));
    let found = check(&host).discrepancies;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].kind, found[0].source.as_deref()),
        (DiscrepancyKind::LinesDiffer, Some("198.51.100.2"))
    );
}

#[test]
fn possible_duplicates_after_a_rebuild_are_a_warning() {
    let mut host = RelayHost::new();
    let head = Head::of(b"line\n").expect("a line");
    let file = FileKey { dev: 1, inode: 2 };
    let record = StreamRecord {
        source: source("198.51.100.1"),
        stream: StreamId::derive(file, head, 0),
        log: "access".parse().expect("a name"),
        file,
        head,
        committed: Offset::new(1000),
        tail: Tail::of(b"line\n"),
        lines: LineCounts::default(),
        last_window: None,
        last_line_time: None,
        timed_at: at(NOW),
        open_line_in: None,
        writer: None,
        finished: false,
        updated_at: at(NOW),
    };
    let until = DuplicatesEnd::At(Offset::new(2000));
    let recovered = host.ledger.recover_streams(&[(record, Some(until))]);
    recovered.expect("recorded");
    let audit = check(&host);
    assert!(audit.complete, "no line is known to be doubled");
    assert_eq!(audit.warnings[0].kind, DiscrepancyKind::MaybeDoubled);
    let detail = &audit.warnings[0].detail;
    assert!(
        detail.contains("log access") && detail.contains("bytes 1,000 to 2,000"),
        "{detail}"
    );
    let later = BatchFilter {
        since: Some(at("2026-11-21T03:10:01Z")),
        ..BatchFilter::default()
    };
    let audit =
        logferry_inspection::audit::audit(host.data_dir(), &later, AuditScope::of(&[])).expect("audited");
    assert_eq!(audit.warnings, []);
}

#[test]
fn delivery_that_was_presumed_is_a_warning_until_a_resend_proves_it() {
    let mut host = RelayHost::new();
    let batch = host.take("198.51.100.1", "2026-11-21T02:20:00Z", "one\ntwo\n", at(NOW));
    let batch = host.seal(&batch, at(NOW));
    let batch = host.deliver_as(&batch, "edw", DeliveryCertainty::Presumed, at(NOW));
    let audit = check(&host);
    assert!(audit.complete, "no line is known to be missing");
    let [warning] = &*audit.warnings else {
        panic!("{:?}", audit.warnings)
    };
    assert_eq!(
        (warning.kind, &warning.batch),
        (DiscrepancyKind::Presumed, &Some(batch.name()))
    );
    assert!(warning.detail.contains("to edw"), "{}", warning.detail);

    resend(&mut host, &batch, DeliveryCertainty::Published);
    let kinds: Vec<_> = check(&host).warnings.iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, [DiscrepancyKind::Resent]);
}

/// Asks for a batch again, and delivers it.
fn resend(host: &mut RelayHost, batch: &Batch, certainty: DeliveryCertainty) {
    let edw = "edw".parse().expect("valid");
    let asked = host
        .ledger
        .request_resends(&[batch.id], &edw, at(NOW))
        .expect("asked");
    assert_eq!(asked, [ResendRequestOutcome::Due { again: true }]);
    host.record(batch, "edw", certainty, false, at(NOW));
}

#[test]
fn batch_that_was_sent_again_on_request_is_a_warning_unless_it_was_found_there() {
    let mut host = RelayHost::new();
    let batch = host.take("198.51.100.1", "2026-11-21T02:20:00Z", "one\ntwo\n", at(NOW));
    let batch = host.seal(&batch, at(NOW));
    let batch = host.deliver(&batch, "edw", at(NOW));
    resend(&mut host, &batch, DeliveryCertainty::Found);
    assert_eq!(check(&host).warnings, []);
    resend(&mut host, &batch, DeliveryCertainty::Published);
    let audit = check(&host);
    assert!(audit.complete);
    let [warning] = &*audit.warnings else {
        panic!("{:?}", audit.warnings)
    };
    assert_eq!(
        (warning.kind, &warning.batch),
        (DiscrepancyKind::Resent, &Some(batch.name()))
    );
}
