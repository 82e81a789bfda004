//! The audit as a page to keep: a verdict, the sums, each window and source, and how it was checked. Pure.
//!
//! Every text from the ledger is escaped. The page refers to nothing outside of itself.

mod how_checked;

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use logferry_ledger::{BatchFilter, BatchState};
use logferry_text::{count, size};

use super::covers_all_times;
use super::report::{Audit, AuditedBatch, Discrepancy};
use logferry_text::escape_html;

pub use self::how_checked::ReadBackResult;

/// Rows of windows and sources at most. A page of more batches has a row a day and source.
const WINDOW_ROWS_MAX: usize = 5_000;

/// What the page says beside the audit.
#[derive(Debug, Clone)]
pub struct PageFacts {
    /// The ledger's file, and its id.
    pub ledger: String,
    /// The period asked for, as people read it.
    pub period: String,
    /// The filter that the audit had: with it, less was compared.
    pub filter: BatchFilter,
    /// What was read back from the destinations, if that was asked for.
    pub read_back: Option<ReadBackResult>,
    /// The public key that signs the page.
    pub key: String,
    /// The version of logferry.
    pub version: String,
    /// When the audit was made.
    pub made_at: Timestamp,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1d2329;--soft:#5b6670;--line:#d9dee3;--ok:#116329;--bad:#a40e26;--back:#fff}
@media(prefers-color-scheme:dark){:root{--text:#e4e8ec;--soft:#9aa5b0;--line:#343b43;--ok:#56d178;--bad:#ff7b8a;--back:#14181c}}
body{margin:2rem auto;max-width:62rem;padding:0 1rem;font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back)}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.25rem 0}
.verdict{font-size:1.15rem;font-weight:600;margin:1rem 0;padding:.6rem .9rem;border-left:.4rem solid}
.ok{color:var(--ok)}.bad{color:var(--bad)}.soft{color:var(--soft)}
div.table{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td:first-child{white-space:nowrap}
th{font-weight:600;color:var(--soft)}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font-size:.85em;overflow-wrap:anywhere}
";

/// The page, not signed yet. The audit lists all batches.
pub fn page(audit: &Audit, facts: &PageFacts) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>logferry audit, {}</title>\n<style>\n{STYLE}</style></head><body>\n",
        escape_html(&facts.period)
    );
    page += &head(audit, facts);
    page += &sources(audit);
    page += &destinations(audit);
    page += &findings("What is wrong", &audit.discrepancies);
    page += &findings("To look at", &audit.warnings);
    page += &windows(&audit.batches);
    page += &how_checked::section(audit, facts);
    page + "</body></html>\n"
}

fn head(audit: &Audit, facts: &PageFacts) -> String {
    let totals = audit.totals;
    let (class, verdict) = match audit.discrepancies.len() {
        0 => (
            "ok",
            "Complete: nothing is missing, doubled or different.".to_owned(),
        ),
        1 => ("bad", "Not complete: 1 thing is wrong.".to_owned()),
        many => ("bad", format!("Not complete: {many} things are wrong.")),
    };
    let (period, made_at) = (escape_html(&facts.period), facts.made_at);
    let rows = [
        ("read", totals.lines_read),
        ("excluded by a rule", totals.lines_excluded),
        ("received", totals.lines_received),
        ("delivered to every destination", totals.lines_delivered),
    ];
    // The senders count the lines that they read over all times only.
    let rows = rows
        .into_iter()
        .skip(if covers_all_times(&facts.filter) { 0 } else { 2 });
    let rows = rows.map(|(name, lines)| [name.to_owned(), count(lines)]);
    format!(
        "<h1>Audit of log lines</h1>\n<p class=\"soft\">{period}; made at {made_at:.0}</p>\n\
         <p class=\"verdict {class}\">{verdict}</p>\n{}",
        table(["", "#lines"], rows)
    )
}

