//! Batches in a real ledger, and their files on any disk. Only a ledger can make a batch's row.
#![allow(clippy::missing_panics_doc, clippy::naive_bytecount, reason = "tests only")]

use std::path::Path;

use jiff::Timestamp;
use logferry_durable::{Disk, DiskFile};
use logferry_ledger::{
    Batch, BatchContents, BatchGrowth, BatchState, Commit, DeliveryCertainty, FailureKind, Ledger, NewBatch,
    PublishedBatch, Window,
};

/// A batch to open, with a window of 20 minutes on 21 November 2026.
pub fn new_batch(source: &str, base_name: &str) -> NewBatch {
    NewBatch {
        source: source.parse().expect("valid"),
        group: "web-1".parse().expect("valid"),
        log: None,
        window: Window {
            start: 1_795_227_600,
            seconds: 1200,
            utc_offset: 0,
        },
        base_name: base_name.to_owned(),
    }
}

/// Lines, length and CRC-32C of `bytes`.
pub fn contents_of(bytes: &[u8]) -> BatchContents {
    BatchContents {
        lines: bytes.iter().filter(|&&byte| byte == b'\n').count() as u64,
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(bytes),
    }
}

/// Commits `bytes` as the whole contents of a batch.
pub fn commit(ledger: &mut Ledger, batch: &Batch, bytes: &[u8]) {
    let (batch, contents) = (batch.id, contents_of(bytes));
    let commit = Commit {
        batches: vec![BatchGrowth { batch, contents }],
        ..Commit::default()
    };
    ledger.commit(&commit).expect("committed");
}

/// Opens a batch, commits `bytes` to it and moves it to `state`, all at `now`. It creates no file.
pub fn add_batch(
    ledger: &mut Ledger,
    new: &NewBatch,
    bytes: &[u8],
    state: BatchState,
    now: Timestamp,
) -> Batch {
    let batch = ledger.open_batch(new, now).expect("opened");
    commit(ledger, &batch, bytes);
    let (id, edw) = (batch.id, "edw".parse().expect("valid"));
    if state != BatchState::Open {
        ledger.seal(id, now).expect("sealed");
    }
    if state == BatchState::Failed {
        let error = (FailureKind::Refused, "refused");
        ledger.record_failure(id, &edw, error, now, true).expect("failed");
    }
    if state == BatchState::Sent {
        let published = PublishedBatch {
            certainty: DeliveryCertainty::Published,
            path: "/in/x.log".to_owned(),
            bytes: bytes.len() as u64,
            sha256: "e3".to_owned(),
            file_sha256: "e3".to_owned(),
        };
        ledger
            .record_delivery(id, &edw, &published, true, now)
            .expect("delivered");
    }
    ledger.batch(id).expect("read").expect("opened above")
}

/// Makes `path` a durable file with exactly these bytes, and the folders above it.
pub fn put_file(disk: &impl Disk, path: &Path, bytes: &[u8]) {
    disk.create_dir_all(path.parent().expect("a folder"))
        .expect("made");
    disk.remove(path).expect("removed");
    let mut file = disk.open_append(path).expect("opened");
    file.append(bytes).expect("written");
    file.sync().expect("synced");
}
