//! The proof: `logferry audit`, whose JSON is a contract.
//!
//! It only reads, and may run while the roles do. What seems wrong is looked at a second time, by what the ledger says
//! then: a batch may have moved on between the reading of its row and of its file.

mod deliveries;
mod doubts;
mod gaps;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::Offset;
use logferry_config::Subscriber;
use logferry_durable::{Disk, RealDisk};
use logferry_ledger::{Batch, BatchFilter, BatchState, Delivery, Ledger, LedgerError, SourceLineTotals};
use logferry_protocol::names::{DestinationName, SourceId};
use serde::{Serialize, Serializer};

pub use self::deliveries::AuditedDestination;
use self::deliveries::Deliveries;
pub use self::gaps::Gap;
use self::gaps::gaps;
use crate::error::ReportError;
use crate::spool::{Fault, fault};
use crate::words::{count, instant};

/// The folders where a file that the ledger does not know would pass for lines to be delivered.
const WATCHED_FOLDERS: [BatchState; 2] = [BatchState::Ready, BatchState::Failed];

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Whether nothing is missing, doubled or different. Batches still open or waiting are no discrepancy.
    pub complete: bool,
    /// Everything added up.
    pub totals: Totals,
    /// The batches that fit the filter, oldest window first.
    pub batches: Vec<AuditedBatch>,
    /// What each configured destination was to get of them, and got.
    pub destinations: Vec<AuditedDestination>,
    /// What is wrong.
    pub discrepancies: Vec<Discrepancy>,
    /// What may be wrong, without anything being known to be missing.
    pub warnings: Vec<Discrepancy>,
}

impl Audit {
    /// Adds what else was found to be wrong.
    pub fn add(&mut self, discrepancies: impl IntoIterator<Item = Discrepancy>) {
        self.discrepancies.extend(discrepancies);
        self.complete = self.discrepancies.is_empty();
    }
}

/// Lines, added up.
///
/// Lines are counted as read and excluded per source, not per window: with `since` or `until` in the filter those
/// two numbers still cover everything of the sources asked for, and are not compared with the batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Lines the senders read and reported: sent and excluded.
    pub lines_read: u64,
    /// Of these, dropped by rule.
    pub lines_excluded: u64,
    /// Lines in the batches.
    pub lines_received: u64,
    /// Of these, in batches that are at every destination.
    pub lines_delivered: u64,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedBatch {
    /// Its name, without `.log`.
    pub name: String,
    /// Whose lines it holds.
    pub source: SourceId,
    /// First second of its window, shown in the offset of its lines.
    pub window_start: WindowStart,
    /// 1 for the first file of the window, 2 for the next.
    pub part: u32,
    /// Where it is on its way.
    pub state: BatchState,
    /// Its lines.
    pub lines: u64,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 in hex, once a delivery has read it whole.
    pub sha256: Option<String>,
    /// Where it has been delivered.
    pub destinations: Vec<DeliveredTo>,
}

/// First second of a window, with the offset from UTC of its lines; shown as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowStart {
    at: Timestamp,
    offset: Offset,
}

impl WindowStart {
    fn of(batch: &Batch) -> Self {
        Self {
            at: instant(batch.window.start),
            offset: Offset::from_seconds(batch.window.utc_offset).unwrap_or(Offset::UTC),
        }
    }

    /// The instant.
    pub const fn timestamp(self) -> Timestamp {
        self.at
    }
}

impl fmt::Display for WindowStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.display_with_offset(self.offset).fmt(f)
    }
}

impl Serialize for WindowStart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A place where a batch has been delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveredTo {
    /// The destination.
    pub name: DestinationName,
    /// The path there.
    pub path: Option<String>,
    /// Size of the file there, which may be compressed.
    pub bytes: Option<u64>,
    /// SHA-256 of it in hex.
    pub sha256: Option<String>,
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub delivered_at: Timestamp,
}

impl DeliveredTo {
    fn new(delivery: Delivery, batch: &Batch) -> Option<Self> {
        Some(Self {
            bytes: delivery.bytes,
            // Before the file's own was recorded, none was compressed.
            sha256: delivery.file_sha256.or_else(|| batch.sha256.clone()),
            delivered_at: delivery.delivered_at?,
            name: delivery.destination,
            path: delivery.path,
        })
    }
}

