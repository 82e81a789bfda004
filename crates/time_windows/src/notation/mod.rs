//! Notations of a time: reads the time that a text begins with.
//!
//! Invariants: reading never fails: a text that does not begin with a time has none. Each method looks at a bounded number
//! of bytes. Where a time stands in a line is decided in `crates/fields`.

mod calendar;
mod epoch;
mod iso8601;
mod nginx;
mod syslog;

use self::nginx::NginxTimes;

/// The notations of a time that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Any of the other notations but `Arrival`, by the format of the log.
    Auto,
    /// nginx's `$time_local`: `21/Nov/2026:08:05:00 +0900`.
    Nginx,
    /// ISO 8601: `2026-11-21T08:05:00+09:00`.
    Iso8601,
    /// Seconds since 1970, with or without a fraction; or milliseconds, microseconds, nanoseconds.
    Epoch,
    /// No time in the line: the time of arrival counts.
    Arrival,
}

/// The time of a line, with the offset of its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTime {
    /// Seconds since 1970 (UTC).
    pub unix: i64,
    /// Offset from UTC, in seconds east.
    pub utc_offset: i32,
}

/// A time at the beginning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundTime {
    /// The time.
    pub time: LineTime,
    /// Its length in bytes.
    pub len: usize,
}

/// Reads times. It remembers the last minute of nginx's notation, because most lines fall into the same one.
#[derive(Debug)]
pub struct TimeReader {
    wanted: TimestampFormat,
    arrival: i64,
    /// The offset of times that have no zone.
    default_zone: i32,
    nginx: NginxTimes,
}

impl TimeReader {
    /// A reader of the `wanted` notations. `arrival`: about when the lines arrived, in seconds since 1970; a time without a
    /// year gets the year that brings it nearest to it.
    pub fn new(wanted: TimestampFormat, arrival: i64) -> Self {
        Self {
            wanted,
            arrival,
            default_zone: 0,
            nginx: NginxTimes::default(),
        }
    }

    /// Takes a time without a zone for one of this offset from UTC, in seconds east. Without this it is UTC.
    #[must_use]
    pub fn with_default_zone(self, utc_offset: i32) -> Self {
        Self {
            default_zone: utc_offset,
            ..self
        }
    }

    /// About when the lines arrived, in seconds since 1970.
    pub fn arrival(&self) -> i64 {
        self.arrival
    }

    /// Whether times of this notation are read.
    pub fn wants(&self, notation: TimestampFormat) -> bool {
        self.wanted == TimestampFormat::Auto || self.wanted == notation
    }

    /// nginx's `$time_local`, or ISO 8601 and its relatives: a time that no other text looks like.
    pub fn written(&mut self, text: &[u8]) -> Option<FoundTime> {
        self.nginx(text).or_else(|| self.iso8601(text))
    }

    /// nginx's `$time_local`: `21/Nov/2026:08:20:03 +0600` (`ngx_http_log_module`).
    pub fn nginx(&mut self, text: &[u8]) -> Option<FoundTime> {
        if !self.wants(TimestampFormat::Nginx) {
            return None;
        }
        let time = self.nginx.read(text)?;
        Some(FoundTime {
            time,
            len: nginx::LEN,
        })
    }

    /// ISO 8601: `2026-11-21T08:20:03+06:00`, also with a space for the `T`, a fraction, `Z` or no zone; its
    /// basic form `20261121T082003Z`; and `2026/11/21 08:20:03`, the notation of nginx's error log.
    pub fn iso8601(&self, text: &[u8]) -> Option<FoundTime> {
        self.wants(TimestampFormat::Iso8601)
            .then(|| iso8601::read(text, self.default_zone))?
    }

    /// A number of seconds, milliseconds, microseconds or nanoseconds since 1970, if it is in the years 2000 to 2099; and
    /// whether it has a fraction of a second, as nginx's `$msec` has: few other numbers look like that.
    pub fn number(&self, text: &[u8]) -> Option<(FoundTime, bool)> {
        self.wants(TimestampFormat::Epoch).then(|| epoch::read(text))?
    }

