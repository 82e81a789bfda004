//! What a mail concludes from the facts: whether all is well, and if not, why. Pure.

use jiff::tz::TimeZone;
use logferry_text::{count, count_of, duration, size};

use super::facts::SummaryFacts;
use super::index_numbers::{IndexFacts, StatusCount};
use super::line_totals::{LineTotals, change, share};
use super::source_rows::{SummarySource, source_rows};
use super::window_check::{WindowCheck, check_windows};
use crate::summary::period::PeriodKind;
use crate::time::local_time;
use logferry_inspection::time::age;

/// The indexer's numbers are noted as incomplete below this share of the lines, in percent: the hour of a line and that of its
/// window are not always the same.
const INDEXED_PERCENT: u64 = 98;

/// A number of all sources, and what it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TotalRow {
    pub(crate) name: &'static str,
    pub(crate) now: String,
    pub(crate) before: String,
    pub(crate) change: String,
}

/// What a mail says.
#[derive(Debug, Clone)]
pub(crate) struct SummaryReport {
    pub(crate) totals: LineTotals,
    pub(crate) sources: Vec<SummarySource>,
    pub(crate) windows: Vec<WindowCheck>,
    /// Why not all is well, worst first.
    pub(crate) problems: Vec<String>,
    /// Whether lines are missing, different or not delivered, and not only late.
    pub(crate) is_bad: bool,
    pub(crate) total_rows: Vec<TotalRow>,
    /// What a reader must know to read the rest.
    pub(crate) notices: Vec<String>,
}

impl SummaryReport {
    pub(crate) fn new(facts: &SummaryFacts, zone: &TimeZone) -> Self {
        let totals = LineTotals::of(&facts.batches);
        let sources = source_rows(facts);
        let windows = check_windows(facts, zone);
        Self {
            total_rows: total_rows(facts, &totals),
            notices: notices(facts, &totals, &sources, zone),
            problems: problems(facts, &totals, &sources, &windows),
            is_bad: totals.failed > 0
                || !facts.audit.discrepancies.is_empty()
                || sources.iter().any(|row| row.difference.is_some()),
            totals,
            sources,
            windows,
        }
    }

    /// The line at the top.
    pub(crate) fn verdict(&self) -> String {
        if self.problems.is_empty() {
            return "All is well.".to_owned();
        }
        format!("Not all is well: {}.", self.problems.join(", "))
    }

    /// The end of the subject; people's mail rules match it.
    pub(crate) fn conclusion(&self) -> String {
        let mut text = self.totals.conclusion();
        if self.sources.iter().any(|row| row.difference.is_some()) {
            text.push_str(", counts differ");
        }
        text
    }
}

fn problems(
    facts: &SummaryFacts,
    totals: &LineTotals,
    sources: &[SummarySource],
    windows: &[WindowCheck],
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut add = |number: usize, text: &dyn Fn(u64) -> String| {
        if number > 0 {
            problems.push(text(number as u64));
        }
    };
    add(facts.audit.discrepancies.len(), &|found| {
        format!("the audit found {}", count_of(found, "fault"))
    });
    let differing = sources.iter().filter(|row| row.difference.is_some()).count();
    add(differing, &|sources| {
        format!("counts differ at {}", count_of(sources, "source"))
    });
    add(usize::from(totals.failed > 0), &|_| {
        format!("{} failed", count_of(totals.failed, "line"))
    });
    add(usize::from(totals.waiting > 0), &|_| {
        format!("{} not delivered yet", count_of(totals.waiting, "line"))
    });
    let broken = windows.iter().filter(|window| !window.is_whole()).count();
    add(broken, &|broken| {
        let all = count_of(windows.len() as u64, "window");
        format!("{} of {all} not whole", count(broken))
    });
    let silenced = silenced_incidents(facts);
    add(facts.incidents.len().saturating_sub(silenced), &|open| {
        let note = match silenced as u64 {
            0 => String::new(),
            silenced => format!(" ({} silenced)", count(silenced)),
        };
        format!("{} open now{note}", count_of(open, "incident"))
    });
    problems
}

