//! How far the indexer is, in words.

use std::time::Duration;

use jiff::Timestamp;
use logferry_inspection::status::IndexerStatus;
use logferry_text::{count_of, duration, size};

use crate::output::age::ago;

/// What the index lacks. What it recorded is of then: while it stands still, the time is told too.
pub(crate) fn index_progress(index: &IndexerStatus, now: Timestamp) -> String {
    let recorded = (index.lag_bytes, index.lag_lines, index.lag_seconds);
    match (index.has_all, index.lag_bytes) {
        (false, 0) if !index.stands_still(now) => "all lines but the newest are in it".to_owned(),
        (false, 0) => format!(
            "lines wait for it; it recorded something last: {}",
            ago(index.recorded_at, now)
        ),
        (false, _) if index.stands_still(now) => format!(
            "{}, when it recorded something last: {}",
            behind(recorded),
            ago(index.recorded_at, now)
        ),
        _ => behind(recorded),
    }
}

/// So many bytes and lines wait, the oldest for so many seconds.
pub(crate) fn behind((bytes, lines, seconds): (u64, u64, u64)) -> String {
    if bytes == 0 {
        return "all lines are in it".to_owned();
    }
    format!(
        "{} ({}) behind, for {}",
        count_of(lines, "line"),
        size(bytes),
        duration(Duration::from_secs(seconds))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn said(has_all: bool, lines: u64, recorded_ago: u64) -> String {
        let index = IndexerStatus {
            recorded_at: NOW.checked_sub(Duration::from_secs(recorded_ago)).ok(),
            lag_bytes: lines * 100,
            lag_lines: lines,
            lag_seconds: 3 * lines,
            gaps: 0,
            gap_bytes: 0,
            recent_gaps: 0,
            recent_gap_bytes: 0,
            has_all,
            opensearch: None,
        };
        index_progress(&index, NOW)
    }

    #[test]
    fn an_index_that_stands_still_says_since_when_and_never_that_it_has_all_lines() {
        assert_eq!(
            said(true, 0, 9000),
            "all lines are in it",
            "no line has come since"
        );
        assert_eq!(said(false, 0, 5), "all lines but the newest are in it");
        assert_eq!(
            said(false, 0, 7200),
            "lines wait for it; it recorded something last: 2 h ago"
        );
        assert_eq!(said(false, 2, 5), "2 lines (200 B) behind, for 6 s");
        assert_eq!(
            said(false, 2, 7200),
            "2 lines (200 B) behind, for 6 s, when it recorded something last: 2 h ago"
        );
    }
}
