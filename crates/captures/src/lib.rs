//! What collector and sender share: where capture files are, and what of them the relay has.
//!
//! ```text
//! <collector.state_dir>/<source>/<source>.log             the live capture: the log <source> of the sender
//! <collector.state_dir>/<source>/<source>.log.00000007    rotated; goes once the relay has all of it
//! <sender.state_dir>/captures.json                        what of them the relay has, for the collector
//! ```
//!
//! The collector alone writes and removes captures; the sender reads them. The sender alone writes `captures.json`; the collector
//! reads it. So neither needs the right to write into the other's folder, and their users may differ, in one group.

use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError};
use logferry_protocol::names::LogName;
use logferry_protocol::stream::Head;
use serde::{Deserialize, Serialize};

/// The name of the sender's file.
const SHIPPED_FILE: &str = "captures.json";

const VERSION: u32 = 1;

/// Digits of the number of a rotated capture: more than four, so that the sender takes the smaller number for the older file.
const DIGITS: usize = 8;

/// The folder of a source.
pub fn source_dir(state_dir: &Path, source: &LogName) -> PathBuf {
    state_dir.join(source.as_str())
}

/// The live capture of a source.
pub fn live_path(state_dir: &Path, source: &LogName) -> PathBuf {
    source_dir(state_dir, source).join(live_name(source))
}

/// The capture that a source has filled as its file number `number`.
pub fn rotated_path(state_dir: &Path, source: &LogName, number: u64) -> PathBuf {
    source_dir(state_dir, source).join(format!("{}.{number:0DIGITS$}", live_name(source)))
}

/// The number of a rotated capture, by the name of its file; `None` for another file.
pub fn rotated_number(source: &LogName, file_name: &str) -> Option<u64> {
    let digits = file_name.strip_prefix(&live_name(source))?.strip_prefix('.')?;
    let is_number = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

fn live_name(source: &LogName) -> String {
    format!("{source}.log")
}

/// The sources that have a capture in this folder, sorted.
pub fn sources(disk: &impl Disk, state_dir: &Path) -> Result<Vec<LogName>, DiskError> {
    let names = disk.list(state_dir)?.into_iter();
    let mut sources: Vec<LogName> = names.filter_map(|name| name.parse().ok()).collect();
    let has_files = |source: &LogName| {
        let files = disk.list(&source_dir(state_dir, source)).unwrap_or_default();
        let is_capture = |name: &String| *name == live_name(source) || rotated_number(source, name).is_some();
        files.iter().any(is_capture)
    };
    sources.retain(has_files);
    Ok(sources)
}

/// What of the captures the relay has, as the sender knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedCaptures {
    /// A file each.
    pub files: Vec<ShippedCapture>,
}

/// A capture file, and what of it the relay has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedCapture {
    /// The source.
    pub source: LogName,
    /// The inode of the file: its name changes when it is rotated.
    pub inode: u64,
    /// Its beginning: numbers of files are used again.
    pub head: Head,
    /// The bytes that the relay has acknowledged, from the first on.
    pub acknowledged: u64,
    /// Whether the sender has told the relay that this was all, and does not follow the file any more.
    pub finished: bool,
}

impl ShippedCaptures {
    /// Whether the relay has all of this file, of which these are its number, its beginning and its length.
    pub fn has_all_of(&self, source: &LogName, (inode, head): (u64, Head), len: u64) -> bool {
        self.files.iter().any(|file| {
            file.source == *source
                && (file.inode, file.head) == (inode, head)
                && file.acknowledged == len
                && file.finished
        })
    }
}

/// Why the sender's file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum ShippedError {
    /// It cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not what a sender writes.
    #[error("{} is not a sender's file: {reason}; the sender writes it again when it is started", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another version wrote it.
    #[error("{} is of version {version}, and this program reads version {VERSION}; run collector and sender of one version", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct VersionedShipped {
    version: u32,
    #[serde(flatten)]
    shipped: ShippedCaptures,
}

#[derive(Deserialize)]
struct ShippedVersion {
    version: u32,
}

