//! A small disk: a file system in memory that tests can fill.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The size of one write when the disk is filled.
const BLOCK: [u8; 4096] = [b'x'; 4096];

/// A mounted tmpfs(5). It is unmounted when dropped: drop its users first.
pub(crate) struct Tmpfs {
    folder: TempDir,
}

impl Tmpfs {
    /// Mounts one of `mib` MiB. Fails the test if that is not permitted.
    pub(crate) fn mount(mib: u32) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("logferry-tmpfs-")
            .tempdir()
            .unwrap();
        let size = format!("size={mib}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "logferry-test"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(
            mount.status.success(),
            "this test mounts a small disk of its own: run it as root ({})",
            String::from_utf8_lossy(&mount.stderr).trim()
        );
        Self { folder }
    }

    /// A path on it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Bytes that can still be written.
    pub(crate) fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(self.folder.path()).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }

    /// Fills the disk until at most `free` bytes are free.
    pub(crate) fn fill(&self, free: u64) {
        let mut filler = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        // Other writers use the same space.
        while self.free() > free && filler.write_all(&BLOCK).is_ok() {}
    }

    /// Removes the filler.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path("filler")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(self.folder.path());
    }
}

fn unmount(folder: &Path) {
    let unmounted = Command::new("umount").arg(folder).status();
    let is_gone = unmounted.is_ok_and(|status| status.success());
    assert!(
        is_gone || std::thread::panicking(),
        "cannot unmount {}",
        folder.display()
    );
}
