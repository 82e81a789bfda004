//! The spool on a simulated disk, with batches of a real ledger.

use std::io::Read;

use jiff::Timestamp;
use logferry_durable::{Disk, RealDisk};
use logferry_ledger::{Batch, BatchState, Ledger};
use logferry_testkit::SimDisk;
use logferry_testkit::batches::{add_batch, new_batch, put_file};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A data folder, on a simulated disk except for its ledger.
pub(crate) struct Host {
    dir: TempDir,
    pub(crate) spool: Spool<SimDisk>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        drop(Ledger::open_or_create(dir.path()).expect("a ledger"));
        let spool = Spool::new(SimDisk::new(), dir.path());
        Self { dir, spool }
    }

    /// An open batch with these bytes in the ledger.
    pub(crate) fn batch(&self, bytes: &[u8]) -> Batch {
        let mut ledger = Ledger::open(self.dir.path()).expect("it was made");
        let new = new_batch("198.51.100.1", "a");
        add_batch(&mut ledger, &new, bytes, BatchState::Open, Timestamp::UNIX_EPOCH)
    }

    fn put(&self, file: &SpoolFile, bytes: &[u8]) {
        put_file(self.spool.disk(), &file.path, bytes);
    }
}

pub(crate) fn gzip(mut bytes: impl Read) -> Vec<u8> {
    let mut compressed = Vec::new();
    let read = gzip_encoder(&mut bytes).read_to_end(&mut compressed);
    read.expect("in memory");
    compressed
}

#[test]
fn file_is_compared_in_each_form() {
    let host = Host::new();
    let open = host.batch(b"one\ntwo\n");
    let sent = Batch {
        state: BatchState::Sent,
        ..open.clone()
    };
    let plain = |batch: &Batch| host.spool.file(batch, batch.state, FileForm::Plain);
    let packed = host.spool.file(&sent, BatchState::Sent, FileForm::Compressed);
    let compare = |batch: &Batch, file: &SpoolFile, bytes: &[u8]| {
        host.put(file, bytes);
        let fault = host.spool.compare(batch).expect("read");
        assert_eq!(host.spool.compare_file(batch, file.clone()).expect("read"), fault);
        host.spool.disk().remove(&file.path).expect("removed");
        fault
    };
    let path = |file: &SpoolFile| file.path.clone();
    let size = |file: &SpoolFile, bytes| {
        Some(FileFault::Size {
            path: path(file),
            bytes,
        })
    };
    let content = |file: &SpoolFile| Some(FileFault::Content { path: path(file) });
    for batch in [&open, &sent] {
        let file = plain(batch);
        assert_eq!(host.spool.compare(batch).expect("read"), Some(FileFault::Missing));
        assert_eq!(compare(batch, &file, b"one\ntwo\n"), None);
        assert_eq!(compare(batch, &file, b"one\n"), size(&file, 4));
        assert_eq!(compare(batch, &file, b"one\ntwo!"), content(&file));
    }
    let uncommitted = compare(&open, &plain(&open), b"one\ntwo\nthr");
    assert_eq!(uncommitted, None);
    let longer = compare(&sent, &plain(&sent), b"one\ntwo\nthr");
    assert_eq!(longer, size(&plain(&sent), 11));
    assert_eq!(compare(&sent, &packed, &gzip(&b"one\ntwo\n"[..])), None);
    assert_eq!(compare(&sent, &packed, &gzip(&b"one\n"[..])), size(&packed, 4));
    assert_eq!(
        compare(&sent, &packed, &gzip(&b"one\ntwo!"[..])),
        content(&packed)
    );
    let damaged = compare(&sent, &packed, b"\x1f\x8b");
    assert!(
        matches!(damaged, Some(FileFault::Undecodable { .. })),
        "{damaged:?}"
    );
    let expired = Batch {
        expired_at: Some(Timestamp::UNIX_EPOCH),
        ..sent
    };
    assert_eq!(host.spool.compare(&expired).expect("read"), None);
    let empty = host.batch(b"");
    let absent = host.spool.compare(&empty).expect("read");
    assert_eq!(absent, None, "its file may be yet to come");
}

