//! Whether a source may still have lines of a window: the one rule for window manifests and for the mails. No I/O.

use std::time::Duration;

use jiff::Timestamp;
use logferry_time_windows::Window;

use super::sources::SourceRecord;

/// A source's report counts for a window only if it came this long after the window's end: it then includes the lines that
/// were in the buffers of nginx and the sender.
pub const REPORT_GRACE: Duration = Duration::from_secs(30);

/// A source without contact for this long before a window is not waited for.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_hours(7 * 24);

/// How far a source is, by contact, report and lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceReach {
    /// The first contact; `None`: it is expected and never had any.
    pub first_seen: Option<Timestamp>,
    /// The last contact.
    pub last_contact: Option<Timestamp>,
    /// The last report of its sender, by this host's clock; of several senders, of the one that was silent for the longest time.
    pub reported_at: Option<Timestamp>,
    /// Bytes that the senders had at their reports and that are not here; `None`: it has files that it cannot read or has not
    /// resolved yet, so nobody knows which lines are in them.
    pub lag_bytes: Option<u64>,
    /// The time that all its logs have reached, in seconds since 1970.
    pub reached: Option<i64>,
    /// The time that those of its logs have reached which had bytes at that report that are not here; `None` if none has, or if
    /// one has no time.
    pub lagging_reached: Option<i64>,
    /// Several senders report for it: the lines of one say nothing about those of another in a log of the same name.
    pub is_shared: bool,
}

impl SourceReach {
    /// Of a source that had contact. `reached`: the time that all its logs have reached.
    pub fn new(source: &SourceRecord, reached: Option<i64>) -> Self {
        Self {
            first_seen: Some(source.first_seen),
            last_contact: Some(source.last_contact),
            reported_at: source.oldest_report_at,
            lag_bytes: source.known_lag_bytes(),
            reached,
            lagging_reached: source.lagging_reached(),
            is_shared: source.senders > 1,
        }
    }

    /// Whether lines of a window can be expected of it: it was known by then, and not forgotten.
    pub fn is_expected(&self, window: Window) -> bool {
        let was_known = self
            .first_seen
            .is_none_or(|first| first.as_second() < window.end());
        let forgotten = i64::try_from(FORGOTTEN_AFTER.as_secs()).unwrap_or(i64::MAX);
        let is_remembered = self
            .last_contact
            .is_none_or(|last| last.as_second() > window.start.saturating_sub(forgotten));
        was_known && is_remembered
    }

    /// Whether it has no more lines of a window: it has gone past the window, or has sent everything. An old shipper never
    /// reports: it is past a window when its lines are.
    pub fn has_passed(&self, window: Window) -> bool {
        let end = Timestamp::from_second(window.end()).unwrap_or(Timestamp::MAX);
        let has_reported = self.reported_at.is_some_and(|at| {
            Duration::try_from(at.duration_since(end)).is_ok_and(|after| after >= REPORT_GRACE)
        });
        let has_nothing_left = self.lag_bytes == Some(0) && has_reported;
        let is_past = |reached: Option<i64>| reached.is_some_and(|reached| reached >= window.end());
        let is_lagging_past = is_past(self.lagging_reached);
        let has_gone_past =
            is_past(self.reached) && (!self.is_shared || is_lagging_past || self.lag_bytes == Some(0));
        // A log that has nothing left does not go past a window in which it is quiet. The others do.
        let has_little_left = has_reported && is_lagging_past;
        has_nothing_left || ((has_gone_past || has_little_left) && self.lag_bytes.is_some())
    }

    /// Whether it may have further lines of a window.
    pub fn may_have_lines(&self, window: Window) -> bool {
        self.is_expected(window) && !self.has_passed(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        start: 1_790_000_400,
        seconds: 1200,
        utc_offset: 0,
    };

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(WINDOW.end() + seconds).expect("a time")
    }

    /// A source that has reported, with nothing left, so long after the window's end.
    fn reported(seconds: i64) -> SourceReach {
        SourceReach {
            first_seen: Some(after(-100_000)),
            last_contact: Some(after(seconds)),
            reported_at: Some(after(seconds)),
            lag_bytes: Some(0),
            ..SourceReach::default()
        }
    }

    #[test]
    fn a_source_is_past_a_window_by_a_late_report_or_by_its_lines() {
        let (early, late) = (reported(29), reported(30));
        assert!(early.may_have_lines(WINDOW) && !late.may_have_lines(WINDOW));
        let behind = SourceReach {
            lag_bytes: Some(1),
            ..late
        };
        assert!(behind.may_have_lines(WINDOW));
        let gone_past = |lag_bytes, reached| SourceReach {
            lag_bytes,
            reached: Some(reached),
            ..behind
        };
        assert!(!gone_past(Some(1), WINDOW.end()).may_have_lines(WINDOW));
        assert!(gone_past(Some(1), WINDOW.end() - 1).may_have_lines(WINDOW));
        assert!(
            gone_past(None, WINDOW.end()).may_have_lines(WINDOW),
            "nobody knows what is in its unread files"
        );
        let quiet_log = |seconds, lagging_reached| SourceReach {
            lag_bytes: Some(1),
            lagging_reached: Some(lagging_reached),
            ..reported(seconds)
        };
        assert!(
            !quiet_log(30, WINDOW.end()).may_have_lines(WINDOW),
            "the quiet log has nothing left"
        );
        assert!(quiet_log(29, WINDOW.end()).may_have_lines(WINDOW));
        assert!(quiet_log(30, WINDOW.end() - 1).may_have_lines(WINDOW));
        let shared = |lagging_reached| SourceReach {
            is_shared: true,
            lagging_reached: Some(lagging_reached),
            ..gone_past(Some(1), WINDOW.end())
        };
        assert!(
            shared(WINDOW.end() - 1).may_have_lines(WINDOW),
            "the lines of the other sender say nothing about this one's"
        );
        assert!(!shared(WINDOW.end()).may_have_lines(WINDOW));
        let old_shipper = SourceReach {
            reported_at: None,
            ..gone_past(Some(0), WINDOW.end())
        };
        assert!(!old_shipper.may_have_lines(WINDOW));
    }

    #[test]
    fn a_source_that_came_later_or_is_long_silent_is_not_waited_for() {
        let unknown = SourceReach::default();
        assert!(unknown.may_have_lines(WINDOW), "it is expected");
        let of = |first: i64, last: i64| SourceReach {
            first_seen: Some(after(first)),
            last_contact: Some(after(last)),
            ..unknown
        };
        assert!(of(-1, -1).may_have_lines(WINDOW));
        assert!(!of(0, 5).may_have_lines(WINDOW));
        let week = 7 * 86_400 + i64::from(WINDOW.seconds);
        assert!(!of(-10_000_000, -week).may_have_lines(WINDOW));
        assert!(of(-10_000_000, 1 - week).may_have_lines(WINDOW));
    }
}
