//! The real disk: every operation is durable when it returns.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the crate that the ban points to"
)]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::{Disk, DiskError, DiskFile, DiskOperation, DiskSpace, disk_space, new_owner, parent, past_cache};

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// At least this many bytes at a time belong to a backlog: a log written live brings less between two commits.
const BACKLOG_BYTES: u64 = 256 * 1024;

/// Most threads that sync at the same time.
const SYNC_THREADS: usize = 8;
/// Up to this many syncs, one thread does all.
const SYNCS_ALONE: usize = 4;

/// A file of this machine, open for appending.
#[derive(Debug, Clone)]
pub struct RealFile {
    file: Arc<File>,
    path: Arc<Path>,
    /// Bytes appended since the last sync, through the page cache.
    unsynced: Arc<AtomicU64>,
    /// Whether it is known that the file system has no way past the page cache.
    only_cached: bool,
    /// Whether a sync has failed. The system tells that once for all clones (fsync(2), "NOTES"), so they sync one after
    /// the other, and each later one fails too.
    sync_failed: Arc<Mutex<bool>>,
}

fn at(operation: DiskOperation, path: &Path) -> impl FnOnce(io::Error) -> DiskError + '_ {
    move |source| DiskError::new(operation, path, source)
}

/// `None` if the file or folder does not exist.
fn if_exists<T>(
    result: io::Result<T>,
    operation: DiskOperation,
    path: &Path,
) -> Result<Option<T>, DiskError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // No file has a name that is longer than the file system takes.
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Ok(None),
        result => result.map(Some).map_err(at(operation, path)),
    }
}

/// Syncs a folder, so that the names in it survive a power cut (fsync(2): syncing a file does not sync its entry).
fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    let opened = File::open(dir).map_err(at(DiskOperation::Open, dir))?;
    opened.sync_all().map_err(at(DiskOperation::Sync, dir))
}

/// Does work that syncs, for each item, in parallel: the file system combines simultaneous syncs into one commit of its
/// journal, which takes as long as one. With 50 files of a group, this dominates the time of a commit.
fn in_parallel<T: Send>(
    items: &mut [T],
    work: impl Fn(&mut T) -> Result<(), DiskError> + Copy + Send,
) -> Result<(), DiskError> {
    let share = items.len().div_ceil(SYNC_THREADS).max(SYNCS_ALONE);
    let all = move |items: &mut [T]| items.iter_mut().try_for_each(work);
    if items.len() <= share {
        return all(items);
    }
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(SYNC_THREADS);
        for items in items.chunks_mut(share) {
            let thread = thread::Builder::new().spawn_scoped(scope, move || all(items));
            let none =
                |error| DiskError::new(DiskOperation::Sync, Path::new("with a thread of its own"), error);
            threads.push(thread.map_err(none)?);
        }
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// What became of a second name for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// The file has both names.
    Linked,
    /// There is no file under the first name.
    Gone,
    /// The file system cannot do it: the names are on two file systems, or it has no links, or this user may not make one.
    Impossible,
}

/// The name of a file while it is written.
fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Whether the file system, or this user, can give no file a second name.
fn has_no_links(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, Unsupported};
    [PermissionDenied, Unsupported].contains(&error.kind())
}

/// The name of a file while it is written, which no other writer uses.
fn own_temporary_of(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Writes a file whose name nobody reads yet, and syncs it. `mode`: of a new file, less the umask. `allow` says who may use it,
/// before it has contents.
fn write_synced(
    temporary: &Path,
    contents: &[u8],
    mode: u32,
    allow: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), DiskError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options
        .open(temporary)
        .map_err(at(DiskOperation::Open, temporary))?;
    allow(&file).map_err(at(DiskOperation::Open, temporary))?;
    file.write_all(contents)
        .map_err(at(DiskOperation::Append, temporary))?;
    file.sync_all().map_err(at(DiskOperation::Sync, temporary))
}

