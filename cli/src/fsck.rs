//! `logferry fsck`: the ledger against the spool, for people or for programs.

use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::Config;
use logferry_fsck::{CheckReport, Finding, RebuildReport};

use crate::args::Fsck;
use crate::configuration;
use crate::exit::{self, Failure, Outcome, Result};
use crate::table::{self, Side, Table};

/// Checks, repairs or rebuilds, and prints what differs. Wrong if something still does.
pub(crate) fn run(file: &Path, options: &Fsck) -> Result {
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
    let text = if options.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        text(&report, &data_dir)
    };
    exit::print(&text)?;
    Ok(outcome(report.fine))
}

fn rebuild(file: &Path, config: &Config, data_dir: &Path, json: bool) -> Result {
    let Some(relay) = &config.relay else {
        let file = file.display();
        return Err(Failure::Configuration(anyhow!(
            "{file}: there is no relay section, which says how batches are named; run this with the relay's configuration"
        )));
    };
    let forwarder = config.forwarder.as_ref();
    let destinations = forwarder.map_or(&[][..], |section| &section.destinations);
    let rebuilt = logferry_fsck::rebuild(data_dir, relay, destinations, Timestamp::now())?;
    let text = if json {
        serde_json::to_string_pretty(&rebuilt)? + "\n"
    } else {
        let names: Vec<_> = destinations.iter().map(|place| place.name.as_str()).collect();
        rebuilt_text(&rebuilt, data_dir, &names.join(", "))
    };
    exit::print(&text)?;
    Ok(outcome(rebuilt.fine))
}

fn outcome(fine: bool) -> Outcome {
    if fine { Outcome::Fine } else { Outcome::Wrong }
}

fn count(number: usize) -> String {
    table::count(u64::try_from(number).unwrap_or(u64::MAX))
}

fn text(report: &CheckReport, data_dir: &Path) -> String {
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
        let repaired = if finding.repaired { "moved" } else { "-" };
        table.row([
            shown(finding, data_dir),
            finding.detail.clone(),
            repaired.to_owned(),
        ]);
    }
    format!("{checked}\n{table}")
}

fn rebuilt_text(rebuilt: &RebuildReport, data_dir: &Path, destinations: &str) -> String {
    let (batches, lines) = (count(rebuilt.batches), table::count(rebuilt.lines));
    let sources = count(rebuilt.sources);
    let mut said = vec![format!(
        "a new ledger was made: {batches} batches, {lines} lines, {sources} sources"
    )];
    if let Some(kept) = &rebuilt.kept {
        said.push(format!("what was there before is in {kept}"));
    }
    if rebuilt.believed_delivered > 0 {
        let sent = count(rebuilt.believed_delivered);
        let belief = if destinations.is_empty() {
            "no destination is configured here, so no delivery of them is recorded".to_owned()
        } else {
            format!("they are taken for delivered to {destinations}")
        };
        said.push(format!("{sent} batches lie in sent/: {belief}"));
    }
    said.push(
        "how far the streams are, their senders tell the relay when it is back; what is not certain then is a warning \
         of `logferry audit`"
            .to_owned(),
    );
    let text = said.join("\n") + "\n";
    if rebuilt.findings.is_empty() {
        return text;
    }
    let mut table = Table::new([("file", Side::Left), ("what is not proven", Side::Left)]);
    for finding in &rebuilt.findings {
        table.row([shown(finding, data_dir), finding.detail.clone()]);
    }
    format!("{text}\n{table}")
}

/// Below the data folder. Anybody can give a file any name.
fn shown(finding: &Finding, data_dir: &Path) -> String {
    let path = finding.path.strip_prefix(data_dir).unwrap_or(&finding.path);
    path.display().to_string().escape_debug().to_string()
}
