//! Checks the ledger against the spool, and repairs what cannot lose data.
//!
//! It may run beside the roles, which move files meanwhile. So it checks every difference again, after longer and longer pauses,
//! and reports only what it found each time.
//!
//! Invariants:
//! - Without `repair` nothing is changed.
//! - A repair renames a file that is wholly as the ledger says, to the folder that the ledger says, and never over
//!   another file. It cuts, rewrites and removes nothing.
//!
//! `compare` compares the ledger's rows with the files' names and folders. The spool crate compares a file's contents.
//! `repair` moves files. `rebuild` is apart from all that: it makes a new ledger from the spool.

mod compare;
mod finding;
mod rebuild;
mod repair;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use logferry_durable::{DiskError, LockError, RealDisk};
use logferry_invariants::{
    invariant_no_name_is_given_twice, invariant_only_delivered_is_compressed_or_deleted,
};
use logferry_ledger::{Batch, BatchFilter, Ledger, LedgerError};
use logferry_spool::{FileFault, MOVING_ROLES, Spool, SpoolFile, lock_roles};
use serde::Serialize;

pub use finding::{Finding, FindingKind};
pub use rebuild::{RebuildReport, rebuild};

/// The check or the rebuild cannot be made, or a repair not be done.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The spool cannot be read or changed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A role runs, and files may only be moved while none does.
    #[error("a role is running: stop it before files are moved or a ledger is made")]
    Busy(#[from] LockError),
    /// The ledger is not damaged, and has more than a new one could have.
    #[error(
        "ledger {} is not damaged, and the spool cannot replace what it knows: nothing was changed. If you want a new \
         one all the same, for example because this is an old copy, move it away first, with `-wal` and `-shm` beside \
         it", .path.display()
    )]
    Whole {
        /// The ledger's file.
        path: PathBuf,
    },
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Whether ledger and spool agree, after the repairs if there were any.
    pub fine: bool,
    /// Batches in the ledger, without those whose files have expired.
    pub batches: usize,
    /// Files in the spool.
    pub files: usize,
    /// The differences.
    pub findings: Vec<Finding>,
}

/// What a further check reads: a file that a role moves meanwhile is found by its batch.
#[derive(Debug, Default)]
struct Suspects {
    paths: BTreeSet<PathBuf>,
    batches: BTreeSet<String>,
}

impl Suspects {
    fn of(findings: &[Finding]) -> Self {
        Self {
            paths: findings.iter().map(|finding| finding.path.clone()).collect(),
            batches: findings
                .iter()
                .filter_map(|finding| finding.batch.clone())
                .collect(),
        }
    }

    fn include(&self, batch: &Batch, file: &SpoolFile) -> bool {
        self.paths.contains(&file.path) || self.batches.contains(&batch.name())
    }
}

/// Most further checks while roles move the files of suspects away from under them.
const FURTHER_CHECKS_MAX: u32 = 5;

/// The pauses before what looked wrong is checked again. A role writes the ledger, then moves the file; on a busy host it may take
/// its time between both.
const PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(450),
    Duration::from_millis(1500),
];

/// Checks the data folder. Reads every batch's file whole.
pub fn check(data_dir: &Path) -> Result<CheckReport, FsckError> {
    check_again(data_dir, &PAUSES, thread::sleep)
}

/// What still looks wrong after each of `pauses` is wrong. `pause` lets the time pass.
fn check_again(
    data_dir: &Path,
    pauses: &[Duration],
    mut pause: impl FnMut(Duration),
) -> Result<CheckReport, FsckError> {
    let ledger = Ledger::open(data_dir)?;
    let (mut report, _) = check_once(data_dir, &ledger, None)?;
    for &time in pauses {
        if report.findings.is_empty() {
            break;
        }
        pause(time);
        let mut again = check_suspects(data_dir, &ledger, &Suspects::of(&report.findings))?;
        let is_lasting = |finding: &Finding| report.findings.iter().any(|other| other.is_same(finding));
        again.retain(is_lasting);
        // Where the files are now.
        report.findings = again;
    }
    for detail in ledger.integrity()? {
        let finding = Finding::new(FindingKind::Ledger, ledger.path(), None, detail);
        report.findings.push(finding);
    }
    report.fine = report.findings.is_empty();
    Ok(report)
}