/// Something that is missing, doubled or different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// What sort of thing.
    pub kind: DiscrepancyKind,
    /// The source, or the name of a folder that should be one.
    pub source: Option<String>,
    /// The batch, or the name of a file that should be one.
    pub batch: Option<String>,
    /// What was found, in words.
    pub detail: String,
    /// The bytes that are missing on the source, where that is what is wrong.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// The sorts of discrepancies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscrepancyKind {
    /// A source's streams sent another number of lines than its batches hold.
    LinesDiffer,
    /// A batch has no file.
    FileMissing,
    /// A batch's file has another size than was recorded.
    SizeDiffers,
    /// A batch's file has other bytes than were recorded.
    ContentDiffers,
    /// A file waits for delivery that the ledger does not know.
    UnknownFile,
    /// A batch passes for sent, but its delivery was not recorded.
    DeliveryMissing,
    /// Two batches have one name.
    NameDoubled,
    /// Bytes of a log were deleted or truncated on the source before they could be sent.
    Gap,
    /// A delivered file is not at its destination.
    RemoteMissing,
    /// A delivered file has fewer bytes at its destination.
    RemoteShort,
    /// A delivered file has more bytes at its destination.
    RemoteLonger,
    /// A delivered file has other bytes at its destination.
    RemoteDiffers,
    /// A delivered file cannot be read at its destination.
    RemoteUnreadable,
    /// Nothing that was delivered to a destination could be read back.
    RemoteUnread,
    /// Manifests or markers that the settings ask for are not beside their batches. Only ever a warning.
    CompanionMissing,
    /// What was delivered cannot be read back, because the destination is not configured any more. Only ever a warning.
    RemoteUnknown,
    /// A log went from the source before its sender knew that it had all of it. Only ever a warning.
    Unfinished,
    /// Lines may be here twice since the ledger was made anew from the spool. Only ever a warning.
    MaybeDoubled,
    /// Batches of a source are wanted by no destination, and wait. Only ever a warning.
    Unwanted,
}

impl Discrepancy {
    fn of_batch(batch: &Batch, kind: DiscrepancyKind, detail: String) -> Self {
        Self {
            kind,
            source: Some(batch.source.to_string()),
            batch: Some(batch.name()),
            detail,
            gap: None,
        }
    }
}

/// Adds up what the ledger in `data_dir` says of the batches that fit the filter, and compares it with the spool.
///
/// `subscribers` are the destinations configured now. Content is read and compared, except that of compressed files.
pub fn audit(
    data_dir: &Path,
    filter: &BatchFilter,
    subscribers: &[Subscriber],
) -> Result<Audit, ReportError> {
    let ledger = Ledger::open(data_dir)?;
    let totals = source_line_totals(&ledger, filter)?;
    let batches = ledger.batches(filter)?;
    let mut audited = Vec::new();
    for batch in &batches {
        let deliveries = ledger.deliveries(batch.id)?.into_iter();
        let delivered = deliveries.filter_map(|delivery| DeliveredTo::new(delivery, batch));
        audited.push(audited_batch(batch, delivered.collect()));
    }
    let mut discrepancies = Vec::new();
    if covers_all_times(filter) {
        discrepancies.extend(totals.iter().filter_map(lines_differ));
    }
    discrepancies.extend(doubled_names(&batches));
    for batch in &batches {
        discrepancies.extend(spoiled_file(&ledger, data_dir, batch)?);
    }
    let deliveries = Deliveries::new(&batches, &audited, subscribers, ledger.subscribed_since()?);
    discrepancies.extend(deliveries.missing());
    discrepancies.extend(unknown_files(&ledger, data_dir, filter)?);
    let (gaps, mut warnings) = gaps(&ledger, filter)?;
    warnings.extend(doubts::warnings(&ledger, filter)?);
    discrepancies.extend(gaps);
    warnings.extend(deliveries.unwanted());
    Ok(Audit {
        complete: discrepancies.is_empty(),
        totals: add_up(&totals, &batches, filter),
        destinations: deliveries.by_destination(),
        batches: audited,
        discrepancies,
        warnings,
    })
}

fn covers_all_times(filter: &BatchFilter) -> bool {
    filter.since.is_none() && filter.until.is_none()
}

fn source_line_totals(ledger: &Ledger, filter: &BatchFilter) -> Result<Vec<SourceLineTotals>, LedgerError> {
    let mut totals = ledger.source_line_totals()?;
    totals.retain(|totals| {
        filter
            .source
            .as_ref()
            .is_none_or(|source| *source == totals.source)
    });
    Ok(totals)
}

fn add_up(streams: &[SourceLineTotals], batches: &[Batch], filter: &BatchFilter) -> Totals {
    let lines_of = |batch: &Batch| batch.contents.lines;
    let lines_excluded = streams.iter().map(|totals| totals.lines_excluded).sum();
    let lines_sent: u64 = streams.iter().map(|totals| totals.lines_sent).sum();
    // Where it can be, taken in the same instant as what was sent: lines keep coming while the batches are listed.
    let lines_received = if covers_all_times(filter) {
        streams.iter().map(|totals| totals.lines_batched).sum()
    } else {
        batches.iter().map(lines_of).sum()
    };
    let sent = batches.iter().filter(|batch| batch.state == BatchState::Sent);
    Totals {
        lines_read: lines_sent + lines_excluded,
        lines_excluded,
        lines_received,
        lines_delivered: sent.map(lines_of).sum(),
    }
}