/// The sender's file in its state folder.
pub fn shipped_path(sender_state_dir: &Path) -> PathBuf {
    sender_state_dir.join(SHIPPED_FILE)
}

/// What the sender has said; nothing if there is no such file yet.
pub fn read_shipped(disk: &impl Disk, sender_state_dir: &Path) -> Result<ShippedCaptures, ShippedError> {
    let path = shipped_path(sender_state_dir);
    let Some(bytes) = disk.read(&path)? else {
        return Ok(ShippedCaptures::default());
    };
    let malformed = |error: serde_json::Error| ShippedError::Malformed {
        path: path.clone(),
        reason: error.to_string(),
    };
    let ShippedVersion { version } = serde_json::from_slice(&bytes).map_err(malformed)?;
    if version != VERSION {
        return Err(ShippedError::Version { path, version });
    }
    let read: VersionedShipped = serde_json::from_slice(&bytes).map_err(malformed)?;
    Ok(read.shipped)
}

/// Replaces the sender's file. Everything in it must be acknowledged by the relay: captures are removed by it.
#[allow(clippy::missing_panics_doc, reason = "numbers and names are always JSON")]
pub fn write_shipped(
    disk: &impl Disk,
    sender_state_dir: &Path,
    shipped: ShippedCaptures,
) -> Result<(), DiskError> {
    let versioned = VersionedShipped {
        version: VERSION,
        shipped,
    };
    let bytes = serde_json::to_vec(&versioned).expect("numbers and names, which JSON can hold");
    disk.replace(&shipped_path(sender_state_dir), &bytes)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use logferry_durable::RealDisk;

    use super::*;

    fn name(text: &str) -> LogName {
        text.parse().expect("a name")
    }

    #[test]
    fn names_of_captures_are_recognised_and_no_others() {
        let source = name("api");
        let path = rotated_path(Path::new("/c"), &source, 7);
        assert_eq!(path, Path::new("/c/api/api.log.00000007"));
        for (file, number) in [
            ("api.log.00000007", Some(7)),
            ("api.log.123456789", Some(123_456_789)),
            ("api.log", None),
            ("api.log.7", None),
            ("api.log.00000007.gz", None),
            ("commits", None),
            ("app.log.00000007", None),
        ] {
            assert_eq!(rotated_number(&source, file), number, "{file}");
        }
    }

    #[test]
    fn sources_are_the_folders_that_have_captures() {
        let dir = tempfile::tempdir().expect("a folder");
        for path in ["api/api.log", "old/old.log.00000001", "app/other", "lock"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, "x").expect("a file");
        }
        let found = sources(&RealDisk, dir.path()).expect("readable");
        assert_eq!(found, [name("api"), name("old")]);
        assert_eq!(sources(&RealDisk, &dir.path().join("none")).expect("empty"), []);
    }

    #[test]
    fn what_the_sender_says_reads_back_and_another_version_is_refused_with_advice() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(read_shipped(&RealDisk, dir.path()).expect("none yet").files, []);
        let head = Head::of(b"line\n").expect("a line");
        let file = ShippedCapture {
            source: name("api"),
            inode: 5,
            head,
            acknowledged: 100,
            finished: true,
        };
        let shipped = ShippedCaptures { files: vec![file] };
        write_shipped(&RealDisk, dir.path(), shipped.clone()).expect("written");
        let read = read_shipped(&RealDisk, dir.path()).expect("readable");
        assert_eq!(read, shipped);
        assert!(read.has_all_of(&name("api"), (5, head), 100));
        assert!(!read.has_all_of(&name("api"), (5, head), 101), "it has grown");
        assert!(!read.has_all_of(&name("api"), (6, head), 100), "another file");
        let other = Head::of(b"other\n").expect("a line");
        assert!(
            !read.has_all_of(&name("api"), (5, other), 100),
            "another file of this number"
        );
        std::fs::write(shipped_path(dir.path()), r#"{"version":2}"#).expect("written");
        let error = read_shipped(&RealDisk, dir.path()).expect_err("another version");
        assert!(error.to_string().ends_with(
            "captures.json is of version 2, and this program reads version 1; run collector and sender of one version"
        ));
    }
}
