//! Which minutes the indexer has counted to their end. Pure.

use std::time::Duration;

/// Lines of a minute that is over may be on their way so long: a sender waits up to a second for a chunk, the relay and the indexer
/// take another.
const SETTLE_SECONDS: i64 = 15;

/// An indexer that has finished no minute for so long is behind. Rules wait for it.
const BEHIND_SECONDS: i64 = 300;

/// What is known of the indexer at one look. Times are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexProgress {
    /// When it recorded last what it had read.
    pub(crate) recorded_at: Option<i64>,
    /// For how long the oldest line that it had not read then had waited.
    pub(crate) lag_seconds: u64,
    /// Whether it has read all that the relay had stored at this look.
    pub(crate) has_all: bool,
}

/// The minutes that a rule may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishedMinutes {
    /// Those before this time, the start of a minute.
    Until(i64),
    /// The indexer is behind; it has finished those before this time, if any.
    Behind(Option<i64>),
}

/// The minutes that are finished at `now`.
pub(crate) fn finished_minutes(progress: IndexProgress, now: i64) -> FinishedMinutes {
    let lag = i64::try_from(progress.lag_seconds).unwrap_or(i64::MAX);
    let counted = match progress.recorded_at {
        _ if progress.has_all => Some(now),
        // A clock that was set back makes no future.
        Some(recorded) => Some(recorded.saturating_sub(lag).min(now)),
        None => None,
    };
    let Some(counted) = counted else {
        return FinishedMinutes::Behind(None);
    };
    let settled = counted.saturating_sub(SETTLE_SECONDS);
    let until = settled.saturating_sub(settled.rem_euclid(60));
    if now.saturating_sub(counted) > BEHIND_SECONDS {
        return FinishedMinutes::Behind(Some(until));
    }
    FinishedMinutes::Until(until)
}

/// The first second of the minutes that a rule with this span looks at.
pub(crate) fn span_start(until: i64, over: Duration) -> i64 {
    until.saturating_sub(seconds(over))
}

/// Whole seconds, for differences of times.
pub(crate) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_227_600;

    #[test]
    fn a_minute_is_finished_when_all_that_arrived_shortly_after_it_is_counted() {
        let caught_up = IndexProgress {
            recorded_at: Some(NOW - 5_000),
            lag_seconds: 0,
            has_all: true,
        };
        for (now, until) in [
            (NOW + 14, FinishedMinutes::Until(NOW - 60)),
            (NOW + 15, FinishedMinutes::Until(NOW)),
        ] {
            assert_eq!(finished_minutes(caught_up, now), until, "nothing new for long");
        }
        let busy = IndexProgress {
            recorded_at: Some(NOW + 74),
            lag_seconds: 0,
            has_all: false,
        };
        assert_eq!(finished_minutes(busy, NOW + 75), FinishedMinutes::Until(NOW));
        let slow = IndexProgress {
            lag_seconds: 100,
            ..busy
        };
        assert_eq!(finished_minutes(slow, NOW + 75), FinishedMinutes::Until(NOW - 60));
    }

    #[test]
    fn an_indexer_that_is_behind_is_told_from_a_log_without_lines() {
        let stopped = IndexProgress {
            recorded_at: Some(NOW),
            lag_seconds: 0,
            has_all: false,
        };
        assert_eq!(
            finished_minutes(stopped, NOW + 300),
            FinishedMinutes::Until(NOW - 60)
        );
        assert_eq!(
            finished_minutes(stopped, NOW + 301),
            FinishedMinutes::Behind(Some(NOW - 60))
        );
        let new = IndexProgress {
            recorded_at: None,
            ..stopped
        };
        assert_eq!(finished_minutes(new, NOW), FinishedMinutes::Behind(None));
        let all = IndexProgress {
            has_all: true,
            ..stopped
        };
        assert_eq!(
            finished_minutes(all, NOW + 7_215),
            FinishedMinutes::Until(NOW + 7_200)
        );
    }
}
