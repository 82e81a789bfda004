//! The mail about one hour: what came, and how far it got. No I/O.
//!
//! Invariant: delivered + waiting + failed = lines, per source and in all.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use logferry_ledger::{Batch, BatchState, NewMail, SourceLineTotals};
use logferry_protocol::names::SourceId;

use crate::hours::Hour;
use crate::html::{Fragment, Look};
use crate::words::{bytes, count};

const HEAD: [&str; 8] = [
    "source",
    "files",
    "lines",
    "bytes",
    "delivered",
    "waiting",
    "failed",
    "",
];

/// What came of one source, or of all, in the hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    files: u64,
    bytes: u64,
    delivered_lines: u64,
    waiting_lines: u64,
    failed_lines: u64,
}

impl Tally {
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

    /// Such as `1,234 lines, 200 waiting`.
    fn verdict(&self) -> String {
        let lines = match self.lines() {
            0 => return "no lines".to_owned(),
            1 => "1 line".to_owned(),
            lines => format!("{} lines", count(lines)),
        };
        if self.is_delivered() {
            return format!("{lines}, all delivered");
        }
        let mut words = vec![lines];
        if self.waiting_lines > 0 {
            words.push(format!("{} waiting", count(self.waiting_lines)));
        }
        if self.failed_lines > 0 {
            words.push(format!("{} failed", count(self.failed_lines)));
        }
        words.join(", ")
    }

    fn cells(&self, name: &str, note: String) -> [String; 8] {
        let numbers = [self.delivered_lines, self.waiting_lines, self.failed_lines].map(count);
        let [delivered, waiting, failed] = numbers;
        [
            name.to_owned(),
            count(self.files),
            count(self.lines()),
            bytes(self.bytes),
            delivered,
            waiting,
            failed,
            note,
        ]
    }
}

/// What there is to say about one hour.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    hour: Hour,
    sources: BTreeMap<&'a SourceId, Tally>,
    all: Tally,
    differing: BTreeMap<&'a SourceId, &'a SourceLineTotals>,
}

impl<'a> Summary<'a> {
    /// Adds up the batches whose window starts in the hour. `sources` are listed even if they brought nothing;
    /// `totals` are the whole counts of each source, which must agree whatever the hour.
    pub(crate) fn new(
        hour: Hour,
        sources: impl IntoIterator<Item = &'a SourceId>,
        batches: &'a [Batch],
        totals: &'a [SourceLineTotals],
    ) -> Self {
        let mut tallies: BTreeMap<_, _> = sources
            .into_iter()
            .map(|source| (source, Tally::default()))
            .collect();
        let mut all = Tally::default();
        // A batch without lines has only just been opened.
        let in_hour = |batch: &&Batch| hour.holds(batch.window.start) && batch.contents.lines > 0;
        for batch in batches.iter().filter(in_hour) {
            tallies.entry(&batch.source).or_default().add(batch);
            all.add(batch);
        }
        let differing: BTreeMap<_, _> = totals
            .iter()
            .filter(|totals| totals.lines_sent != totals.lines_batched)
            .map(|totals| (&totals.source, totals))
            .collect();
        for source in differing.keys() {
            tallies.entry(source).or_default();
        }
        Self {
            hour,
            sources: tallies,
            all,
            differing,
        }
    }

    /// The mail, its times in the reader's zone.
    pub(crate) fn mail(&self, zone: &TimeZone) -> NewMail {
        let label = self.hour.label(zone);
        let mut verdict = self.all.verdict();
        if !self.differing.is_empty() {
            verdict.push_str(", counts differ");
        }
        let offset = self
            .hour
            .start()
            .to_zoned(zone.clone())
            .strftime("%:z")
            .to_string();
        let heading = format!("{label} ({offset})");
        let rows = self.rows();
        NewMail {
            subject: format!("{label}: {verdict}"),
            text: format!("{heading}\n{verdict}\n\n{}", aligned(&rows)),
            html: Some(
                Fragment::default()
                    .heading(&heading)
                    .paragraph(&verdict, look(&self.all, !self.differing.is_empty()))
                    .table(HEAD, &rows)
                    .into_string(),
            ),
        }
    }

    fn rows(&self) -> Vec<(Look, [String; 8])> {
        let mut rows: Vec<_> = self
            .sources
            .iter()
            .map(|(source, tally)| {
                let difference = self.differing.get(source);
                let note = difference.map_or_else(String::new, |totals| {
                    let (sent, stored) = (count(totals.lines_sent), count(totals.lines_batched));
                    format!("{sent} lines were sent since the beginning, {stored} are stored")
                });
                let look = look(tally, difference.is_some());
                (look, tally.cells(source.as_str(), note))
            })
            .collect();
        let look = match look(&self.all, false) {
            Look::Plain => Look::Strong,
            look => look,
        };
        rows.push((look, self.all.cells("all", String::new())));
        rows
    }
}

/// Whatever is not delivered, or was miscounted, must catch the eye.
fn look(tally: &Tally, differs: bool) -> Look {
    if differs || !tally.is_delivered() {
        Look::Alarm
    } else {
        Look::Plain
    }
}

/// The table as plain text: names to the left, numbers to the right, `!` where something is wrong.
fn aligned(rows: &[(Look, [String; 8])]) -> String {
    let mut widths = HEAD.map(str::len);
    for (_, cells) in rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.len());
        }
    }
    let [name_width, number_widths @ .., _] = widths;
    let line = |cells: [&str; 8], mark: &str| {
        let [name, numbers @ .., note] = cells;
        let mut words = vec![format!("{name:name_width$}")];
        for (width, number) in number_widths.into_iter().zip(numbers) {
            words.push(format!("{number:>width$}"));
        }
        words.push(format!("{mark} {note}"));
        format!("{}\n", words.join("  ").trim_end())
    };
    let mut text = line(HEAD, "");
    for (look, cells) in rows {
        let mark = if *look == Look::Alarm { "!" } else { "" };
        text.push_str(&line(cells.each_ref().map(String::as_str), mark));
    }
    text
}

#[cfg(test)]
mod tests;
