//! A data folder with a relay's ledger and files, an indexer's folder, and the steps of the roles.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use jiff::Timestamp;
use logferry_config::{IndexerSettings, parse};
use logferry_ledger::{
    Batch, BatchState, Commit, DeliveryCertainty, Ledger, PublishedBatch, StreamMove, StreamRecord,
};
use logferry_numbers::{IndexDb, IndexReader, NumbersQuery};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};
use logferry_telemetry::Metrics;
use logferry_testkit::batches::{commit, new_batch};
use tempfile::TempDir;

use super::failing_store::{FailingStore, SharedStore};
use crate::error::IndexerError;
use crate::round::{IndexSession, RoundResult};

/// 2026-11-21T02:25:00Z, in the window of the batches.
pub(super) const NOW: i64 = 1_795_227_900;

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

pub(super) struct RelayHost {
    dir: TempDir,
    pub(super) ledger: Ledger,
    pub(super) store: SharedStore,
    /// The committed bytes of each batch.
    pub(super) written: BTreeMap<String, Vec<u8>>,
    pub(super) settings: IndexerSettings,
}

impl RelayHost {
    pub(super) fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data_dir = dir.path().join("data");
        fs::create_dir_all(&data_dir).expect("made");
        fs::create_dir_all(dir.path().join("index")).expect("made");
        let (data, index) = (data_dir.display(), dir.path().join("index"));
        let text = format!(
            "indexer:\n  data_dir: {data}\n  store_dir: {}\n{settings}",
            index.display()
        );
        let config = parse(&text, dir.path(), &|_| None).expect("valid");
        Self {
            ledger: Ledger::open_or_create(&data_dir).expect("a ledger"),
            dir,
            store: SharedStore::default(),
            written: BTreeMap::new(),
            settings: config.indexer.expect("a section"),
        }
    }

    pub(super) fn open(&mut self, source: &str, name: &str) -> Batch {
        let opened = self.ledger.open_batch(&new_batch(source, name), now());
        let batch = opened.expect("opened");
        self.written.insert(batch.name(), Vec::new());
        batch
    }

    /// Makes the source have this log.
    pub(super) fn add_log(&mut self, source: &str, log: &str, inode: u64) {
        let file = FileKey { dev: 1, inode };
        let head = Head::of(b"first\n").expect("a line");
        let record = StreamRecord {
            source: source.parse().expect("valid"),
            stream: StreamId::derive(file, head, 0),
            log: log.parse().expect("valid"),
            file,
            head,
            committed: Offset::new(6),
            tail: Tail::of(b"first\n"),
            lines: LineCounts { sent: 1, excluded: 0 },
            last_window: None,
            last_line_time: None,
            timed_at: now(),
            open_line_in: None,
            writer: None,
            finished: false,
            updated_at: now(),
        };
        let from = Offset::new(0);
        let commit = Commit {
            streams: vec![StreamMove {
                from,
                record,
                oldest_window: None,
            }],
            ..Commit::default()
        };
        self.ledger.commit(&commit).expect("committed");
    }

    /// Closes the ledger and returns its bytes: whoever closes it last empties its log.
    pub(super) fn ledger_bytes(&mut self) -> Vec<u8> {
        let other = tempfile::tempdir().expect("a folder");
        self.ledger = Ledger::open_or_create(other.path()).expect("a ledger");
        let bytes = fs::read(self.settings.data_dir.join("ledger.db")).expect("read");
        self.ledger = Ledger::open(&self.settings.data_dir).expect("a ledger");
        bytes
    }

    /// Puts another ledger in the place of this one, as `fsck --rebuild` or a person does it.
    pub(super) fn replace_ledger(&mut self, bytes: &[u8]) {
        let other = tempfile::tempdir().expect("a folder");
        self.ledger = Ledger::open_or_create(other.path()).expect("a ledger");
        let (path, new) = ("ledger.db", "new.db");
        let [path, new] = [path, new].map(|name| self.settings.data_dir.join(name));
        fs::write(&new, bytes).expect("written");
        for log in ["ledger.db-wal", "ledger.db-shm"] {
            let _ = fs::remove_file(self.settings.data_dir.join(log));
        }
        fs::rename(&new, &path).expect("replaced");
        self.ledger = Ledger::open(&self.settings.data_dir).expect("a ledger");
    }

    pub(super) fn path(&self, batch: &Batch, state: &str) -> PathBuf {
        let folder = self
            .dir
            .path()
            .join("data")
            .join(state)
            .join(batch.source.as_str());
        fs::create_dir_all(&folder).expect("made");
        folder.join(batch.file_name())
    }

    /// Adds bytes to a batch, and commits them.
    pub(super) fn write(&mut self, batch: &Batch, bytes: &[u8]) {
        let all = self.written.get_mut(&batch.name()).expect("opened");
        all.extend(bytes);
        let all = all.clone();
        fs::write(self.path(batch, "open"), &all).expect("written");
        commit(&mut self.ledger, batch, &all);
    }

    pub(super) fn seal(&mut self, batch: &Batch) {
        self.ledger.seal(batch.id, now()).expect("sealed");
        fs::rename(self.path(batch, "open"), self.path(batch, "ready")).expect("moved");
    }

    pub(super) fn deliver(&mut self, batch: &Batch) {
        let published = PublishedBatch {
            certainty: DeliveryCertainty::Published,
            path: "/in/x.log".to_owned(),
            bytes: 1,
            sha256: "e3".to_owned(),
            file_sha256: "e3".to_owned(),
        };
        let edw = "edw".parse().expect("a name");
        let delivered = self
            .ledger
            .record_delivery(batch.id, &edw, &published, true, now());
        delivered.expect("delivered");
        fs::rename(self.path(batch, "ready"), self.path(batch, "sent")).expect("moved");
    }

    pub(super) fn compress(&mut self, batch: &Batch) {
        let plain = self.path(batch, "sent");
        let mut compressed = Vec::new();
        let mut encoder = logferry_spool::gzip_encoder(fs::File::open(&plain).expect("there"));
        encoder.read_to_end(&mut compressed).expect("compressed");
        fs::write(plain.with_extension("log.gz"), compressed).expect("written");
        fs::remove_file(plain).expect("removed");
        self.ledger.mark_compressed(batch.id, now()).expect("noted");
    }

    pub(super) fn expire(&mut self, batch: &Batch) {
        assert!(self.ledger.mark_expired(batch.id, now()).expect("noted"));
        let plain = self.path(batch, "sent");
        let _ = fs::remove_file(plain.with_extension("log.gz"));
        let _ = fs::remove_file(plain);
    }

    pub(super) fn session(&self) -> Result<IndexSession<FailingStore>, IndexerError> {
        let db = IndexDb::open_or_create(&self.settings.store_dir)?;
        let state = db.state()?;
        let position = state
            .store_position
            .as_deref()
            .map(|text| text.parse().expect("a position"));
        let store = FailingStore::open(&self.store, position);
        let metrics = Metrics::new().indexer();
        IndexSession::start(&self.settings, db, &state, store, metrics, now())
    }

    /// Rounds until nothing is left.
    pub(super) fn index(&self) -> RoundResult {
        let mut session = self.session().expect("opened");
        for _ in 0..3 * crate::catalog::SEARCHES_MAX {
            let round = session.round(now(), &|| false).expect("a round");
            if round.lag.bytes == 0 {
                return round;
            }
        }
        panic!("it does not end")
    }

    pub(super) fn reader(&self) -> IndexReader {
        IndexReader::open(&self.settings.store_dir).expect("there")
    }

    /// `LINES BYTES` of all numbers by minute.
    pub(super) fn counted(&self) -> (u64, u64) {
        let rows = self.reader().numbers(&NumbersQuery::default()).expect("read");
        let sum = |of: fn(&logferry_numbers::Counts) -> u64| rows.iter().map(|row| of(&row.counts)).sum();
        (
            sum(logferry_numbers::Counts::lines),
            sum(logferry_numbers::Counts::bytes),
        )
    }

    /// Each committed byte is there once, in a line of the store or in a gap; and the numbers count the lines of the store.
    pub(super) fn assert_whole(&self) {
        let contents = self.store.lock().expect("no panic");
        let gaps = self.reader().gaps(0).expect("read");
        let (mut lines, mut bytes) = (0, 0);
        for (batch, written) in &self.written {
            let stored = contents.entries.iter().filter(|entry| entry.batch == *batch);
            let stored = stored.map(|entry| (entry.offset, Ok(entry.line.as_slice())));
            let lost = gaps.iter().filter(|gap| gap.batch == *batch);
            let lost = lost.map(|gap| (gap.from, Err(gap.bytes)));
            let mut parts: Vec<_> = stored.chain(lost).collect();
            parts.sort_by_key(|(offset, _)| *offset);
            let mut end = 0;
            for (offset, part) in parts {
                assert_eq!(offset, end, "{batch}: no byte twice or left out");
                match part {
                    Ok(line) => {
                        let from = usize::try_from(end).expect("small");
                        assert_eq!(written.get(from..from + line.len()), Some(line), "{batch}");
                        end += line.len() as u64;
                        lines += 1;
                        bytes += line.len() as u64;
                    }
                    Err(gap) => end += gap,
                }
            }
            assert_eq!(end, written.len() as u64, "{batch}: to its end");
        }
        assert_eq!(
            self.counted(),
            (lines, bytes),
            "the numbers are those of the store"
        );
    }

    pub(super) fn state(&self, batch: &Batch) -> BatchState {
        self.ledger.batch(batch.id).expect("read").expect("there").state
    }
}
