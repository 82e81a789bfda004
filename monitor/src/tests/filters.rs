//! The status and the audit with several destinations, each with its own filter.

use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{DeliveryFilter, Subscriber};
use logferry_ledger::{Batch, BatchFilter};
use serde_json::json;

use logferry_inspection::audit::{Audit, AuditScope, DiscrepancyKind, audit};
use logferry_inspection::status::{StatusReport, StatusScope, status};
use logferry_testkit::relay_host::{RelayHost, at, destination, subscriber};

const EARLY: &str = "2026-11-21T01:00:00Z";
const NOW: &str = "2026-11-21T03:10:00Z";

/// A destination that wants the batches of one group.
fn of_group(name: &str, group: &str) -> Subscriber {
    Subscriber {
        name: destination(name),
        filter: DeliveryFilter {
            groups: Some(vec![group.parse().expect("a group")]),
            ..DeliveryFilter::default()
        },
    }
}

fn sealed(host: &mut RelayHost, start: &str) -> Batch {
    let open = host.take("198.51.100.1", start, "one\ntwo\n", at(NOW));
    host.seal(&open, at(NOW))
}

fn look(host: &RelayHost, destinations: &[Subscriber]) -> StatusReport {
    let scope = StatusScope {
        expected_sources: &[],
        stale_after: Duration::from_mins(5),
        groups: &[],
        destinations,
        min_free_disk: 0,
        roles: &[],
    };
    status(host.data_dir(), &scope, at(NOW)).expect("a status")
}

fn prove(host: &RelayHost, destinations: &[Subscriber]) -> Audit {
    audit(
        host.data_dir(),
        &BatchFilter::default(),
        AuditScope::of(destinations),
    )
    .expect("audited")
}

fn note(host: &mut RelayHost, subscribers: &[Subscriber], now: Timestamp) {
    let all: Vec<_> = subscribers
        .iter()
        .map(|subscriber| (subscriber.name.clone(), subscriber.filter.to_string()))
        .collect();
    host.ledger.note_subscriptions(&all, now).expect("noted");
}

#[test]
fn an_excluded_batch_is_neither_waiting_nor_missing() {
    let mut host = RelayHost::new();
    let all = [subscriber("edw"), of_group("lab", "web-2")];
    note(&mut host, &all, at(EARLY));
    let batch = sealed(&mut host, "2026-11-21T02:00:00Z");
    let waiting = |status: StatusReport| {
        status
            .destinations
            .iter()
            .map(|it| it.waiting_batches)
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting(look(&host, &all)), [1, 0]);
    host.deliver(&batch, "edw", at(NOW));
    assert!(look(&host, &all).is_healthy());
    let audit = prove(&host, &all);
    assert!(audit.complete, "{:?}", audit.discrepancies);
    assert_eq!(
        serde_json::to_value(audit.destinations).expect("JSON"),
        json!([
            {"name": "edw", "batches": 1, "lines": 2, "delivered_batches": 1, "delivered_lines": 2},
            {"name": "lab", "batches": 0, "lines": 0, "delivered_batches": 0, "delivered_lines": 0},
        ])
    );
}

#[test]
fn an_unwanted_batch_is_shown_and_not_healthy() {
    let mut host = RelayHost::new();
    sealed(&mut host, "2026-11-21T02:00:00Z");
    let all = [of_group("lab", "web-2")];
    let status = look(&host, &all);
    assert_eq!((status.batches.ready, status.batches.unwanted), (1, 1));
    assert!(!status.is_healthy());
    let audit = prove(&host, &all);
    assert!(audit.complete);
    assert_eq!(audit.warnings.len(), 1);
    assert_eq!(audit.warnings[0].kind, DiscrepancyKind::Unwanted);
    assert_eq!(
        audit.warnings[0].detail,
        "no destination wants 1 of its batches with 2 lines; they wait in ready/ until one does"
    );
    assert_eq!(
        look(&host, &[]).batches.unwanted,
        0,
        "without destinations this is not known"
    );
}

#[test]
fn a_wider_filter_expects_only_batches_sent_after_the_change() {
    let mut host = RelayHost::new();
    let narrow = [subscriber("edw"), of_group("lab", "web-2")];
    note(&mut host, &narrow, at(EARLY));
    let before = sealed(&mut host, "2026-11-21T02:00:00Z");
    host.deliver(&before, "edw", at("2026-11-21T02:30:00Z"));
    let wide = [subscriber("edw"), subscriber("lab")];
    note(&mut host, &wide, at("2026-11-21T02:40:00Z"));
    assert!(prove(&host, &wide).complete);
    let after = sealed(&mut host, "2026-11-21T02:40:00Z");
    host.deliver(&after, "edw", at(NOW));
    let found = prove(&host, &wide).discrepancies;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].batch, Some(after.name()));
    assert_eq!(
        found[0].detail,
        "its state is sent, but no delivery of it to lab is recorded"
    );
}