#[test]
fn file_is_moved_and_found_and_never_over_another() {
    let host = Host::new();
    let batch = host.batch(b"one\n");
    let file = |state| host.spool.file(&batch, state, FileForm::Plain);
    host.put(&file(BatchState::Open), b"one\n");
    assert_eq!(host.spool.find_sealed(&batch).expect("read"), None);
    for (from, to) in [
        (BatchState::Open, BatchState::Ready),
        (BatchState::Ready, BatchState::Failed),
        (BatchState::Failed, BatchState::Ready),
        (BatchState::Ready, BatchState::Sent),
    ] {
        host.spool.move_batch(&batch, from, to).expect("moved");
        assert_eq!(host.spool.find(&batch).expect("read"), Some(file(to)));
        let waits_in = Some(to).filter(|state| *state != BatchState::Sent);
        assert_eq!(host.spool.waits_in(&batch).expect("read"), waits_in);
    }
    host.put(&file(BatchState::Ready), b"another\n");
    let (from, to) = (file(BatchState::Ready).path, file(BatchState::Sent).path);
    assert!(!host.spool.move_unless_taken(&from, &to).expect("no error"));
    assert_eq!(host.spool.disk().contents(&from), Some(b"another\n".to_vec()));
}

#[test]
fn open_file_is_cut_back_to_the_ledger_and_never_filled_up() {
    let host = Host::new();
    let batch = host.batch(b"one\n");
    let file = host.spool.file(&batch, BatchState::Open, FileForm::Plain);
    let absent = host.spool.cut_back(&batch).expect("read");
    assert_eq!(absent, OpenFile::Short { found: 0 });
    for (bytes, expected) in [
        (&b"one\ntwo"[..], OpenFile::Whole),
        (b"one\n", OpenFile::Whole),
        (b"one", OpenFile::Short { found: 3 }),
    ] {
        host.put(&file, bytes);
        assert_eq!(host.spool.cut_back(&batch).expect("cut"), expected);
        let left = host.spool.disk().contents(&file.path).expect("there");
        assert_eq!(left, bytes[..bytes.len().min(4)]);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
fn scan_lists_every_file_and_knows_the_form_of_each() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = Spool::new(RealDisk, dir.path());
    for file in [
        "sent/b/x.log.gz",
        "sent/a/x.2.log",
        "sent/a/deep/x.log",
        "sent/README",
        "open/a/x.log.gz.tmp",
    ] {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, "").expect("written");
    }
    std::os::unix::fs::symlink(dir.path().join("sent/a"), dir.path().join("sent/link")).expect("linked");
    let summary = |files: Vec<SpoolFile>| -> Vec<_> {
        let entry = |file: SpoolFile| (file.source, file.batch_name, file.form);
        files.into_iter().map(entry).collect()
    };
    let entry = |source: &str, name: &str, form| (Some(source.to_owned()), name.to_owned(), form);
    let beside = |name: &str, form| (None, name.to_owned(), form);
    assert_eq!(
        summary(spool.all_files().expect("listed")),
        [
            entry("a", "x", FileForm::Partial),
            beside("README", FileForm::Other),
            beside("x", FileForm::Plain),
            entry("a", "x.2", FileForm::Plain),
            entry("b", "x", FileForm::Compressed),
            beside("link", FileForm::Other),
        ]
    );
    assert_eq!(
        summary(spool.files_in(BatchState::Sent).expect("listed"))[..4],
        [
            beside("README", FileForm::Other),
            entry("a", "deep", FileForm::Other),
            entry("a", "x.2", FileForm::Plain),
            entry("b", "x", FileForm::Compressed),
        ]
    );
}

proptest! {
    #[test]
    fn measure_does_not_depend_on_the_blocks(bytes in prop::collection::vec(0_u8..20, 0..200), at in 0_usize..200) {
        let mut whole = Measure::with_sha256();
        whole.add(&bytes);
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        let mut reader = MeasuredReader::new(first.chain(second), Measure::with_sha256());
        let compressed = gzip(&mut reader);
        prop_assert_eq!(reader.measure().contents(), whole.contents());
        prop_assert_eq!(reader.measure().sha256(), whole.sha256());
        prop_assert!(reader.measure().matches(whole.contents()));
        let mut unpacked = Measure::with_sha256();
        unpacked.add_all(BatchReader::gzip(std::io::Cursor::new(compressed))).expect("in memory");
        prop_assert_eq!(unpacked.contents(), whole.contents());
        prop_assert_eq!(unpacked.sha256(), whole.sha256());
    }
}