fn silenced_incidents(facts: &SummaryFacts) -> usize {
    facts.incidents.iter().filter(|it| it.is_silenced).count()
}

fn total_rows(facts: &SummaryFacts, totals: &LineTotals) -> Vec<TotalRow> {
    let before = |of: fn(&logferry_ledger::SourceWindowSum) -> u64| facts.compared_sums.iter().map(of).sum();
    let (lines, bytes, batches) = (
        before(|sum| sum.lines),
        before(|sum| sum.bytes),
        before(|sum| sum.batches),
    );
    let counted = |name, now: u64, before: u64, shown: fn(u64) -> String| TotalRow {
        name,
        now: shown(now),
        before: shown(before),
        change: change(now, before),
    };
    let mut rows = vec![
        counted("lines", totals.lines(), lines, count),
        counted("bytes", totals.bytes, bytes, size),
        counted("files", totals.batches, batches, count),
    ];
    let only_now = |name, now: u64| TotalRow {
        name,
        now: count(now),
        before: String::new(),
        change: String::new(),
    };
    rows.push(only_now("delivered", totals.delivered));
    rows.push(only_now("waiting", totals.waiting));
    rows.push(only_now("failed", totals.failed));
    if let Some(numbers) = facts.index.numbers() {
        let mut now = StatusCount::default();
        for status in numbers.statuses.values() {
            now.lines += status.lines;
            now.with_status += status.with_status;
            now.server_errors += status.server_errors;
        }
        let shown = |status: &StatusCount| {
            share(status.server_errors, status.with_status).unwrap_or_else(|| "-".to_owned())
        };
        rows.push(TotalRow {
            name: "status 5xx",
            now: shown(&now),
            before: shown(&numbers.compared),
            change: String::new(),
        });
    }
    rows
}

fn notices(
    facts: &SummaryFacts,
    totals: &LineTotals,
    sources: &[SummarySource],
    zone: &TimeZone,
) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(due) = facts.late_since {
        let (due_at, late) = (local_time(due, zone), duration(age(due, facts.now)));
        notices.push(format!(
            "This mail is late: it was due at {due_at}, and the monitor wrote it {late} later. It did not run, or did not \
             know yet that the time was over. Numbers are those of now."
        ));
    }
    for row in sources {
        if let Some((sent, stored)) = row.difference {
            let (sent, stored) = (count_of(sent, "line"), count(stored));
            let source = &row.source;
            notices.push(format!(
                "Counts of {source} differ since the beginning: {sent} sent, {stored} stored."
            ));
        }
    }
    let silenced = silenced_incidents(facts);
    if silenced > 0 && silenced == facts.incidents.len() {
        let silenced = count_of(silenced as u64, "incident");
        notices.push(format!("Open, and silenced: {silenced}."));
    }
    match &facts.index {
        IndexFacts::Absent => notices.push(
            "Without an indexer there is no picture, and no share of 5xx. A section `indexer` in the configuration starts one."
                .to_owned(),
        ),
        IndexFacts::Unreadable(reason) => {
            notices.push(format!("The picture and the share of 5xx are left out: {reason}"));
        }
        IndexFacts::Numbers(numbers) => {
            let indexed: u64 = numbers.statuses.values().map(|status| status.lines).sum();
            if totals.lines().saturating_mul(INDEXED_PERCENT) / 100 > indexed {
                notices.push(format!(
                    "The indexer has counted {} of the {}, so the picture and the share of 5xx are not complete.",
                    count(indexed),
                    count_of(totals.lines(), "line")
                ));
            }
        }
    }
    if facts.batches.is_empty() {
        let time = match facts.period.kind {
            PeriodKind::Hour => "hour",
            PeriodKind::Day => "day",
        };
        notices.push(format!("No lines came in this {time}."));
    }
    notices
}
