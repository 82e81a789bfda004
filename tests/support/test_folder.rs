//! A test's own folder and its ports.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
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

/// A free port, which no other test takes while this process runs.
///
/// It lies below Linux's range of ephemeral ports (ip(7), `ip_local_port_range`). From that range, a client that keeps
/// connecting to a dead server's port can get the same port as its own and connect to itself.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        // Processes that start one after the other begin far from each other.
        let start = std::process::id().wrapping_mul(641);
        let port = FIRST + start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(port).expect("below 32768");
        if reserve(port) && is_free(port) {
            return port;
        }
    }
    panic!("no port is free");
}

/// Whether this process is the first that wants the port. Between the search for a port and the start of the server that listens
/// on it, another test would find it free too. An abstract name (unix(7)) leaves no file, and is free again when its process ends.
fn reserve(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("logferry-test-port-{port}")).expect("a short name");
    match UnixListener::bind_addr(&name) {
        Ok(reservation) => {
            std::mem::forget(reservation);
            true
        }
        Err(_) => false,
    }
}

fn is_free(port: u16) -> bool {
    let is_free = |address: IpAddr| TcpListener::bind((address, port)).is_ok();
    // A host without IPv6 has no listener there either.
    let is_free_in_ipv6 =
        TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() || is_free(Ipv6Addr::UNSPECIFIED.into());
    is_free(Ipv4Addr::UNSPECIFIED.into()) && is_free_in_ipv6
}
