//! A relay host that a forwarder has worked on.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use logferry_config::{DiskThresholds, HousekeeperSettings};
use logferry_durable::Disk;
use logferry_ledger::{Batch, BatchState, Ledger};
use logferry_testkit::SimDisk;
use logferry_testkit::batches::{add_batch, new_batch, put_file};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{HousekeeperError, HousekeeperReport, once_on};
use logferry_spool::FileForm;

pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// When every batch of these tests was sealed.
pub(crate) fn sealed_at() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("in range")
}

/// The documented defaults, but for the disk.
pub(crate) fn rules() -> HousekeeperSettings {
    HousekeeperSettings {
        data_dir: PathBuf::new(),
        compress_after: 3 * HOUR,
        delete_after: 4 * HOUR,
        schedule: "0 */10 * * * *".to_owned(),
        // The disk under these tests may be full of other things.
        disk: DiskThresholds {
            warn: 100,
            early_delete: 100,
        },
        keep_ledger: 90 * 24 * HOUR,
    }
}

/// A sent batch. Only the ledger makes them.
pub(crate) fn batch() -> Batch {
    static BATCH: OnceLock<Batch> = OnceLock::new();
    let make = || {
        let host = Host::new(SimDisk::new());
        host.batch(1, BatchState::Sent)
    };
    BATCH.get_or_init(make).clone()
}

/// Some lines that compress well, different for each part.
pub(crate) fn lines(part: u32) -> Vec<u8> {
    (0..400)
        .flat_map(|n| {
            format!("{part} - - [21/Nov/2026:08:20:03 +0600] \"GET /{n} HTTP/1.1\" 200\n").into_bytes()
        })
        .collect()
}

pub(crate) fn unzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut lines)?;
    Ok(lines)
}

/// A relay host: a ledger on a real disk, and a spool on `disk`.
pub(crate) struct Host<D> {
    pub(crate) dir: TempDir,
    pub(crate) disk: D,
}

impl<D: Disk> Host<D> {
    pub(crate) fn new(disk: D) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        drop(Ledger::open_or_create(dir.path()).expect("a ledger"));
        Self { dir, disk }
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::open(self.dir.path()).expect("it was made")
    }

    /// Has the next batch, which becomes part `part`, in the ledger in `state` and its file in that folder.
    pub(crate) fn batch(&self, part: u32, state: BatchState) -> Batch {
        let lines = lines(part);
        let new = new_batch("198.51.100.1", "accessLog_26092120_00-19_198-51-100-1");
        let batch = add_batch(&mut self.ledger(), &new, &lines, state, sealed_at());
        assert_eq!((batch.part, batch.state), (part, state));
        self.put(state.as_str(), &batch.file_name(), &lines);
        batch
    }

    pub(crate) fn path(&self, folder: &str, file_name: &str) -> PathBuf {
        self.dir.path().join(folder).join("198.51.100.1").join(file_name)
    }

    pub(crate) fn put(&self, folder: &str, file_name: &str, contents: &[u8]) {
        put_file(&self.disk, &self.path(folder, file_name), contents);
    }

    /// Puts a file of a form beside, or over, the file of a sent batch.
    pub(crate) fn put_form(&self, batch: &Batch, form: FileForm, contents: &[u8]) {
        self.put("sent", &(batch.name() + form.suffix()), contents);
    }

    pub(crate) fn get(&self, batch: &Batch, form: FileForm) -> Option<Vec<u8>> {
        let path = self.path("sent", &(batch.name() + form.suffix()));
        self.disk.read(&path).expect("read")
    }

    /// Runs the housekeeper when batches are `age` old.
    pub(crate) fn run(&self, age: Duration) -> Result<HousekeeperReport, HousekeeperError> {
        once_on(
            &self.disk,
            &self.config(),
            sealed_at() + age,
            &CancellationToken::new(),
        )
    }

    /// The documented defaults, for this host.
    pub(crate) fn config(&self) -> HousekeeperSettings {
        HousekeeperSettings {
            data_dir: self.dir.path().to_owned(),
            ..rules()
        }
    }

    pub(crate) fn known(&self, batch: &Batch) -> Batch {
        self.ledger()
            .batch_named(&batch.name())
            .expect("read")
            .expect("there")
    }

    /// The batch is compressed, and nothing else is left of it.
    pub(crate) fn assert_compressed(&self, batch: &Batch) {
        let gzip = self.get(batch, FileForm::Compressed).expect("compressed");
        assert_eq!(unzip(&gzip).expect("gzip"), lines(batch.part));
        assert_eq!(self.get(batch, FileForm::Plain), None);
        assert_eq!(self.get(batch, FileForm::Partial), None);
        assert!(self.known(batch).compressed_at.is_some());
    }

    pub(crate) fn assert_untouched(&self, batch: &Batch) {
        assert_eq!(self.get(batch, FileForm::Plain), Some(lines(batch.part)));
        assert_eq!(self.get(batch, FileForm::Compressed), None);
        assert_eq!(self.get(batch, FileForm::Partial), None);
        assert_eq!(&self.known(batch), batch);
    }
}
