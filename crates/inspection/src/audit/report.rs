//! The audit's result. Its JSON is a contract.

use jiff::Timestamp;
use jiff::tz::Offset;
use logferry_ledger::{Batch, BatchState, Delivery, ForgottenSums};
use logferry_protocol::names::{DestinationName, SourceId};
use serde::Serialize;

use crate::gap::GapReport;
use crate::time::clamped_timestamp;

/// The result of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Whether nothing is missing, doubled or different. A batch that is open or waiting is no discrepancy.
    pub complete: bool,
    /// Lines, added up.
    pub totals: Totals,
    /// `lines_read` and `lines_excluded` of the totals are of all times, though the filter has `since` or `until`: all other sums are of
    /// the windows that it includes.
    pub lines_read_of_all_times: bool,
    /// The windows that the monitor has signed.
    pub signed: SignedWindows,
    /// The sums of each source that has batches.
    pub sources: Vec<AuditedSource>,
    /// The batches that match the filter, oldest window first; or, if only sums were asked for, those of them that are not
    /// delivered.
    pub batches: Vec<AuditedBatch>,
    /// Expected and recorded deliveries of these batches, for each configured destination.
    pub destinations: Vec<AuditedDestination>,
    /// Facts that contradict each other.
    pub discrepancies: Vec<Discrepancy>,
    /// Facts to look at. No line is known to be missing because of them.
    pub warnings: Vec<Discrepancy>,
}

impl Audit {
    /// Adds discrepancies found by another check.
    pub fn add(&mut self, discrepancies: impl IntoIterator<Item = Discrepancy>) {
        self.discrepancies.extend(discrepancies);
        self.complete = self.discrepancies.is_empty();
    }
}

/// Lines, added up.
///
/// Lines read and excluded are counted per source, not per window. With `since` or `until` in the filter, these two numbers
/// still cover all time, and are not compared with the batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Lines that the senders read and reported: sent and excluded.
    pub lines_read: u64,
    /// Of these, dropped by an `exclude` rule.
    pub lines_excluded: u64,
    /// Lines in the batches.
    pub lines_received: u64,
    /// Of these, in batches that are delivered to every destination.
    pub lines_delivered: u64,
}

/// The signed records of the windows that match the filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SignedWindows {
    /// Windows with a record.
    pub windows: u64,
    /// Their sums were compared with the ledger's rows. Of these, so many windows row by row.
    pub row_by_row: u64,
    /// The public key, in hex; `None` if nothing was signed yet.
    pub key: Option<String>,
}

/// The batches of one source, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditedSource {
    /// The source.
    pub source: String,
    /// Its batches.
    pub batches: u64,
    /// Of these, delivered to every destination.
    pub sent_batches: u64,
    /// Lines of all.
    pub lines: u64,
    /// Lines of the delivered ones.
    pub delivered_lines: u64,
    /// Bytes of all.
    pub bytes: u64,
}

impl AuditedSource {
    /// Adds batches that were delivered and whose rows were deleted for their age.
    pub(super) fn add_forgotten(&mut self, sums: ForgottenSums) {
        self.batches += sums.batches;
        self.sent_batches += sums.batches;
        self.lines += sums.lines;
        self.delivered_lines += sums.lines;
        self.bytes += sums.bytes;
    }

    pub(super) fn add(&mut self, lines: u64, bytes: u64, is_sent: bool) {
        self.batches += 1;
        self.lines += lines;
        self.bytes += bytes;
        if is_sent {
            self.sent_batches += 1;
            self.delivered_lines += lines;
        }
    }
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedBatch {
    /// Its name, without `.log`.
    pub name: String,
    /// The source of its lines.
    pub source: SourceId,
    /// First second of its window as RFC 3339, in the UTC offset of its lines.
    pub window_start: String,
    /// 1 for the first file of the window, 2 for the next.
    pub part: u32,
    /// Its state in the ledger.
    pub state: BatchState,
    /// Its lines.
    pub lines: u64,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 in hex, once a delivery read the whole file.
    pub sha256: Option<String>,
    /// Its deliveries.
    pub destinations: Vec<AuditedDelivery>,
}

impl AuditedBatch {
    /// A batch with its deliveries, as the ledger has them.
    pub fn new(batch: &Batch, deliveries: Vec<Delivery>) -> Self {
        let delivered = deliveries.into_iter();
        Self {
            name: batch.name(),
            source: batch.source.clone(),
            window_start: window_start(batch),
            part: batch.part,
            state: batch.state,
            lines: batch.contents.lines,
            bytes: batch.contents.bytes,
            sha256: batch.sha256.clone(),
            destinations: delivered
                .filter_map(|delivery| AuditedDelivery::new(delivery, batch))
                .collect(),
        }
    }
}

/// First second of a batch's window as RFC 3339, in the UTC offset of its lines.
fn window_start(batch: &Batch) -> String {
    let offset = Offset::from_seconds(batch.window.utc_offset).unwrap_or(Offset::UTC);
    let start = clamped_timestamp(batch.window.start);
    start.display_with_offset(offset).to_string()
}

/// The delivery of a batch to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedDelivery {
    /// The destination.
    pub name: DestinationName,
    /// The path there.
    pub path: Option<String>,
    /// Size of the file there; it may be compressed.
    pub bytes: Option<u64>,
    /// SHA-256 in hex of the file there.
    pub sha256: Option<String>,
    /// When it was delivered.
    pub delivered_at: Timestamp,
}

