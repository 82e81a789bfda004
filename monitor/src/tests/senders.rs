//! Who sends for a source, in status and audit.

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{BatchFilter, SenderRecord};
use logferry_protocol::sender::{SenderId, SenderRun};
use serde_json::json;

use logferry_inspection::audit::{AuditScope, DiscrepancyKind, audit};
use logferry_inspection::status::{SourceStatus, status};
use logferry_testkit::relay_host::{RelayHost, source};

use super::settings::bare_scope;

/// Notes a sender of `198.51.100.1`: its process began and was last heard from so many seconds ago.
fn note_sender(host: &mut RelayHost, number: u128, address: &str, began: i64, heard: i64) {
    let now = Timestamp::now();
    let ago = |seconds| now - SignedDuration::from_secs(seconds);
    let sender = SenderRecord {
        id: SenderId::new(number << 96),
        group: "web-1".parse().expect("a name"),
        source: source("198.51.100.1"),
        by_address: true,
        address: address.parse().expect("an address"),
        runs: vec![SenderRun::new(1)],
        first_seen: ago(began),
        run_since: ago(began),
        last_contact: ago(heard),
    };
    host.ledger.note_sender(&sender).expect("noted");
}

fn shown(host: &RelayHost) -> (bool, SourceStatus) {
    let scope = bare_scope();
    let mut status = status(host.data_dir(), &scope, Timestamp::now()).expect("a status");
    (status.is_healthy(), status.sources.remove(0))
}

#[test]
fn two_live_senders_of_a_source_are_named_and_the_proof_stays_complete() {
    let mut host = RelayHost::new();
    host.make_contact("198.51.100.1", Timestamp::now());
    note_sender(&mut host, 0xa, "198.51.100.1", 500, 5);
    note_sender(&mut host, 0xb, "198.51.100.2", 60, 3);
    let (is_healthy, source) = shown(&host);
    assert!(!is_healthy);
    let senders: Vec<_> = source
        .senders
        .iter()
        .map(|sender| (&*sender.id, sender.address.to_string()))
        .collect();
    let expected = [
        ("0000000a", "198.51.100.1".to_owned()),
        ("0000000b", "198.51.100.2".to_owned()),
    ];
    assert_eq!(senders, expected);

    let audit = audit(host.data_dir(), &BatchFilter::default(), AuditScope::of(&[])).expect("audited");
    assert!(audit.complete);
    let warnings: Vec<_> = audit.warnings.iter().map(|warning| warning.kind).collect();
    assert_eq!(warnings, [DiscrepancyKind::TwoSenders]);
    assert_eq!(json!(audit.warnings[0].kind), "two_senders");
}

#[test]
fn a_silent_predecessor_is_not_named_and_the_present_address_is_shown() {
    let mut host = RelayHost::new();
    host.make_contact("198.51.100.1", Timestamp::now());
    note_sender(&mut host, 0xa, "198.51.100.1", 500, 60);
    note_sender(&mut host, 0xb, "198.51.100.2", 60, 3);
    let (is_healthy, source) = shown(&host);
    assert!(is_healthy, "{source:?}");
    assert_eq!(source.address, Some("198.51.100.2".parse().expect("an address")));
    assert!(source.senders.is_empty());
    let audit = audit(host.data_dir(), &BatchFilter::default(), AuditScope::of(&[])).expect("audited");
    assert!(audit.warnings.is_empty());
}
