//! Finds a batch's file, also while another role moves it.

use std::io;
use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskOperation};
use logferry_ledger::{Batch, BatchState};

use crate::layout::{FileForm, Spool, SpoolFile};
use crate::reader::BatchReader;

/// The folders of sealed batches, in the order in which they are searched.
const SEALED: [BatchState; 3] = [BatchState::Ready, BatchState::Failed, BatchState::Sent];

/// All folders, in the order in which they are searched.
const ALL: [BatchState; 4] = [
    BatchState::Open,
    BatchState::Ready,
    BatchState::Failed,
    BatchState::Sent,
];

/// A file that was found, and its reader.
pub type OpenedFile<F> = (SpoolFile, BatchReader<F>);

impl<D: Disk> Spool<D> {
    /// Whether a batch's plain file is in a state's folder.
    pub fn is_in(&self, state: BatchState, batch: &Batch) -> Result<bool, DiskError> {
        Ok(self.disk().len(&self.path(batch, state))?.is_some())
    }

    /// The folder in which a sealed batch's file waits for delivery: `ready/`, `failed/`, or none.
    pub fn waits_in(&self, batch: &Batch) -> Result<Option<BatchState>, DiskError> {
        for state in [BatchState::Ready, BatchState::Failed] {
            if self.is_in(state, batch)? {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// The folders that hold a file of a batch, if these are several. A move is a rename, so only somebody else makes a
    /// second one.
    pub fn copies(&self, batch: &Batch) -> Result<Vec<BatchState>, DiskError> {
        let mut found = self.folders_with(batch)?;
        if found.len() > 1 {
            // A file that is moved from one folder to a later one is seen in both.
            let again = self.folders_with(batch)?;
            found.retain(|state| again.contains(state));
        }
        Ok(if found.len() > 1 { found } else { Vec::new() })
    }

    fn folders_with(&self, batch: &Batch) -> Result<Vec<BatchState>, DiskError> {
        let mut found = Vec::new();
        for state in ALL {
            let compressed = self.path_of_form(batch, state, FileForm::Compressed);
            if self.is_in(state, batch)?
                || state == BatchState::Sent && self.disk().len(&compressed)?.is_some()
            {
                found.push(state);
            }
        }
        Ok(found)
    }

    /// Finds a batch's file in any folder.
    pub fn find(&self, batch: &Batch) -> Result<Option<SpoolFile>, DiskError> {
        self.find_in(batch, &ALL)
    }

    /// Finds a sealed batch's file: in any folder but `open/`.
    pub fn find_sealed(&self, batch: &Batch) -> Result<Option<SpoolFile>, DiskError> {
        self.find_in(batch, &SEALED)
    }

    /// Finds a batch's file and opens it.
    pub fn find_and_open(&self, batch: &Batch) -> Result<Option<OpenedFile<D::Reader>>, DiskError> {
        // Twice: the file may be moved after it was found.
        for _ in 0..2 {
            let Some(file) = self.find(batch)? else {
                return Ok(None);
            };
            if let Some(reader) = self.open(&file)? {
                return Ok(Some((file, reader)));
            }
        }
        Ok(None)
    }

    /// Opens a file to read its plain bytes; `None` if it is gone.
    pub fn open(&self, file: &SpoolFile) -> Result<Option<BatchReader<D::Reader>>, DiskError> {
        self.open_as(&file.path, file.form)
    }

    /// Whether an open batch's bytes end inside a line. Its file must hold the bytes that the ledger has.
    pub fn ends_inside_line(&self, batch: &Batch) -> Result<bool, DiskError> {
        let path = self.path(batch, BatchState::Open);
        let Some(last) = batch.contents.bytes.checked_sub(1) else {
            return Ok(false);
        };
        let failed = |error| DiskError::new(DiskOperation::Read, &path, error);
        let opened = self.open_as(&path, FileForm::Plain)?;
        let mut file = opened.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, last).map_err(failed)?;
        Ok(byte != *b"\n")
    }

    /// Opens a path as a file of that form, to read its plain bytes; `None` if it is gone.
    pub fn open_as(&self, path: &Path, form: FileForm) -> Result<Option<BatchReader<D::Reader>>, DiskError> {
        let opened = self.disk().open_read(path)?;
        Ok(opened.map(|file| match form {
            FileForm::Compressed | FileForm::Partial => BatchReader::gzip(file),
            FileForm::Plain | FileForm::PartialPlain | FileForm::Other => BatchReader::plain(file),
        }))
    }

    fn find_in(&self, batch: &Batch, states: &[BatchState]) -> Result<Option<SpoolFile>, DiskError> {
        self.search(batch, states, |path| Ok(self.disk().len(path)?.is_some()))
    }
}

impl<D> Spool<D> {
    fn search(
        &self,
        batch: &Batch,
        states: &[BatchState],
        mut exists: impl FnMut(&Path) -> Result<bool, DiskError>,
    ) -> Result<Option<SpoolFile>, DiskError> {
        // Twice: during the first search the file may be moved to a folder that was searched before.
        for _ in 0..2 {
            for &state in states {
                // The plain file first: while it is being compressed, the other one is not proven yet.
                let forms: &[FileForm] = match state {
                    BatchState::Sent => &[FileForm::Plain, FileForm::Compressed],
                    BatchState::Open | BatchState::Ready | BatchState::Failed => &[FileForm::Plain],
                };
                for &form in forms {
                    let file = self.file(batch, state, form);
                    if exists(&file.path)? {
                        return Ok(Some(file));
                    }
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Host;

    #[test]
    fn file_that_is_moved_once_during_the_search_is_found() {
        let host = Host::new();
        let batch = host.batch(b"one\n");
        let spool = &host.spool;
        for (from, to) in ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))) {
            for moved_at in 0..12 {
                let mut looks = 0;
                let found = spool.search(&batch, &ALL, |path| {
                    looks += 1;
                    let state = if looks > moved_at { to } else { from };
                    Ok(path == spool.path(&batch, state))
                });
                assert!(found.expect("no error").is_some(), "{from} to {to} at {moved_at}");
            }
        }
    }
}