impl AuditedDelivery {
    fn new(delivery: Delivery, batch: &Batch) -> Option<Self> {
        let sha256 = delivery.file_hash(batch);
        Some(Self {
            bytes: delivery.bytes.filter(|_| sha256.is_some()),
            sha256,
            delivered_at: delivery.delivered_at?,
            name: delivery.destination,
            path: delivery.path,
        })
    }
}

/// The expected and recorded deliveries of the audited batches to one destination. Open batches do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedDestination {
    /// Its name.
    pub name: DestinationName,
    /// Sealed batches that are expected there, or are there.
    pub batches: u64,
    /// Their lines.
    pub lines: u64,
    /// How many of these batches are there.
    pub delivered_batches: u64,
    /// Their lines.
    pub delivered_lines: u64,
}

/// Something missing, doubled or different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// The kind.
    pub kind: DiscrepancyKind,
    /// The source, or the name of a folder that should be one.
    pub source: Option<String>,
    /// The batch, or the name of a file that should be one.
    pub batch: Option<String>,
    /// The finding, as text.
    pub detail: String,
    /// The missing bytes, if bytes are missing on the source.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapReport>,
}

/// The kinds of discrepancies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscrepancyKind {
    /// A source's streams sent a number of lines that its batches do not hold.
    LinesDiffer,
    /// A batch has no file.
    FileMissing,
    /// A batch has files in several folders, as if it were in several states.
    FileDoubled,
    /// A batch's file does not have the recorded size.
    SizeDiffers,
    /// A batch's file does not have the recorded content.
    ContentDiffers,
    /// A file that the ledger does not know is in a folder of files to be delivered.
    UnknownFile,
    /// A batch is in state `sent` without a record of its delivery.
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
    /// A delivered file has different contents at its destination.
    RemoteDiffers,
    /// A delivered file cannot be read at its destination.
    RemoteUnreadable,
    /// A destination could not be read, so that nothing delivered there was compared.
    RemoteUnread,
    /// Manifests or markers that the configuration asks for are not beside their batches. Always a warning.
    #[serde(rename = "companion_missing")]
    SidecarMissing,
    /// A destination of earlier deliveries is not configured any more, so that its files cannot be read. Always a warning.
    RemoteUnknown,
    /// A log file disappeared from the source before its sender had read it to a known end. Always a warning.
    Unfinished,
    /// Lines may be stored twice since the ledger was rebuilt from the spool. Always a warning.
    MaybeDoubled,
    /// Two live senders send for a source: one is a copy of the other. Always a warning.
    TwoSenders,
    /// The ledger was restored from a backup. Always a warning.
    Restored,
    /// No destination wants some batches of a source; they wait. Always a warning.
    Unwanted,
    /// A delivery was presumed after a crash and never proved: the file may have been published, and is gone. Always a
    /// warning.
    Presumed,
    /// A batch was published once more, because somebody asked for it. Always a warning.
    Resent,
    /// Rows of the ledger are not as they were when their window was signed, or the signed record itself is not.
    RecordDiffers,
    /// Windows are signed by another key than this host's. Always a warning.
    RecordOfOtherKey,
    /// OpenSearch has fewer documents of a batch than were sent.
    IndexMissing,
    /// OpenSearch has more documents of a batch than were sent.
    IndexExtra,
    /// OpenSearch refused lines of a batch.
    IndexRefused,
    /// Bytes of a batch were gone before they were sent to OpenSearch.
    IndexGap,
    /// OpenSearch could not be asked, so that no document was counted.
    IndexUnread,
    /// The indexer has no record of what it sent of some batches. Always a warning.
    IndexUnknown,
}

impl Discrepancy {
    /// A discrepancy of neither a source nor a batch.
    pub fn new(kind: DiscrepancyKind, detail: String) -> Self {
        Self {
            kind,
            source: None,
            batch: None,
            detail,
            gap: None,
        }
    }

    pub(super) fn of_source(source: &SourceId, kind: DiscrepancyKind, detail: String) -> Self {
        Self {
            source: Some(source.to_string()),
            ..Self::new(kind, detail)
        }
    }

    pub(super) fn of_batch(batch: &Batch, kind: DiscrepancyKind, detail: String) -> Self {
        Self {
            batch: Some(batch.name()),
            ..Self::of_source(&batch.source, kind, detail)
        }
    }
}
