//! A hit and a gap as JSON. The keys are a contract.

use std::borrow::Cow;

use jiff::Timestamp;
use logferry_numbers::IndexGap;
use logferry_store::Hit;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// A hit: bytes that are no UTF-8 are replaced.
#[derive(Debug, Serialize)]
pub struct HitJson<'h> {
    id: String,
    time: String,
    source: &'h str,
    group: &'h str,
    log: Option<&'h str>,
    level: Option<&'h str>,
    status: Option<u16>,
    line: Cow<'h, str>,
    #[serde(serialize_with = "map")]
    fields: &'h [(String, String)],
}

impl<'h> HitJson<'h> {
    /// A hit as JSON.
    pub fn of(hit: &'h Hit) -> Self {
        Self {
            id: hit.id(),
            time: time_text(hit.time_ms),
            source: &hit.source,
            group: &hit.group,
            log: Some(hit.log.as_str()).filter(|log| !log.is_empty()),
            level: hit.level.as_deref(),
            status: hit.status,
            line: String::from_utf8_lossy(&hit.line),
            fields: &hit.fields,
        }
    }
}

/// The first of several fields of one name counts.
fn map<S: Serializer>(fields: &&[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let unique: std::collections::BTreeMap<&str, &str> = fields
        .iter()
        .rev()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut map = serializer.serialize_map(Some(unique.len()))?;
    for (name, value) in unique {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// Bytes that were gone before they were indexed.
#[derive(Debug, Serialize)]
pub struct GapJson<'g> {
    batch: &'g str,
    offset: u64,
    bytes: u64,
    source: &'g str,
    group: &'g str,
    window_start: String,
    window_end: String,
    reason: &'g str,
    noticed_at: String,
}

impl<'g> GapJson<'g> {
    /// A gap as JSON.
    pub fn of(gap: &'g IndexGap) -> Self {
        let time = |seconds: i64| time_text(seconds.saturating_mul(1000));
        Self {
            batch: &gap.batch,
            offset: gap.from,
            bytes: gap.bytes,
            source: &gap.source,
            group: &gap.group,
            window_start: time(gap.window_start),
            window_end: time(gap.window_end),
            reason: &gap.reason,
            noticed_at: time(gap.noticed_at),
        }
    }
}

/// A time as the JSON of hits and gaps has it; one that no calendar has is shown as its number.
pub fn time_text(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| milliseconds.to_string(), |time| time.to_string())
}
