//! What stands in the folders, beside what the ledger says.
//!
//! Invariant: a file counts as a batch's only if the ledger knows a batch of that name and that source; every other
//! file is reported and left alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::{Batch, BatchState, Ledger};

use crate::HousekeeperError;
use crate::plan::{Form, Found};

/// A disk whose files can be read piece by piece: a batch may be larger than our memory.
pub(crate) trait ReadDisk: Disk {
    /// Opens a file for reading.
    fn open_read(&self, file: &Path) -> io::Result<impl Read>;
}

impl ReadDisk for RealDisk {
    fn open_read(&self, file: &Path) -> io::Result<impl Read> {
        File::open(file)
    }
}

/// The data folder's batch files.
#[derive(Debug)]
pub(crate) struct Spool<'a, D> {
    pub(crate) disk: &'a D,
    data_dir: &'a Path,
}

/// The files in `sent/`: by source folder and batch name, the forms that are there.
type Files = BTreeMap<(String, String), BTreeSet<Form>>;

impl<'a, D: ReadDisk> Spool<'a, D> {
    pub(crate) fn new(disk: &'a D, data_dir: &'a Path) -> Self {
        Self { disk, data_dir }
    }

    /// Where a batch's file of that form is, or would be.
    pub(crate) fn path(&self, batch: &Batch, form: Form) -> PathBuf {
        self.source_dir(BatchState::Sent, batch)
            .join(batch.name() + form.suffix())
    }

    fn source_dir(&self, state: BatchState, batch: &Batch) -> PathBuf {
        self.data_dir.join(state.as_str()).join(batch.source.as_str())
    }

    /// The batches that are sent and have arrived in `sent/`, oldest window first, and the expired ones of which
    /// something is left. Not those that are to go to a destination once more.
    pub(crate) fn survey(&self, ledger: &Ledger) -> Result<Vec<Found>, HousekeeperError> {
        // The ledger before the folder: what is sent in between is then left for the next run.
        let mut batches = ledger.batches_in(BatchState::Sent)?;
        let asked: HashSet<_> = ledger
            .resend_requests()?
            .iter()
            .map(|(batch, _)| batch.id)
            .collect();
        batches.retain(|batch| !asked.contains(&batch.id));
        let mut files = self.files()?;
        let mut found = Vec::with_capacity(batches.len());
        for batch in batches {
            match files.remove(&(batch.source.as_str().to_owned(), batch.name())) {
                Some(forms) => found.push(Found { batch, forms }),
                // The forwarder has recorded the delivery and has yet to move the file.
                None if self.is_on_the_way(&batch)? => {}
                None => found.push(Found {
                    batch,
                    forms: BTreeSet::new(),
                }),
            }
        }
        for ((source, name), forms) in files {
            let batch = ledger.batch_named(&name)?;
            match batch.filter(|batch| batch.source.as_str() == source) {
                Some(batch) if batch.expired_at.is_some() => found.push(Found { batch, forms }),
                // Sent since the ledger was read, or asked for once more.
                Some(_) => {}
                None => tracing::warn!(source, name, "file in sent is not in the ledger, left alone"),
            }
        }
        Ok(found)
    }

    fn files(&self) -> Result<Files, DiskError> {
        let sent = self.data_dir.join(BatchState::Sent.as_str());
        let mut files = Files::new();
        for source in self.disk.list(&sent)? {
            let names = match self.disk.list(&sent.join(&source)) {
                // A file beside the folders is none of ours.
                Err(error) if error.source.kind() == io::ErrorKind::NotADirectory => continue,
                names => names?,
            };
            for name in names {
                if let Some((name, form)) = split(&name) {
                    let key = (source.clone(), name.to_owned());
                    files.entry(key).or_default().insert(form);
                }
            }
        }
        Ok(files)
    }

    /// Whether a sent batch's file is somewhere, though it was not in `sent/`.
    fn is_on_the_way(&self, batch: &Batch) -> Result<bool, DiskError> {
        // In the order in which files move, and `sent/` again at the end: none can slip by.
        for state in [BatchState::Failed, BatchState::Ready, BatchState::Sent] {
            let file = self.source_dir(state, batch).join(batch.file_name());
            if self.disk.len(&file)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Takes a file name apart into the batch's name and the form; `None` if it has none of our suffixes.
fn split(file_name: &str) -> Option<(&str, Form)> {
    Form::ALL
        .into_iter()
        .find_map(|form| Some((file_name.strip_suffix(form.suffix())?, form)))
}
