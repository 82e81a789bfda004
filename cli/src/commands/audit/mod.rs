//! `logferry audit`: compares what was read with what was received and delivered.

mod index;
mod page;
mod signed;
mod verify_remote;

use std::path::Path;

use anyhow::anyhow;
use logferry_config::Config;
use logferry_inspection::audit::{
    self, Audit, AuditScope, AuditedBatch, AuditedDestination, AuditedSource, Discrepancy, Listing, RowCheck,
};
use logferry_ledger::{BatchFilter, BatchState, Ledger};
use logferry_text::{Table, count, size};

use crate::args::AuditArgs;
use crate::commands::require_window_order;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::output::result_file::ResultFile;
use verify_remote::verify_remote;

/// Batches not delivered yet that the text names. The JSON has all.
const UNDELIVERED_SHOWN_MAX: usize = 20;

/// Audits, and prints the result. An error if a destination could not be read, whatever was found at others.
pub(crate) fn run(file: &Path, options: &AuditArgs) -> Result {
    if let Some(checked) = &options.check {
        return signed::check(file, checked, options.key.as_deref());
    }
    require_window_order(&options.selection)?;
    let filter = options.filter();
    let config = configuration::load(file)?;
    let page = options.html.as_deref().map(ResultFile::open).transpose()?;
    let record = options.record.as_deref().map(ResultFile::open).transpose()?;
    let data_dir = configuration::data_dir(file, &config)?;
    if let Some(to) = record {
        return signed::write_record(to, &data_dir, &filter);
    }
    configuration::require_source(&config, &Ledger::open(&data_dir)?, filter.source.as_ref())?;
    // Text needs only sums; the rest names batches.
    let names_batches = options.json || options.depth.verify || options.depth.index || page.is_some();
    let subscribers = configuration::subscribers(&config);
    let scope = AuditScope {
        listing: if names_batches {
            Listing::All
        } else {
            Listing::Undelivered
        },
        rows: if options.depth.full {
            RowCheck::Full
        } else {
            RowCheck::Sample
        },
        ..AuditScope::of(&subscribers)
    };
    let mut audit = audit::audit(&data_dir, &filter, scope)?;
    let (mut unread, mut read_back) = (Vec::new(), None);
    if options.depth.verify {
        let verified = verify_remote(&config, &data_dir, &filter, &mut audit)?;
        (unread, read_back) = (verified.errors, Some(verified.read_back));
    }
    if options.depth.index {
        unread.extend(index::count_documents(file, &config, &mut audit)?);
    }
    console::print_result(options.json, &audit, text)?;
    if let Some(to) = page {
        page::write(to, &audit, &data_dir, filter, read_back)?;
    }
    if !unread.is_empty() {
        return Err(anyhow!(unread.join("; ")).into());
    }
    Ok(CommandOutcome::fine_if(audit.complete))
}

/// The audit of the relay host with this configuration.
pub(crate) fn audit(file: &Path, config: &Config, filter: &BatchFilter) -> Result<Audit> {
    let data_dir = configuration::data_dir(file, config)?;
    let subscribers = configuration::subscribers(config);
    Ok(audit::audit(&data_dir, filter, AuditScope::of(&subscribers))?)
}

/// The audit for people: sums by source and destination, batches not delivered yet, warnings, discrepancies.
pub(crate) fn text(audit: &Audit) -> String {
    format!(
        "{}{}\n{}\n{}{}\n{}",
        by_source(&audit.sources),
        by_destination(&audit.destinations),
        totals(audit),
        undelivered(&audit.batches),
        findings("warning", &audit.warnings).section(),
        conclusion(audit)
    )
}

/// The sums of lines. Senders count what they read over all times only, so beside sums of some windows it stands apart.
fn totals(audit: &Audit) -> String {
    let totals = audit.totals;
    let [read, excluded] = [totals.lines_read, totals.lines_excluded].map(count);
    let [received, delivered] = [totals.lines_received, totals.lines_delivered].map(count);
    if audit.lines_read_of_all_times {
        return format!(
            "lines of these windows: received {received}, delivered {delivered}\n\
             lines of all times: read {read}, excluded {excluded} (senders do not count them by window)"
        );
    }
    format!("lines read {read}, excluded {excluded}, received {received}, delivered {delivered}")
}

