//! Files made of a public sample: `collector/tests/evtx/security.evtx` of the evtx crate (MIT, Omer Ben-Amram), with four
//! records.

mod live;

use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Crc;
use logferry_config::WindowsEventsSettings;
use serde_json::Value;

use super::follow::follow;
use crate::capture::Position;
use crate::capture::testing::MemoryCapture;
use crate::source::testing::{context, until};
use crate::source::{SourceContext, SourceError, SourcePhase};

const SAMPLE: &[u8] = include_bytes!("../../../tests/evtx/security.evtx");
const HEADER: usize = 4096;
const CHUNK: usize = 65_536;
const RECORDS: u64 = 4;
const INTERVAL: Duration = Duration::from_millis(20);

/// The sample's chunk with other numbers and later times.
fn chunk(first: u64, later: u64) -> Vec<u8> {
    let mut chunk = SAMPLE[HEADER..HEADER + CHUNK].to_vec();
    let free =
        usize::try_from(u32::from_le_bytes(chunk[48..52].try_into().expect("4 bytes"))).expect("small");
    let mut at = 512;
    let mut number = first;
    while at < free {
        assert_eq!(chunk[at..at + 4], [0x2a, 0x2a, 0, 0]);
        let size = usize::try_from(u32::from_le_bytes(
            chunk[at + 4..at + 8].try_into().expect("4 bytes"),
        ))
        .expect("small");
        chunk[at + 8..at + 16].copy_from_slice(&number.to_le_bytes());
        let time = u64::from_le_bytes(chunk[at + 16..at + 24].try_into().expect("8 bytes")) + later;
        chunk[at + 16..at + 24].copy_from_slice(&time.to_le_bytes());
        number += 1;
        at += size;
    }
    assert_eq!(number, first + RECORDS);
    for (at, value) in [(8, first), (16, number - 1), (24, first), (32, number - 1)] {
        chunk[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let sum = checksum(&[&chunk[512..free]]);
    chunk[52..56].copy_from_slice(&sum.to_le_bytes());
    let sum = checksum(&[&chunk[..120], &chunk[128..512]]);
    chunk[124..128].copy_from_slice(&sum.to_le_bytes());
    chunk
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut sum = Crc::new();
    for part in parts {
        sum.update(part);
    }
    sum.sum()
}

fn evtx(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut file = SAMPLE[..HEADER].to_vec();
    for chunk in chunks {
        file.extend_from_slice(chunk);
    }
    file
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file there as a copy program does: at once.
    fn put(&self, name: &str, contents: &[u8]) {
        let temporary: &Path = &self.path("copying");
        #[expect(clippy::disallowed_methods, reason = "a test's file")]
        std::fs::write(temporary, contents).expect("written");
        #[expect(clippy::disallowed_methods, reason = "a test's file")]
        std::fs::rename(temporary, self.path(name)).expect("renamed");
    }

    fn settings(&self) -> WindowsEventsSettings {
        WindowsEventsSettings {
            path: self.path("*.evtx").display().to_string(),
        }
    }

    /// Follows the files from a position until `is_done`; what was captured, and the new position.
    async fn follow(
        &self,
        position: Option<Position>,
        is_done: impl Fn(&SourceContext, &MemoryCapture) -> bool,
    ) -> (Vec<Value>, Option<Position>, SourceContext) {
        let (context, kept) = context(position);
        let context = SourceContext {
            max_record: 64 << 10,
            ..context
        };
        let settings = self.settings();
        let stop = async {
            until(|| is_done(&context, &kept)).await;
            context.shutdown.cancel();
        };
        let (ended, ()): (Result<(), SourceError>, ()) =
            tokio::join!(follow(&settings, &context, INTERVAL), stop);
        ended.expect("stopped");
        (kept.records(), context.capture.position(), context)
    }
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records
        .iter()
        .filter_map(|record| record["record_number"].as_u64())
        .collect()
}

#[tokio::test]
async fn file_that_grows_is_captured_by_number_over_restarts() {
    let folder = Folder::new();
    folder.put("live.evtx", &evtx(&[chunk(1, 0)]));
    let (records, position, _) = folder.follow(None, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [1, 2, 3, 4]);
    assert_eq!(records[0]["channel"], "Security");
    assert_eq!(records[0]["level"], "INFO");
    assert!(
        records[0]["message"]
            .as_str()
            .expect("text")
            .starts_with("Microsoft-Windows-Security-Auditing ")
    );
    folder.put("live.evtx", &evtx(&[chunk(1, 0), chunk(5, 1)]));
    let (records, position, _) = folder.follow(position, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [5, 6, 7, 8]);
    // Overwritten in a circle, and archived under another name.
    folder.put("live.evtx", &evtx(&[chunk(9, 2), chunk(5, 1)]));
    folder.put("Archive-1.evtx", &evtx(&[chunk(1, 0), chunk(5, 1)]));
    let (records, _, _) = folder.follow(position, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [9, 10, 11, 12]);
}

#[tokio::test]
async fn cleared_log_and_other_hosts_file_are_captured_whole() {
    let folder = Folder::new();
    folder.put("a.evtx", &evtx(&[chunk(1, 0)]));
    folder.put("b.evtx", &evtx(&[chunk(1, 77)]));
    let (records, position, _) = folder.follow(None, |_, kept| kept.records().len() == 8).await;
    assert_eq!(numbers(&records), [1, 2, 3, 4, 1, 2, 3, 4]);
    folder.put("a.evtx", &evtx(&[chunk(1, 99)]));
    let (records, _, _) = folder.follow(position, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [1, 2, 3, 4]);
}

#[tokio::test]
async fn damaged_chunk_is_named_and_counted_and_its_neighbours_are_captured() {
    let folder = Folder::new();
    let mut damaged = chunk(5, 1);
    damaged[600] ^= 1;
    folder.put("x.evtx", &evtx(&[chunk(1, 0), damaged, chunk(9, 2)]));
    let is_done = |context: &SourceContext, _: &MemoryCapture| context.status.report().dropped_records > 0;
    let (records, position, context) = folder.follow(None, is_done).await;
    assert_eq!(numbers(&records), [1, 2, 3, 4, 9, 10, 11, 12]);
    let report = context.status.report();
    assert_eq!(report.dropped_records, 1);
    let (_, text) = report.last_error.expect("told");
    assert!(
        text.contains("x.evtx: 1 parts are damaged")
            && text.ends_with("records are missing, by number: 5 to 8"),
        "{text}"
    );
    assert_eq!(report.gaps, 1);
    // A whole copy comes later.
    folder.put("x.evtx", &evtx(&[chunk(1, 0), chunk(5, 1), chunk(9, 2)]));
    let (records, _, _) = folder.follow(position, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [5, 6, 7, 8]);
}

#[tokio::test]
async fn file_that_is_none_and_a_folder_without_files_are_told() {
    let folder = Folder::new();
    let has_error = |context: &SourceContext, _: &MemoryCapture| context.status.report().last_error.is_some();
    let (_, _, context) = folder.follow(None, has_error).await;
    let (_, text) = context.status.report().last_error.expect("told");
    assert!(text.starts_with("no file matches "), "{text}");
    folder.put("none.evtx", b"not an event log");
    folder.put("good.evtx", &evtx(&[chunk(1, 0)]));
    let is_done = |context: &SourceContext, _: &MemoryCapture| context.status.report().dropped_records > 0;
    let (records, _, context) = folder.follow(None, is_done).await;
    assert_eq!(numbers(&records), [1, 2, 3, 4]);
    let (_, text) = context.status.report().last_error.expect("told");
    assert!(text.contains("none.evtx"), "{text}");
}

#[tokio::test]
async fn file_that_cannot_be_looked_at_is_told_and_keeps_no_other_away() {
    let folder = Folder::new();
    std::os::unix::fs::symlink(folder.path("loop.evtx"), folder.path("loop.evtx")).expect("linked");
    let told = |context: &SourceContext| {
        let told = context.status.report().last_error.map(|(_, text)| text);
        told.unwrap_or_default()
    };
    let expected = format!(
        "cannot read {}; let the collector's user",
        folder.path("loop.evtx").display()
    );
    let (_, _, context) = folder.follow(None, |context, _| !told(context).is_empty()).await;
    assert!(told(&context).starts_with(&expected), "{}", told(&context));
    assert_eq!(context.status.report().state, SourcePhase::Failing);
    folder.put("good.evtx", &evtx(&[chunk(1, 0)]));
    let (records, _, context) = folder.follow(None, |_, kept| kept.records().len() == 4).await;
    assert_eq!(numbers(&records), [1, 2, 3, 4]);
    assert!(
        told(&context).ends_with("; other files are read"),
        "{}",
        told(&context)
    );
    assert_eq!(context.status.report().state, SourcePhase::Running);
}