    /// `Oct 11 22:14:15`, the time of a syslog header (RFC 3164, section 4.1.2). It has no zone.
    pub fn syslog(&self, text: &[u8]) -> Option<FoundTime> {
        (self.wanted == TimestampFormat::Auto).then(|| syslog::read(text, self.arrival, self.default_zone))?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader() -> TimeReader {
        TimeReader::new(TimestampFormat::Auto, 1_795_227_603)
    }

    fn written(text: &str) -> Option<(i64, i32, usize)> {
        let found = reader().written(text.as_bytes())?;
        Some((found.time.unix, found.time.utc_offset, found.len))
    }

    #[test]
    fn nginx_times_are_read_in_their_own_zone() {
        for (text, expected) in [
            ("21/Nov/2026:08:20:03 +0600", Some((1_795_227_603, 21_600, 26))),
            ("21/Nov/2026:02:20:03 +0000]", Some((1_795_227_603, 0, 26))),
            ("20/Nov/2026:20:50:03 -0530", Some((1_795_227_603, -19_800, 26))),
            ("29/Feb/2028:00:00:00 +0000", Some((1_835_395_200, 0, 26))),
            ("29/Feb/2026:00:00:00 +0000", None),
            ("31/Dec/2026:23:59:60 +0000", Some((1_798_761_600, 0, 26))),
            ("21/Nov/2026:24:00:00 +0000", None),
            ("21/nov/2026:08:20:03 +0600", None),
            ("21/Nov/2026:08:20:03 0600 ", None),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }

    #[test]
    fn iso_times_are_read_with_and_without_zone_and_fraction() {
        for (text, expected) in [
            ("2026-11-21T08:20:03+06:00 x", Some((1_795_227_603, 21_600, 25))),
            ("2026-11-21T08:20:03.123+0600", Some((1_795_227_603, 21_600, 28))),
            ("2026-11-21 08:20:03 +0600", Some((1_795_227_603, 21_600, 25))),
            ("2026-11-21T08:20:03+06", Some((1_795_227_603, 21_600, 22))),
            ("2026-11-21 02:20:03 INFO", Some((1_795_227_603, 0, 19))),
            ("2026-11-21 02:20:03,123 - root", Some((1_795_227_603, 0, 23))),
            ("2026-11-21 02:20:03,x", Some((1_795_227_603, 0, 19))),
            ("2026-11-21T02:20:03Z", Some((1_795_227_603, 0, 20))),
            ("2026/11/21 02:20:03 [error] 7#7", Some((1_795_227_603, 0, 19))),
            ("20261121T022003Z", Some((1_795_227_603, 0, 16))),
            ("2026-11-21T08:20:03+99:00", Some((1_795_249_203, 0, 19))),
            ("2026-13-21T02:20:03Z", None),
            ("2026-02-29T02:20:03Z", None),
            ("2026/11-21 02:20:03", None),
            ("", None),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }

    #[test]
    fn plausible_numbers_are_times() {
        for (text, expected) in [
            ("1795227603", Some((1_795_227_603, 10, false))),
            ("1795227603.123", Some((1_795_227_603, 14, true))),
            ("1795227603.", Some((1_795_227_603, 10, false))),
            ("1795227603123", Some((1_795_227_603, 13, false))),
            ("1795227603123456 x", Some((1_795_227_603, 16, false))),
            ("1795227603123456789", Some((1_795_227_603, 19, false))),
            ("946684800", Some((946_684_800, 9, false))),
            ("946684799", None),
            ("4102444800", None),
            ("17952276031", None),
            ("17952276", None),
            ("999999999999999999999999", None),
            ("-1795227603", None),
        ] {
            let found = reader().number(text.as_bytes());
            let found = found.map(|(found, has_fraction)| (found.time.unix, found.len, has_fraction));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn time_without_a_year_gets_the_year_nearest_to_its_arrival() {
        let read = |arrival: &str, text: &str| {
            let arrival = arrival.parse::<jiff::Timestamp>().expect("a time").as_second();
            let found = TimeReader::new(TimestampFormat::Auto, arrival).syslog(text.as_bytes())?;
            assert_eq!(found.time.utc_offset, 0);
            Some(
                jiff::Timestamp::from_second(found.time.unix)
                    .expect("in range")
                    .to_string(),
            )
        };
        for (arrival, text, expected) in [
            (
                "2026-10-11T22:14:20Z",
                "Oct 11 22:14:15 host",
                Some("2026-10-11T22:14:15Z"),
            ),
            (
                "2027-01-01T00:00:05Z",
                "Dec 31 23:59:59 host",
                Some("2026-12-31T23:59:59Z"),
            ),
            (
                "2026-12-31T23:59:59Z",
                "Jan  1 00:00:01 host",
                Some("2027-01-01T00:00:01Z"),
            ),
            (
                "2029-03-01T00:00:00Z",
                "Feb 29 12:00:00 host",
                Some("2028-02-29T12:00:00Z"),
            ),
            ("2026-10-11T22:14:20Z", "Oct 32 22:14:15 host", None),
            ("2026-10-11T22:14:20Z", "Oct 11, 22:14:15", None),
        ] {
            assert_eq!(read(arrival, text).as_deref(), expected, "{text} at {arrival}");
        }
    }

    #[test]
    fn each_fixed_format_reads_its_own_notation_and_no_other() {
        let texts = [
            "21/Nov/2026:08:20:03 +0600",
            "2026-11-21T08:20:03+06:00",
            "1795227603",
        ];
        for (format, own) in [
            (TimestampFormat::Nginx, 0),
            (TimestampFormat::Iso8601, 1),
            (TimestampFormat::Epoch, 2),
            (TimestampFormat::Arrival, 3),
        ] {
            for (number, text) in texts.iter().enumerate() {
                let mut reader = TimeReader::new(format, 0);
                let found =
                    reader.written(text.as_bytes()).is_some() || reader.number(text.as_bytes()).is_some();
                assert_eq!(found, number == own, "{format:?}: {text}");
            }
            assert_eq!(TimeReader::new(format, 0).syslog(b"Oct 11 22:14:15"), None);
        }
    }

    #[test]
    fn remembered_minute_gives_the_same_times_as_reading_anew() {
        let mut remembering = reader();
        for (minute, second, zone) in [
            (20, 3, "+0600"),
            (20, 59, "+0600"),
            (20, 4, "+0500"),
            (21, 4, "+0500"),
        ] {
            let text = format!("21/Nov/2026:08:{minute}:{second:02} {zone}");
            let fresh = reader().nginx(text.as_bytes());
            assert!(fresh.is_some());
            assert_eq!(remembering.nginx(text.as_bytes()), fresh);
        }
        let no_second = b"21/Nov/2026:08:21:61 +0500";
        assert_eq!(remembering.nginx(no_second), None);
    }

    proptest! {
        /// The calendar in the way of the library that has it right.
        #[test]
        fn every_time_is_read_as_the_calendar_has_it(unix in -62_000_000_000_i64..253_000_000_000, quarter in -60_i32..60) {
            let utc_offset = quarter * 900;
            let zone = jiff::tz::Offset::from_seconds(utc_offset).expect("in range");
            let zoned = jiff::Timestamp::from_second(unix).expect("in range").to_zoned(zone.to_time_zone());
            for form in ["%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%:z", "%Y%m%dT%H%M%S%z"] {
                let text = zoned.strftime(form).to_string();
                prop_assert_eq!(written(&text), Some((unix, utc_offset, text.len())), "{}", text);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(text: Vec<u8>, near in "[0-9/:TZ+\\-. Nov]{0,40}") {
            for text in [&text[..], near.as_bytes()] {
                let mut reader = reader();
                let written = reader.written(text);
                for found in [written, reader.number(text).map(|(found, _)| found), reader.syslog(text)].into_iter().flatten() {
                    prop_assert!(found.len <= text.len() && found.time.utc_offset.abs() < 16 * 3600);
                }
            }
        }
    }
}
