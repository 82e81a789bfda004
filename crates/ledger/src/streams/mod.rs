//! Everything that the relay records except opening and sealing batches: commits of streams (`commit`), sources and their
//! heartbeats (`sources`, `sender_reports`), the logs of sources (`source_logs`), which windows a source is past (`window_lines`), gaps (`gaps`), uploads
//! of old shippers (`uploads`), what may be stored twice since a rebuild (`possible_duplicates`) and reports of groups (`groups`).
//! This room uses `batches`, whose growth is part of a commit. Queries may change here without a look elsewhere.

mod commit;
mod gaps;
mod groups;
mod possible_duplicates;
mod sender_reports;
mod senders;
mod source_logs;
mod sources;
mod uploads;
mod window_lines;

pub use commit::{BatchGrowth, Commit, StreamMove, StreamRecord};
pub use gaps::GapRecord;
pub use groups::{GroupReport, GroupState};
pub(crate) use possible_duplicates::DOUBTS_GROW_STEP;
pub use possible_duplicates::{DuplicatesEnd, PossibleDuplicate};
pub(crate) use sender_reports::SENDER_REPORTS_STEP;
pub use senders::{SENDERS_KEPT, SenderRecord, is_sender_live, live_together};
pub use source_logs::SourceLogs;
pub(crate) use sources::note_contact;
pub use sources::{ReportedStream, SourceLineTotals, SourceRecord};
pub use uploads::{UPLOAD_MEMORY, UPLOADS_REMEMBERED, UploadChanges, UploadedBody};
pub(crate) use window_lines::FORGOTTEN_AFTER;
pub use window_lines::{REPORT_GRACE, SourceReach};
