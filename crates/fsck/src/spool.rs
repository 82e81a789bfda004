//! The files in the spool's folders.

use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::BatchState;

/// What a file's name says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// `NAME.log`.
    Plain(String),
    /// `NAME.log.gz`.
    Compressed(String),
    /// On its way to become one of the two, of the batch of that name.
    Partial(String),
    /// None of these.
    Other,
}

impl Form {
    fn of(file_name: &str) -> Self {
        let partial = file_name.strip_suffix(".tmp");
        let whole = partial.unwrap_or(file_name);
        let name = |suffix| whole.strip_suffix(suffix).map(ToOwned::to_owned);
        match (name(".log"), name(".log.gz")) {
            (Some(name), _) | (_, Some(name)) if partial.is_some() => Self::Partial(name),
            (Some(name), _) => Self::Plain(name),
            (_, Some(name)) => Self::Compressed(name),
            (None, None) => Self::Other,
        }
    }
}

/// A file in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) form: Form,
}

impl File {
    pub(crate) fn is_compressed(&self) -> bool {
        matches!(self.form, Form::Compressed(_))
    }
}

/// Every file below the folders of the states.
pub(crate) fn files(data_dir: &Path) -> Result<Vec<File>, DiskError> {
    let mut files = Vec::new();
    for state in BatchState::ALL {
        add_files(&data_dir.join(state.as_str()), &mut files)?;
    }
    Ok(files)
}

fn add_files(dir: &Path, files: &mut Vec<File>) -> Result<(), DiskError> {
    for name in RealDisk.list(dir)? {
        let path = dir.join(&name);
        // A link is a file that is not ours, wherever it leads.
        if path.is_dir() && !path.is_symlink() {
            add_files(&path, files)?;
        } else {
            files.push(File {
                form: Form::of(&name),
                path,
            });
        }
    }
    Ok(())
}
