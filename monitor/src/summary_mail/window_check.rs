//! Whether each window is whole: all its batches are delivered, and no source may have further lines of it. Pure.
//!
//! The rule for the sources is that of window manifests (`forwarder/src/window_manifest/revision.rs`).

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use logferry_ledger::SourceRecord;
use logferry_text::{count, count_of};

use super::facts::SummaryFacts;
use super::line_totals::LineTotals;
use crate::summary::period::later;
use logferry_inspection::time::clamped_timestamp;

/// A source's report counts for a window only if it came this long after the window's end: it then includes the lines that
/// were in the buffers of nginx and the sender.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// A source without contact for so long before a window is not waited for.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Sources that are named.
const NAMED_MAX: usize = 3;

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowCheck {
    /// `08:00-08:20`
    pub(crate) label: String,
    pub(crate) totals: LineTotals,
    /// Sources that may have lines of it.
    pub(crate) behind: Vec<String>,
}

impl WindowCheck {
    pub(crate) fn is_whole(&self) -> bool {
        self.totals.is_delivered() && self.behind.is_empty()
    }

    /// `whole`, or what is missing.
    pub(crate) fn text(&self) -> String {
        if self.is_whole() {
            return "whole".to_owned();
        }
        let mut parts = Vec::new();
        for (lines, state) in [(self.totals.failed, "failed"), (self.totals.waiting, "waiting")] {
            if lines > 0 {
                parts.push(format!("{} {state}", count_of(lines, "line")));
            }
        }
        if !self.behind.is_empty() {
            let named: Vec<_> = self.behind.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = match self.behind.len().saturating_sub(NAMED_MAX) as u64 {
                0 => String::new(),
                more => format!(" and {} more", count(more)),
            };
            parts.push(format!("may have lines: {}{more}", named.join(", ")));
        }
        parts.join("; ")
    }
}

/// The windows of the period, oldest first. None if no batch has lines: nobody knows then how long a window is.
pub(crate) fn check_windows(facts: &SummaryFacts, zone: &TimeZone) -> Vec<WindowCheck> {
    let lengths = facts.batches.iter().map(|batch| i64::from(batch.window.seconds));
    let Some(length) = lengths.min().filter(|length| *length > 0) else {
        return Vec::new();
    };
    let (start, end) = (facts.period.start.as_second(), facts.period.end.as_second());
    let mut windows: BTreeMap<i64, LineTotals> = BTreeMap::new();
    let starts = std::iter::successors(Some(start), |start| Some(start + length));
    windows.extend(
        starts
            .take_while(|start| *start < end)
            .map(|start| (start, LineTotals::default())),
    );
    for batch in &facts.batches {
        windows.entry(batch.window.start).or_default().add(batch);
    }
    let reached: BTreeMap<_, _> = facts.progress.iter().map(|it| (&it.source, it.reached)).collect();
    windows
        .into_iter()
        .map(|(start, totals)| {
            let behind = facts.sources.iter().filter(|source| {
                let reached = reached.get(&source.source).copied().flatten();
                may_have_lines(source, reached, start, start + length)
            });
            WindowCheck {
                label: label(start, start + length, zone),
                totals,
                behind: behind.map(|source| source.source.to_string()).collect(),
            }
        })
        .collect()
}

fn label(start: i64, end: i64, zone: &TimeZone) -> String {
    let local = |second| clamped_timestamp(second).to_zoned(zone.clone());
    format!(
        "{}-{}",
        local(start).strftime("%H:%M"),
        local(end).strftime("%H:%M")
    )
}

/// Whether a source may have further lines of a window.
fn may_have_lines(source: &SourceRecord, reached: Option<i64>, start: i64, end: i64) -> bool {
    let end_at = clamped_timestamp(end);
    let is_expected =
        source.first_seen < end_at && source.last_contact > later(clamped_timestamp(start), -FORGOTTEN_AFTER);
    let has_reported = source.heartbeat_at.is_some_and(|at| at >= later(end_at, GRACE));
    let lag = source.known_lag_bytes();
    let has_nothing_left = lag == Some(0) && has_reported;
    // An old shipper never reports: it is past a window when its lines are.
    let has_gone_past = reached.is_some_and(|reached| reached >= end) && lag.is_some();
    is_expected && !has_nothing_left && !has_gone_past
}
