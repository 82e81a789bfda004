//! `logferry fsck`: compares the ledger with the spool, and repairs or rebuilds on request.

use std::fmt::Write;
use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::Config;
use logferry_fsck::{CheckReport, Finding, RebuildReport};
use logferry_text::{Table, count_of};

use crate::args::FsckArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// Checks, repairs or rebuilds, and prints the differences. A problem if a difference is left.
pub(crate) fn run(file: &Path, options: &FsckArgs) -> Result {
    let config = configuration::load(file)?;
    let data_dir = configuration::data_dir(file, &config)?;
    if options.rebuild {
        return rebuild(file, &config, &data_dir, options.json);
    }
    let report = if options.repair {
        logferry_fsck::repair(&data_dir)?
    } else {
        logferry_fsck::check(&data_dir)?
    };
    console::print_result(options.json, &report, |report| check_text(report, &data_dir))?;
    Ok(CommandOutcome::fine_if(report.fine))
}

fn rebuild(file: &Path, config: &Config, data_dir: &Path, json: bool) -> Result {
    let Some(relay) = &config.relay else {
        let file = file.display();
        return Err(Failure::Configuration(anyhow!(
            "{file}: there is no relay section, and a rebuild needs its batch names; run this with the relay's configuration"
        )));
    };
    let forwarder = config.forwarder.as_ref();
    let destinations = forwarder.map_or(&[][..], |section| &section.destinations);
    let rebuilt = logferry_fsck::rebuild(data_dir, relay, destinations, Timestamp::now())?;
    console::print_result(json, &rebuilt, |rebuilt| {
        let names = destinations.iter().map(|destination| destination.name.as_str());
        rebuilt_text(rebuilt, data_dir, &names.collect::<Vec<_>>().join(", "))
    })?;
    Ok(CommandOutcome::fine_if(rebuilt.fine))
}

fn check_text(report: &CheckReport, data_dir: &Path) -> String {
    let (batches, files) = (report.batches as u64, report.files as u64);
    let checked = format!("{}, {}\n", count_of(batches, "batch"), count_of(files, "file"));
    if report.findings.is_empty() {
        return format!("{checked}ledger and spool agree\n");
    }
    let mut table = Table::new(["file", "problem", "repaired"]);
    for finding in &report.findings {
        let (path, detail) = (relative_path(finding, data_dir), finding.detail.clone());
        let repaired = if finding.repaired { "moved" } else { "-" };
        table.row([path, detail, repaired.to_owned()]);
    }
    checked + &table.section()
}

fn rebuilt_text(rebuilt: &RebuildReport, data_dir: &Path, destinations: &str) -> String {
    let (batches, sources) = (
        count_of(rebuilt.batches as u64, "batch"),
        count_of(rebuilt.sources as u64, "source"),
    );
    let lines = count_of(rebuilt.lines, "line");
    let mut text = format!("new ledger created: {batches}, {lines}, {sources}\n");
    if let Some(kept) = &rebuilt.kept {
        let _ = writeln!(text, "the old ledger is kept in {kept}");
    }
    if rebuilt.believed_delivered > 0 {
        let sent = rebuilt.believed_delivered as u64;
        let (sent, verb) = (count_of(sent, "batch"), if sent == 1 { "is" } else { "are" });
        let delivered = if destinations.is_empty() {
            "no destination is configured here, so no delivery of them is recorded".to_owned()
        } else {
            format!("they are recorded as delivered to {destinations}")
        };
        let _ = writeln!(text, "{sent} {verb} in sent/: {delivered}");
    }
    text += "when the relay runs again, the senders report the offsets of their streams; uncertain offsets are warnings of \
             `logferry audit`\n";
    let mut table = Table::new(["file", "not proven"]);
    for finding in &rebuilt.findings {
        table.row([relative_path(finding, data_dir), finding.detail.clone()]);
    }
    text + &table.section()
}

/// The path below the data folder.
fn relative_path(finding: &Finding, data_dir: &Path) -> String {
    let path = finding.path.strip_prefix(data_dir).unwrap_or(&finding.path);
    path.display().to_string()
}
