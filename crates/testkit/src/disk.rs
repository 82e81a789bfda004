//! A disk in memory that keeps exactly what [`Disk`] guarantees, and nothing more.
//!
//! Invariants:
//! - A name is durable as soon as the call that made, moved or removed it returns; a file's bytes only after its
//!   [`DiskFile::sync`], whatever name it has by then.
//! - A handle belongs to the file, not to its name: it works after a rename and after a removal, and fails after a
//!   power loss.
//! - Paths are compared as text; `/` and the empty folder of a relative path always exist.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use logferry_durable::{Disk, DiskError, DiskFile, DiskOperation, DiskSpace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::faults::OrderedDiskFaults;
use crate::sim_contents::SimContents;

/// Free space of a new disk, in bytes.
const FREE_BYTES: u64 = 1 << 40;

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<SimDiskState>>,
}

/// A file of a [`SimDisk`], open for appending.
#[derive(Debug, Clone)]
pub struct SimFile {
    disk: SimDisk,
    id: FileId,
    generation: Generation,
    /// The path it was opened with, for errors.
    path: PathBuf,
    /// Whether a sync of it, or of a clone, has failed.
    sync_failed: Arc<AtomicBool>,
    /// The failed syncs of the file when it was opened. It is told of later ones, whoever asked for them (fsync(2), since
    /// Linux 4.13).
    failures_before: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FileId(u64);

/// The number of power losses so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Generation(u64);

#[derive(Debug, Default)]
struct SimDiskState {
    generation: Generation,
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, FileId>,
    files: BTreeMap<FileId, SimContents>,
    files_made: u64,
    free_bytes: u64,
    faults: OrderedDiskFaults,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        let state = SimDiskState {
            free_bytes: FREE_BYTES,
            ..SimDiskState::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Cuts the power and restores it. Each file keeps its synced bytes and a part of the bytes appended since; `seed`
    /// chooses the part. Open handles fail from now on, and ordered faults are cancelled.
    pub fn power_loss(&self, seed: u64) {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut state = self.lock();
        state.generation.0 += 1;
        state.faults = OrderedDiskFaults::default();
        let named: BTreeSet<FileId> = state.names.values().copied().collect();
        state.files.retain(|id, _| named.contains(id));
        let mut given_back = 0;
        for contents in state.files.values_mut() {
            let torn_len = chance.random_range(0..=contents.unsynced_len());
            // A later page may be written and an earlier one not.
            let hole_start = chance.random_range(0..=torn_len);
            let hole = hole_start..chance.random_range(hole_start..=torn_len);
            let left = contents.after_power_loss(torn_len, hole);
            given_back += bytes_of(contents.bytes().len() - left.len());
            *contents = SimContents::durable(left);
        }
        state.free_bytes += given_back;
    }

    /// The next `operation` fails with `kind`. Two calls make the next two fail.
    ///
    /// A failing append leaves half of its bytes. After a failing sync, its bytes are lost at the next power loss even
    /// if a later sync succeeds. Any other operation fails before it changes anything.
    pub fn fail_next(&self, operation: DiskOperation, kind: io::ErrorKind) {
        self.lock().faults.once.push((operation, kind));
    }

    /// The next `changes` operations that change something succeed. Then everything fails, as if the process had died,
    /// until [`Self::heal`] or [`Self::power_loss`].
    pub fn fail_after(&self, changes: u64) {
        self.lock().faults.changes_left = Some(changes);
    }

    /// Cancels the ordered faults. Written bytes stay, as after the kill of a process.
    pub fn heal(&self) {
        self.lock().faults = OrderedDiskFaults::default();
    }

    /// Sets the free space. An append that needs more writes the part that fits and fails.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.lock().free_bytes = bytes;
    }

    /// The bytes of `file` as a reader sees them; `None` if it does not exist.
    pub fn contents(&self, file: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        state.contents(file).map(|contents| contents.bytes().to_vec())
    }

    /// The bytes of `file` that survive a power loss for certain; `None` if it does not exist.
    pub fn durable_contents(&self, file: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        state
            .contents(file)
            .map(|contents| contents.after_power_loss(0, 0..0))
    }

    /// All files, sorted by path.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    /// Ignores poisoning, so that the panic message of the test is shown.
    fn lock(&self) -> MutexGuard<'_, SimDiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation unless a fault is due.
    fn operate<T>(
        &self,
        operation: DiskOperation,
        path: &Path,
        work: impl FnOnce(&mut SimDiskState) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        let mut state = self.lock();
        let done = state.faults.check(operation).and_then(|()| work(&mut state));
        done.map_err(|source| DiskError::new(operation, path, source))
    }
}

impl SimDiskState {
    fn contents(&self, file: &Path) -> Option<&SimContents> {
        self.files.get(self.names.get(file)?)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.parent().is_none() || path.as_os_str().is_empty() || self.folders.contains(path)
    }