/// Checks until no suspect was moved away before it could be read.
fn check_suspects(data_dir: &Path, ledger: &Ledger, suspects: &Suspects) -> Result<Vec<Finding>, FsckError> {
    let (mut report, mut moved) = check_once(data_dir, ledger, Some(suspects))?;
    for _ in 1..FURTHER_CHECKS_MAX {
        if moved == 0 {
            break;
        }
        (report, moved) = check_once(data_dir, ledger, Some(suspects))?;
    }
    Ok(report.findings)
}

/// Checks the data folder, and moves the files that are whole and only in the wrong folder. No role may run.
pub fn repair(data_dir: &Path) -> Result<CheckReport, FsckError> {
    let _locks = lock_roles(data_dir, &MOVING_ROLES)?;
    let spool = Spool::new(RealDisk, data_dir);
    let mut report = check_again(data_dir, &[], drop)?;
    for finding in &mut report.findings {
        finding.repaired = repair::move_file(&spool, finding)?;
    }
    report.fine = report.findings.iter().all(|finding| finding.repaired);
    Ok(report)
}

/// Checks once. Reads the contents of all files, or of the suspects only. Returns also how many files were moved away before
/// they could be read.
fn check_once(
    data_dir: &Path,
    ledger: &Ledger,
    suspects: Option<&Suspects>,
) -> Result<(CheckReport, usize), FsckError> {
    let spool = Spool::new(RealDisk, data_dir);
    // The files first: the ledger has a batch's row before its file is made, so every batch file listed has its row.
    let files = spool.all_files()?;
    let batches = ledger.batches(&BatchFilter::default())?;
    let compared = compare::compare_names(&spool, &batches, &files);
    let mut findings = compared.findings;
    findings.extend(row_findings(ledger, &batches));
    let mut moved = 0;
    for (batch, file) in compared.to_read {
        if !suspects.is_none_or(|suspects| suspects.include(batch, file)) {
            continue;
        }
        let Some(fault) = spool.compare_file(batch, file.clone())? else {
            continue;
        };
        if let Some(finding) = contents_finding(batch, file, fault) {
            // A damaged file in the wrong folder is reported as damaged only: it must not be moved.
            findings.retain(|other| other.path != finding.path);
            findings.push(finding);
        } else {
            moved += 1;
        }
    }
    finding::sort(&mut findings);
    let report = CheckReport {
        fine: findings.is_empty(),
        batches: batches.iter().filter(|batch| batch.expired_at.is_none()).count(),
        files: files.len(),
        findings,
    };
    Ok((report, moved))
}

/// Rows that the ledger must not have, whatever files there are.
fn row_findings(ledger: &Ledger, batches: &[Batch]) -> Vec<Finding> {
    let untouched = |batch| invariant_only_delivered_is_compressed_or_deleted(batch, &[]);
    let results = batches.iter().map(untouched);
    let violations = results
        .chain([invariant_no_name_is_given_twice(batches)])
        .filter_map(Result::err);
    let finding = |text: String| Finding::new(FindingKind::Ledger, ledger.path(), None, text);
    violations
        .map(|violation| finding(violation.to_string()))
        .collect()
}

/// A file's contents are not as the ledger says. `None`: it was moved before it could be read.
fn contents_finding(batch: &Batch, file: &SpoolFile, fault: FileFault) -> Option<Finding> {
    let (kind, detail) = match fault {
        FileFault::Missing => return None,
        FileFault::Size { bytes, .. } => {
            let expected = batch.contents.bytes;
            let detail = format!("{bytes} bytes, where the ledger says {expected}");
            (FindingKind::Size, detail)
        }
        FileFault::Content { .. } => {
            let detail = "its checksum is not the ledger's: bytes have changed";
            (FindingKind::Contents, detail.to_owned())
        }
        FileFault::Undecodable { reason, .. } => {
            let detail = format!("it cannot be decompressed: {reason}");
            (FindingKind::Contents, detail)
        }
    };
    let detail = format!("{detail}; restore it from a backup");
    Some(Finding::new(kind, &file.path, Some(batch), detail))
}
