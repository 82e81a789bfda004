//! What templates can show, in words and numbers for people. The names are a contract: users' templates have them.
//!
//! All of it is text, escaped by the template of the HTML. `text_table` aligns tables of text, `sample` is for trying templates.
//! Pure.

pub(super) mod sample;
mod text_table;

use jiff::tz::TimeZone;
use logferry_ledger::MailPart;
use logferry_text::{count, count_of, size};
use serde::Serialize;

use self::text_table::{TextColumn, text_table};
use super::facts::SummaryFacts;
use super::line_totals::{change, share};
use super::report::SummaryReport;
use super::source_rows::SummarySource;
use super::window_check::WindowCheck;
use crate::summary::period::PeriodKind;
use crate::time::local_time;

/// Sources that the mail itself shows.
const SOURCES_SHOWN: usize = 10;

/// Windows, incidents and findings that the mail itself shows.
const ITEMS_SHOWN: usize = 20;

/// Everything that a template can show.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SummaryPage {
    /// `hour` or `day`.
    pub(crate) kind: &'static str,
    /// `2026-11-21 08:00-09:00`, or `2026-11-21`.
    pub(crate) label: String,
    /// `+06:00`
    pub(crate) zone: String,
    /// `1,234 lines, all delivered`
    pub(crate) conclusion: String,
    /// The line at the top.
    pub(crate) verdict: String,
    /// `well`, `look` or `bad`.
    pub(crate) level: &'static str,
    /// Why not all is well.
    pub(crate) problems: Vec<String>,
    /// What a reader must know to read the rest.
    pub(crate) notices: Vec<String>,
    /// What the numbers are compared with.
    pub(crate) compared: &'static str,
    pub(crate) totals: Vec<PageTotal>,
    /// The picture, if there is one.
    pub(crate) picture: Option<PagePicture>,
    pub(crate) windows: PageWindows,
    pub(crate) incidents: Vec<PageIncident>,
    /// The sources that matter most.
    pub(crate) sources: Vec<PageSource>,
    /// How many there are in all.
    pub(crate) sources_total: String,
    pub(crate) audit: PageAudit,
    /// The last days; empty for an hour.
    pub(crate) days: Vec<PageDay>,
    pub(crate) attachments: Vec<PageAttachment>,
    /// The same as tables of plain text.
    pub(crate) tables: PageTables,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageTotal {
    pub(crate) name: String,
    pub(crate) now: String,
    pub(crate) before: String,
    pub(crate) change: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PagePicture {
    /// Where the HTML finds it.
    pub(crate) src: String,
    /// What is to be seen, in words.
    pub(crate) alt: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageWindows {
    /// `3 of 3 windows are whole`
    pub(crate) text: String,
    /// Those of an hour, the broken ones first; of a day, those that are not whole.
    pub(crate) rows: Vec<PageWindow>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageWindow {
    pub(crate) label: String,
    pub(crate) is_whole: bool,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageIncident {
    /// Empty if it is not known.
    pub(crate) since: String,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageSource {
    pub(crate) source: String,
    pub(crate) is_troubled: bool,
    pub(crate) note: String,
    pub(crate) lines: String,
    /// Against what it is compared with.
    pub(crate) change: String,
    pub(crate) bytes: String,
    pub(crate) batches: String,
    pub(crate) delivered: String,
    pub(crate) waiting: String,
    pub(crate) failed: String,
    pub(crate) lag: String,
    /// Empty without an indexer.
    pub(crate) server_errors: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageAudit {
    pub(crate) is_complete: bool,
    pub(crate) text: String,
    /// What it found: faults first, then what is to be looked at.
    pub(crate) findings: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageDay {
    pub(crate) label: String,
    pub(crate) lines: String,
    pub(crate) bytes: String,
    /// Against the day before.
    pub(crate) change: String,
    /// Of the most lines, in percent.
    pub(crate) percent: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageAttachment {
    pub(crate) name: String,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageTables {
    pub(crate) totals: String,
    pub(crate) sources: String,
    pub(crate) days: String,
}

impl SummaryPage {
    /// `parts`: those of the mail. The one with an id is the picture, whose words are `alt`.
    pub(crate) fn new(
        facts: &SummaryFacts,
        report: &SummaryReport,
        parts: &[MailPart],
        alt: &str,
        zone: &TimeZone,
    ) -> Self {
        let picture = parts.iter().find_map(|part| part.content_id.as_ref());
        let shown = report.sources.iter().take(SOURCES_SHOWN);
        let sources: Vec<_> = shown.map(page_source).collect();
        let totals: Vec<_> = report.total_rows.iter().map(page_total).collect();
        let days = page_days(facts, zone);
        Self {
            kind: kind_name(facts.period.kind),
            label: facts.period.label(zone),
            zone: facts
                .period
                .start
                .to_zoned(zone.clone())
                .strftime("%:z")
                .to_string(),
            conclusion: report.conclusion(),
            verdict: report.verdict(),
            level: match (report.problems.is_empty(), report.is_bad) {
                (true, _) => "well",
                (false, false) => "look",
                (false, true) => "bad",
            },
            problems: report.problems.clone(),
            notices: report.notices.clone(),
            compared: match facts.period.kind {
                PeriodKind::Hour => "yesterday",
                PeriodKind::Day => "day before",
            },
            picture: picture.map(|id| PagePicture {
                src: format!("cid:{id}"),
                alt: alt.to_owned(),
            }),
            windows: page_windows(facts, report),
            incidents: page_incidents(facts, zone),
            sources_total: count(report.sources.len() as u64),
            audit: page_audit(facts),
            attachments: parts.iter().filter_map(page_attachment).collect(),
            tables: PageTables {
                totals: totals_table(&totals, facts.period.kind),
                sources: sources_table(&sources),
                days: days_table(&days),
            },
            totals,
            sources,
            days,
        }
    }
}

const fn kind_name(kind: PeriodKind) -> &'static str {
    match kind {
        PeriodKind::Hour => "hour",
        PeriodKind::Day => "day",
    }
}

fn page_total(row: &super::report::TotalRow) -> PageTotal {
    PageTotal {
        name: row.name.to_owned(),
        now: row.now.clone(),
        before: row.before.clone(),
        change: row.change.clone(),
    }
}

fn page_source(row: &SummarySource) -> PageSource {
    let statuses = row.statuses;
    let [lines, delivered, waiting, failed] = [
        row.totals.lines(),
        row.totals.delivered,
        row.totals.waiting,
        row.totals.failed,
    ]
    .map(count);
    PageSource {
        source: row.source.clone(),
        is_troubled: row.is_troubled(),
        note: row.note().to_owned(),
        lines,
        change: change(row.totals.lines(), row.lines_before),
        bytes: size(row.totals.bytes),
        batches: count(row.totals.batches),
        delivered,
        waiting,
        failed,
        lag: row.lag_bytes.map_or_else(|| "?".to_owned(), lag),
        server_errors: statuses
            .and_then(|status| share(status.server_errors, status.with_status))
            .unwrap_or_default(),
    }
}

fn lag(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { size(bytes) }
}

fn page_windows(facts: &SummaryFacts, report: &SummaryReport) -> PageWindows {
    let windows = &report.windows;
    let whole = windows.iter().filter(|window| window.is_whole()).count() as u64;
    let text = if windows.is_empty() {
        "no windows: no lines came".to_owned()
    } else {
        let verb = if whole == 1 { "is" } else { "are" };
        format!(
            "{} of {} {verb} whole",
            count(whole),
            count_of(windows.len() as u64, "window")
        )
    };
    let is_shown = |window: &&WindowCheck| facts.period.kind == PeriodKind::Hour || !window.is_whole();
    let mut listed: Vec<_> = windows.iter().filter(is_shown).collect();
    // What a reader must see first is never cut off. The order of time stays within both kinds.
    listed.sort_by_key(|window| window.is_whole());
    let (shown, rest) = listed.split_at(listed.len().min(ITEMS_SHOWN));
    let mut rows: Vec<_> = shown.iter().map(|window| page_window(window)).collect();
    rows.extend(more_windows(rest));
    PageWindows { text, rows }
}

fn page_window(window: &WindowCheck) -> PageWindow {
    PageWindow {
        label: window.label.clone(),
        is_whole: window.is_whole(),
        text: window.text(),
    }
}

/// The row about the windows that are not listed.
fn more_windows(rest: &[&WindowCheck]) -> Option<PageWindow> {
    let broken = rest.iter().filter(|window| !window.is_whole()).count() as u64;
    let text = match broken {
        0 => "whole".to_owned(),
        broken => format!(
            "{} not whole; the console's page /windows shows them",
            count(broken)
        ),
    };
    (!rest.is_empty()).then(|| PageWindow {
        label: format!("and {} more", count(rest.len() as u64)),
        is_whole: broken == 0,
        text,
    })
}

fn page_incidents(facts: &SummaryFacts, zone: &TimeZone) -> Vec<PageIncident> {
    let incidents = facts.incidents.iter().take(ITEMS_SHOWN);
    let mut shown: Vec<_> = incidents
        .map(|incident| PageIncident {
            since: incident.since.map_or_else(String::new, |at| local_time(at, zone)),
            text: incident.text.clone(),
        })
        .collect();
    let more = facts.incidents.len().saturating_sub(ITEMS_SHOWN) as u64;
    if more > 0 {
        shown.push(PageIncident {
            since: String::new(),
            text: format!("and {} more: `logferry status` shows them", count(more)),
        });
    }
    shown
}

fn page_audit(facts: &SummaryFacts) -> PageAudit {
    let audit = &facts.audit;
    // It looks whether each file is there; `logferry audit` reads them.
    let files = count_of(audit.batches, "file");
    let text = match (audit.discrepancies.len() as u64, audit.batches) {
        (0, 0) => "complete: there was nothing to check".to_owned(),
        (0, _) => format!("complete: nothing is missing or doubled ({files} looked for, not read)"),
        (faults, _) => format!(
            "NOT complete: {} ({files} looked for, not read)",
            count_of(faults, "fault")
        ),
    };
    let findings = audit.discrepancies.iter().chain(&audit.warnings);
    let mut findings: Vec<_> = findings.take(ITEMS_SHOWN).cloned().collect();
    let more = (audit.discrepancies.len() + audit.warnings.len()).saturating_sub(ITEMS_SHOWN) as u64;
    if more > 0 {
        findings.push(format!("and {} more: `logferry audit` shows them", count(more)));
    }
    PageAudit {
        is_complete: audit.discrepancies.is_empty(),
        text,
        findings,
    }
}

fn page_days(facts: &SummaryFacts, zone: &TimeZone) -> Vec<PageDay> {
    let most = facts
        .days
        .iter()
        .map(|(_, lines, _)| *lines)
        .max()
        .unwrap_or(0)
        .max(1);
    let before = facts.days.iter().map(|(_, lines, _)| Some(*lines));
    let before = [None].into_iter().chain(before);
    facts
        .days
        .iter()
        .zip(before)
        .map(|((day, lines, bytes), before)| PageDay {
            label: day.start.to_zoned(zone.clone()).strftime("%a %F").to_string(),
            lines: count(*lines),
            bytes: size(*bytes),
            change: before.map_or_else(String::new, |before| change(*lines, before)),
            percent: u64::try_from(u128::from(*lines) * 100 / u128::from(most)).unwrap_or(100),
        })
        .collect()
}

fn page_attachment(part: &MailPart) -> Option<PageAttachment> {
    part.content_id.is_none().then(|| PageAttachment {
        name: part.name.clone(),
        text: if part.name.starts_with("sources") {
            "all sources".to_owned()
        } else {
            "the lines of each file".to_owned()
        },
    })
}

fn totals_table(totals: &[PageTotal], kind: PeriodKind) -> String {
    let (now, before) = match kind {
        PeriodKind::Hour => ("this hour", "yesterday"),
        PeriodKind::Day => ("this day", "day before"),
    };
    text_table(vec![
        TextColumn::new("", 0, totals.iter().map(|row| row.name.clone())),
        TextColumn::new(now, 0, totals.iter().map(|row| row.now.clone())),
        TextColumn::new(before, 0, totals.iter().map(|row| row.before.clone())),
        TextColumn::new("change", 0, totals.iter().map(|row| row.change.clone())),
    ])
}

fn sources_table(sources: &[PageSource]) -> String {
    let column = |title, spare, of: fn(&PageSource) -> &String| {
        TextColumn::new(title, spare, sources.iter().map(|row| of(row).clone()))
    };
    let zero_is_blank = |title, spare, of: fn(&PageSource) -> &String| {
        let is_zero = sources.iter().all(|row| of(row) == "0");
        let cells = sources
            .iter()
            .map(|row| if is_zero { String::new() } else { of(row).clone() });
        TextColumn::new(title, spare, cells)
    };
    text_table(vec![
        column("source", 0, |row| &row.source),
        column("lines", 0, |row| &row.lines),
        column("change", 1, |row| &row.change),
        column("bytes", 4, |row| &row.bytes),
        column("files", 5, |row| &row.batches),
        column("delivered", 3, |row| &row.delivered),
        zero_is_blank("waiting", 1, |row| &row.waiting),
        zero_is_blank("failed", 1, |row| &row.failed),
        column("lag", 2, |row| &row.lag),
        column("5xx", 2, |row| &row.server_errors),
        TextColumn::new(
            "",
            1,
            sources.iter().map(|row| {
                if row.is_troubled {
                    format!("! {}", row.note)
                } else {
                    String::new()
                }
            }),
        ),
    ])
}

fn days_table(days: &[PageDay]) -> String {
    let bar = |day: &PageDay| "#".repeat(usize::try_from(day.percent / 4).unwrap_or(0));
    text_table(vec![
        TextColumn::new("day", 0, days.iter().map(|day| day.label.clone())),
        TextColumn::new("lines", 0, days.iter().map(|day| day.lines.clone())),
        TextColumn::new("bytes", 0, days.iter().map(|day| day.bytes.clone())),
        TextColumn::new("change", 0, days.iter().map(|day| day.change.clone())),
        TextColumn::new("", 1, days.iter().map(bar)),
    ])
}
