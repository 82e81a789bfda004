//! Whose a file or folder is that a process of root makes: a role must be able to write what a command of root left there.
//!
//! Invariant: only what root itself made changes its owner.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

use crate::{DiskError, DiskOperation, parent};

/// Gives a new file the owner of the file that it replaces, or of its folder.
pub(crate) fn like(new: &File, replaced: &Path) -> io::Result<()> {
    let like = fs::metadata(replaced).or_else(|_| fs::metadata(parent(replaced)))?;
    give(new, &like)
}

/// Gives a file that is not replaced the owner of its folder, such as a lock.
pub(crate) fn of_file(file: &File, path: &Path) -> io::Result<()> {
    give(file, &fs::metadata(parent(path))?)
}

/// Gives a new folder the owner of the folder that it is in. A crash before leaves it to root, empty.
pub(crate) fn of_folder(new: &Path) -> Result<(), DiskError> {
    let given = || give(&File::open(new)?, &fs::metadata(parent(new))?);
    given().map_err(|source| DiskError::new(DiskOperation::CreateDir, new, source))
}

fn give(new: &File, like: &fs::Metadata) -> io::Result<()> {
    let own = new.metadata()?;
    if own.uid() == 0 && (like.uid(), like.gid()) != (own.uid(), own.gid()) {
        fchown(new, Some(like.uid()), Some(like.gid()))?;
    }
    Ok(())
}