impl RealDisk {
    /// Gives files a second name, each pair a name and the new one, and syncs each folder that got one. The folders exist.
    ///
    /// A crash leaves some of the new names.
    pub fn link_all(self, pairs: &[(PathBuf, PathBuf)]) -> Result<Vec<LinkOutcome>, DiskError> {
        use io::ErrorKind::{CrossesDevices, NotFound, PermissionDenied, TooManyLinks, Unsupported};
        let link = |(from, to): &(PathBuf, PathBuf)| match fs::hard_link(from, to) {
            Ok(()) => Ok(LinkOutcome::Linked),
            Err(error) if error.kind() == NotFound => Ok(LinkOutcome::Gone),
            Err(error)
                if [CrossesDevices, PermissionDenied, TooManyLinks, Unsupported].contains(&error.kind()) =>
            {
                Ok(LinkOutcome::Impossible)
            }
            Err(error) => Err(DiskError::new(DiskOperation::Link, to, error)),
        };
        let outcomes = pairs.iter().map(link).collect::<Result<Vec<_>, _>>()?;
        let linked = pairs.iter().zip(&outcomes);
        let linked = linked.filter(|(_, outcome)| **outcome == LinkOutcome::Linked);
        let folders: BTreeSet<_> = linked.map(|((_, to), _)| parent(to)).collect();
        folders.into_iter().try_for_each(sync_dir)?;
        Ok(outcomes)
    }

    /// As [`Disk::replace`], with a file that only its owner may read.
    pub fn replace_secret(self, path: &Path, contents: &[u8]) -> Result<(), DiskError> {
        self.replace_as(path, contents, 0o600)
    }

    /// Writes a new file that only its owner may read. False if there is a file, be it another process's of this moment: that file
    /// stays.
    pub fn create_secret(self, path: &Path, contents: &[u8]) -> Result<bool, DiskError> {
        self.create_as(path, contents, 0o600)
    }

    /// Writes a new file that all may read. False if there is a file, as [`Self::create_secret`].
    pub fn create(self, path: &Path, contents: &[u8]) -> Result<bool, DiskError> {
        self.create_as(path, contents, 0o644)
    }

    fn create_as(self, path: &Path, contents: &[u8], mode: u32) -> Result<bool, DiskError> {
        // 1. The contents under a name that nobody else writes to; a crash leaves that file.
        let temporary = own_temporary_of(path);
        write_synced(&temporary, contents, mode, |file| new_owner::like(file, path))?;
        // 2. The name, unless there is one; a crash leaves both names.
        let linked = fs::hard_link(&temporary, path);
        if linked.as_ref().is_err_and(has_no_links) {
            return self.rename(&temporary, path).map(|()| true);
        }
        fs::remove_file(&temporary).map_err(at(DiskOperation::Remove, &temporary))?;
        match linked {
            Ok(()) => sync_dir(parent(path)).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(at(DiskOperation::Link, path)(error)),
        }
    }

    /// As [`Disk::replace`], with a file that only this user may write, and only the group `group` may read beside it;
    /// `None`: the group of this user.
    pub fn replace_for_group(
        self,
        path: &Path,
        contents: &[u8],
        group: Option<u32>,
    ) -> Result<(), DiskError> {
        let temporary = temporary_of(path);
        // 1. The new contents under another name; a crash leaves the old file and a stale temporary one.
        write_synced(&temporary, contents, 0o600, |file| {
            fchown(file, None, group)?;
            file.set_permissions(fs::Permissions::from_mode(0o640))
        })?;
        // 2. The switch; a crash leaves the old file or the new one.
        self.rename(&temporary, path)
    }

    /// Gives a file a second name, which it keeps when the first one is replaced. The second name must be free.
    pub fn keep_as(self, path: &Path, second: &Path) -> Result<(), DiskError> {
        fs::hard_link(path, second).map_err(at(DiskOperation::Rename, path))?;
        // A crash before this leaves the file with one name or two.
        sync_dir(parent(second))
    }

