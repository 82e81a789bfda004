//! Says an error once while it lasts.

use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use logferry_telemetry::RepeatLimit;

use crate::error::IndexerError;

/// After so much work without an error the next one is said, also if it is the same. Each session works for a moment before it
/// fails again.
const RECOVERED_AFTER: Duration = Duration::from_mins(1);

/// The error that was said last.
#[derive(Debug, Default)]
pub(crate) struct ReportedError {
    told: RepeatLimit<Discriminant<IndexerError>>,
    /// Since when there was none.
    works_since: Option<Instant>,
}

impl ReportedError {
    /// Work was done without an error.
    pub(crate) fn worked(&mut self, now: Instant) {
        let since = *self.works_since.get_or_insert(now);
        if now.duration_since(since) >= RECOVERED_AFTER {
            self.told.is_over();
        }
    }

    /// There was an error. Returns whether to say it.
    pub(crate) fn is_news(&mut self, error: &IndexerError, text: &str, now: Instant) -> bool {
        self.works_since = None;
        self.told.is_news(discriminant(error), text, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced() -> IndexerError {
        IndexerError::LedgerReplaced {
            path: "/data/ledger.db".into(),
        }
    }

    #[test]
    fn the_same_error_is_said_again_after_a_recovery_and_not_before() {
        let start = Instant::now();
        let mut told = ReportedError::default();
        let (full, other) = (IndexerError::Thread("full".to_owned()), replaced());
        assert!(told.is_news(&full, "full", start) && !told.is_news(&full, "full", start));
        assert!(told.is_news(&other, "other", start));
        // Each session works a little.
        for second in 0..100 {
            told.worked(start + Duration::from_secs(second));
            let now = start + Duration::from_secs(second);
            assert!(!told.is_news(&other, "other", now), "{second}");
        }
        told.worked(start + Duration::from_secs(100));
        told.worked(start + Duration::from_secs(100) + RECOVERED_AFTER);
        let later = start + Duration::from_secs(100) + RECOVERED_AFTER;
        assert!(told.is_news(&other, "other", later));
    }
}
