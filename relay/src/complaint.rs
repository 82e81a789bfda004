//! How often a trouble that lasts, or comes and goes, is put into the log. Pure: it is told the time.

use std::time::{Duration, Instant};

/// The least time between two words about one trouble.
const INTERVAL: Duration = Duration::from_mins(1);

/// One kind of trouble.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    said: Option<Instant>,
    kept_back: u64,
    /// It was said, and not that it is over.
    is_open: bool,
}

impl Complaint {
    /// The trouble is there. If it is to be said now: how often it was there unsaid since the last time.
    pub(crate) fn raise(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now < said + INTERVAL) {
            self.kept_back += 1;
            return None;
        }
        self.said = Some(now);
        self.is_open = true;
        Some(std::mem::take(&mut self.kept_back))
    }

    /// The trouble is over. Whether to say so: only after it was said.
    pub(crate) fn end(&mut self) -> bool {
        std::mem::take(&mut self.is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_that_comes_and_goes_is_said_once_a_minute() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(complaint.raise(at(0)), Some(0));
        assert!(complaint.end());
        assert_eq!(complaint.raise(at(1)), None);
        assert!(!complaint.end(), "its return was not said");
        assert_eq!(complaint.raise(at(59)), None);
        assert_eq!(complaint.raise(at(60)), Some(2));
        assert_eq!(complaint.raise(at(120)), Some(0));
        assert!(complaint.end());
        assert!(!complaint.end());
    }
}
