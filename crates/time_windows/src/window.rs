//! Windows of line time.
//!
//! A window begins at a multiple of its length within the hour, in the zone of the line. Its key is the instant, so the two
//! 01:30 of a night when the clocks go back are two windows.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::notation::LineTime;
use crate::window_length::WindowLength;

/// A span of line time. The instant is the key; the offset is only for the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// First second of the window, in seconds since 1970 (UTC).
    pub start: i64,
    /// Length in seconds.
    pub seconds: u32,
    /// Offset from UTC of the lines that opened it, in seconds east.
    pub utc_offset: i32,
}

impl Window {
    /// First second after the window, in seconds since 1970 (UTC).
    pub fn end(self) -> i64 {
        self.start.saturating_add(i64::from(self.seconds))
    }

    /// The start of the first window from a time on, in a row of windows as long as this one, of which it is one.
    pub fn first_start_from(self, time: i64) -> i64 {
        time + (self.start - time).rem_euclid(i64::from(self.seconds.max(1)))
    }

    /// Its first second, in local time of its lines.
    pub fn local_start(self) -> DateTime {
        // A line has a year of four digits, and jiff has all of those at every offset.
        let instant = Timestamp::from_second(self.start).unwrap_or_default();
        Offset::from_seconds(self.utc_offset)
            .unwrap_or(Offset::UTC)
            .to_datetime(instant)
    }
}

