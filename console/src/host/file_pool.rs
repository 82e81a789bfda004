//! Open databases, for one reader at a time each.
//!
//! A file that was put in the place of the open one (`fsck --rebuild`, a restored copy) is noticed by its device and inode: the
//! open file would stay as it is for ever.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Databases that are kept open.
const KEPT_MAX: usize = 8;
/// A database is opened anew after so long: its schema is looked at only then.
const KEPT_FOR: Duration = Duration::from_mins(5);

/// Device and inode.
pub(crate) type FileIdentity = (u64, u64);

#[derive(Debug)]
pub(super) struct FilePool<D> {
    file: PathBuf,
    idle: Mutex<Vec<TakenFile<D>>>,
}

/// A database that is out of the pool.
#[derive(Debug)]
pub(super) struct TakenFile<D> {
    /// The file that had its name when it was opened.
    identity: Option<FileIdentity>,
    opened: Instant,
    pub(super) database: D,
}

impl<D> FilePool<D> {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            idle: Mutex::default(),
        }
    }

    /// One of the databases, or a new one.
    pub(super) fn take<E>(&self, open: impl FnOnce() -> Result<D, E>) -> Result<TakenFile<D>, E> {
        let identity = identity(&self.file);
        let is_current = |it: &TakenFile<D>| it.identity == identity && it.opened.elapsed() < KEPT_FOR;
        let kept = self.idle().pop().filter(is_current);
        kept.map_or_else(
            || {
                let opened = Instant::now();
                let database = open()?;
                Ok(TakenFile {
                    identity,
                    opened,
                    database,
                })
            },
            Ok,
        )
    }

    /// Keeps it for the next reader. One that failed may have a reason of its own to fail again: it is better dropped.
    pub(super) fn give_back(&self, file: TakenFile<D>) {
        let mut idle = self.idle();
        if idle.len() < KEPT_MAX && file.identity.is_some() {
            idle.push(file);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<TakenFile<D>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file that has this name now.
pub(crate) fn identity(file: &Path) -> Option<FileIdentity> {
    let file = std::fs::metadata(file).ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test lays out a file")]
mod tests {
    use super::*;

    #[test]
    fn database_is_opened_once_until_another_file_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let write = |text: &str| {
            let new = folder.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &file).unwrap();
        };
        write("one");
        let pool = FilePool::new(file.clone());
        let opened = std::cell::Cell::new(0);
        let look = |may_be_kept: bool| -> Result<String, std::io::Error> {
            let open = || {
                opened.set(opened.get() + 1);
                std::fs::read_to_string(&file)
            };
            let taken = pool.take(open)?;
            let text = taken.database.clone();
            if may_be_kept {
                pool.give_back(taken);
            }
            Ok(text)
        };
        assert_eq!(
            (look(true).unwrap(), look(true).unwrap(), opened.get()),
            ("one".into(), "one".into(), 1)
        );
        write("two");
        assert_eq!((look(false).unwrap(), opened.get()), ("two".into(), 2));
        assert_eq!(
            (look(true).unwrap(), opened.get()),
            ("two".into(), 3),
            "it was not kept"
        );
    }
}