fn sources(audit: &Audit) -> String {
    let rows = audit.sources.iter().map(|sums| {
        let (batches, sent) = (count(sums.batches), count(sums.sent_batches));
        let (lines, delivered) = (count(sums.lines), count(sums.delivered_lines));
        [
            sums.source.clone(),
            batches,
            sent,
            lines,
            delivered,
            size(sums.bytes),
        ]
    });
    "<h2>Sources</h2>\n".to_owned()
        + &table(
            [
                "source",
                "#batches",
                "#delivered",
                "#lines",
                "#lines delivered",
                "#size",
            ],
            rows,
        )
}

fn destinations(audit: &Audit) -> String {
    let rows = audit.destinations.iter().map(|sums| {
        let (wanted, there) = (count(sums.batches), count(sums.delivered_batches));
        [
            sums.name.to_string(),
            wanted,
            there,
            count(sums.lines),
            count(sums.delivered_lines),
        ]
    });
    "<h2>Destinations</h2>\n".to_owned()
        + &table(
            [
                "destination",
                "#batches wanted",
                "#there",
                "#lines wanted",
                "#there",
            ],
            rows,
        )
}

fn findings(title: &str, findings: &[Discrepancy]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let or_dash = |name: &Option<String>| name.clone().unwrap_or_else(|| "–".to_owned());
    let rows = findings.iter().map(|found| {
        [
            or_dash(&found.source),
            or_dash(&found.batch),
            found.detail.clone(),
        ]
    });
    format!(
        "<h2>{title}</h2>\n{}",
        table(["source", "batch", "finding"], rows)
    )
}

/// The batches of a window, or a day, and a source.
#[derive(Default)]
struct Cell {
    batches: u64,
    lines: u64,
    bytes: u64,
    waiting: u64,
    sha256: Vec<String>,
}

fn windows(batches: &[AuditedBatch]) -> String {
    let is_long = batches.len() > WINDOW_ROWS_MAX;
    let mut cells: BTreeMap<(&str, &str), Cell> = BTreeMap::new();
    for batch in batches {
        let start = batch.window_start.as_str();
        let row = if is_long {
            start.get(..10).unwrap_or(start)
        } else {
            start
        };
        let cell = cells.entry((row, batch.source.as_str())).or_default();
        cell.batches += 1;
        cell.lines += batch.lines;
        cell.bytes += batch.bytes;
        cell.waiting += u64::from(batch.state != BatchState::Sent);
        if !is_long {
            cell.sha256.extend(batch.sha256.clone());
        }
    }
    let rows = cells.into_iter().map(|((start, source), cell)| {
        let state = match cell.waiting {
            0 => "delivered".to_owned(),
            waiting => format!("{} waiting", count(waiting)),
        };
        let (lines, bytes) = (count(cell.lines), size(cell.bytes));
        [
            start.to_owned(),
            source.to_owned(),
            count(cell.batches),
            lines,
            bytes,
            state,
            cell.sha256.join(" "),
        ]
    });
    let (title, first) = if is_long {
        ("Days", "day")
    } else {
        ("Windows", "window")
    };
    format!(
        "<h2>{title}</h2>\n{}",
        table(
            [first, "source", "#batches", "#lines", "#size", "state", "SHA-256"],
            rows
        )
    )
}

/// A table. A head that begins with `#` is of numbers.
fn table<const N: usize>(heads: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let class = |head: &str| if head.starts_with('#') { " class=\"n\"" } else { "" };
    let mut table = "<div class=\"table\"><table>\n<tr>".to_owned();
    for head in heads {
        let _ = write!(
            table,
            "<th{}>{}</th>",
            class(head),
            escape_html(head.trim_start_matches('#'))
        );
    }
    table += "</tr>\n";
    for row in rows {
        table += "<tr>";
        for (head, cell) in heads.iter().zip(&row) {
            let _ = write!(table, "<td{}>{}</td>", class(head), escape_html(cell));
        }
        table += "</tr>\n";
    }
    table + "</table></div>\n"
}
