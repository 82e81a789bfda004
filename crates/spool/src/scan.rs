//! Lists the files in the spool's folders, those of no batch included.

use std::io;
use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::BatchState;

use crate::layout::{FileForm, Spool, SpoolFile};

impl<D: Disk> Spool<D> {
    /// The entries of a state's source folders, and the files beside those folders, sorted by source and name.
    pub fn files_in(&self, state: BatchState) -> Result<Vec<SpoolFile>, DiskError> {
        let folder = self.state_folder(state);
        let mut files = Vec::new();
        for source in self.disk().list(&folder)? {
            let inside = folder.join(&source);
            match self.disk().list(&inside) {
                Err(error) if error.source.kind() == io::ErrorKind::NotADirectory => {
                    files.push(spool_file(state, None, inside, &source));
                }
                names => {
                    for name in names? {
                        files.push(spool_file(state, Some(&source), inside.join(&name), &name));
                    }
                }
            }
        }
        Ok(files)
    }
}

impl Spool<RealDisk> {
    /// Every file below the folders of all states, at any depth. A symbolic link counts as a file.
    pub fn all_files(&self) -> Result<Vec<SpoolFile>, DiskError> {
        let mut files = Vec::new();
        for state in BatchState::ALL {
            add_files(state, &[], &self.state_folder(state), &mut files)?;
        }
        Ok(files)
    }
}

/// `below`: the names of the folders between the state's folder and the files of `folder`.
fn add_files(
    state: BatchState,
    below: &[&str],
    folder: &Path,
    files: &mut Vec<SpoolFile>,
) -> Result<(), DiskError> {
    for name in RealDisk.list(folder)? {
        let path = folder.join(&name);
        if path.is_dir() && !path.is_symlink() {
            add_files(state, &[below, &[name.as_str()]].concat(), &path, files)?;
        } else {
            let source = match below {
                [source] => Some(*source),
                _ => None,
            };
            files.push(spool_file(state, source, path, &name));
        }
    }
    Ok(())
}

fn spool_file(state: BatchState, source: Option<&str>, path: PathBuf, file_name: &str) -> SpoolFile {
    let (batch_name, form) = FileForm::split(file_name);
    SpoolFile {
        path,
        state,
        source: source.map(str::to_owned),
        batch_name: batch_name.to_owned(),
        form,
    }
}
