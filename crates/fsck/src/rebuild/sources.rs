//! Sums up what the recovered batches tell of each source as a whole.

use std::collections::BTreeMap;

use logferry_config::RelaySettings;
use logferry_durable::{DiskError, RealDisk};
use logferry_ledger::{FoundSource, SourceEnd};
use logferry_protocol::names::SourceId;
use logferry_spool::Spool;

use super::file_lines::unique_ending;
use super::scan::{RecoveredBatch, ScanResult, group_of};

pub(crate) fn summarize(
    spool: &Spool<RealDisk>,
    relay: &RelaySettings,
    scanned: &ScanResult,
) -> Result<Vec<FoundSource>, DiskError> {
    let mut by_source: BTreeMap<&SourceId, Vec<&RecoveredBatch>> = BTreeMap::new();
    for batch in &scanned.batches {
        by_source.entry(&batch.row.batch.source).or_default().push(batch);
    }
    let mut sources = Vec::with_capacity(by_source.len());
    for (source, batches) in by_source {
        let end = match last_written(&batches) {
            Some(last) if !scanned.uncertain_sources.contains(source) => end_of(spool, last)?,
            _ => None,
        };
        let rows = || batches.iter().map(|batch| &batch.row);
        sources.push(FoundSource {
            source: source.clone(),
            group: group_of(relay, source),
            written_at: rows().map(|row| row.written_at).max().unwrap_or_default(),
            newest_window: rows().map(|row| row.batch.window.start).max().unwrap_or(i64::MIN),
            end,
        });
    }
    Ok(sources)
}

/// The file that was written last, if that is certain.
///
/// Compressing changed the time of a compressed file, so all of those must be of earlier windows.
fn last_written<'a>(batches: &[&'a RecoveredBatch]) -> Option<&'a RecoveredBatch> {
    let (compressed, plain): (Vec<&RecoveredBatch>, Vec<&RecoveredBatch>) =
        batches.iter().partition(|batch| batch.row.is_compressed);
    let last = *plain.iter().max_by_key(|batch| batch.row.written_at)?;
    let is_earlier = |batch: &RecoveredBatch| batch.row.written_at < last.row.written_at;
    let is_last = plain
        .iter()
        .all(|batch| batch.path == last.path || is_earlier(batch));
    let start = |batch: &RecoveredBatch| batch.row.batch.window.start;
    let is_latest = compressed.iter().all(|batch| start(batch) < start(last));
    (is_last && is_latest && last.torn_bytes == 0).then_some(last)
}

fn end_of(spool: &Spool<RealDisk>, last: &RecoveredBatch) -> Result<Option<SourceEnd>, DiskError> {
    let window = last.row.batch.window;
    let window = (window.start, window.utc_offset);
    let ending = unique_ending(spool, &last.path, last.row.contents.bytes)?;
    Ok(ending.map(|bytes| SourceEnd { bytes, window }))
}
