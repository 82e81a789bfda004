//! Whether each window is whole: all its batches are delivered, and no source may have further lines of it. Pure.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use logferry_inspection::time::clamped_timestamp;
use logferry_ledger::{SourceReach, Window};
use logferry_text::{count, count_of};

use super::facts::SummaryFacts;
use super::line_totals::LineTotals;
use crate::summary::period::SummaryPeriod;

/// Sources that are named.
const NAMED_MAX: usize = 3;

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowCheck {
    /// `08:00-08:20`; `08:00:00-08:00:30` if it is shorter than a minute.
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
    let known = facts.batches.iter().map(|batch| batch.window);
    let shortest = known
        .filter(|window| window.seconds > 0)
        .min_by_key(|window| window.seconds);
    let Some(shortest) = shortest else {
        return Vec::new();
    };
    let length = i64::from(shortest.seconds);
    let mut windows: BTreeMap<i64, LineTotals> = BTreeMap::new();
    for batch in &facts.batches {
        windows.entry(batch.window.start).or_default().add(batch);
    }
    add_empty(&mut windows, &facts.period, shortest);
    let reached: BTreeMap<_, _> = facts.progress.iter().map(|it| (&it.source, it.reached)).collect();
    windows
        .into_iter()
        .map(|(start, totals)| {
            let window = Window {
                start,
                seconds: shortest.seconds,
                utc_offset: 0,
            };
            let behind = facts.sources.iter().filter(|source| {
                let reached = reached.get(&source.source).copied().flatten();
                SourceReach::new(source, reached).may_have_lines(window)
            });
            WindowCheck {
                label: label(start, start + length, zone),
                totals,
                behind: behind.map(|source| source.source.to_string()).collect(),
            }
        })
        .collect()
}

/// Adds the windows without lines, on the grid of one with lines. The grid does not begin with the period where the host of the log
/// has another time zone. Where it meets windows of another grid, those are the true ones.
fn add_empty(windows: &mut BTreeMap<i64, LineTotals>, period: &SummaryPeriod, known: Window) {
    let (first, length) = (
        known.first_start_from(period.start.as_second()),
        i64::from(known.seconds),
    );
    let end = period.end.as_second();
    let starts = std::iter::successors(Some(first), |start| Some(start + length));
    let empty: Vec<_> = starts
        .take_while(|start| *start < end)
        .filter(|start| windows.range(start - length + 1..start + length).next().is_none())
        .collect();
    windows.extend(empty.into_iter().map(|start| (start, LineTotals::default())));
}

fn label(start: i64, end: i64, zone: &TimeZone) -> String {
    // Several windows of one minute would have the same label.
    let format = if end - start < 60 { "%H:%M:%S" } else { "%H:%M" };
    let local = |second| clamped_timestamp(second).to_zoned(zone.clone());
    format!(
        "{}-{}",
        local(start).strftime(format),
        local(end).strftime(format)
    )
}
