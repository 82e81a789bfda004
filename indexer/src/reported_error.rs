//! Says an error once while it lasts.

use std::time::{Duration, Instant};

/// After so much work without an error the next one is said, also if it is the same. Each session works for a moment before it
/// fails again.
const RECOVERED_AFTER: Duration = Duration::from_mins(1);

/// The error that was said last.
#[derive(Debug, Default)]
pub(crate) struct ReportedError {
    told: Option<String>,
    /// Since when there was none.
    works_since: Option<Instant>,
}

impl ReportedError {
    /// Work was done without an error.
    pub(crate) fn worked(&mut self, now: Instant) {
        let since = *self.works_since.get_or_insert(now);
        if now.duration_since(since) >= RECOVERED_AFTER {
            self.told = None;
        }
    }

    /// There was an error. Returns whether to say it.
    pub(crate) fn is_news(&mut self, text: &str) -> bool {
        self.works_since = None;
        let is_known = self.told.as_deref() == Some(text);
        self.told = Some(text.to_owned());
        !is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_error_is_said_again_after_a_recovery_and_not_before() {
        let start = Instant::now();
        let mut told = ReportedError::default();
        assert!(told.is_news("full") && !told.is_news("full") && told.is_news("other"));
        // Each session works a little.
        for second in 0..100 {
            told.worked(start + Duration::from_secs(second));
            assert!(!told.is_news("other"), "{second}");
        }
        told.worked(start + Duration::from_secs(100));
        told.worked(start + Duration::from_secs(100) + RECOVERED_AFTER);
        assert!(told.is_news("other"));
    }
}
