//! A test's own folder and its ports.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// The subfolder with the processes' output.
pub(crate) const OUTPUT: &str = "output";

/// Lines of each process's output that a failed test prints.
const SHOWN_LINES: usize = 60;

/// The folder of one test. It is removed when the test succeeds. When the test fails, the end of each process's output is
/// printed and the folder stays.
pub(crate) struct TestFolder {
    folder: TempDir,
}

impl TestFolder {
    /// A new folder.
    pub(crate) fn new(test: &str) -> Self {
        let prefix = format!("logferry-{test}-");
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        fs::create_dir(folder.path().join(OUTPUT)).unwrap();
        Self { folder }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new folder in the folder.
    pub(crate) fn create_dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file in the folder. A reader sees the old or the whole new content.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.path(name), self.path("new"));
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the test's folder stays: {}", self.folder.path().display());
            for output in fs::read_dir(self.path(OUTPUT)).into_iter().flatten().flatten() {
                show_end(&output.path());
            }
        }
    }
}

fn show_end(output: &Path) {
    let text = String::from_utf8_lossy(&fs::read(output).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("--- {}", output.display());
    for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        eprintln!("{line}");
    }
}

/// A free port on the loopback address. It stays free while no process listens on it.
///
/// It lies below Linux's range of ephemeral ports (ip(7), `ip_local_port_range`). From that range, a client that keeps
/// connecting to a dead server's port can get the same port as its own and connect to itself.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    const PER_PROCESS: u32 = 64;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() % COUNT * PER_PROCESS;
    for _ in 0..COUNT {
        let port = FIRST + (start + TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(port).expect("below 32768");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
