//! The checkpoint: the acknowledged offset of each stream, on the sender's disk.
//!
//! It is only a hint: the relay's offsets count. It distinguishes old streams from new files if the relay has forgotten
//! them, and it shows that this is not the very first start, to which `start: end` applies.
//!
//! `<state_dir>/checkpoint` is one line of JSON with a version, and a second line with its CRC-32C:
//!
//! ```text
//! {"version":1,"streams":[...],"archives":[...],"unsent":[...],"gaps":[...],"skipped":[...], …}
//! crc32c 1a2b3c4d
//! ```
//!
//! A file that is empty, torn or of another version is refused as a whole.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use logferry_durable::Disk;
use logferry_protocol::heartbeat::ReportedGap;
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{KnownStream, StreamPosition};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};
use serde::{Deserialize, Serialize};

use crate::chunks::line_marks::LineMarks;
use crate::files::FileStat;

/// Its name in the state folder.
pub(crate) const FILE_NAME: &str = "checkpoint";
const VERSION: u32 = 1;

/// The acknowledged offsets of all streams, the shipped compressed files, and the state for finding losses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) streams: Vec<CheckpointStream>,
    #[serde(default)]
    pub(crate) archives: Vec<ShippedArchive>,
    #[serde(default)]
    pub(crate) unsent: Vec<UnsentFile>,
    #[serde(default)]
    pub(crate) gaps: Vec<ReportedGap>,
    #[serde(default)]
    pub(crate) skipped: Vec<SkippedStart>,
    #[serde(default)]
    pub(crate) former_names: Vec<FormerName>,
    #[serde(default)]
    pub(crate) held: Vec<HeldBeside>,
    /// Streams whose files are gone or were rewritten, and whose lines may come back.
    #[serde(default)]
    pub(crate) former: Vec<CheckpointStream>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointStream {
    pub(crate) log: LogName,
    /// The last path of its file, for people who read the checkpoint.
    pub(crate) path: String,
    /// The stream, committed as far as it is acknowledged.
    pub(crate) stream: KnownStream,
    pub(crate) finished: bool,
    /// The largest size that its file was seen to have. The first version did not write it.
    #[serde(default)]
    pub(crate) seen: Offset,
    #[serde(default, skip_serializing_if = "LineMarks::is_empty")]
    pub(crate) marks: LineMarks,
}

/// A file of which no byte is acknowledged yet. If it is gone at the next start, it is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnsentFile {
    pub(crate) log: LogName,
    pub(crate) path: String,
    pub(crate) file: FileKey,
    pub(crate) head: Head,
    pub(crate) size: Offset,
    /// The bytes before `size`, if they could be read; earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail: Option<Tail>,
}

/// A name that a log had before: the relay has streams of the log under that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormerName {
    /// `path` of the log in the configuration, by which it is recognised.
    pub(crate) path: String,
    pub(crate) name: LogName,
}

/// What `start: end` leaves out of a file, until the relay knows it: the bytes that the first start saw. Or the bytes that another
/// shipper has shipped before this sender took over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedStart {
    pub(crate) log: LogName,
    pub(crate) path: String,
    pub(crate) file: FileKey,
    /// `None` if the file had no whole line.
    pub(crate) head: Option<Head>,
    pub(crate) end: Offset,
    /// The bytes before `end`; `None` if the file could not be read.
    pub(crate) tail: Option<Tail>,
    /// The relay knew no stream of the log: it was a first start.
    pub(crate) confirmed: bool,
    /// Whether `end` counts as it stands, also inside a line: another shipper has shipped the bytes before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) exact: bool,
}

/// A compressed file that was shipped completely, in a stream that earlier versions did not note. If its stat changes, it is read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShippedArchive {
    pub(crate) log: LogName,
    pub(crate) path: String,
    #[serde(rename = "facts")]
    pub(crate) stat: FileStat,
    pub(crate) stream: Option<StreamId>,
}

