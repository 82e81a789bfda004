//! The seal rule: when a batch is closed for ever.
//!
//! Pure. How long a batch has been quiet is measured by the monotonic clock, so a step of the wall clock seals
//! nothing; the wall clock only says whether a window is over, and a wrong answer costs a further part, never a line.

use std::time::Duration;

use logferry_config::BatchSettings as Rules;
use logferry_ledger::Window;

/// What is known of an open batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Its window.
    pub window: Window,
    /// How long ago something was last added.
    pub quiet: Duration,
    /// Whether it is as large as a batch may be.
    pub is_full: bool,
    /// Whether it ends in the middle of a line that is still coming.
    pub is_mid_line: bool,
}

/// What is known of a stream that can bring lines for the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamFacts {
    /// The time of its latest line, in seconds since 1970.
    pub latest_line: Option<i64>,
    /// How long ago it last brought something.
    pub idle: Duration,
    /// Whether its sender reports bytes of it that are not here yet.
    pub has_unread: bool,
}

impl StreamFacts {
    /// Whether lines of `window` may still come from it: no line later than the window and its slack has come.
    fn is_before_end(&self, window: Window, slack: Duration) -> bool {
        let border = window
            .end()
            .saturating_add(i64::try_from(slack.as_secs()).unwrap_or(i64::MAX));
        self.latest_line.is_none_or(|latest| latest <= border)
    }
}

/// A line whose time is more seconds ahead than this does not show how far its stream is, but that a clock is wrong, or
/// that what was read is no time of writing.
const AHEAD_MAX: i64 = 3600;

/// How far a stream is by its latest line, at wall-clock time `now`. Were one line from the future believed, its stream
/// would pass for beyond every window, and each chunk would be sealed into a part of its own.
pub(crate) fn progress(latest_line: Option<i64>, now: i64) -> Option<i64> {
    latest_line.filter(|latest| *latest <= now.saturating_add(AHEAD_MAX))
}

/// Whether the batch is to be sealed at wall-clock time `now` (seconds since 1970).
pub(crate) fn is_due(facts: Facts, streams: &[StreamFacts], rules: &Rules, now: i64) -> bool {
    if facts.is_mid_line {
        // Half a line cannot be delivered; after so long its end will not come into this file.
        return facts.quiet >= rules.hold;
    }
    if facts.is_full {
        return true;
    }
    // A stream that has been idle for long does not hold its source back, unless its sender says that more is coming.
    let is_live = |stream: &&StreamFacts| stream.has_unread || stream.idle < rules.seal_after;
    let mut live = streams.iter().filter(is_live).peekable();
    let has_live = live.peek().is_some();
    let has_gone_past = has_live && live.all(|stream| !stream.is_before_end(facts.window, rules.slack));
    if has_gone_past {
        return true;
    }
    // A window in the future has a clock of its own: somebody's clock is wrong, and "over" means nothing for it.
    let patience = if facts.window.end() > now {
        rules.window.duration().max(rules.seal_after)
    } else {
        rules.seal_after
    };
    let is_coming = streams
        .iter()
        .any(|stream| stream.has_unread && stream.is_before_end(facts.window, rules.slack));
    facts.quiet
        >= if is_coming {
            rules.hold.max(patience)
        } else {
            patience
        }
}

#[cfg(test)]
mod tests {
    use logferry_config::{NameTemplate, TimestampFormat, WindowLength};

    use super::*;

    const START: i64 = 1_795_248_000;
    const END: i64 = START + 1200;

    fn rules() -> Rules {
        Rules {
            window: WindowLength::try_from(Duration::from_mins(20)).expect("divides an hour"),
            name: NameTemplate::parse("a_{yymmddHH}_{window}_{source}").expect("valid"),
            seal_after: Duration::from_mins(2),
            slack: Duration::from_secs(10),
            hold: Duration::from_mins(30),
            max_bytes: 1 << 30,
            timestamp: TimestampFormat::Auto,
        }
    }

    fn facts(quiet: u64) -> Facts {
        Facts {
            window: Window {
                start: START,
                seconds: 1200,
                utc_offset: 0,
            },
            quiet: Duration::from_secs(quiet),
            is_full: false,
            is_mid_line: false,
        }
    }

    fn stream(latest_line: i64) -> StreamFacts {
        StreamFacts {
            latest_line: Some(latest_line),
            idle: Duration::ZERO,
            has_unread: false,
        }
    }

    #[test]
    fn a_batch_is_sealed_once_every_live_stream_is_past_the_slack() {
        let (behind, ahead) = (stream(END + 10), stream(END + 11));
        assert!(is_due(facts(0), &[ahead], &rules(), END + 11));
        assert!(!is_due(facts(0), &[ahead, behind], &rules(), END + 11));
        assert!(!is_due(facts(0), &[], &rules(), END + 11), "nobody has gone past");
    }

    #[test]
    fn a_line_from_the_future_is_no_progress() {
        assert_eq!(progress(Some(END), END), Some(END));
        assert_eq!(progress(Some(END + 3600), END), Some(END + 3600));
        assert_eq!(progress(Some(END + 3601), END), None);
        assert_eq!(progress(Some(i64::MAX), i64::MAX - 1), Some(i64::MAX));
        assert_eq!(progress(None, END), None);
    }

    #[test]
    fn an_idle_stream_holds_nothing_back_unless_more_of_it_is_coming() {
        let idle = StreamFacts {
            idle: Duration::from_mins(2),
            ..stream(START)
        };
        assert!(is_due(facts(0), &[stream(END + 11), idle], &rules(), END + 11));
        let unread = StreamFacts {
            has_unread: true,
            ..idle
        };
        assert!(!is_due(facts(0), &[stream(END + 11), unread], &rules(), END + 11));
    }

    #[test]
    fn a_quiet_batch_is_sealed_when_its_window_is_over() {
        assert!(!is_due(facts(119), &[stream(END - 1)], &rules(), END + 200));
        assert!(is_due(facts(120), &[stream(END - 1)], &rules(), END + 200));
        assert!(
            !is_due(facts(120), &[stream(END - 1)], &rules(), END - 1),
            "the window is not over"
        );
    }

    #[test]
    fn a_window_in_the_future_is_sealed_after_a_windows_length_of_quiet() {
        assert!(!is_due(facts(1199), &[], &rules(), START - 86_400));
        assert!(is_due(facts(1200), &[], &rules(), START - 86_400));
    }

    #[test]
    fn unread_lines_of_the_window_hold_the_seal_up_to_a_limit() {
        let lagging = StreamFacts {
            has_unread: true,
            ..stream(START + 5)
        };
        assert!(!is_due(facts(1799), &[lagging], &rules(), END + 5000));
        assert!(is_due(facts(1800), &[lagging], &rules(), END + 5000));
        let lagging_later = StreamFacts {
            has_unread: true,
            ..stream(END + 11)
        };
        assert!(
            is_due(facts(0), &[lagging_later], &rules(), END + 5000),
            "what it lacks is of later windows"
        );
    }

    #[test]
    fn a_full_batch_is_sealed_at_once_but_not_inside_a_line() {
        assert!(is_due(
            Facts {
                is_full: true,
                ..facts(0)
            },
            &[],
            &rules(),
            START
        ));
        let mid_line = Facts {
            is_full: true,
            is_mid_line: true,
            ..facts(1799)
        };
        assert!(!is_due(mid_line, &[stream(END + 11)], &rules(), END + 5000));
        assert!(is_due(
            Facts {
                quiet: Duration::from_mins(30),
                ..mid_line
            },
            &[],
            &rules(),
            END + 5000
        ));
    }
}