/// The window of a line with that time.
pub fn window_of(time: LineTime, length: WindowLength) -> Window {
    let local = time.unix.saturating_add(i64::from(time.utc_offset));
    let into = local.rem_euclid(i64::from(length.seconds()));
    Window {
        start: time.unix.saturating_sub(into),
        seconds: length.seconds(),
        utc_offset: time.utc_offset,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::name_template::window_label;
    use crate::name_template::{NameTemplate, batch_name};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_of_windows_goes_on_before_and_after_a_known_one() {
        let window = Window {
            start: 1000,
            seconds: 600,
            utc_offset: 0,
        };
        for (time, start) in [(1000, 1000), (1001, 1600), (999, 1000), (-1, 400), (-200, -200)] {
            assert_eq!(window.first_start_from(time), start, "{time}");
        }
    }

    fn label(window: Window) -> String {
        window_label(window.local_start(), window.seconds)
    }

    fn length(seconds: u64) -> WindowLength {
        WindowLength::try_from(Duration::from_secs(seconds)).expect("divides an hour")
    }

    fn name(unix: i64, utc_offset: i32, seconds: u64) -> String {
        let template = NameTemplate::parse("accessLog_{yymmddHH}_{window}_{source}").expect("valid");
        let window = window_of(LineTime { unix, utc_offset }, length(seconds));
        let source = "198.51.100.44".parse().expect("valid");
        batch_name(&template, window, &source, &"web-1".parse().expect("valid"), None)
    }

    #[test]
    fn names_are_those_of_the_predecessor() {
        assert_eq!(
            name(1_795_227_603, 21_600, 1200),
            "accessLog_26112108_20-39_198-51-100-44"
        );
        assert_eq!(
            name(1_795_227_603, 0, 1200),
            "accessLog_26112102_20-39_198-51-100-44"
        );
        assert_eq!(
            name(1_795_227_603, 20_700, 1200),
            "accessLog_26112108_00-19_198-51-100-44",
            "+05:45"
        );
        assert_eq!(
            name(1_795_227_603, 0, 3600),
            "accessLog_26112102_00-59_198-51-100-44"
        );
        assert_eq!(
            name(1_795_227_603, 0, 10),
            "accessLog_26112102_2000-2009_198-51-100-44"
        );
        assert_eq!(
            name(1_795_227_603, 0, 90),
            "accessLog_26112102_1930-2059_198-51-100-44"
        );
    }

    #[test]
    fn an_hour_repeated_by_daylight_saving_is_two_windows() {
        let summer = window_of(
            LineTime {
                unix: 1_792_884_600,
                utc_offset: 7200,
            },
            length(1200),
        );
        let winter = window_of(
            LineTime {
                unix: 1_792_888_200,
                utc_offset: 3600,
            },
            length(1200),
        );
        assert_eq!(label(summer), label(winter));
        assert_ne!(summer.start, winter.start);
    }

    /// Distinct windows, and their names' labels with the hour, of one line a minute from `from` on; the zone's offset
    /// changes at `change`.
    fn windows_over(from: i64, minutes: i64, change: i64, before: i32, after: i32) -> (usize, Vec<String>) {
        let mut starts = std::collections::BTreeMap::new();
        for minute in 0..minutes {
            let unix = from + minute * 60;
            let utc_offset = if unix < change { before } else { after };
            let window = window_of(LineTime { unix, utc_offset }, length(1200));
            assert!(window.start <= unix && unix < window.end());
            let hour = window.local_start().hour();
            starts.insert(window.start, format!("{hour:02} {}", label(window)));
        }
        (starts.len(), starts.into_values().collect())
    }

    #[test]
    fn each_hour_of_a_clock_change_has_three_windows() {
        // Central Europe, 29 March and 25 October 2026, both at 01:00 UTC.
        let spring = 1_774_746_000;
        let (count, names) = windows_over(spring - 3600, 120, spring, 3600, 7200);
        assert_eq!(count, 6);
        assert_eq!(
            names,
            [
                "01 00-19", "01 20-39", "01 40-59", "03 00-19", "03 20-39", "03 40-59"
            ],
            "no 02 that night"
        );
        let autumn = 1_792_890_000;
        let (count, names) = windows_over(autumn - 3600, 120, autumn, 7200, 3600);
        assert_eq!(count, 6);
        assert_eq!(
            names,
            [
                "02 00-19", "02 20-39", "02 40-59", "02 00-19", "02 20-39", "02 40-59"
            ],
            "02 twice: the second has names that are taken, and gets further parts"
        );
        // Where clocks change at midnight, the day begins at 01:00, or 23 comes twice (+02:00 and +03:00).
        let midnight = 1_774_735_200;
        let (count, names) = windows_over(midnight - 3600, 120, midnight, 7200, 10_800);
        assert_eq!(
            (count, names[0].as_str(), names[3].as_str()),
            (6, "23 00-19", "01 00-19")
        );
        let midnight = 1_792_875_600;
        let (count, names) = windows_over(midnight - 3600, 120, midnight, 10_800, 7200);
        assert_eq!(
            (count, names[0].as_str(), names[3].as_str()),
            (6, "23 00-19", "23 00-19")
        );
    }

    #[test]
    fn names_go_over_midnight_leap_day_and_year_end() {
        for (unix, expected) in [
            (1_798_761_599, "accessLog_26123123_40-59_198-51-100-44"),
            (1_798_761_600, "accessLog_27010100_00-19_198-51-100-44"),
            (1_835_395_199, "accessLog_28022823_40-59_198-51-100-44"),
            (1_835_395_200, "accessLog_28022900_00-19_198-51-100-44"),
            (1_835_481_600, "accessLog_28030100_00-19_198-51-100-44"),
        ] {
            assert_eq!(name(unix, 0, 1200), expected);
        }
    }

    #[test]
    fn windows_of_every_length_fill_the_hour_and_have_names_of_their_own() {
        for seconds in (1..=3600).filter(|seconds| 3600_u64.is_multiple_of(*seconds)) {
            let names: std::collections::BTreeSet<_> = (0..3600)
                .map(|second| name(1_795_226_400 + second, 0, seconds))
                .collect();
            assert_eq!(u64::try_from(names.len()).expect("small"), 3600 / seconds);
        }
    }

    proptest! {
        #[test]
        fn a_window_holds_its_line_and_does_not_cross_its_hour(
            unix in -62_000_000_000_i64..253_000_000_000,
            quarter in -60_i32..60,
            seconds in prop::sample::select(vec![1_u64, 10, 60, 90, 300, 1200, 3600]),
        ) {
            let time = LineTime { unix, utc_offset: quarter * 900 };
            let window = window_of(time, length(seconds));
            prop_assert!(window.start <= unix && unix < window.end());
            let local = (window.start + i64::from(window.utc_offset)).rem_euclid(3600);
            prop_assert!(local + i64::try_from(seconds).expect("small") <= 3600);
            prop_assert!(label(window).len() <= 9);
        }
    }
}
