//! The ledger against the spool: what differs, and putting right what cannot lose data.
//!
//! It may run beside the roles, which move files while it looks. So what seems wrong is looked at a second time, and
//! only what seems wrong both times counts.
//!
//! Invariants:
//! - Without `repair` nothing is changed.
//! - A repair is a rename of a file that is wholly what the ledger says, to where the ledger says it is, and never over
//!   another. Nothing is cut, rewritten or removed.
//!
//! `spool` finds the files, `judge` compares them with the ledger's rows and touches nothing, `contents` reads files,
//! `repair` moves them. Apart from all that, `rebuild` makes a new ledger where there is none to compare with.

mod contents;
mod judge;
mod rebuild;
mod repair;
mod spool;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use logferry_durable::{DiskError, LockError};
use logferry_ledger::{BatchFilter, Ledger, LedgerError};
use serde::Serialize;

pub use judge::{Finding, Kind};
pub use rebuild::{Rebuilt, rebuild};

/// The check could not be made, or a repair not be done.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The spool cannot be read or changed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A role is at work, and files may only be moved while none is.
    #[error("files are moved, and ledgers made, only while the roles that use them are stopped")]
    Busy(#[from] LockError),
    /// The ledger is not damaged, and knows more than a new one could.
    #[error(
        "ledger {} is whole, and no spool tells what it knows: nothing was changed. If it must go, say because it is an \
         old copy, move it away first, with `-wal` and `-shm` beside it", .path.display()
    )]
    Whole {
        /// The ledger's file.
        path: PathBuf,
    },
}

/// What the check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether ledger and spool agree, after the repairs if there were any.
    pub fine: bool,
    /// Batches in the ledger, but for those whose files have expired.
    pub batches: usize,
    /// Files in the spool.
    pub files: usize,
    /// What differs.
    pub findings: Vec<Finding>,
}

/// Checks the data folder. Reads every batch's file whole.
pub fn check(data_dir: &Path) -> Result<Report, FsckError> {
    let ledger = Ledger::open(data_dir)?;
    let mut report = look(data_dir, &ledger, None)?;
    if !report.findings.is_empty() {
        let suspects: BTreeSet<PathBuf> = report
            .findings
            .iter()
            .map(|finding| finding.path.clone())
            .collect();
        let again = look(data_dir, &ledger, Some(&suspects))?;
        report
            .findings
            .retain(|finding| again.findings.iter().any(|other| other.is_same(finding)));
    }
    for detail in ledger.integrity()? {
        report.findings.push(Finding::of_ledger(ledger.path(), detail));
    }
    report.fine = report.findings.is_empty();
    Ok(report)
}

/// Checks the data folder, and moves the files that are whole and only in the wrong place. No role may run.
pub fn repair(data_dir: &Path) -> Result<Report, FsckError> {
    let _locks = repair::lock(data_dir)?;
    let mut report = check(data_dir)?;
    for finding in &mut report.findings {
        finding.repaired = repair::put_right(finding)?;
    }
    report.fine = report.findings.iter().all(|finding| finding.repaired);
    Ok(report)
}

/// Looks once; reads the contents of all files, or of the suspects only.
fn look(data_dir: &Path, ledger: &Ledger, suspects: Option<&BTreeSet<PathBuf>>) -> Result<Report, FsckError> {
    // The files first: the ledger knows a batch before its file is made, so every file of ours has a row by then.
    let files = spool::files(data_dir)?;
    let batches = ledger.batches(&BatchFilter::default())?;
    let count = batches.iter().filter(|batch| batch.expired_at.is_none()).count();
    let judged = judge::judge(data_dir, &batches, &files);
    let mut findings = judged.findings;
    for (batch, path) in judged.to_read {
        let is_wanted = suspects.is_none_or(|suspects| suspects.contains(&path));
        if is_wanted && let Some(finding) = contents::fault(batch, &path)? {
            // Of a file that is in the wrong place only what is in it counts: it is not to be moved.
            findings.retain(|other| other.path != finding.path);
            findings.push(finding);
        }
    }
    findings.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    Ok(Report {
        fine: findings.is_empty(),
        batches: count,
        files: files.len(),
        findings,
    })
}
