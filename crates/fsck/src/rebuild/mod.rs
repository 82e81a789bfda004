//! A new ledger in place of one that is damaged or gone, made from the spool.
//!
//! What the spool proves, and so is in the new ledger: every batch with its source, name, part, state, lines, bytes and
//! checksums, and its window, which is the one that the times of its lines give, if that window gives the file its name.
//! What is only very likely: that a batch in `sent/` is at the destinations configured now, under the usual path.
//!
//! What it does not tell is how far the streams are, since a batch does not say which stream a line is of. Senders
//! know it: what was acknowledged is here. So the relay takes over what they say (`relay/src/adoption.rs`), and this
//! prepares the proof that nothing of them is here beyond that: the end of the file that was written last of a source's.
//!
//! Invariants:
//! - A ledger that is whole is never replaced, and no file of the spool is changed.
//! - The old ledger is kept, in `damaged-N/`, and so is what is cut off open batches when the relay starts.
//! - Interrupted anywhere, it leaves the old ledger, or none, which no role takes for a new one, or the new one whole.

#[cfg(test)]
mod crashes;
mod file;
mod name;
mod survey;
#[cfg(test)]
mod tests;

use std::fs::File;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_config::{Destination, RelaySettings};
use logferry_durable::{Disk, DiskError, DiskFile, DiskOperation, RealDisk};
use logferry_ledger::{BatchState, FILE_NAME, Ledger, LedgerError};
use serde::Serialize;

use self::survey::{Survey, Taken, survey};
use crate::judge::Finding;
use crate::{FsckError, repair};

/// Where the new ledger is made, below the data folder.
const WORKSHOP: &str = "rebuild.tmp";

/// What SQLite may have beside the ledger's file (<https://sqlite.org/tempfiles.html>).
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What was made of the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Whether everything was proven and taken.
    pub fine: bool,
    /// The folder with what was there before; `None` if there was nothing to keep.
    pub kept: Option<String>,
    /// Batches in the new ledger.
    pub batches: usize,
    /// Lines in them.
    pub lines: u64,
    /// Sources that they are of.
    pub sources: usize,
    /// Batches that pass for delivered as they lie in `sent/`.
    pub believed_delivered: usize,
    /// What is left alone, or taken without proof.
    pub findings: Vec<Finding>,
}

/// Makes a new ledger from the spool in `data_dir`, which is the relay's. No role may run.
pub fn rebuild(
    data_dir: &Path,
    relay: &RelaySettings,
    destinations: &[Destination],
    now: Timestamp,
) -> Result<Rebuilt, FsckError> {
    rebuild_on(&RealDisk, data_dir, relay, destinations, now)
}

/// `disk`: what is to be durable goes through it, to the real files.
fn rebuild_on(
    disk: &impl Disk,
    data_dir: &Path,
    relay: &RelaySettings,
    destinations: &[Destination],
    now: Timestamp,
) -> Result<Rebuilt, FsckError> {
    let _locks = repair::lock_all(data_dir)?;
    refuse_whole(disk, data_dir)?;
    let survey = survey(data_dir, relay, destinations)?;
    let workshop = make_ledger(disk, data_dir, &survey, now)?;
    let attic = free_attic(data_dir)?;
    // 1. What the relay will cut off is copied. A crash after this leaves copies that nobody needs.
    for taken in survey.taken.iter().filter(|taken| taken.rest > 0) {
        keep_rest(disk, taken, &attic)?;
    }
    // 2. The old ledger goes, its own file first: what lies beside it must not meet the new one, and it without them
    //    might pass for whole. A crash after this leaves no ledger, and every role refuses to start.
    let ledger = data_dir.join(FILE_NAME);
    move_aside(disk, &ledger, &attic)?;
    for companion in COMPANIONS {
        move_aside(disk, &data_dir.join(format!("{FILE_NAME}{companion}")), &attic)?;
    }
    // 3. The new one comes.
    disk.rename(&workshop.join(FILE_NAME), &ledger)?;
    clear(disk, &workshop)?;
    Ok(report(survey, &attic))
}