    fn needs_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.is_folder(parent) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn needs_no_folder(&self, path: &Path) -> io::Result<()> {
        if self.is_folder(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(())
    }

    fn create(&mut self, file: &Path) -> FileId {
        let id = FileId(self.files_made);
        self.files_made += 1;
        self.files.insert(id, SimContents::default());
        self.names.insert(file.to_owned(), id);
        id
    }

    /// Removes a name. The bytes stay for open handles; their space is free at once.
    fn unlink(&mut self, file: &Path) {
        let freed = self.contents(file).map_or(0, |contents| contents.bytes().len());
        self.free_bytes += bytes_of(freed);
        self.names.remove(file);
    }

    fn file(&mut self, handle: &SimFile) -> io::Result<&mut SimContents> {
        if self.generation != handle.generation {
            return Err(io::Error::other(
                "simulated: the file was opened before the power loss",
            ));
        }
        let contents = self.files.get_mut(&handle.id);
        contents.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Reader = Cursor<Vec<u8>>;

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.operate(DiskOperation::CreateDir, dir, |state| {
            if dir.ancestors().any(|above| state.names.contains_key(above)) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            state.folders.extend(dir.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn open_append(&self, file: &Path) -> Result<SimFile, DiskError> {
        let (id, generation, failures_before) = self.operate(DiskOperation::Open, file, |state| {
            state.needs_parent(file)?;
            state.needs_no_folder(file)?;
            let id = state.names.get(file).copied();
            let id = id.unwrap_or_else(|| state.create(file));
            let failures = state.files.get(&id).map_or(0, SimContents::failed_syncs);
            Ok((id, state.generation, failures))
        })?;
        Ok(SimFile {
            disk: self.clone(),
            id,
            failures_before,
            generation,
            path: file.to_owned(),
            sync_failed: Arc::default(),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.operate(DiskOperation::Rename, from, |state| {
            state.needs_parent(to)?;
            let id = state.names.get(from).copied();
            let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            state.needs_no_folder(to)?;
            if from != to {
                state.unlink(to);
                state.names.remove(from);
                state.names.insert(to.to_owned(), id);
            }
            Ok(())
        })
    }

    fn remove(&self, file: &Path) -> Result<(), DiskError> {
        self.operate(DiskOperation::Remove, file, |state| {
            state.needs_no_folder(file)?;
            state.unlink(file);
            Ok(())
        })
    }

    fn replace(&self, file: &Path, contents: &[u8]) -> Result<(), DiskError> {
        // The steps of a real disk, so that a fault can happen between any two of them.
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = file.with_file_name(name);
        let mut written = self.open_append(&temporary)?;
        if !written.is_empty()? {
            written.truncate(0)?;
        }
        written.append(contents)?;
        written.sync()?;
        self.rename(&temporary, file)
    }

    fn write_again(&self, file: &Path, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.operate(DiskOperation::Append, file, |state| {
            let id = state.names.get(file).copied();
            let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            if let Some(contents) = state.files.get_mut(&id) {
                contents.write_again(usize::try_from(at).unwrap_or(usize::MAX), bytes);
            }
            Ok(())
        })
    }

    fn read(&self, file: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        self.operate(DiskOperation::Read, file, |state| {
            state.needs_no_folder(file)?;
            Ok(state.contents(file).map(|contents| contents.bytes().to_vec()))
        })
    }

    fn open_read(&self, file: &Path) -> Result<Option<Self::Reader>, DiskError> {
        Ok(self.read(file)?.map(Cursor::new))
    }

    fn len(&self, file: &Path) -> Result<Option<u64>, DiskError> {
        self.operate(DiskOperation::Read, file, |state| {
            let contents = state.contents(file);
            Ok(contents.map(|contents| bytes_of(contents.bytes().len())))
        })
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        self.operate(DiskOperation::List, dir, |state| {
            if state.names.contains_key(dir) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let entries = state.folders.iter().chain(state.names.keys());
            let inside = entries.filter(|path| path.parent() == Some(dir));
            let names = inside.filter_map(|path| path.file_name()?.to_str());
            let sorted: BTreeSet<String> = names.map(str::to_owned).collect();
            Ok(sorted.into_iter().collect())
        })
    }

    fn space(&self, path: &Path) -> Result<DiskSpace, DiskError> {
        self.operate(DiskOperation::FreeSpace, path, |state| {
            let used: u64 = state
                .files
                .values()
                .map(|file| bytes_of(file.bytes().len()))
                .sum();
            Ok(DiskSpace {
                free_bytes: state.free_bytes,
                total_bytes: state.free_bytes.saturating_add(used),
            })
        })
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let state = &mut *self.disk.lock();
        let fault = state.faults.check(DiskOperation::Append);
        let asked = bytes.len() / if fault.is_ok() { 1 } else { 2 };
        let room = usize::try_from(state.free_bytes).unwrap_or(usize::MAX);
        let written = asked.min(room);
        let file = state.file(self);
        let mut done = file.map(|contents| contents.append(&bytes[..written]));
        if done.is_ok() {
            state.free_bytes -= bytes_of(written);
        }
        done = done.and(fault);
        if done.is_ok() && written < asked {
            done = Err(io::ErrorKind::StorageFull.into());
        }
        done.map_err(|source| DiskError::new(DiskOperation::Append, &self.path, source))
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        let state = &mut *self.disk.lock();
        let mut fault = state.faults.check(DiskOperation::Sync);
        let failures = state.file(self).map_or(0, |contents| contents.failed_syncs());
        if self.sync_failed.load(Ordering::Relaxed) || failures > self.failures_before {
            fault = fault.and(Err(io::Error::other("simulated: an earlier sync failed")));
        }
        self.sync_failed.store(fault.is_err(), Ordering::Relaxed);
        let done = state.file(self).and_then(|contents| {
            match &fault {
                Ok(()) => contents.sync(),
                Err(_) => contents.fail_sync(),
            }
            fault
        });
        done.map_err(|source| DiskError::new(DiskOperation::Sync, &self.path, source))
    }

    fn truncate(&mut self, len: u64) -> Result<(), DiskError> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.disk.operate(DiskOperation::Truncate, &self.path, |state| {
            let contents = state.file(self)?;
            let before = bytes_of(contents.bytes().len());
            contents.truncate(len);
            state.free_bytes = (state.free_bytes + before).saturating_sub(bytes_of(len));
            Ok(())
        })
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.disk.operate(DiskOperation::Read, &self.path, |state| {
            Ok(bytes_of(state.file(self)?.bytes().len()))
        })
    }
}

/// A length in memory as a length on disk.
fn bytes_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