/// A file that appeared beside a log, and is not shipped. If its stat changes, it is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldBeside {
    pub(crate) log: LogName,
    pub(crate) path: String,
    pub(crate) stat: FileStat,
    pub(crate) head: Head,
    /// Its size, and the bytes before its end. It may be compressed or moved later.
    pub(crate) end: StreamPosition,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("it does not end in a checksum line")]
    Torn,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it cannot be read: {0}")]
    Malformed(String),
    #[error(
        "a later version of logferry wrote it, in format {0}, and this one knows {VERSION}; before you go back to that version, \
         move it back"
    )]
    Version(u32),
}

#[derive(Serialize)]
struct VersionedCheckpoint<'a> {
    version: u32,
    #[serde(flatten)]
    checkpoint: &'a Checkpoint,
}

#[derive(Deserialize)]
struct VersionField {
    version: u32,
}

impl Checkpoint {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let body = VersionedCheckpoint {
            version: VERSION,
            checkpoint: self,
        };
        let mut bytes = serde_json::to_vec(&body).expect("numbers and strings only, which JSON can hold");
        bytes.push(b'\n');
        let checksum = format!("crc32c {:08x}\n", crc32c::crc32c(&bytes));
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let ended = bytes.strip_suffix(b"\n").ok_or(CheckpointError::Torn)?;
        let body_end = memchr::memrchr(b'\n', ended).ok_or(CheckpointError::Torn)? + 1;
        let (body, checksum) = ended.split_at(body_end);
        let expected = format!("crc32c {:08x}", crc32c::crc32c(body));
        if !checksum.starts_with(b"crc32c ") {
            return Err(CheckpointError::Torn);
        }
        if checksum != expected.as_bytes() {
            return Err(CheckpointError::Checksum);
        }
        let malformed = |error: serde_json::Error| CheckpointError::Malformed(error.to_string());
        let VersionField { version } = serde_json::from_slice(body).map_err(malformed)?;
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        serde_json::from_slice(body).map_err(malformed)
    }
}

#[derive(Debug)]
pub(crate) struct CheckpointStore<D> {
    disk: D,
    path: PathBuf,
    /// Whether the last save failed: a lasting failure is logged once.
    failing: bool,
}

impl<D: Disk> CheckpointStore<D> {
    pub(crate) fn new(disk: D, state_dir: &Path) -> Self {
        Self {
            disk,
            path: state_dir.join(FILE_NAME),
            failing: false,
        }
    }