fn report(survey: Survey, attic: &Path) -> Rebuilt {
    let Survey {
        taken,
        sources,
        findings,
        ..
    } = survey;
    let is_sent = |taken: &&Taken| taken.batch.state == BatchState::Sent;
    Rebuilt {
        fine: findings.is_empty(),
        kept: attic.exists().then(|| attic.display().to_string()),
        batches: taken.len(),
        lines: taken.iter().map(|taken| taken.batch.contents.lines).sum(),
        sources: sources.len(),
        believed_delivered: taken.iter().filter(is_sent).count(),
        findings,
    }
}

/// A whole ledger knows more than a spool can tell. A copy is looked at: SQLite writes to what it opens.
fn refuse_whole(disk: &impl Disk, data_dir: &Path) -> Result<(), FsckError> {
    if Ledger::is_missing(data_dir) {
        return Ok(());
    }
    let workshop = data_dir.join(WORKSHOP);
    clear(disk, &workshop)?;
    disk.create_dir_all(&workshop)?;
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
        let from = data_dir.join(&name);
        match std::fs::copy(&from, workshop.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DiskError::new(DiskOperation::Read, &from, error).into());
            }
            _ => {}
        }
    }
    let faults = Ledger::open(&workshop).and_then(|ledger| ledger.integrity());
    clear(disk, &workshop)?;
    match faults {
        Ok(faults) if faults.is_empty() => Err(FsckError::Whole {
            path: data_dir.join(FILE_NAME),
        }),
        Ok(_) | Err(LedgerError::Damaged { .. }) => Ok(()),
        Err(LedgerError::Foreign { .. }) => Err(LedgerError::Foreign {
            path: data_dir.join(FILE_NAME),
        }
        .into()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the new ledger apart, as one whole file, and says in which folder.
fn make_ledger(
    disk: &impl Disk,
    data_dir: &Path,
    survey: &Survey,
    now: Timestamp,
) -> Result<PathBuf, FsckError> {
    let workshop = data_dir.join(WORKSHOP);
    clear(disk, &workshop)?;
    disk.create_dir_all(&workshop)?;
    let batches: Vec<_> = survey.taken.iter().map(|taken| taken.batch.clone()).collect();
    let mut ledger = Ledger::open_or_create(&workshop)?;
    ledger.restore(&batches, &survey.sources, &survey.given, now)?;
    ledger.close()?;
    Ok(workshop)
}

/// Removes the workshop, and what an earlier attempt left in it.
fn clear(disk: &impl Disk, workshop: &Path) -> Result<(), DiskError> {
    for name in disk.list(workshop)? {
        disk.remove(&workshop.join(name))?;
    }
    match std::fs::remove_dir(workshop) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DiskError::new(DiskOperation::Remove, workshop, error))
        }
        _ => Ok(()),
    }
}

/// A folder for what is kept, whose name is free.
fn free_attic(data_dir: &Path) -> Result<PathBuf, DiskError> {
    let names = RealDisk.list(data_dir)?;
    let number = |name: &String| name.strip_prefix("damaged-")?.parse::<u32>().ok();
    let last = names.iter().filter_map(number).max().unwrap_or(0);
    Ok(data_dir.join(format!("damaged-{}", last.saturating_add(1))))
}

fn move_aside(disk: &impl Disk, path: &Path, attic: &Path) -> Result<(), DiskError> {
    if disk.len(path)?.is_none() {
        return Ok(());
    }
    disk.create_dir_all(attic)?;
    disk.rename(path, &attic.join(path.file_name().unwrap_or_default()))
}

/// Copies what comes after a file's last whole line, to `attic/rest/SOURCE/FILE`.
fn keep_rest(disk: &impl Disk, taken: &Taken, attic: &Path) -> Result<(), DiskError> {
    let failed = |error| DiskError::new(DiskOperation::Read, &taken.path, error);
    let folder = attic.join("rest").join(taken.batch.batch.source.as_str());
    disk.create_dir_all(&folder)?;
    let mut copy = disk.open_append(&folder.join(taken.path.file_name().unwrap_or_default()))?;
    let mut file = File::open(&taken.path).map_err(failed)?;
    file.seek(SeekFrom::Start(taken.batch.contents.bytes))
        .map_err(failed)?;
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block).map_err(failed)? {
            0 => return copy.sync(),
            read => copy.append(block.get(..read).unwrap_or_default())?,
        }
    }
}
