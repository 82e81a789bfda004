//! The time that a summary is about: an hour, or a day of the local calendar. Pure.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_ledger::SummaryKey;

use crate::time::later;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Whether a summary is about an hour or a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeriodKind {
    Hour,
    Day,
}

/// The time that a summary is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryPeriod {
    pub(crate) kind: PeriodKind,
    /// Its first instant.
    pub(crate) start: Timestamp,
    /// The first instant after it.
    pub(crate) end: Timestamp,
}

impl SummaryPeriod {
    /// The hour that begins at this time.
    pub fn hour(start: Timestamp) -> Self {
        Self {
            kind: PeriodKind::Hour,
            start,
            end: later(start, HOUR),
        }
    }

    /// The first instant after it.
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// The hour of the local clock that a time lies in.
    pub fn hour_of(at: Timestamp, zone: &TimeZone) -> Self {
        let offset = i64::from(zone.to_offset(at).seconds());
        let into_hour = (at.as_second() + offset).rem_euclid(3600);
        let start = Timestamp::from_second(at.as_second() - into_hour);
        Self::hour(start.unwrap_or(Timestamp::MIN))
    }

    /// The last hour of the local clock that is over.
    pub fn last_hour(zone: &TimeZone, now: Timestamp) -> Self {
        Self::hour_of(later(now, -HOUR), zone)
    }

    /// A day of the local calendar, 23 to 25 hours long; `None` beyond the calendar's end.
    pub fn day(date: Date, zone: &TimeZone) -> Option<Self> {
        let midnight = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp());
        Some(Self {
            kind: PeriodKind::Day,
            start: midnight(date)?,
            end: midnight(date.tomorrow().ok()?)?,
        })
    }

    /// What it is compared with: the same hour of yesterday, or the day before.
    pub(crate) fn compared(&self, zone: &TimeZone) -> Self {
        let day_before = later(self.start, -24 * HOUR);
        match self.kind {
            PeriodKind::Hour => Self::hour(day_before),
            PeriodKind::Day => {
                let date = self.start.to_zoned(zone.clone()).date();
                let before = date.yesterday().ok().and_then(|date| Self::day(date, zone));
                before.unwrap_or(Self {
                    start: day_before,
                    end: self.start,
                    ..*self
                })
            }
        }
    }

    /// The 24 hours that end with it.
    pub(crate) fn last_day(&self) -> (Timestamp, Timestamp) {
        (later(self.end, -24 * HOUR), self.end)
    }

    /// How the ledger knows it.
    pub(crate) fn key(&self) -> SummaryKey {
        match self.kind {
            PeriodKind::Hour => SummaryKey::Hour(self.start),
            PeriodKind::Day => SummaryKey::Day(self.start),
        }
    }

    /// `2026-11-21 08:00-09:00`, or `2026-11-21`.
    pub(crate) fn label(&self, zone: &TimeZone) -> String {
        let [start, end] = [self.start, self.end].map(|at| at.to_zoned(zone.clone()));
        match self.kind {
            PeriodKind::Hour => format!("{}-{}", start.strftime("%F %H:%M"), end.strftime("%H:%M")),
            PeriodKind::Day => start.strftime("%F").to_string(),
        }
    }

    /// For names of files: `2026-11-21T08`, or `2026-11-21`.
    pub(crate) fn stamp(&self, zone: &TimeZone) -> String {
        let start = self.start.to_zoned(zone.clone());
        let format = match self.kind {
            PeriodKind::Hour => "%FT%H",
            PeriodKind::Day => "%F",
        };
        start.strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    #[test]
    fn hours_are_those_of_the_local_clock() {
        let zone = TimeZone::fixed(Offset::from_seconds(19_800).expect("in range"));
        let now: Timestamp = "2026-11-21T09:20+05:30".parse().expect("a time");
        assert_eq!(
            SummaryPeriod::hour_of(now, &zone).label(&zone),
            "2026-11-21 09:00-10:00"
        );
        let last = SummaryPeriod::last_hour(&zone, now);
        assert_eq!(
            (last.label(&zone), last.stamp(&zone)),
            ("2026-11-21 08:00-09:00".to_owned(), "2026-11-21T08".to_owned())
        );
        assert_eq!(last.compared(&zone).label(&zone), "2026-11-20 08:00-09:00");
        assert!(SummaryPeriod::hour_of(Timestamp::MIN, &zone).start >= Timestamp::MIN);
    }
}
