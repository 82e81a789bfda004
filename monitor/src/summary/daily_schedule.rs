//! Which days need a summary. Pure.
//!
//! Invariants: every day that ends while the monitor runs gets a summary; no day gets two. Days are those of the local
//! calendar, so one is 23 or 25 hours long when daylight saving time begins or ends.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::period::SummaryPeriod;
use crate::time::later;

/// Days summed up after the monitor was down.
const CATCH_UP_MAX: usize = 7;

/// The days to sum up at `now`, oldest first: those after `last` (its first instant) that ended at least `after` ago. Without
/// a `last`, only the latest.
pub(crate) fn due_days(
    last: Option<Timestamp>,
    after: Duration,
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<SummaryPeriod> {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    let Ok(ended_by) = now.checked_sub(after) else {
        return Vec::new();
    };
    // In the middle of a day: the zone may have been set to another one meanwhile.
    let noon = |at: Timestamp| later(at, SignedDuration::from_hours(12));
    // A day of the future was noted while the clock was ahead.
    let last = last.filter(|last| *last <= now);
    let last = last.map(|last| noon(last).to_zoned(zone.clone()).date());
    let mut days = Vec::new();
    let mut date = ended_by.to_zoned(zone.clone()).date();
    while days.len() < if last.is_some() { CATCH_UP_MAX } else { 1 } {
        let Ok(before) = date.yesterday() else { break };
        date = before;
        if last.is_some_and(|last| date <= last) {
            break;
        }
        days.extend(SummaryPeriod::day(date, zone));
    }
    days.reverse();
    days
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFTER: Duration = Duration::from_mins(15);

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn europe() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
    }

    fn labels(last: Option<&str>, now: &str) -> Vec<String> {
        let days = due_days(last.map(at), AFTER, &europe(), at(now));
        days.iter().map(|day| day.label(&europe())).collect()
    }

    #[test]
    fn a_day_is_due_a_quarter_past_midnight_and_once() {
        let last = Some("2026-11-19T00:00+01:00");
        assert!(labels(last, "2026-11-21T00:14:59+01:00") == ["2026-11-20"][..0]);
        assert_eq!(labels(last, "2026-11-21T00:15+01:00"), ["2026-11-20"]);
        assert!(labels(Some("2026-11-20T00:00+01:00"), "2026-11-21T23:59+01:00").is_empty());
        assert_eq!(labels(None, "2026-11-21T12:00+01:00"), ["2026-11-20"]);
    }

    #[test]
    fn missed_days_are_caught_up_for_a_week() {
        let missed = labels(Some("2026-11-18T00:00+01:00"), "2026-11-21T12:00+01:00");
        assert_eq!(missed, ["2026-11-19", "2026-11-20"]);
        assert_eq!(
            labels(Some("2026-01-01T00:00+01:00"), "2026-11-21T12:00+01:00").len(),
            7
        );
        assert_eq!(
            labels(Some("2036-01-01T00:00Z"), "2026-11-21T12:00Z"),
            ["2026-11-20"]
        );
    }

    #[test]
    fn days_at_the_change_of_daylight_saving_time_have_their_length() {
        let days = due_days(
            Some(at("2026-10-23T22:00Z")),
            AFTER,
            &europe(),
            at("2026-10-26T12:00Z"),
        );
        let hours: Vec<_> = days
            .iter()
            .map(|day| day.end.duration_since(day.start).as_hours())
            .collect();
        assert_eq!(hours, [25]);
        let before = days[0].compared(&europe());
        assert_eq!(
            (before.end, before.label(&europe())),
            (days[0].start, "2026-10-24".to_owned())
        );
    }

    proptest! {
        /// However irregularly the monitor looks, every day gets its summary, in order and once, whatever the zone.
        #[test]
        fn no_day_is_forgotten_or_doubled(pauses in prop::collection::vec(1_i64..100 * 3600, 1..60), fixed in any::<bool>()) {
            let zone = if fixed { TimeZone::fixed(jiff::tz::Offset::constant(6)) } else { europe() };
            let mut now = at("2026-09-21T09:20Z");
            let mut settled: Vec<SummaryPeriod> = Vec::new();
            for pause in pauses {
                now = later(now, SignedDuration::from_secs(pause));
                let last = settled.last().map(|day| day.start);
                settled.extend(due_days(last, AFTER, &zone, now));
                let last = settled.last().expect("the first run sums up one");
                prop_assert!(later(last.end, SignedDuration::from_mins(15)) <= now);
                prop_assert!(later(last.end, SignedDuration::from_hours(26)) > now);
            }
            prop_assert!(settled.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}
