//! `logferry audit`: the proof, for people or for programs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use logferry_config::Config;
use logferry_ledger::{BatchFilter, BatchState};
use logferry_monitor::audit::{Audit, AuditedBatch, AuditedDestination, Discrepancy, audit};

use crate::args;
use crate::configuration;
use crate::exit::{self, Outcome, Result};
use crate::read_back;
use crate::table::{self, Side, Table};

/// Batches under way that people are shown by name, at most; programs get all.
const NAMED_MAX: usize = 20;

/// Proves, and prints the proof.
pub(crate) fn run(file: &Path, options: &args::Audit) -> Result {
    let filter = options.which.filter();
    let config = configuration::load(file)?;
    let mut audit = prove_with(file, &config, &filter)?;
    let mut unread = Vec::new();
    if options.verify {
        let data_dir = configuration::data_dir(file, &config)?;
        unread = read_back::read_back(&config, &data_dir, &filter, &mut audit)?;
    }
    let text = if options.json {
        serde_json::to_string_pretty(&audit)? + "\n"
    } else {
        text(&audit)
    };
    exit::print(&text)?;
    // Of destinations that could not be read nothing is proved, whatever was found at others.
    if !unread.is_empty() {
        return Err(anyhow!(unread.join("; ")).into());
    }
    Ok(if audit.complete {
        Outcome::Fine
    } else {
        Outcome::Wrong
    })
}

/// The proof for the relay host of a configuration.
pub(crate) fn prove(file: &Path, filter: &BatchFilter) -> Result<Audit> {
    prove_with(file, &configuration::load(file)?, filter)
}

fn prove_with(file: &Path, config: &Config, filter: &BatchFilter) -> Result<Audit> {
    let data_dir = configuration::data_dir(file, config)?;
    Ok(audit(&data_dir, filter, &configuration::subscribers(config))?)
}

/// The proof for people: sums by source, what is under way, what is wrong.
pub(crate) fn text(audit: &Audit) -> String {
    let totals = audit.totals;
    let sums = format!(
        "lines read {}, excluded {}, received {}, delivered {}\n",
        table::count(totals.lines_read),
        table::count(totals.lines_excluded),
        table::count(totals.lines_received),
        table::count(totals.lines_delivered),
    );
    format!(
        "{}{}\n{sums}{}{}{}",
        by_source(&audit.batches),
        by_destination(&audit.destinations),
        under_way(&audit.batches),
        warnings(audit),
        discrepancies(audit)
    )
}

/// What a source's batches hold together.
#[derive(Default)]
struct Sum {
    batches: u64,
    sent: u64,
    lines: u64,
    lines_sent: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, batch: &AuditedBatch) {
        self.batches += 1;
        self.lines += batch.lines;
        self.bytes += batch.bytes;
        if batch.state == BatchState::Sent {
            self.sent += 1;
            self.lines_sent += batch.lines;
        }
    }
}

fn by_source(batches: &[AuditedBatch]) -> String {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut all = Sum::default();
    for batch in batches {
        sums.entry(batch.source.as_str()).or_default().add(batch);
        all.add(batch);
    }
    let right = |title| (title, Side::Right);
    let mut table = Table::new([
        ("source", Side::Left),
        right("batches"),
        right("sent"),
        right("lines"),
        right("delivered"),
        right("size"),
    ]);
    for (source, sum) in sums.iter().chain([(&"all", &all)]) {
        table.row([
            (*source).to_owned(),
            table::count(sum.batches),
            table::count(sum.sent),
            table::count(sum.lines),
            table::count(sum.lines_sent),
            table::size(sum.bytes),
        ]);
    }
    table.to_string()
}

/// Only of several is there more to say than in the sums by source.
fn by_destination(destinations: &[AuditedDestination]) -> String {
    if destinations.len() < 2 {
        return String::new();
    }
    let right = |title| (title, Side::Right);
    let mut table = Table::new([
        ("destination", Side::Left),
        right("wanted"),
        right("there"),
        right("lines wanted"),
        right("lines there"),
    ]);
    for sum in destinations {
        table.row([
            sum.name.to_string(),
            table::count(sum.batches),
            table::count(sum.delivered_batches),
            table::count(sum.lines),
            table::count(sum.delivered_lines),
        ]);
    }
    format!("\n{table}")
}

fn under_way(batches: &[AuditedBatch]) -> String {
    let batches: Vec<_> = batches
        .iter()
        .filter(|batch| batch.state != BatchState::Sent)
        .collect();
    if batches.is_empty() {
        return String::new();
    }
    let right = |title| (title, Side::Right);
    let mut table = Table::new([
        ("under way", Side::Left),
        ("state", Side::Left),
        right("lines"),
        right("size"),
    ]);
    for batch in batches.iter().take(NAMED_MAX) {
        let (lines, size) = (table::count(batch.lines), table::size(batch.bytes));
        table.row([batch.name.clone(), batch.state.to_string(), lines, size]);
    }
    let more = match batches.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("and {more} more\n"),
    };
    format!("\n{table}{more}")
}

fn discrepancies(audit: &Audit) -> String {
    if audit.discrepancies.is_empty() {
        return "\ncomplete: nothing is missing, doubled or different\n".to_owned();
    }
    format!(
        "\nNOT complete:\n{}",
        found("what is wrong", &audit.discrepancies)
    )
}

fn warnings(audit: &Audit) -> String {
    if audit.warnings.is_empty() {
        return String::new();
    }
    format!("\n{}", found("what may be wrong", &audit.warnings))
}

fn found(title: &str, what: &[Discrepancy]) -> Table<3> {
    let mut table = Table::new([("source", Side::Left), ("batch", Side::Left), (title, Side::Left)]);
    let or_none = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    for Discrepancy {
        source,
        batch,
        detail,
        ..
    } in what
    {
        table.row([or_none(source), or_none(batch), detail.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_ledger::Ledger;
    use logferry_monitor::audit::DiscrepancyKind;

    fn of_nothing() -> Audit {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open_or_create(dir.path()).unwrap();
        audit(dir.path(), &BatchFilter::default(), &[]).unwrap()
    }

    #[test]
    fn proof_of_nothing_is_complete() {
        assert_eq!(
            text(&of_nothing()),
            "source  batches  sent  lines  delivered  size\n\
             all           0     0      0          0   0 B\n\n\
             lines read 0, excluded 0, received 0, delivered 0\n\n\
             complete: nothing is missing, doubled or different\n"
        );
    }

    #[test]
    fn what_is_wrong_is_listed() {
        let wrong = Discrepancy {
            kind: DiscrepancyKind::LinesDiffer,
            source: Some("h1".to_owned()),
            batch: None,
            detail: "streams sent 5 lines, batches hold 4".to_owned(),
            gap: None,
        };
        let audit = Audit {
            complete: false,
            discrepancies: vec![wrong.clone()],
            warnings: vec![wrong],
            ..of_nothing()
        };
        let shown = discrepancies(&audit);
        assert_eq!(
            shown,
            "\nNOT complete:\nsource  batch  what is wrong\nh1      -      streams sent 5 lines, batches hold 4\n"
        );
        assert_eq!(
            warnings(&audit),
            "\nsource  batch  what may be wrong\nh1      -      streams sent 5 lines, batches hold 4\n"
        );
    }
}
