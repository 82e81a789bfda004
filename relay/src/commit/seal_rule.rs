//! The seal rule: when a batch is closed for good.
//!
//! Pure. The time without appends is measured by the monotonic clock, so a step of the wall clock seals nothing. The wall
//! clock only says whether a window is over; if it is wrong, a window gets a further part, and no line is lost.
//!
//! Invariant: whatever times the lines have, the parts of a window are few. When lines come for a window that was sealed,
//! its streams have shown that their times say little. The next part is sealed by quiet alone, and each further one
//! after twice the quiet of the part before, up to `hold`. In return no part stays open for long after its window.

use std::time::Duration;

use logferry_config::BatchSettings as Rules;
use logferry_ledger::Window;

/// The activity of an open batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchActivity {
    pub window: Window,
    /// Time since the last append.
    pub quiet: Duration,
    /// Time since it was opened here.
    pub age: Duration,
    /// How many parts of the window were sealed before this one without being full.
    pub late_parts: u32,
    /// Whether it has reached the maximum size.
    pub is_full: bool,
    /// Whether its source is at the limit of open batches.
    pub is_crowded: bool,
    /// Whether it ends inside a line whose rest is still to come.
    pub has_open_line: bool,
}

/// The activity of a stream that can bring lines for the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamActivity {
    /// The latest time of a line in its last chunk with times, in seconds since 1970.
    pub latest_line: Option<i64>,
    /// Time since its last chunk.
    pub idle: Duration,
    /// Whether its sender reports bytes that have not arrived here.
    pub has_unread: bool,
}

impl StreamActivity {
    /// Whether lines of `window` may still come: no line has come that is later than the window and its slack.
    fn is_before_end(&self, window: Window, slack: Duration) -> bool {
        let limit = window
            .end()
            .saturating_add(i64::try_from(slack.as_secs()).unwrap_or(i64::MAX));
        self.latest_line.is_none_or(|latest| latest <= limit)
    }
}

/// A line time that is more seconds in the future is wrong: a wrong clock, or a number that is not the time of writing.
const AHEAD_MAX: i64 = 3600;

/// The latest line time of a stream, unless it is implausible at wall-clock time `now`. If one line from the future were
/// believed, its stream would count as past every window, and each chunk would be sealed into a part of its own.
pub(crate) fn plausible_line_time(latest_line: Option<i64>, now: i64) -> Option<i64> {
    latest_line.filter(|latest| *latest <= now.saturating_add(AHEAD_MAX))
}

/// Whether the batch is to be sealed at wall-clock time `now` (seconds since 1970).
pub(crate) fn is_due(batch: BatchActivity, streams: &[StreamActivity], rules: &Rules, now: i64) -> bool {
    if batch.has_open_line {
        // Half a line cannot be delivered. After `hold` its rest will not come into this file.
        return batch.quiet >= rules.hold;
    }
    if batch.is_full {
        return true;
    }
    // A stream that is idle for long does not delay the seal, unless its sender says that more is coming.
    let is_live = |stream: &&StreamActivity| stream.has_unread || stream.idle < rules.seal_after;
    let mut live = streams.iter().filter(is_live).peekable();
    let has_live = live.peek().is_some();
    let is_past = has_live && live.all(|stream| !stream.is_before_end(batch.window, rules.slack));
    if (is_past && batch.late_parts == 0) || is_overdue(batch, rules, now) {
        return true;
    }
    let patience = patience(batch, rules, now);
    // At the limit of open batches all lines of the source wait for a seal, so none waits for lines.
    let is_coming = !batch.is_crowded
        && streams
            .iter()
            .any(|stream| stream.has_unread && stream.is_before_end(batch.window, rules.slack));
    let limit = if is_coming {
        rules.hold.max(patience)
    } else {
        patience
    };
    batch.quiet >= limit
}

/// How long a batch must be quiet when nothing is known of its streams.
fn patience(batch: BatchActivity, rules: &Rules, now: i64) -> Duration {
    // If the window is in the future a clock is wrong, and whether the window is over cannot be known.
    let patience = if batch.window.end() > now && !batch.is_crowded {
        rules.window.duration().max(rules.seal_after)
    } else {
        rules.seal_after
    };
    let doublings = batch.late_parts.saturating_sub(1);
    let doubled = patience.saturating_mul(2_u32.saturating_pow(doublings));
    doubled.min(rules.hold.max(patience))
}

