//! The status says what the ledger says, in the documented shape.

use std::time::Duration;

use logferry_ledger::Ledger;
use serde_json::json;

use super::site::{Site, at, destination, source};
use crate::error::ReportError;
use crate::status::{DiskState, StatusScope, status};

const NOW: &str = "2026-11-21T03:10:00Z";

#[test]
fn the_json_is_the_documented_one() {
    let mut site = Site::new();
    let early = site.take(
        "198.51.100.1",
        "2026-11-21T02:00:00Z",
        "old\n",
        at("2026-11-21T02:01:00Z"),
    );
    let recent = site.take(
        "198.51.100.1",
        "2026-11-21T02:40:00Z",
        "one\ntwo\n",
        at("2026-11-21T03:09:00Z"),
    );
    let early = site.seal(&early, at("2026-11-21T02:22:00Z"));
    site.deliver(&early, "edw", at("2026-11-21T02:22:05Z"));
    site.seal(&recent, at("2026-11-21T03:09:30Z"));
    site.hear_of("198.51.100.2", at("2026-11-21T03:09:59Z"));
    site.hear_of("198.51.100.3", at("2026-11-21T03:05:00Z"));
    let edw = destination("edw");
    site.ledger
        .note_destination(&edw, Some("connection refused"), at(NOW))
        .expect("noted");
    let scope = StatusScope {
        expected_sources: &[source("198.51.100.4")],
        stale_after: Duration::from_mins(5),
        destinations: &[edw, destination("backup")],
        min_free_disk: 0,
    };
    let status = status(site.data_dir(), &scope, at(NOW)).expect("a status");
    assert!(!status.is_well());
    let free_bytes = status.disk.free_bytes;
    let silent = |name: &str, state: &str, contact: Option<&str>| {
        json!({"source": name, "group": contact.map(|_| "web-1"), "state": state, "last_line_at": null,
               "last_contact_at": contact, "lag_bytes": 0, "lines_last_hour": 0})
    };
    assert_eq!(
        serde_json::to_value(&status).expect("JSON"),
        json!({
            "sources": [
                {"source": "198.51.100.1", "group": "web-1", "state": "active",
                 "last_line_at": "2026-11-21T03:09:00Z", "last_contact_at": "2026-11-21T03:09:00Z",
                 "lag_bytes": 0, "lines_last_hour": 2},
                silent("198.51.100.2", "quiet", Some("2026-11-21T03:09:59Z")),
                silent("198.51.100.3", "stale", Some("2026-11-21T03:05:00Z")),
                silent("198.51.100.4", "missing", None),
            ],
            "batches": {"open": 0, "ready": 1, "sent": 1, "failed": 0},
            "destinations": [
                {"name": "edw", "state": "down", "last_delivery_at": "2026-11-21T02:22:05Z",
                 "waiting_batches": 1, "oldest_waiting_seconds": 30, "error": "connection refused"},
                {"name": "backup", "state": "unknown", "last_delivery_at": null,
                 "waiting_batches": 1, "oldest_waiting_seconds": 30, "error": null},
            ],
            "disk": {"free_bytes": free_bytes, "state": "ok"},
        })
    );
}

#[test]
fn a_disk_with_less_room_than_asked_for_is_low() {
    let site = Site::new();
    let scope = StatusScope {
        expected_sources: &[],
        stale_after: Duration::from_mins(5),
        destinations: &[],
        min_free_disk: u64::MAX,
    };
    let full = status(site.data_dir(), &scope, at(NOW)).expect("a status");
    assert_eq!(full.disk.state, DiskState::Low);
    assert!(!full.is_well());
    let roomy = StatusScope {
        min_free_disk: 0,
        ..scope
    };
    assert!(
        status(site.data_dir(), &roomy, at(NOW))
            .expect("a status")
            .is_well()
    );
}

#[test]
fn without_a_ledger_nothing_is_made_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let scope = StatusScope {
        expected_sources: &[],
        stale_after: Duration::from_mins(5),
        destinations: &[],
        min_free_disk: 0,
    };
    assert!(matches!(
        status(dir.path(), &scope, at(NOW)),
        Err(ReportError::Ledger(_))
    ));
    assert!(Ledger::open(dir.path()).is_err(), "and none was made");
}