fn by_source(sources: &[AuditedSource]) -> Table<6> {
    let mut all = AuditedSource {
        source: "all".to_owned(),
        ..AuditedSource::default()
    };
    for source in sources {
        all.batches += source.batches;
        all.sent_batches += source.sent_batches;
        all.lines += source.lines;
        all.delivered_lines += source.delivered_lines;
        all.bytes += source.bytes;
    }
    let mut table = Table::new(["source", ">batches", ">sent", ">lines", ">delivered", ">size"]);
    for sums in sources.iter().chain([&all]) {
        table.row([
            sums.source.clone(),
            count(sums.batches),
            count(sums.sent_batches),
            count(sums.lines),
            count(sums.delivered_lines),
            size(sums.bytes),
        ]);
    }
    table
}

/// Nothing for a single destination: its sums are those by source.
fn by_destination(destinations: &[AuditedDestination]) -> String {
    if destinations.len() < 2 {
        return String::new();
    }
    let mut table = Table::new([
        "destination",
        ">wanted",
        ">there",
        ">lines wanted",
        ">lines there",
    ]);
    for sum in destinations {
        let sums = [sum.batches, sum.delivered_batches, sum.lines, sum.delivered_lines];
        let [wanted, there, lines_wanted, lines_there] = sums.map(count);
        table.row([sum.name.to_string(), wanted, there, lines_wanted, lines_there]);
    }
    table.section()
}

fn undelivered(batches: &[AuditedBatch]) -> String {
    let undelivered = || batches.iter().filter(|batch| batch.state != BatchState::Sent);
    let mut table = Table::new(["not delivered yet", "state", ">lines", ">size"]);
    for batch in undelivered().take(UNDELIVERED_SHOWN_MAX) {
        let (lines, bytes) = (count(batch.lines), size(batch.bytes));
        table.row([batch.name.clone(), batch.state.to_string(), lines, bytes]);
    }
    let more = match undelivered().skip(UNDELIVERED_SHOWN_MAX).count() {
        0 => String::new(),
        more => format!("and {more} more\n"),
    };
    table.section() + &more
}

fn conclusion(audit: &Audit) -> String {
    if audit.discrepancies.is_empty() {
        return "complete: nothing is missing, doubled or different\n".to_owned();
    }
    format!("NOT complete:\n{}", findings("problem", &audit.discrepancies))
}

fn findings(title: &str, findings: &[Discrepancy]) -> Table<3> {
    let mut table = Table::new(["source", "batch", title]);
    let or_dash = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    for finding in findings {
        let (source, batch) = (or_dash(&finding.source), or_dash(&finding.batch));
        table.row([source, batch, finding.detail.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_inspection::audit::DiscrepancyKind;

    const SUMS: &str = "source  batches  sent  lines  delivered  size\n\
                        all           0     0      0          0   0 B\n\n\
                        lines read 0, excluded 0, received 0, delivered 0\n\n";

    fn empty_audit() -> Audit {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open_or_create(dir.path()).unwrap();
        audit::audit(dir.path(), &BatchFilter::default(), AuditScope::of(&[])).unwrap()
    }

    #[test]
    fn audit_of_an_empty_ledger_is_complete() {
        let conclusion = "complete: nothing is missing, doubled or different\n";
        assert_eq!(text(&empty_audit()), SUMS.to_owned() + conclusion);
    }

    #[test]
    fn sums_of_some_windows_stand_apart_from_those_of_all_times() {
        let mut audit = Audit {
            lines_read_of_all_times: true,
            ..empty_audit()
        };
        (audit.totals.lines_read, audit.totals.lines_received) = (14, 2);
        let told = totals(&audit);
        assert_eq!(
            told,
            "lines of these windows: received 2, delivered 0\n\
             lines of all times: read 14, excluded 0 (senders do not count them by window)"
        );
    }

    #[test]
    fn warnings_and_discrepancies_are_listed() {
        let detail = "streams sent 5 lines, batches hold 4".to_owned();
        let finding = Discrepancy {
            source: Some("h1".to_owned()),
            ..Discrepancy::new(DiscrepancyKind::LinesDiffer, detail)
        };
        let audit = Audit {
            complete: false,
            discrepancies: vec![finding.clone()],
            warnings: vec![finding],
            ..empty_audit()
        };
        assert_eq!(
            text(&audit),
            SUMS.to_owned()
                + "source  batch  warning\n\
                   h1      -      streams sent 5 lines, batches hold 4\n\n\
                   NOT complete:\n\
                   source  batch  problem\n\
                   h1      -      streams sent 5 lines, batches hold 4\n"
        );
    }
}
