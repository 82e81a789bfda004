//! `logferry fsck`: the ledger against the spool, for people or for programs.

use std::path::Path;

use anyhow::anyhow;
use logferry_fsck::Report;

use crate::args::Fsck;
use crate::configuration;
use crate::exit::{self, Failure, Outcome, Result};
use crate::table::{self, Side, Table};

/// Checks, or repairs, and prints what differs. Wrong if something still does.
pub(crate) fn run(file: &Path, options: &Fsck) -> Result {
    if options.rebuild {
        return Err(Failure::configuration(anyhow!(
            "this version cannot make a new ledger from the spool; keep a copy of the whole data folder, and restore \
             ledger.db from a backup"
        )));
    }
    let config = configuration::load(file)?;
    let data_dir = configuration::data_dir(file, &config)?;
    let report = if options.repair {
        logferry_fsck::repair(&data_dir)?
    } else {
        logferry_fsck::check(&data_dir)?
    };
    let text = if options.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        text(&report, &data_dir)
    };
    exit::print(&text)?;
    Ok(if report.fine {
        Outcome::Fine
    } else {
        Outcome::Wrong
    })
}

fn text(report: &Report, data_dir: &Path) -> String {
    let count = |number| table::count(u64::try_from(number).unwrap_or(u64::MAX));
    let (batches, files) = (count(report.batches), count(report.files));
    let checked = format!("{batches} batches, {files} files\n");
    if report.findings.is_empty() {
        return format!("{checked}ledger and spool agree\n");
    }
    let mut table = Table::new([
        ("file", Side::Left),
        ("what is wrong", Side::Left),
        ("repaired", Side::Left),
    ]);
    for finding in &report.findings {
        let path = finding.path.strip_prefix(data_dir).unwrap_or(&finding.path);
        let repaired = if finding.repaired { "moved" } else { "-" };
        // Anybody can give a file any name.
        let shown = path.display().to_string().escape_debug().to_string();
        table.row([shown, finding.detail.clone(), repaired.to_owned()]);
    }
    format!("{checked}\n{table}")
}
