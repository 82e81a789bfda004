//! `logferry backup` and `logferry restore`: ledger and spool into a folder while everything runs, and back.

mod outside_files;

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use logferry_backup::{BackupReport, BatchFault, RestoreReport};
use logferry_text::{Table, count, count_of, size};

use crate::args::BackupArgs;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::{configuration, owner};

/// Makes a backup. A problem if the spool lacks a file that the ledger names; the rest is saved all the same.
pub(crate) fn run(file: &Path, options: &BackupArgs) -> Result {
    let config = configuration::load(file)?;
    let mut outside = outside_files::named_in(file);
    outside.extend(outside_files::folders(&config));
    if let Some((_, data_dir)) = config.data_dirs().next() {
        logferry_backup::refuse_inside(data_dir, &options.folder)?;
        owner::create_for_owner_of(data_dir, &options.folder)
            .with_context(|| format!("cannot create {}", options.folder.display()))?;
    }
    let data_dir = configuration::data_dir(file, &config)?;
    let report = logferry_backup::make(&data_dir, &options.folder, Timestamp::now)?;
    console::print_result(options.json, &report, |report| {
        let mut text = made_text(report, &options.folder);
        let keys = ["audit.key", "audit.pub"].map(|name| data_dir.join(name).display().to_string());
        text += "not in it, keep copies elsewhere:\n";
        for path in outside.iter().chain(&keys) {
            let _ = writeln!(text, "  {path}");
        }
        text
    })?;
    Ok(CommandOutcome::fine_if(report.faults.is_empty()))
}

/// Restores a backup into the configured data folder. A problem if the backup lacks bytes that its ledger names.
pub(crate) fn restore(file: &Path, options: &BackupArgs) -> Result {
    let config = configuration::load(file)?;
    let data_dir = configuration::data_dir(file, &config)?;
    let report = logferry_backup::restore(&options.folder, &data_dir, Timestamp::now())?;
    console::print_result(options.json, &report, |report| restored_text(report, &data_dir))?;
    Ok(CommandOutcome::fine_if(report.faults.is_empty()))
}

fn made_text(report: &BackupReport, folder: &Path) -> String {
    let manifest = &report.manifest;
    let mut text = format!(
        "backup of {} as of {} in {}: {}, {} ({} linked, {} copied)\n",
        manifest.data_dir.display(),
        manifest.made_at,
        folder.display(),
        count_of(manifest.batches, "batch file"),
        size(manifest.bytes),
        count(report.linked),
        count(report.copied),
    );
    if report.linked > 0 {
        text +=
            "hard links are on the same disk as the spool: copy the folder to another host (`rsync -a`)\n";
    }
    text + &fault_table(&report.faults)
}

fn restored_text(report: &RestoreReport, data_dir: &Path) -> String {
    let mut text = format!(
        "{} has the backup of {} as of {}: {}, {}\n",
        data_dir.display(),
        report.manifest.data_dir.display(),
        report.manifest.made_at,
        count_of(report.files, "batch file"),
        size(report.bytes),
    );
    text += "the senders ship again what arrived since, as far as their logs still have it; before you start the roles, remove \
             the indexer's store_dir, which may be newer: it is made anew\n";
    if let Some(owner) = owner::left_to_root(data_dir) {
        let _ = writeln!(
            text,
            "the files belong to root: run `chown -R {owner}: {}`",
            data_dir.display()
        );
    }
    text + &fault_table(&report.faults)
}

fn fault_table(faults: &[BatchFault]) -> String {
    let mut table = Table::new(["batch", "problem"]);
    for fault in faults {
        table.row([fault.batch.clone(), fault.detail.clone()]);
    }
    table.section()
}
