//! A file system in memory: names, reused inodes, times.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use logferry_protocol::heartbeat::LogProblemKind;
use logferry_protocol::stream::{FileKey, Offset};

use crate::files::compressed::copy_kept;
use crate::files::discovery::finds;
use crate::files::open_writers::{OpenWriters, WrittenFiles};
use crate::files::path_check::PathFinding;
use crate::files::{FileHandle, FileStat, FileSystem};

#[derive(Debug)]
pub(super) struct SimInode {
    inode: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) modified: SystemTime,
    pub(super) writers: OpenWriters,
    pub(super) is_locked: bool,
}

pub(super) type File = Rc<RefCell<SimInode>>;

#[derive(Clone)]
pub(super) struct SimFileSystem {
    tree: Rc<RefCell<Tree>>,
    disturbance: Rc<RefCell<Option<Disturbance>>>,
}

#[derive(Debug)]
struct Tree {
    names: BTreeMap<PathBuf, File>,
    /// Inodes without a name; reused once nobody has them open.
    unlinked: Vec<File>,
    next_inode: u64,
    clock: SystemTime,
    opened: u32,
    handle_limit: usize,
    most_open: usize,
    writer_searches: u32,
    /// Paths that begin so are in a folder that may not be entered.
    hidden: Option<&'static str>,
}

type Disturbance = Box<dyn FnMut(&SimFileSystem)>;

impl Tree {
    fn is_hidden(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        self.hidden.is_some_and(|beginning| path.starts_with(beginning))
    }

    /// How many handles there are. The tree has one of each file itself.
    fn open(&self) -> usize {
        let files = self.names.values().chain(&self.unlinked);
        files.map(|file| Rc::strong_count(file) - 1).sum()
    }

    fn insert(&mut self, path: &str, file: File) {
        self.unlinked.extend(self.names.insert(path.into(), file));
    }
}

impl SimFileSystem {
    pub(super) fn new(clock: SystemTime) -> Self {
        let tree = Rc::new(RefCell::new(Tree {
            names: BTreeMap::new(),
            unlinked: Vec::new(),
            next_inode: 1,
            clock,
            opened: 0,
            handle_limit: usize::MAX,
            most_open: 0,
            writer_searches: 0,
            hidden: None,
        }));
        Self {
            tree,
            disturbance: Rc::default(),
        }
    }

    /// A disk with the same files under the same names and inodes.
    pub(super) fn copied(&self) -> Self {
        let tree = self.tree.borrow();
        let copy = Self::new(tree.clock);
        let copied = |(path, file): (&PathBuf, &File)| {
            let SimInode {
                inode,
                ref bytes,
                modified,
                writers,
                is_locked,
            } = *file.borrow();
            let bytes = bytes.clone();
            let file = SimInode {
                inode,
                bytes,
                modified,
                writers,
                is_locked,
            };
            (path.clone(), Rc::new(RefCell::new(file)))
        };
        let names = tree.names.iter().map(copied).collect();
        copy.tree.borrow_mut().names = names;
        copy.tree.borrow_mut().next_inode = tree.next_inode;
        copy
    }

    pub(super) fn set_clock(&self, clock: SystemTime) {
        let mut tree = self.tree.borrow_mut();
        tree.clock = tree.clock.max(clock);
    }

    pub(super) fn create(&self, path: &str) -> File {
        let mut tree = self.tree.borrow_mut();
        let unheld = tree.unlinked.iter().position(|file| Rc::strong_count(file) == 1);
        let reused = unheld.map(|index| tree.unlinked.swap_remove(index).borrow().inode);
        let inode = reused.unwrap_or_else(|| {
            tree.next_inode += 1;
            tree.next_inode
        });
        let file = Rc::new(RefCell::new(SimInode {
            inode,
            bytes: Vec::new(),
            modified: tree.clock,
            writers: OpenWriters::None,
            is_locked: false,
        }));
        tree.insert(path, file.clone());
        file
    }

    pub(super) fn get(&self, path: &str) -> Option<File> {
        self.tree.borrow().names.get(Path::new(path)).cloned()
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        let mut tree = self.tree.borrow_mut();
        if let Some(file) = tree.names.remove(Path::new(from)) {
            tree.insert(to, file);
        }
    }

    pub(super) fn remove(&self, path: &str) {
        let mut tree = self.tree.borrow_mut();
        let removed = tree.names.remove(Path::new(path));
        tree.unlinked.extend(removed);
    }

