//! Which hours need a summary. Pure.
//!
//! Invariants: every hour that ends while the monitor runs gets a summary; no hour gets two. An hour is 3600 real seconds
//! from a full hour of the local clock, so a change of daylight saving time neither merges nor skips one.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::period::SummaryPeriod;
use logferry_inspection::time::clamped_timestamp;

const HOUR_SECONDS: i64 = 3600;

/// Hours summed up after the monitor was down: one day. Nobody reads older summaries, and many mails would hide the newest.
pub(crate) const CATCH_UP_MAX: i64 = 24;

/// One hour, identified by its first second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SummaryHour(i64);

impl SummaryHour {
    pub(crate) fn starting_at(start: Timestamp) -> Self {
        Self(start.as_second())
    }

    pub(crate) fn start(self) -> Timestamp {
        clamped_timestamp(self.0)
    }

    #[cfg(test)]
    pub(crate) fn end(self) -> Timestamp {
        clamped_timestamp(self.0.saturating_add(HOUR_SECONDS))
    }

    /// The time of its summary.
    pub(crate) fn period(self) -> SummaryPeriod {
        SummaryPeriod::hour(self.start())
    }
}

/// The hours that need a summary now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DueHours {
    /// Oldest first.
    pub(crate) hours: Vec<SummaryHour>,
    /// How many hours are left out because they are too old.
    pub(crate) skipped: i64,
}

/// The hours to sum up at `now`: those after `last` that ended at least `after` ago. Without a `last`, only the latest.
pub(crate) fn due_hours(
    last: Option<SummaryHour>,
    after: Duration,
    zone: &TimeZone,
    now: Timestamp,
) -> DueHours {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    let Ok(ended_by) = now.checked_sub(after) else {
        return DueHours::default();
    };
    let offset = i64::from(zone.to_offset(ended_by).seconds());
    let latest_end = (ended_by.as_second() + offset).div_euclid(HOUR_SECONDS) * HOUR_SECONDS - offset;
    let latest = latest_end - HOUR_SECONDS;
    let due = match last {
        None => 1,
        // The clock was ahead when that summary was written, and has been corrected. Whether the latest hour has a summary
        // is in the ledger, which does not queue a second one.
        Some(last) if last.start() > now => 1,
        Some(last) => (latest - last.0 + HOUR_SECONDS - 1)
            .div_euclid(HOUR_SECONDS)
            .max(0),
    };
    let caught_up = due.min(CATCH_UP_MAX);
    let hours = (0..caught_up).rev();
    let hours = hours.map(|back| SummaryHour(latest - back * HOUR_SECONDS));
    DueHours {
        hours: hours.collect(),
        skipped: due - caught_up,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;
    use proptest::prelude::*;

    use super::*;

    const AFTER: Duration = Duration::from_mins(15);

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn labels(last: Option<&str>, zone: &TimeZone, now: &str) -> Vec<String> {
        let last = last.map(|last| SummaryHour::starting_at(at(last)));
        let due = due_hours(last, AFTER, zone, at(now));
        due.hours.iter().map(|hour| hour.period().label(zone)).collect()
    }

    #[test]
    fn an_hour_is_due_fifteen_minutes_after_its_end_and_once() {
        let zone = TimeZone::fixed(Offset::constant(6));
        let last = Some("2026-11-21T07:00+06:00");
        assert!(labels(last, &zone, "2026-11-21T09:14:59+06:00").is_empty());
        let due = labels(last, &zone, "2026-11-21T09:15:00+06:00");
        assert_eq!(due, ["2026-11-21 08:00-09:00"]);
        assert!(labels(Some("2026-11-21T08:00+06:00"), &zone, "2026-11-21T09:15:00+06:00").is_empty());
    }

    #[test]
    fn the_first_run_sums_up_the_previous_hour_only() {
        let due = labels(None, &TimeZone::UTC, "2026-11-21T09:20Z");
        assert_eq!(due, ["2026-11-21 08:00-09:00"]);
    }

    #[test]
    fn hours_are_those_of_a_local_clock_with_half_an_hour_in_its_offset() {
        let zone = TimeZone::fixed(Offset::from_seconds(19_800).expect("in range"));
        let due = labels(None, &zone, "2026-11-21T09:20+05:30");
        assert_eq!(due, ["2026-11-21 08:00-09:00"]);
    }

    #[test]
    fn missed_hours_are_caught_up_oldest_first_for_one_day() {
        let missed = labels(Some("2026-11-21T05:00Z"), &TimeZone::UTC, "2026-11-21T09:20Z");
        assert_eq!(
            missed,
            [
                "2026-11-21 06:00-07:00",
                "2026-11-21 07:00-08:00",
                "2026-11-21 08:00-09:00"
            ]
        );
        let last = SummaryHour::starting_at(at("2026-11-01T08:00Z"));
        let long = due_hours(Some(last), AFTER, &TimeZone::UTC, at("2026-11-21T09:20Z"));
        assert_eq!((long.hours.len(), long.skipped), (24, 20 * 24 - 24));
    }

    #[test]
    fn a_change_of_daylight_saving_time_neither_merges_nor_skips_an_hour() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let autumn = labels(Some("2026-10-24T23:00Z"), &zone, "2026-10-25T03:15Z");
        assert_eq!(
            autumn,
            [
                "2026-10-25 02:00-02:00",
                "2026-10-25 02:00-03:00",
                "2026-10-25 03:00-04:00"
            ]
        );
    }

    #[test]
    fn a_summary_of_the_future_does_not_silence_those_of_the_present() {
        let due = labels(Some("2036-01-01T00:00Z"), &TimeZone::UTC, "2026-11-21T09:20Z");
        assert_eq!(due, ["2026-11-21 08:00-09:00"]);
    }

    proptest! {
        /// However irregularly the monitor looks, every hour gets its summary, in order and once.
        #[test]
        fn no_hour_is_forgotten_or_doubled(pauses in prop::collection::vec(1_i64..20 * HOUR_SECONDS, 1..100)) {
            let mut now = at("2026-11-21T09:20Z");
            let mut settled: Vec<SummaryHour> = Vec::new();
            for pause in pauses {
                now = clamped_timestamp(now.as_second() + pause);
                let due = due_hours(settled.last().copied(), AFTER, &TimeZone::UTC, now);
                prop_assert_eq!(due.skipped, 0);
                settled.extend(due.hours);
                let last = settled.last().expect("the first run sums up one");
                prop_assert!(last.end().as_second() + 900 <= now.as_second());
                prop_assert!(last.end().as_second() + 900 + HOUR_SECONDS > now.as_second());
            }
            prop_assert!(settled.windows(2).all(|pair| pair[1].0 - pair[0].0 == HOUR_SECONDS));
        }
    }
}