fn audited_batch(batch: &Batch, destinations: Vec<DeliveredTo>) -> AuditedBatch {
    AuditedBatch {
        name: batch.name(),
        source: batch.source.clone(),
        window_start: WindowStart::of(batch),
        part: batch.part,
        state: batch.state,
        lines: batch.contents.lines,
        bytes: batch.contents.bytes,
        sha256: batch.sha256.clone(),
        destinations,
    }
}

fn lines_differ(totals: &SourceLineTotals) -> Option<Discrepancy> {
    let (sent, batched) = (totals.lines_sent, totals.lines_batched);
    (sent != batched).then(|| Discrepancy {
        kind: DiscrepancyKind::LinesDiffer,
        source: Some(totals.source.to_string()),
        batch: None,
        detail: format!(
            "its streams sent {} lines, its batches hold {}",
            count(sent),
            count(batched)
        ),
        gap: None,
    })
}

fn doubled_names(batches: &[Batch]) -> Vec<Discrepancy> {
    let mut seen = BTreeSet::new();
    batches
        .iter()
        .filter(|batch| !seen.insert(batch.name()))
        .map(|batch| {
            let detail = "another batch has this name too".to_owned();
            Discrepancy::of_batch(batch, DiscrepancyKind::NameDoubled, detail)
        })
        .collect()
}

fn spoiled_file(ledger: &Ledger, data_dir: &Path, batch: &Batch) -> Result<Option<Discrepancy>, ReportError> {
    if fault(data_dir, batch)?.is_none() {
        return Ok(None);
    }
    let now = match ledger.batch_named(&batch.name())? {
        Some(now) => now,
        // The relay forgets a batch into which nothing was ever committed.
        None if batch.contents.bytes == 0 => return Ok(None),
        None => batch.clone(),
    };
    let found = fault(data_dir, &now)?;
    Ok(found.map(|found| {
        let recorded = format!(
            "the ledger has {} bytes of it as {}",
            count(now.contents.bytes),
            now.state
        );
        let (kind, detail) = match found {
            Fault::Missing => (
                DiscrepancyKind::FileMissing,
                format!("{recorded}, but its file is in no folder of the spool"),
            ),
            Fault::Size { path, bytes } => (
                DiscrepancyKind::SizeDiffers,
                format!("{recorded}, but {} has {}", path.display(), count(bytes)),
            ),
            Fault::Content { path } => (
                DiscrepancyKind::ContentDiffers,
                format!("{recorded}, but {} has other bytes (CRC-32C)", path.display()),
            ),
        };
        Discrepancy::of_batch(&now, kind, detail)
    }))
}

/// Files in the way of delivery that the ledger does not know. A batch is in the ledger before its file is made, so a
/// file listed first and not known then is none of ours.
fn unknown_files(
    ledger: &Ledger,
    data_dir: &Path,
    filter: &BatchFilter,
) -> Result<Vec<Discrepancy>, ReportError> {
    let mut unknown = Vec::new();
    for state in WATCHED_FOLDERS {
        let folder = data_dir.join(state.as_str());
        let mut note = |source: Option<&str>, file: &str| {
            let place = source.map_or(folder.clone(), |source| folder.join(source));
            unknown.push(Discrepancy {
                kind: DiscrepancyKind::UnknownFile,
                source: source.map(str::to_owned),
                batch: Some(file.to_owned()),
                detail: format!("the ledger does not know {}", place.join(file).display()),
                gap: None,
            });
        };
        for source in RealDisk.list(&folder)? {
            if filter
                .source
                .as_ref()
                .is_some_and(|asked| asked.as_str() != source)
            {
                continue;
            }
            let inside = folder.join(&source);
            if !inside.is_dir() {
                note(None, &source);
                continue;
            }
            for file in RealDisk.list(&inside)? {
                if !is_known(ledger, &source, &file)? {
                    note(Some(&source), &file);
                }
            }
        }
    }
    Ok(unknown)
}

fn is_known(ledger: &Ledger, source: &str, file: &str) -> Result<bool, LedgerError> {
    let Some(name) = file.strip_suffix(".log") else {
        return Ok(false);
    };
    let batch = ledger.batch_named(name)?;
    Ok(batch.is_some_and(|batch| batch.source.as_str() == source))
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
