//! The tables attached to a mail, as CSV (RFC 4180): all sources, and the lines of each file. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_ledger::{Batch, BatchState, MailPart};

use super::facts::SummaryFacts;
use super::report::SummaryReport;
use super::source_rows::SummarySource;
use logferry_inspection::time::clamped_timestamp;

const TYPE: &str = "text/csv; charset=utf-8";

/// All of a mail's tables.
pub(crate) fn attachments(facts: &SummaryFacts, report: &SummaryReport, zone: &TimeZone) -> Vec<MailPart> {
    let stamp = facts.period.stamp(zone);
    let csv = |name: &str, content: String| MailPart {
        name: format!("{name}-{stamp}.csv"),
        content_type: TYPE.to_owned(),
        content_id: None,
        content: content.into_bytes(),
    };
    vec![
        csv("sources", sources(&report.sources)),
        csv("files", files(&facts.batches, zone)),
    ]
}

fn sources(rows: &[SummarySource]) -> String {
    let mut csv = line(&[
        "source",
        "group",
        "state",
        "lines",
        "lines_before",
        "bytes",
        "files",
        "delivered",
        "waiting",
        "failed",
        "lag_bytes",
        "status_5xx",
        "lines_with_status",
        "note",
    ]);
    for row in rows {
        let totals = &row.totals;
        let optional = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let numbers = [
            totals.lines(),
            row.lines_before,
            totals.bytes,
            totals.batches,
            totals.delivered,
            totals.waiting,
            totals.failed,
        ];
        let mut cells = vec![
            row.source.clone(),
            row.group.clone(),
            row.state.as_str().to_owned(),
        ];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(optional(row.lag_bytes));
        cells.push(optional(row.statuses.map(|status| status.server_errors)));
        cells.push(optional(row.statuses.map(|status| status.with_status)));
        cells.push(row.note().to_owned());
        csv += &line(&cells);
    }
    csv
}

/// One row a file: when it was delivered, its lines, and whether it was.
fn files(batches: &[Batch], zone: &TimeZone) -> String {
    let local = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%F %T").to_string();
    let mut csv = line(&[
        "date", "file", "lines", "status", "source", "window", "bytes", "sha256",
    ]);
    for batch in batches {
        let status = match batch.state {
            BatchState::Sent => "Sent",
            BatchState::Failed => "Failed",
            BatchState::Open | BatchState::Ready => "Waiting",
        };
        csv += &line(&[
            batch.sent_at.map_or_else(String::new, local),
            batch.file_name(),
            batch.contents.lines.to_string(),
            status.to_owned(),
            batch.source.to_string(),
            local(clamped_timestamp(batch.window.start)),
            batch.contents.bytes.to_string(),
            batch.sha256.clone().unwrap_or_default(),
        ]);
    }
    csv
}

fn line(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| quoted(cell.as_ref())).collect();
    cells.join(",") + "\r\n"
}

/// A cell. One that a spreadsheet would take for a formula begins with an apostrophe.
fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_neither_a_formula_nor_two_cells() {
        let cells = ["a", "=cmd()", "a,b", "say \"x\"", "two\nlines"];
        assert_eq!(
            line(&cells),
            "a,'=cmd(),\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\r\n"
        );
    }
}
