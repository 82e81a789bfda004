//! Answers as the document describes them, where the type of the answer belongs to another crate. Only keys that programs may rely
//! on stand here; answers have more. `tests/document.rs` compares them with real answers.
#![allow(dead_code, reason = "these types are only described")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A line.
#[derive(Serialize, ToSchema)]
#[schema(as = Line)]
pub(crate) struct LineSchema {
    /// Its name for ever: `BATCH@OFFSET`.
    id: String,
    /// RFC 3339.
    time: String,
    source: String,
    group: String,
    log: Option<String>,
    level: Option<String>,
    status: Option<u16>,
    /// Its text; bytes that are no UTF-8 are replaced.
    line: String,
    fields: BTreeMap<String, String>,
}

/// A page of a search.
#[derive(Serialize, ToSchema)]
#[schema(as = SearchAnswer)]
pub(crate) struct SearchAnswerSchema {
    #[schema(inline)]
    hits: Vec<LineSchema>,
    /// Everything later than this was searched; null: nothing.
    searched_to: Option<String>,
    /// Whether everything was searched.
    complete: bool,
    /// Lines that were found, hidden ones included.
    found: u64,
    /// Goes on behind this page, as `after`.
    next: Option<String>,
    scanned_bytes: u64,
    /// What could not be searched, a sentence each.
    damage: Vec<String>,
    /// Bytes that were gone before they were indexed.
    gaps: Vec<Value>,
    /// What people should know, a sentence each.
    notes: Vec<String>,
}

/// A line with those around it in its batch.
#[derive(Serialize, ToSchema)]
#[schema(as = LineAnswer)]
pub(crate) struct LineAnswerSchema {
    #[schema(inline)]
    before: Vec<LineSchema>,
    #[schema(inline)]
    line: LineSchema,
    #[schema(inline)]
    after: Vec<LineSchema>,
}

/// The present state, as `logferry status --json`.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusSchema {
    /// `source`, `group`, `state` (active, quiet, stale, missing), `last_line_at`, `last_contact_at`, `lag_bytes`, …
    sources: Vec<BTreeMap<String, Value>>,
    /// `open`, `ready`, `sent`, `failed`.
    batches: BTreeMap<String, u64>,
    /// `name`, `state` (up, down, unknown), `last_delivery_at`, `waiting_batches`, `oldest_waiting_seconds`, `error`, …
    destinations: Vec<BTreeMap<String, Value>>,
    /// `free_bytes`, `total_bytes`, `state` (ok, low).
    disk: BTreeMap<String, Value>,
    roles: Vec<BTreeMap<String, Value>>,
    incidents: Vec<BTreeMap<String, Value>>,
    /// Why somebody has to act, a sentence each; empty: all is well.
    problems: Vec<String>,
}

/// The proof, as `logferry audit --json`.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditAnswer)]
pub(crate) struct AuditSchema {
    /// Whether nothing is missing, doubled or different.
    complete: bool,
    /// `lines_read`, `lines_excluded`, `lines_received`, `lines_delivered`.
    totals: BTreeMap<String, u64>,
    /// The batches that are not delivered; with `batches=all` all of the time.
    batches: Vec<BTreeMap<String, Value>>,
    /// `kind`, `source`, `batch`, `detail`.
    discrepancies: Vec<BTreeMap<String, Value>>,
    warnings: Vec<BTreeMap<String, Value>>,
}

/// An incident, as `logferry alerts --json`.
#[derive(Serialize, ToSchema)]
#[schema(as = Alert)]
pub(crate) struct AlertSchema {
    rule: String,
    subject: String,
    severity: String,
    /// open, silenced or closed.
    state: String,
    since: String,
    until: Option<String>,
    text: String,
    advice: String,
    timeline: Vec<BTreeMap<String, String>>,
}
