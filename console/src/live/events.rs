//! Messages of a live stream, and their form on the wire (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! Only `id` and `data` are written: the id is a number, the data one line of JSON. Nothing of a log line can end a field.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use logferry_search::HitJson;
use serde::Serialize;

use super::matches::{SHOWN_MAX, SharedQuery, ShownLine};
use super::ring::{Hole, LostBytes, SinceTick};
use crate::answer::json_body::to_json;

/// A comment, so that proxies and browsers see that the stream lives. With a number, a browser that reconnects goes on behind
/// it, although no line has matched since.
pub(crate) fn keep_alive(id: Option<u64>) -> Bytes {
    match id {
        None => Bytes::from_static(b": keepalive\n\n"),
        Some(id) => format!(": keepalive\nid: {id}\n\n").into(),
    }
}

/// The matches of one or more ticks together.
#[derive(Debug, Default)]
pub(crate) struct MatchedLines {
    pub(crate) matched: u64,
    /// The newest, oldest first.
    pub(crate) shown: Vec<Arc<ShownLine>>,
    pub(crate) holes: Vec<Hole>,
    pub(crate) lost: Vec<LostBytes>,
    pub(crate) until: Option<Timestamp>,
}

impl MatchedLines {
    /// What a query has of these ticks.
    pub(super) fn of(query: &SharedQuery, since: SinceTick) -> Self {
        let mut lines = Self::default();
        lines.holes.extend(since.hole);
        for tick in since.ticks {
            let found = query.of(&tick);
            lines.matched += found.matched;
            lines.shown.extend(found.shown.iter().cloned());
            lines.lost.extend(tick.lost.iter().cloned());
            lines.holes.extend(tick.broken.map(|broken| Hole {
                since: Some(broken.since),
                until: broken.until,
                lines: None,
            }));
            lines.until = Some(tick.at);
        }
        let over = lines.shown.len().saturating_sub(SHOWN_MAX);
        lines.shown.drain(..over);
        lines
    }

    /// Leaves out what a watcher that opened its stream then did not miss.
    pub(super) fn forget_holes_before(&mut self, opened: Timestamp) {
        self.holes.retain(|hole| hole.until > opened);
        for hole in &mut self.holes {
            hole.since = Some(hole.since.map_or(opened, |since| since.max(opened)));
        }
    }

    /// Leaves out lines that somebody has hidden, as if they were not there.
    pub(crate) fn hide(&mut self, is_hidden: impl Fn(&str) -> bool) {
        let before = self.shown.len();
        self.shown.retain(|line| !is_hidden(&line.hit.id()));
        let hidden = u64::try_from(before - self.shown.len()).unwrap_or(0);
        self.matched = self.matched.saturating_sub(hidden);
    }

    /// Lines that match and are not shown.
    pub(crate) fn skipped(&self) -> u64 {
        self.matched
            .saturating_sub(u64::try_from(self.shown.len()).unwrap_or(0))
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.matched == 0 && self.holes.is_empty() && self.lost.is_empty()
    }

    /// As a message with this id.
    pub(crate) fn message(&self, id: u64) -> Bytes {
        let lines = self.shown.iter().map(|line| LineJson {
            line: HitJson::of(&line.hit),
            cut: line.is_cut,
        });
        let holes = self.holes.iter().map(|hole| HoleJson {
            since: hole.since,
            until: hole.until,
            lines: hole.lines,
        });
        let lost = self.lost.iter().map(|lost| LostJson {
            batch: &lost.batch,
            bytes: lost.bytes,
        });
        let data = MessageJson {
            at: self.until,
            matched: self.matched,
            shown: self.shown.len(),
            skipped: self.skipped(),
            holes: holes.collect(),
            lost: lost.collect(),
            lines: lines.collect(),
        };
        message(Some(id), &data)
    }
}

/// A message: a number and one line of JSON.
pub(crate) fn message(id: Option<u64>, data: &impl Serialize) -> Bytes {
    let mut text = Vec::with_capacity(512);
    if let Some(id) = id {
        text.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    text.extend_from_slice(b"data: ");
    // Strings and numbers can always be written.
    text.extend(to_json(data).unwrap_or_default());
    text.extend_from_slice(b"\n\n");
    text.into()
}

#[derive(Serialize)]
struct MessageJson<'a> {
    at: Option<Timestamp>,
    matched: u64,
    shown: usize,
    skipped: u64,
    holes: Vec<HoleJson>,
    lost: Vec<LostJson<'a>>,
    lines: Vec<LineJson<'a>>,
}

#[derive(Serialize)]
struct LineJson<'a> {
    #[serde(flatten)]
    line: HitJson<'a>,
    /// Whether the line goes on; `/api/v1/lines/{id}` has it whole.
    cut: bool,
}

#[derive(Serialize)]
struct HoleJson {
    since: Option<Timestamp>,
    until: Timestamp,
    lines: Option<u64>,
}

#[derive(Serialize)]
struct LostJson<'a> {
    batch: &'a str,
    bytes: u64,
}
