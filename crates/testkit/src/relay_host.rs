//! A relay host in the state that the other roles leave.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "tests only"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzEncoder;
use jiff::Timestamp;
use logferry_config::{DeliveryFilter, Subscriber};
use logferry_ledger::{
    Batch, BatchContents, BatchGrowth, BatchState, Commit, DeliveryCertainty, FailureKind, Ledger, NewBatch,
    PublishedBatch, StreamMove, StreamRecord, Window,
};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::names::{DestinationName, SourceId};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};
use tempfile::TempDir;

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub fn source(name: &str) -> SourceId {
    name.parse().expect("a source")
}

pub fn destination(name: &str) -> DestinationName {
    name.parse().expect("a destination")
}

/// A destination that wants everything.
pub fn subscriber(name: &str) -> Subscriber {
    Subscriber {
        name: destination(name),
        filter: DeliveryFilter::default(),
    }
}

/// A data folder and its ledger.
#[allow(missing_debug_implementations, reason = "a ledger has none")]
pub struct RelayHost {
    dir: TempDir,
    pub ledger: Ledger,
    sent: BTreeMap<SourceId, LineCounts>,
}

impl RelayHost {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        Self {
            dir,
            ledger,
            sent: BTreeMap::new(),
        }
    }

    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn make_contact(&mut self, name: &str, now: Timestamp) {
        let group = "web-1".parse().expect("a group");
        self.ledger
            .note_contact(&source(name), &group, now)
            .expect("noted");
    }

    /// Stores lines as the relay does: a file in `open/`, and a commit.
    pub fn take(&mut self, name: &str, window_start: &str, text: &str, now: Timestamp) -> Batch {
        let new = new_batch(name, window_start);
        self.make_contact(name, now);
        let batch = self.ledger.open_batch(&new, now).expect("opened");
        write(&self.path(&batch, BatchState::Open), text);
        let lines = text.lines().count() as u64;
        let contents = BatchContents {
            lines,
            bytes: text.len() as u64,
            crc32c: crc32c::crc32c(text.as_bytes()),
        };
        let growth = BatchGrowth {
            batch: batch.id,
            contents,
        };
        let commit = Commit {
            streams: vec![self.advance(name, lines, 0, now)],
            batches: vec![growth],
        };
        self.ledger.commit(&commit).expect("committed");
        self.reread(&batch)
    }

    /// Advances the source's stream by lines that no batch has.
    pub fn claim(&mut self, name: &str, sent: u64, excluded: u64, now: Timestamp) {
        self.make_contact(name, now);
        let commit = Commit {
            streams: vec![self.advance(name, sent, excluded, now)],
            batches: vec![],
        };
        self.ledger.commit(&commit).expect("committed");
    }

    pub fn seal(&mut self, batch: &Batch, now: Timestamp) -> Batch {
        self.ledger.seal(batch.id, now).expect("sealed");
        self.shift(batch, BatchState::Open, BatchState::Ready)
    }

    pub fn deliver(&mut self, batch: &Batch, name: &str, now: Timestamp) -> Batch {
        self.deliver_as(batch, name, DeliveryCertainty::Published, now)
    }

    pub fn deliver_as(
        &mut self,
        batch: &Batch,
        name: &str,
        certainty: DeliveryCertainty,
        now: Timestamp,
    ) -> Batch {
        self.record(batch, name, certainty, true, now);
        self.shift(batch, BatchState::Ready, BatchState::Sent)
    }

    /// Records a delivery in the ledger only.
    pub fn record(
        &mut self,
        batch: &Batch,
        name: &str,
        certainty: DeliveryCertainty,
        is_last: bool,
        now: Timestamp,
    ) {
        let published = PublishedBatch {
            certainty,
            path: format!("/in/{}", batch.file_name()),
            bytes: batch.contents.bytes,
            sha256: "ab".repeat(32),
            file_sha256: "ab".repeat(32),
        };
        self.ledger
            .record_delivery(batch.id, &destination(name), &published, is_last, now)
            .expect("recorded");
    }

    pub fn give_up(&mut self, batch: &Batch, name: &str, now: Timestamp) -> Batch {
        self.ledger
            .record_failure(
                batch.id,
                &destination(name),
                (FailureKind::NoFolder, "no such folder"),
                now,
                true,
            )
            .expect("recorded");
        self.shift(batch, BatchState::Ready, BatchState::Failed)
    }

    /// Forgets the oldest window that may be, as the housekeeper does, and returns the number of its batches.
    pub fn forget_oldest(&mut self, before: Timestamp) -> u64 {
        let windows = self.ledger.windows_to_forget(before, 1).expect("listed");
        let forgotten = windows
            .into_iter()
            .map(|window| self.ledger.forget_window(window, before).expect("forgotten"));
        forgotten.flatten().sum()
    }

    pub fn path(&self, batch: &Batch, state: BatchState) -> PathBuf {
        let folder = self.data_dir().join(state.as_str()).join(batch.source.as_str());
        folder.join(batch.file_name())
    }

    /// Replaces the file of a sent batch by a compressed one with this text.
    pub fn compress(&self, batch: &Batch, text: &str) -> PathBuf {
        let path = self.path(batch, BatchState::Sent);
        let _ = std::fs::remove_file(&path);
        let compressed = path.with_added_extension("gz");
        let file = std::fs::File::create(&compressed).expect("created");
        let copied = std::io::copy(
            &mut GzEncoder::new(text.as_bytes(), Compression::default()),
            &mut &file,
        );
        copied.expect("written");
        compressed
    }

    pub fn reread(&self, batch: &Batch) -> Batch {
        let found = self.ledger.batch_named(&batch.name()).expect("asked");
        found.expect("the batch is there")
    }

    fn shift(&self, batch: &Batch, from: BatchState, to: BatchState) -> Batch {
        let text = std::fs::read_to_string(self.path(batch, from)).expect("read");
        std::fs::remove_file(self.path(batch, from)).expect("removed");
        write(&self.path(batch, to), &text);
        self.reread(batch)
    }

    /// Advances the one stream of a source by so many lines. Each counts as one byte.
    fn advance(&mut self, name: &str, sent: u64, excluded: u64, now: Timestamp) -> StreamMove {
        let nothing = LineCounts { sent: 0, excluded: 0 };
        let lines = self.sent.entry(source(name)).or_insert(nothing);
        let from = Offset::new(lines.sent + lines.excluded);
        lines.sent += sent;
        lines.excluded += excluded;
        let file = FileKey { dev: 1, inode: 2 };
        let head = Head::of(b"first\n").expect("a line");
        let record = StreamRecord {
            source: source(name),
            stream: StreamId::derive(file, head, 0),
            log: "access".parse().expect("a log"),
            file,
            head,
            committed: Offset::new(lines.sent + lines.excluded),
            tail: Tail::of(b"first\n"),
            lines: *lines,
            last_window: None,
            last_line_time: None,
            timed_at: now,
            open_line_in: None,
            writer: None,
            finished: false,
            updated_at: now,
        };
        StreamMove {
            from,
            record,
            oldest_window: None,
        }
    }
}

pub fn new_batch(name: &str, window_start: &str) -> NewBatch {
    let start = at(window_start).as_second();
    NewBatch {
        source: source(name),
        group: "web-1".parse().expect("a group"),
        log: None,
        window: Window {
            start,
            seconds: 1200,
            utc_offset: 21_600,
        },
        base_name: format!("accessLog_{start}_{}", source(name).file_label()),
    }
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}