    /// `mode`: of the new file, less the umask.
    fn replace_as(self, path: &Path, contents: &[u8], mode: u32) -> Result<(), DiskError> {
        let temporary = temporary_of(path);
        // 1. The new contents under another name; a crash leaves the old file and a stale temporary one.
        write_synced(&temporary, contents, mode, |file| new_owner::like(file, path))?;
        // 2. The switch; a crash leaves the old file or the new one.
        self.rename(&temporary, path)
    }
}

impl Disk for RealDisk {
    type File = RealFile;
    type Reader = File;

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        if dir.is_dir() {
            return Ok(());
        }
        let above = parent(dir);
        if above != dir {
            self.create_dir_all(above)?;
        }
        match fs::create_dir(dir) {
            // Without the sync the folder may be lost in a crash. Remove it, or the next call would find it and not sync.
            Ok(()) => new_owner::of_folder(dir)
                .and_then(|()| sync_dir(above))
                .inspect_err(|_| drop(fs::remove_dir(dir))),
            // Another role created it in the meantime.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            Err(error) => Err(DiskError::new(DiskOperation::CreateDir, dir, error)),
        }
    }

    fn open_append(&self, path: &Path) -> Result<RealFile, DiskError> {
        // An empty file may come from a call that failed, or was killed, before the sync.
        let is_new = fs::metadata(path).map_or(true, |found| found.len() == 0);
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(at(DiskOperation::Open, path))?;
        if is_new {
            sync_dir(parent(path))?;
        }
        Ok(RealFile {
            file: Arc::new(file),
            path: Arc::from(path),
            unsynced: Arc::default(),
            only_cached: false,
            sync_failed: Arc::default(),
        })
    }

    fn open_append_all(&self, files: &[PathBuf]) -> Result<Vec<RealFile>, DiskError> {
        let mut opened: Vec<(&PathBuf, Option<RealFile>)> = files.iter().map(|path| (path, None)).collect();
        in_parallel(&mut opened, |(path, file)| {
            *file = Some(self.open_append(path)?);
            Ok(())
        })?;
        Ok(opened.into_iter().filter_map(|(_, file)| file).collect())
    }

    fn create_dirs_all(&self, dirs: &[PathBuf]) -> Result<(), DiskError> {
        let mut missing: Vec<_> = dirs.iter().filter(|dir| !dir.is_dir()).collect();
        in_parallel(&mut missing, |dir| self.create_dir_all(dir))
    }

    fn sync_all(&self, files: &mut [&mut RealFile]) -> Result<(), DiskError> {
        in_parallel(files, |file| file.sync())
    }

    fn write_again(&self, path: &Path, at_byte: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let opened = OpenOptions::new().write(true).open(path);
        let file = opened.map_err(at(DiskOperation::Open, path))?;
        file.write_all_at(bytes, at_byte)
            .map_err(at(DiskOperation::Append, path))?;
        file.sync_all().map_err(at(DiskOperation::Sync, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::rename(from, to).map_err(at(DiskOperation::Rename, from))?;
        // The new entry first: a crash between the two syncs may show both names of the one file, never none.
        sync_dir(parent(to))?;
        if parent(from) != parent(to) {
            sync_dir(parent(from))?;
        }
        Ok(())
    }

    fn rename_all(&self, pairs: &[(PathBuf, PathBuf)]) -> Result<(), DiskError> {
        for (from, to) in pairs {
            fs::rename(from, to).map_err(at(DiskOperation::Rename, from))?;
        }
        // The new entries first, as with one.
        let folders = |pick: fn(&(PathBuf, PathBuf)) -> &PathBuf| -> BTreeSet<_> {
            pairs.iter().map(|pair| parent(pick(pair))).collect()
        };
        let (left, entered) = (folders(|(from, _)| from), folders(|(_, to)| to));
        entered.iter().try_for_each(|dir| sync_dir(dir))?;
        left.difference(&entered).try_for_each(|dir| sync_dir(dir))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        if_exists(fs::remove_file(path), DiskOperation::Remove, path)?
            .map_or(Ok(()), |()| sync_dir(parent(path)))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), DiskError> {
        self.replace_as(path, contents, 0o666)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        if_exists(fs::read(path), DiskOperation::Read, path)
    }

    fn open_read(&self, path: &Path) -> Result<Option<File>, DiskError> {
        if_exists(File::open(path), DiskOperation::Open, path)
    }

    fn len(&self, path: &Path) -> Result<Option<u64>, DiskError> {
        if_exists(
            fs::metadata(path).map(|found| found.len()),
            DiskOperation::Read,
            path,
        )
    }

    fn own_len(&self, path: &Path) -> Result<u64, DiskError> {
        let found = if_exists(fs::metadata(path), DiskOperation::Read, path)?;
        Ok(found
            .filter(|found| found.nlink() == 1)
            .map_or(0, |found| found.len()))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let Some(entries) = if_exists(fs::read_dir(dir), DiskOperation::List, dir)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at(DiskOperation::List, dir))?;
            // logferry gives UTF-8 names only, so it did not create a file with another name.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn space(&self, path: &Path) -> Result<DiskSpace, DiskError> {
        disk_space(path)
    }
}