    pub(super) fn append(&self, file: &File, bytes: &[u8]) {
        let mut node = file.borrow_mut();
        node.bytes.extend_from_slice(bytes);
        node.modified = self.tick();
    }

    pub(super) fn truncate(&self, file: &File) {
        let mut node = file.borrow_mut();
        node.bytes.clear();
        node.modified = self.tick();
    }

    pub(super) fn link(&self, file: &File, path: &str) {
        self.tree.borrow_mut().insert(path, file.clone());
    }

    /// Paths that begin so cannot be seen any more; or all can.
    pub(super) fn hide(&self, beginning: Option<&'static str>) {
        self.tree.borrow_mut().hidden = beginning;
    }

    pub(super) fn opened(&self) -> u32 {
        self.tree.borrow().opened
    }

    pub(super) fn set_handle_limit(&self, limit: usize) {
        self.tree.borrow_mut().handle_limit = limit;
    }

    /// How often it was looked for files that are written to.
    pub(super) fn writer_searches(&self) -> u32 {
        self.tree.borrow().writer_searches
    }

    /// The most files that were open at once.
    pub(super) fn most_open(&self) -> usize {
        self.tree.borrow().most_open
    }

    /// From now on this happens in the middle of each search of the folder.
    pub(super) fn disturb(&self, disturbance: impl FnMut(&Self) + 'static) {
        *self.disturbance.borrow_mut() = Some(Box::new(disturbance));
    }

    fn tick(&self) -> SystemTime {
        let mut tree = self.tree.borrow_mut();
        tree.clock += Duration::from_micros(1);
        tree.clock
    }
}

impl FileSystem for SimFileSystem {
    type FileHandle = File;

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = glob::Pattern::new(pattern).expect("the test's pattern");
        let tree = self.tree.borrow();
        let names = tree
            .names
            .keys()
            .filter(|path| !tree.is_hidden(path) && finds(&pattern, path));
        let matching = names.cloned().collect();
        drop(tree);
        if let Some(disturbance) = &mut *self.disturbance.borrow_mut() {
            disturbance(self);
        }
        matching
    }

    fn stat(&self, path: &Path) -> Option<FileStat> {
        let tree = self.tree.borrow();
        tree.names
            .get(path)
            .filter(|_| !tree.is_hidden(path))?
            .stat()
            .ok()
    }

    fn check_pattern(&self, pattern: &str) -> Vec<PathFinding> {
        let refused = PathFinding {
            path: pattern.into(),
            kind: LogProblemKind::FolderRefused,
            reason: "the folder may not be entered".into(),
        };
        let is_hidden = self.tree.borrow().is_hidden(pattern.as_ref());
        Vec::from_iter(is_hidden.then_some(refused))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let mut tree = self.tree.borrow_mut();
        tree.opened += 1;
        match tree.names.get(path) {
            Some(file) if file.borrow().is_locked => Err(io::ErrorKind::PermissionDenied.into()),
            Some(_) if tree.open() >= tree.handle_limit => {
                Err(io::Error::from_raw_os_error(nix::libc::EMFILE))
            }
            Some(file) => {
                let file = file.clone();
                tree.most_open = tree.most_open.max(tree.open());
                Ok(file)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn written_files(&self) -> WrittenFiles {
        let mut tree = self.tree.borrow_mut();
        tree.writer_searches += 1;
        let files = tree.names.values().chain(&tree.unlinked);
        let with = |writers: OpenWriters| {
            let files = files.clone().filter(move |file| file.borrow().writers == writers);
            files.filter_map(|file| Some(file.stat().ok()?.key))
        };
        WrittenFiles {
            files: with(OpenWriters::Some).collect(),
            is_complete: with(OpenWriters::Unknown).next().is_none(),
        }
    }

    fn handle_limit(&self) -> usize {
        self.tree.borrow().handle_limit
    }
}

impl FileHandle for File {
    fn stat(&self) -> io::Result<FileStat> {
        let node = self.borrow();
        let inode = node.inode;
        Ok(FileStat {
            key: FileKey { dev: 1, inode },
            size: Offset::new(node.bytes.len() as u64),
            modified: node.modified,
        })
    }

    fn read_at(&self, buffer: &mut [u8], at: Offset) -> io::Result<usize> {
        let node = self.borrow();
        if node.is_locked {
            return Err(io::Error::other("the disk is bad"));
        }
        Ok(copy_kept(&node.bytes, at.get(), buffer))
    }
}
