//! What a source is given, and what it tells of itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use logferry_protocol::names::LogName;
use tokio_util::sync::CancellationToken;

use super::record_memory::ClientMemory;
use crate::capture::CaptureHandle;

/// Why a source's run has ended: its message and causes are shown in `status`, so they say what happened, to which host or file,
/// and what to do.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// What a source is given. `run` returns `Ok` only after `shutdown`, and soon after it.
#[derive(Debug, Clone)]
pub struct SourceContext {
    /// Its name in the configuration.
    pub name: LogName,
    /// Where its records go.
    pub capture: CaptureHandle,
    /// What it tells of itself.
    pub status: SourceAccount,
    /// Memory for what its clients write.
    pub memory: ClientMemory,
    /// Bytes of the largest record's line: [`crate::record::Record::cut_to`].
    pub max_record: usize,
    /// Cancelled when it is to stop.
    pub shutdown: CancellationToken,
}

/// How a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePhase {
    /// It is being started, for the first time or again.
    Starting,
    /// It listens, or it reads.
    Running,
    /// It is down, and is tried again.
    Failing,
}

/// What a source tells of itself. Clones are the same.
#[derive(Debug, Clone)]
pub struct SourceAccount(Arc<Mutex<SourceReport>>);

/// All that a source has told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceReport {
    pub(crate) state: SourcePhase,
    /// Since when.
    pub(crate) since: Timestamp,
    /// The last error, and when it was; it stays when the source is well again.
    pub(crate) last_error: Option<(Timestamp, String)>,
    /// How many records wait where it reads; `None` if nobody can know.
    pub(crate) behind: Option<u64>,
    pub(crate) cut_records: u64,
    pub(crate) dropped_records: u64,
    pub(crate) gaps: u64,
}

impl Default for SourceAccount {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SourceReport {
            state: SourcePhase::Starting,
            since: Timestamp::now(),
            last_error: None,
            behind: None,
            cut_records: 0,
            dropped_records: 0,
            gaps: 0,
        })))
    }
}

impl SourceAccount {
    /// It listens, or it reads: all is well.
    pub fn running(&self) {
        self.set_state(SourcePhase::Running);
    }

    /// Something went wrong, and it tries again.
    pub fn failing(&self, error: &dyn std::error::Error) {
        self.set_state(SourcePhase::Failing);
        self.problem(logferry_text::error_chain(error));
    }

    /// Something went wrong that does not stop it.
    pub fn problem(&self, text: impl Into<String>) {
        self.lock().last_error = Some((Timestamp::now(), text.into()));
    }

    /// So many records wait where it reads.
    pub fn behind(&self, records: Option<u64>) {
        self.lock().behind = records;
    }

    /// So many records were over the limit, cut, and marked.
    pub fn count_cut(&self, records: u64) {
        self.lock().cut_records += records;
    }

    /// So many records were dropped before they could be read, by the kernel or another program.
    pub fn count_dropped(&self, records: u64) {
        self.lock().dropped_records += records;
    }

    /// Records are missing where it reads: what is known of them, for people. It is logged and counted.
    pub fn gap(&self, what: &str) {
        tracing::warn!(%what, "records are missing in what the source reads");
        let mut report = self.lock();
        report.gaps += 1;
        report.last_error = Some((Timestamp::now(), what.to_owned()));
    }

    /// All of it.
    pub(crate) fn report(&self) -> SourceReport {
        self.lock().clone()
    }

    fn set_state(&self, state: SourcePhase) {
        let mut report = self.lock();
        if report.state != state {
            (report.state, report.since) = (state, Timestamp::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, SourceReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