impl RealFile {
    /// Gives the page cache of all whole pages back, once they are on disk (`posix_fadvise(2)`).
    ///
    /// A backlog is not read again soon, and would push out pages that others need. The next append then reuses the pages
    /// just freed, which are still in the CPU cache. This saves a third of the relay's CPU time.
    fn drop_cached(&self) {
        const PAGE: u64 = 4096;
        let Ok(len) = self.file.metadata().map(|metadata| metadata.len()) else {
            return;
        };
        // The next append continues the last page, which would have to be read back first.
        let whole = i64::try_from(len - len % PAGE).unwrap_or(0);
        // Zero would mean "to the end". This is advice only, so an error does not matter.
        if whole > 0 {
            let _ = posix_fadvise(&*self.file, 0, whole, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }
}

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        (&*self.file)
            .write_all(bytes)
            .map_err(at(DiskOperation::Append, &self.path))?;
        let added = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.unsynced.fetch_add(added, Ordering::Relaxed);
        Ok(())
    }

    fn append_backlog(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let added = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.only_cached || added < BACKLOG_BYTES {
            return self.append(bytes);
        }
        let appended =
            past_cache::append(&self.file, bytes).map_err(at(DiskOperation::Append, &self.path))?;
        let cached = u64::try_from(appended.cached).unwrap_or(u64::MAX);
        self.unsynced.fetch_add(cached, Ordering::Relaxed);
        self.only_cached = !appended.is_possible;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        let mut failed = self.sync_failed.lock().unwrap_or_else(PoisonError::into_inner);
        // A clone may append meanwhile. Its bytes count for the next sync.
        let synced = self.unsynced.swap(0, Ordering::Relaxed);
        let done = if *failed {
            Err(io::Error::other("an earlier sync of this file failed"))
        } else {
            self.file.sync_data()
        };
        *failed = done.is_err();
        drop(failed);
        done.map_err(at(DiskOperation::Sync, &self.path))?;
        if synced >= BACKLOG_BYTES {
            self.drop_cached();
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> Result<(), DiskError> {
        self.file
            .set_len(len)
            .map_err(at(DiskOperation::Truncate, &self.path))?;
        self.file.sync_all().map_err(at(DiskOperation::Sync, &self.path))
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(at(DiskOperation::Read, &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_file_can_have_is_that_of_no_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x".repeat(256));
        assert!(RealDisk.open_append(&path).is_err(), "it cannot be made");
        RealDisk.remove(&path).expect("it is not there");
        assert_eq!(RealDisk.read(&path).expect("it is not there"), None);
    }

    #[test]
    fn a_file_with_two_names_gives_no_room_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        assert_eq!(RealDisk.own_len(&path).expect("read"), 0);
        RealDisk.replace(&path, b"four").expect("written");
        assert_eq!(RealDisk.own_len(&path).expect("read"), 4);
        RealDisk.link_all(&[(path.clone(), other)]).expect("linked");
        assert_eq!(RealDisk.own_len(&path).expect("read"), 0);
    }
}