/// Whether the batch has been open for so long that it is sealed although lines still come: `hold` after the end of its
/// window, or after its opening if that was later. A window that the clock will not reach soon gets no longer.
fn is_overdue(batch: BatchActivity, rules: &Rules, now: i64) -> bool {
    let hold = i64::try_from(rules.hold.as_secs()).unwrap_or(i64::MAX);
    let end = batch.window.end();
    if end > now.saturating_add(AHEAD_MAX) {
        return batch.age >= rules.hold.max(rules.window.duration());
    }
    batch.age >= rules.hold && now >= end.saturating_add(hold)
}

#[cfg(test)]
mod tests {
    use logferry_config::WindowLength;

    use super::*;
    use crate::commit::tests;

    const START: i64 = 1_795_248_000;
    const END: i64 = START + 1200;

    /// Whether the batch is due at this time, with windows of twenty minutes.
    fn due(batch: BatchActivity, streams: &[StreamActivity], now: i64) -> bool {
        let rules = Rules {
            window: WindowLength::try_from(Duration::from_mins(20)).expect("divides an hour"),
            ..tests::rules(1 << 30)
        };
        is_due(batch, streams, &rules, now)
    }

    fn activity(quiet: u64) -> BatchActivity {
        BatchActivity {
            window: Window {
                start: START,
                seconds: 1200,
                utc_offset: 0,
            },
            quiet: Duration::from_secs(quiet),
            age: Duration::from_secs(quiet),
            late_parts: 0,
            is_crowded: false,
            is_full: false,
            has_open_line: false,
        }
    }

    fn stream(latest_line: i64) -> StreamActivity {
        StreamActivity {
            latest_line: Some(latest_line),
            idle: Duration::ZERO,
            has_unread: false,
        }
    }

    #[test]
    fn a_batch_is_sealed_once_every_live_stream_is_past_the_slack() {
        let (behind, ahead) = (stream(END + 10), stream(END + 11));
        assert!(due(activity(0), &[ahead], END + 11));
        assert!(!due(activity(0), &[ahead, behind], END + 11));
        assert!(!due(activity(0), &[], END + 11), "no stream is past the window");
    }

    #[test]
    fn a_line_time_in_the_future_is_ignored() {
        assert_eq!(plausible_line_time(Some(END), END), Some(END));
        assert_eq!(plausible_line_time(Some(END + 3600), END), Some(END + 3600));
        assert_eq!(plausible_line_time(Some(END + 3601), END), None);
        assert_eq!(plausible_line_time(Some(i64::MAX), i64::MAX - 1), Some(i64::MAX));
        assert_eq!(plausible_line_time(None, END), None);
    }

    #[test]
    fn an_idle_stream_delays_no_seal_unless_it_has_unread_lines() {
        let idle = StreamActivity {
            idle: Duration::from_mins(2),
            ..stream(START)
        };
        assert!(due(activity(0), &[stream(END + 11), idle], END + 11));
        let unread = StreamActivity {
            has_unread: true,
            ..idle
        };
        assert!(!due(activity(0), &[stream(END + 11), unread], END + 11));
    }

    #[test]
    fn a_quiet_batch_is_sealed_when_its_window_is_over() {
        assert!(!due(activity(119), &[stream(END - 1)], END + 200));
        assert!(due(activity(120), &[stream(END - 1)], END + 200));
        assert!(
            !due(activity(120), &[stream(END - 1)], END - 1),
            "the window is not over"
        );
    }

    #[test]
    fn a_window_in_the_future_is_sealed_after_a_windows_length_of_quiet() {
        assert!(!due(activity(1199), &[], START - 86_400));
        assert!(due(activity(1200), &[], START - 86_400));
    }

    #[test]
    fn unread_lines_of_the_window_delay_the_seal_up_to_a_limit() {
        let lagging = StreamActivity {
            has_unread: true,
            ..stream(START + 5)
        };
        assert!(!due(activity(1799), &[lagging], END + 5000));
        assert!(due(activity(1800), &[lagging], END + 5000));
        let lagging_later = StreamActivity {
            has_unread: true,
            ..stream(END + 11)
        };
        assert!(
            due(activity(0), &[lagging_later], END + 5000),
            "its unread lines belong to later windows"
        );
    }

    #[test]
    fn a_full_batch_is_sealed_at_once_unless_it_ends_inside_a_line() {
        assert!(due(
            BatchActivity {
                is_full: true,
                ..activity(0)
            },
            &[],
            START
        ));
        let open_line = BatchActivity {
            is_full: true,
            has_open_line: true,
            ..activity(1799)
        };
        assert!(!due(open_line, &[stream(END + 11)], END + 5000));
        assert!(due(
            BatchActivity {
                quiet: Duration::from_mins(30),
                ..open_line
            },
            &[],
            END + 5000
        ));
    }
}
