//! The mail about one hour: how many lines came, and how many of them are delivered. Pure.
//!
//! Invariant: delivered + waiting + failed = lines, per source and in total.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use logferry_ledger::{Batch, BatchState, NewMail, SourceLineTotals};
use logferry_protocol::names::SourceId;
use logferry_text::{Table, count, count_of, size};

use super::summary_schedule::SummaryHour;
use crate::mail::html::{Fragment, TextStyle};

/// As [`Table::new`] takes them.
const TITLES: [&str; 8] = [
    "source",
    ">files",
    ">lines",
    ">bytes",
    ">delivered",
    ">waiting",
    ">failed",
    "",
];

/// The hour's numbers of one source, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct HourTotals {
    files: u64,
    bytes: u64,
    delivered_lines: u64,
    waiting_lines: u64,
    failed_lines: u64,
}

impl HourTotals {
    fn add(&mut self, batch: &Batch) {
        let lines = batch.contents.lines;
        self.files += 1;
        self.bytes += batch.contents.bytes;
        match batch.state {
            BatchState::Open | BatchState::Ready => self.waiting_lines += lines,
            BatchState::Sent => self.delivered_lines += lines,
            BatchState::Failed => self.failed_lines += lines,
        }
    }

    const fn lines(&self) -> u64 {
        self.delivered_lines + self.waiting_lines + self.failed_lines
    }

    fn is_delivered(&self) -> bool {
        self.delivered_lines == self.lines()
    }

    /// `1,234 lines, 200 waiting`
    fn conclusion(&self) -> String {
        if self.lines() == 0 {
            return "no lines".to_owned();
        }
        let mut parts = vec![count_of(self.lines(), "line")];
        if self.is_delivered() {
            parts.push("all delivered".to_owned());
        }
        for (lines, state) in [(self.waiting_lines, "waiting"), (self.failed_lines, "failed")] {
            if lines > 0 {
                parts.push(format!("{} {state}", count(lines)));
            }
        }
        parts.join(", ")
    }

    fn cells(&self, name: &str, note: String) -> [String; 8] {
        let numbers = [self.delivered_lines, self.waiting_lines, self.failed_lines].map(count);
        let [delivered, waiting, failed] = numbers;
        [
            name.to_owned(),
            count(self.files),
            count(self.lines()),
            size(self.bytes),
            delivered,
            waiting,
            failed,
            note,
        ]
    }
}

/// The numbers of one hour.
#[derive(Debug)]
pub(crate) struct HourlySummary<'a> {
    hour: SummaryHour,
    sources: BTreeMap<&'a SourceId, HourTotals>,
    all: HourTotals,
    differing: BTreeMap<&'a SourceId, &'a SourceLineTotals>,
}

impl<'a> HourlySummary<'a> {
    /// Adds up the batches with a window that starts in the hour. `sources` are listed even without lines. The two counts
    /// in a source's `totals`, which cover all time, must agree.
    pub(crate) fn new(
        hour: SummaryHour,
        sources: impl IntoIterator<Item = &'a SourceId>,
        batches: &'a [Batch],
        totals: &'a [SourceLineTotals],
    ) -> Self {
        let sources = sources.into_iter();
        let mut totals_by_source: BTreeMap<_, HourTotals> =
            sources.map(|source| (source, HourTotals::default())).collect();
        let mut all = HourTotals::default();
        // A batch without lines was opened a moment ago.
        let in_hour = |batch: &&Batch| hour.contains(batch.window.start) && batch.contents.lines > 0;
        for batch in batches.iter().filter(in_hour) {
            totals_by_source.entry(&batch.source).or_default().add(batch);
            all.add(batch);
        }
        let differing = totals.iter().filter(|it| it.lines_sent != it.lines_batched);
        let differing: BTreeMap<_, _> = differing.map(|it| (&it.source, it)).collect();
        for source in differing.keys() {
            totals_by_source.entry(source).or_default();
        }
        Self {
            hour,
            sources: totals_by_source,
            all,
            differing,
        }
    }

    /// The mail, with times in the reader's zone.
    pub(crate) fn mail(&self, zone: &TimeZone) -> NewMail {
        let label = self.hour.label(zone);
        let mut conclusion = self.all.conclusion();
        if !self.differing.is_empty() {
            conclusion.push_str(", counts differ");
        }
        let start = self.hour.start().to_zoned(zone.clone());
        let heading = format!("{label} ({})", start.strftime("%:z"));
        let rows = self.rows();
        NewMail {
            subject: format!("{label}: {conclusion}"),
            text: format!("{heading}\n{conclusion}\n\n{}", plain_table(&rows)),
            html: Some(
                Fragment::default()
                    .heading(&heading)
                    .paragraph(&conclusion, style(&self.all, !self.differing.is_empty()))
                    .table(TITLES.map(|title| title.trim_start_matches('>')), &rows)
                    .into_string(),
            ),
        }
    }

    fn rows(&self) -> Vec<(TextStyle, [String; 8])> {
        let mut rows = Vec::new();
        for (source, totals) in &self.sources {
            let difference = self.differing.get(source);
            let note = difference.map_or_else(String::new, |totals| {
                let (sent, stored) = (count(totals.lines_sent), count(totals.lines_batched));
                format!("counts differ since the beginning: {sent} lines sent, {stored} stored")
            });
            let style = style(totals, difference.is_some());
            rows.push((style, totals.cells(source.as_str(), note)));
        }
        let style = match style(&self.all, false) {
            TextStyle::Plain => TextStyle::Strong,
            style => style,
        };
        rows.push((style, self.all.cells("all", String::new())));
        rows
    }
}

/// Lines that are not delivered, and counts that differ, are shown in red.
fn style(totals: &HourTotals, differs: bool) -> TextStyle {
    if differs || !totals.is_delivered() {
        TextStyle::Alarm
    } else {
        TextStyle::Plain
    }
}

/// The table as plain text, with `!` where something is wrong.
fn plain_table(rows: &[(TextStyle, [String; 8])]) -> String {
    let mut table = Table::new(TITLES);
    for (style, cells) in rows {
        let mark = if *style == TextStyle::Alarm { "! " } else { "" };
        let mut cells = cells.clone();
        cells[7].insert_str(0, mark);
        table.row(cells);
    }
    table.to_string()
}

#[cfg(test)]
mod tests;