    /// The checkpoint, or `None` if there is none. An unusable one is moved aside, and the sender asks the relay instead.
    pub(crate) fn load(&self) -> Option<Checkpoint> {
        let bytes = match self.disk.read(&self.path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the checkpoint cannot be read; the sender asks the relay instead"
                );
                return Some(Checkpoint::default());
            }
        };
        match Checkpoint::from_bytes(&bytes) {
            Ok(checkpoint) => Some(checkpoint),
            Err(reason) => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
                let seconds = since_epoch.map_or(0, |since| since.as_secs());
                let aside = self.path.with_file_name(format!("checkpoint.bad-{seconds}"));
                tracing::warn!(
                    path = %self.path.display(), aside = %aside.display(), %reason,
                    "the checkpoint is unusable and was moved aside; the sender asks the relay instead"
                );
                if let Err(error) = self.disk.rename(&self.path, &aside) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the unusable checkpoint cannot be moved aside; the next checkpoint replaces it"
                    );
                }
                // This is not the first start.
                Some(Checkpoint::default())
            }
        }
    }

    /// Replaces the checkpoint. Returns whether that succeeded. If it fails, shipping continues: the relay knows the
    /// offsets too.
    pub(crate) fn save(&mut self, checkpoint: &Checkpoint) -> bool {
        let saved = self.disk.replace(&self.path, &checkpoint.to_bytes());
        let was_failing = std::mem::replace(&mut self.failing, saved.is_err());
        match &saved {
            Ok(()) if was_failing => {
                tracing::info!(path = %self.path.display(), "the checkpoint can be saved again");
            }
            Err(error) if !was_failing => tracing::warn!(
                error = error as &dyn std::error::Error,
                "the checkpoint cannot be saved, shipping goes on; make the state folder writable and free its disk"
            ),
            _ => {}
        }
        saved.is_ok()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use logferry_durable::RealDisk;
    use logferry_protocol::heartbeat::HostTime;
    use logferry_testkit::SimDisk;
    use proptest::prelude::*;

    use super::*;
    use crate::chunks::line_marks::marks_of;
    use crate::streams::tracked_stream::stream_start;

    fn former(log: LogName, stream: KnownStream) -> CheckpointStream {
        let mut marks = LineMarks::default();
        marks.add(Offset::ZERO, Offset::new(5), &marks_of(b"line\n"));
        CheckpointStream {
            log,
            path: "/log/access.log".into(),
            stream,
            finished: true,
            seen: Offset::new(5),
            marks,
        }
    }

    fn checkpoint() -> Checkpoint {
        let (file, head) = (FileKey { dev: 1, inode: 2 }, Head::of(b"line\n").expect("a line"));
        let stream = StreamId::derive(file, head, 0);
        let known = KnownStream {
            stream,
            file,
            head,
            committed: Offset::new(5),
            tail: Tail::of(b"line\n"),
            by_other: false,
        };
        let log: LogName = "access".parse().expect("a name");
        let stat = FileStat {
            key: FileKey { dev: 1, inode: 3 },
            size: Offset::new(100),
            modified: UNIX_EPOCH,
        };
        Checkpoint {
            streams: vec![CheckpointStream {
                log: log.clone(),
                path: "/log/access.log".into(),
                stream: known.clone(),
                finished: false,
                seen: Offset::new(9),
                marks: LineMarks::default(),
            }],
            archives: vec![ShippedArchive {
                log: log.clone(),
                path: "/log/access.log.1.gz".into(),
                stat,
                stream: Some(stream),
            }],
            unsent: vec![UnsentFile {
                log: log.clone(),
                path: "/log/access.log.2".into(),
                file,
                head,
                size: Offset::new(7),
                tail: Some(Tail::of(b"line\n")),
            }],
            gaps: vec![ReportedGap {
                stream,
                log: log.clone(),
                path: "/log/access.log.9".into(),
                from: Offset::new(1),
                until: None,
                noticed_at: HostTime::from_millis(-1),
            }],
            skipped: vec![SkippedStart {
                log: log.clone(),
                path: "/log/access.log.3".into(),
                file,
                head: Some(head),
                end: Offset::new(5),
                tail: Some(Tail::of(b"line\n")),
                confirmed: true,
                exact: false,
            }],
            former_names: vec![FormerName {
                path: "/log/access.log".into(),
                name: "site".parse().expect("a name"),
            }],
            held: vec![HeldBeside {
                log: log.clone(),
                path: "/log/access.log.4".into(),
                stat,
                head,
                end: stream_start(),
            }],
            former: vec![former(log, known)],
        }
    }

    fn with_checksum(body: &str) -> Vec<u8> {
        let checksum = crc32c::crc32c(format!("{body}\n").as_bytes());
        format!("{body}\ncrc32c {checksum:08x}\n").into_bytes()
    }

    #[test]
    fn the_keys_are_those_of_versions_in_the_field() {
        let bytes = checkpoint().to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        let archive = r#"{"log":"access","path":"/log/access.log.1.gz","facts":{"key":{"dev":1,"inode":3},"size":100,"modified":{"#;
        for part in [
            r#"{"version":1,"streams":[{"log":"access","path":"/log/access.log","stream":{"stream":""#,
            r#","finished":false,"seen":9}],"archives":["#,
            archive,
            r#"],"unsent":[{"log":"access","path":"/log/access.log.2","file":{"dev":1,"inode":2},"head":"#,
            r#","size":7,"tail":{"len":5,"#,
            r#"}}],"gaps":[{"stream":""#,
            r#"}],"skipped":[{"log":"access","path":"/log/access.log.3","file":{"dev":1,"inode":2},"head":"#,
            r#","confirmed":true}],"former_names":[{"path":"/log/access.log","name":"site"}],"held":["#,
            r#"{"log":"access","path":"/log/access.log.4","stat":{"key":{"dev":1,"inode":3},"size":100,"modified":{"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_checkpoint_of_the_first_version_is_understood() {
        let mut body = serde_json::to_value(checkpoint()).expect("JSON");
        let body = body.as_object_mut().expect("a map");
        body.retain(|key, _| key == "streams");
        body.insert("version".into(), VERSION.into());
        let stream = body["streams"][0].as_object_mut().expect("a map");
        stream.remove("seen");
        let bytes = with_checksum(&serde_json::to_string(body).expect("JSON"));
        let read = Checkpoint::from_bytes(&bytes).expect("a checkpoint");
        assert_eq!(read.streams[0].stream, checkpoint().streams[0].stream);
        assert_eq!((read.streams[0].seen, read.unsent.len()), (Offset::ZERO, 0));
    }

    #[test]
    fn a_checkpoint_reads_back() {
        for written in [checkpoint(), Checkpoint::default()] {
            assert_eq!(Checkpoint::from_bytes(&written.to_bytes()), Ok(written));
        }
    }

    #[test]
    fn a_checkpoint_torn_anywhere_is_refused() {
        let whole = checkpoint().to_bytes();
        for len in 0..whole.len() {
            assert!(
                Checkpoint::from_bytes(&whole[..len]).is_err(),
                "cut to {len} bytes"
            );
            let mut zeroed = whole.clone();
            zeroed[len..].fill(0);
            assert!(Checkpoint::from_bytes(&zeroed).is_err(), "zeros from {len} on");
        }
    }

    #[test]
    fn a_checkpoint_of_another_version_is_refused_by_number() {
        let bytes = with_checksum(r#"{"version":7,"streams":{}}"#);
        assert_eq!(Checkpoint::from_bytes(&bytes), Err(CheckpointError::Version(7)));
    }

    #[test]
    fn an_unusable_checkpoint_is_moved_aside() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = CheckpointStore::new(RealDisk, dir.path());
        assert_eq!(store.load(), None);
        std::fs::write(dir.path().join("checkpoint"), [0; 100]).expect("zeros");
        assert_eq!(store.load(), Some(Checkpoint::default()), "not the first start");
        let entries = std::fs::read_dir(dir.path()).expect("the folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
        let names: Vec<String> = names.map(|name| name.expect("text")).collect();
        assert!(
            matches!(&names[..], [name] if name.starts_with("checkpoint.bad-")),
            "{names:?}"
        );
    }

    #[test]
    fn a_power_loss_while_it_is_replaced_leaves_the_old_or_the_new_checkpoint() {
        let (old, new) = (Checkpoint::default(), checkpoint());
        for seed in 0..20 {
            for changes in 0..5 {
                let disk = SimDisk::new();
                let state_dir = Path::new("/state");
                disk.create_dir_all(state_dir).expect("no fault");
                let mut store = CheckpointStore::new(disk.clone(), state_dir);
                store.save(&old);
                disk.fail_after(changes);
                let is_saved = store.save(&new);
                disk.power_loss(seed);
                let loaded = store.load().expect("one of them");
                assert!(
                    loaded == old || loaded == new,
                    "after {changes} changes, seed {seed}"
                );
                assert!(!is_saved || loaded == new, "a saved checkpoint is kept");
                assert!(
                    store.save(&new),
                    "a file that the crash left does not hinder a save"
                );
                assert_eq!(store.load(), Some(new.clone()));
            }
        }
    }

    #[test]
    fn a_full_disk_keeps_the_old_checkpoint_until_there_is_room() {
        let (disk, state_dir) = (SimDisk::new(), Path::new("/state"));
        disk.create_dir_all(state_dir).expect("no fault");
        let mut store = CheckpointStore::new(disk.clone(), state_dir);
        store.save(&Checkpoint::default());
        disk.set_free_bytes(10);
        assert!(!store.save(&checkpoint()));
        assert_eq!(store.load(), Some(Checkpoint::default()));
        disk.set_free_bytes(1 << 20);
        assert!(store.save(&checkpoint()));
        assert_eq!(store.load(), Some(checkpoint()));
    }

    #[test]
    fn a_checkpoint_that_cannot_be_saved_stops_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut store = CheckpointStore::new(RealDisk, &dir.path().join("not there"));
        store.save(&checkpoint());
        std::fs::create_dir(dir.path().join("not there")).expect("a folder");
        store.save(&checkpoint());
        assert_eq!(store.load(), Some(checkpoint()));
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = checkpoint().to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Checkpoint::from_bytes(&bytes).is_err());
        }
    }
}
