//! The time in a line, found without parsing the rest of the line.
//!
//! Invariants: reading a line never fails. The search has bounds in bytes and candidates. A line without a recognised time
//! has no time.

use memchr::memchr_iter;

use crate::json_time;

/// Bytes of a line that are searched. nginx writes `$time_local` after address and user; the bytes after this span are
/// request and referer, which clients write.
const SEARCH_SPAN: usize = 512;

/// Positions in a line that are tried as the beginning of a time.
const MAX_CANDIDATES: usize = 8;

/// The format of the time in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Any of the other formats but `Arrival`, found for each line.
    Auto,
    /// nginx's `$time_local`: `[21/Nov/2026:08:05:00 +0900]`.
    Nginx,
    /// ISO 8601: `2026-11-21T08:05:00+09:00`.
    Iso8601,
    /// Seconds since 1970, with or without a fraction.
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

/// Reads the times of many lines. It remembers the last minute, because most lines fall into the same one.
#[derive(Debug)]
pub struct LineClock {
    format: TimestampFormat,
    minute: Option<CachedMinute>,
}

#[derive(Debug)]
struct CachedMinute {
    /// `21/Nov/2026:08:20:`.
    prefix: [u8; 18],
    /// ` +0600`.
    zone: [u8; 6],
    /// The minute's first second.
    time: LineTime,
}

impl LineClock {
    /// A clock that reads times in `format`.
    pub fn new(format: TimestampFormat) -> Self {
        Self { format, minute: None }
    }

    /// The time of `line`, if it has one.
    pub fn read(&mut self, line: &[u8]) -> Option<LineTime> {
        if self.format == TimestampFormat::Arrival {
            return None;
        }
        if let Some(time) = json_time::values(line).find_map(|value| self.value(value)) {
            return Some(time);
        }
        let line = &line[..line.len().min(SEARCH_SPAN)];
        match self.format {
            TimestampFormat::Nginx => self.nginx(line),
            TimestampFormat::Iso8601 => iso8601(line),
            TimestampFormat::Epoch => epoch(line),
            TimestampFormat::Auto => self.nginx(line).or_else(|| iso8601(line)).or_else(|| epoch(line)),
            TimestampFormat::Arrival => None,
        }
    }

    /// The time at the beginning of a JSON value.
    fn value(&mut self, value: &[u8]) -> Option<LineTime> {
        let stamp = value.strip_prefix(b"[").unwrap_or(value);
        match self.format {
            TimestampFormat::Nginx => self.nginx_at(stamp),
            TimestampFormat::Iso8601 => iso8601_at(value),
            TimestampFormat::Epoch => epoch(value),
            TimestampFormat::Auto => self
                .nginx_at(stamp)
                .or_else(|| iso8601_at(value))
                .or_else(|| epoch(value)),
            TimestampFormat::Arrival => None,
        }
    }

    /// nginx's `$time_local` in brackets (`ngx_http_log_module)`: `[21/Nov/2026:08:20:03 +0600]`.
    fn nginx(&mut self, line: &[u8]) -> Option<LineTime> {
        memchr_iter(b'[', line)
            .take(MAX_CANDIDATES)
            .map(|bracket| &line[bracket + 1..])
            .filter(|stamp| stamp.get(26) == Some(&b']'))
            .find_map(|stamp| self.nginx_at(stamp))
    }

    /// The `$time_local` at the beginning of the text.
    fn nginx_at(&mut self, text: &[u8]) -> Option<LineTime> {
        let stamp: &[u8; 26] = text.first_chunk()?;
        let second = i64::from(digits(&stamp[18..20])?);
        if let Some(minute) = &self.minute
            && stamp[..18] == minute.prefix
            && stamp[20..26] == minute.zone
            && second < 60
        {
            return Some(LineTime {
                unix: minute.time.unix + second,
                ..minute.time
            });
        }
        let (minute, time) = parse_nginx(stamp)?;
        self.minute = Some(minute);
        Some(time)
    }
}

fn parse_nginx(stamp: &[u8; 26]) -> Option<(CachedMinute, LineTime)> {
    let separators = [stamp[2], stamp[6], stamp[11], stamp[14], stamp[17], stamp[20]];
    if separators != *b"//::: " {
        return None;
    }
    let civil = Civil {
        year: digits(&stamp[7..11])?,
        month: month(&stamp[3..6])?,
        day: digits(&stamp[..2])?,
        hour: digits(&stamp[12..14])?,
        minute: digits(&stamp[15..17])?,
        second: digits(&stamp[18..20])?,
    };
    let time = civil.at_offset(zone(&stamp[21..26])?)?;
    let mut minute = CachedMinute {
        prefix: [0; 18],
        zone: [0; 6],
        time: LineTime {
            unix: time.unix - i64::from(civil.second),
            ..time
        },
    };
    minute.prefix.copy_from_slice(&stamp[..18]);
    minute.zone.copy_from_slice(&stamp[20..26]);
    Some((minute, time))
}

/// `2026-11-21T08:20:03+06:00` anywhere in the line.
fn iso8601(line: &[u8]) -> Option<LineTime> {
    memchr_iter(b'-', line)
        .take(MAX_CANDIDATES)
        .find_map(|dash| iso8601_at(line.get(dash.checked_sub(4)?..)?))
}

/// `2026-11-21T08:20:03+06:00` at the beginning; a space for the `T`, a fraction, `Z` or no zone (which is UTC) allowed.
fn iso8601_at(stamp: &[u8]) -> Option<LineTime> {
    let date: &[u8; 19] = stamp.first_chunk()?;
    if date[4] != b'-'
        || date[7] != b'-'
        || !matches!(date[10], b'T' | b't' | b' ')
        || date[13] != b':'
        || date[16] != b':'
    {
        return None;
    }
    let civil = Civil {
        year: digits(&date[..4])?,
        month: digits(&date[5..7])?,
        day: digits(&date[8..10])?,
        hour: digits(&date[11..13])?,
        minute: digits(&date[14..16])?,
        second: digits(&date[17..19])?,
    };
    let mut rest = &stamp[19..];
    if let [b'.' | b',', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = &fraction[digits..];
    }
    civil.at_offset(iso_zone(rest)?)
}

fn iso_zone(rest: &[u8]) -> Option<i32> {
    match rest {
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, ..] => zone(&[*sign, *h1, *h2, *m1, *m2]),
        [b'+' | b'-', ..] => zone(rest.get(..5)?),
        // `Z`, or no zone.
        _ => Some(0),
    }
}

/// Seconds (10 digits, a fraction allowed) or milliseconds (13 digits) since 1970 at the beginning of the line.
fn epoch(line: &[u8]) -> Option<LineTime> {
    let count = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&line[..count]).ok()?.parse::<i64>().ok()?;
    match count {
        10 => Some(LineTime {
            unix: number,
            utc_offset: 0,
        }),
        13 => Some(LineTime {
            unix: number / 1000,
            utc_offset: 0,
        }),
        _ => None,
    }
}

/// A date and a time of day, as in the line.
#[derive(Debug, Clone, Copy)]
struct Civil {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

impl Civil {
    /// Its instant at `utc_offset` seconds east; `None` if the date or time does not exist.
    fn at_offset(self, utc_offset: i32) -> Option<LineTime> {
        // POSIX time has no leap second: second 60 is the first second of the next minute.
        if self.hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        let (year, month, day) = (
            i16::try_from(self.year).ok()?,
            i8::try_from(self.month).ok()?,
            i8::try_from(self.day).ok()?,
        );
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        let days = jiff::civil::date(1970, 1, 1)
            .until((jiff::Unit::Day, date))
            .ok()?
            .get_days();
        let second_of_day = self.hour * 3600 + self.minute * 60 + self.second;
        let unix = i64::from(days) * 86_400 + i64::from(second_of_day) - i64::from(utc_offset);
        // The last days of the year 9999 have no instant there, and no log line.
        jiff::Timestamp::from_second(unix).ok()?;
        Some(LineTime { unix, utc_offset })
    }
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u32::from(byte - b'0'))
    })
}

fn month(name: &[u8]) -> Option<u32> {
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
    ];
    (1..)
        .zip(MONTHS)
        .find_map(|(number, month)| (month == name).then_some(number))
}

/// `+0600` as seconds east.
fn zone(text: &[u8]) -> Option<i32> {
    let (sign, number) = text.split_first()?;
    let (hours, minutes) = (digits(number.get(..2)?)?, digits(number.get(2..4)?)?);
    if hours > 15 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(format: TimestampFormat, line: &str) -> Option<(i64, i32)> {
        LineClock::new(format)
            .read(line.as_bytes())
            .map(|time| (time.unix, time.utc_offset))
    }

    #[test]
    fn nginx_times_are_read_in_their_own_zone() {
        for (stamp, expected) in [
            ("21/Nov/2026:08:20:03 +0600", Some((1_795_227_603, 21_600))),
            ("21/Nov/2026:02:20:03 +0000", Some((1_795_227_603, 0))),
            ("20/Nov/2026:20:50:03 -0530", Some((1_795_227_603, -19_800))),
            ("29/Feb/2028:00:00:00 +0000", Some((1_835_395_200, 0))),
            ("29/Feb/2026:00:00:00 +0000", None),
            ("31/Dec/2026:23:59:60 +0000", Some((1_798_761_600, 0))),
            ("21/Nov/2026:24:00:00 +0000", None),
            ("21/nov/2026:08:20:03 +0600", None),
            ("21/Nov/2026:08:20:03 0600 ", None),
        ] {
            let line = format!("203.0.113.9 - - [{stamp}] \"GET / HTTP/1.1\" 200 5");
            assert_eq!(read(TimestampFormat::Auto, &line), expected, "{stamp}");
        }
    }

    #[test]
    fn a_bracket_before_the_time_does_not_hide_it() {
        let line = "203.0.113.9 - [x] [21/Nov/2026:08:20:03 +0600] \"GET /\"";
        assert_eq!(read(TimestampFormat::Nginx, line), Some((1_795_227_603, 21_600)));
    }

    #[test]
    fn iso_and_epoch_times_are_read() {
        for (line, expected) in [
            ("2026-11-21T08:20:03+06:00 INFO x", Some((1_795_227_603, 21_600))),
            (
                "{\"time\":\"2026-11-21T08:20:03.123+0600\"}",
                Some((1_795_227_603, 21_600)),
            ),
            (
                "2026-11-21 02:20:03 INFO [payment-service] x",
                Some((1_795_227_603, 0)),
            ),
            ("2026-11-21T02:20:03Z", Some((1_795_227_603, 0))),
            ("1795227603 x", Some((1_795_227_603, 0))),
            ("1795227603123 x", Some((1_795_227_603, 0))),
            ("17952276 x", None),
            ("2026-13-21T02:20:03Z", None),
            ("", None),
        ] {
            assert_eq!(read(TimestampFormat::Auto, line), expected, "{line}");
        }
    }

    #[test]
    fn each_fixed_format_reads_its_own_times_and_no_other() {
        let unix = 1_795_227_603;
        let lines = [
            (TimestampFormat::Nginx, "x [21/Nov/2026:08:20:03 +0600] y", 21_600),
            (TimestampFormat::Iso8601, "2026-11-21T08:20:03+06:00 y", 21_600),
            (TimestampFormat::Epoch, "1795227603 y", 0),
            (TimestampFormat::Epoch, "1795227603123 y", 0),
        ];
        for format in [
            TimestampFormat::Nginx,
            TimestampFormat::Iso8601,
            TimestampFormat::Epoch,
            TimestampFormat::Arrival,
        ] {
            for (own, line, utc_offset) in lines {
                let expected = (format == own).then_some((unix, utc_offset));
                assert_eq!(read(format, line), expected, "{format:?}: {line}");
            }
        }
        // A text like a time of another format stands before the real time.
        let line = "1795227603 2026-11-21T08:20:04+06:00 [21/Nov/2026:08:20:05 +0600]";
        for (format, second) in [
            (TimestampFormat::Epoch, 0),
            (TimestampFormat::Iso8601, 1),
            (TimestampFormat::Nginx, 2),
        ] {
            let found = read(format, line).map(|(unix, _)| unix);
            assert_eq!(found, Some(unix + second), "{format:?}");
        }
    }

    #[test]
    fn json_lines_are_read_by_their_keys() {
        let unix = 1_795_227_603;
        for (line, expected) in [
            (
                r#"{"time_local":"21/Nov/2026:08:20:03 +0600","n":1}"#,
                Some((unix, 21_600)),
            ),
            (
                r#"{"time_local":"[21/Nov/2026:08:20:03 +0600]"}"#,
                Some((unix, 21_600)),
            ),
            (
                r#"{"@timestamp": "2026-11-21T08:20:03.123+06:00"}"#,
                Some((unix, 21_600)),
            ),
            (r#"{"msec":"1795227603.123","status":200}"#, Some((unix, 0))),
            (r#"{"level":"info","ts":1795227603.5}"#, Some((unix, 0))),
            (r#"{ "timestamp" : 1795227603123 }"#, Some((unix, 0))),
            (
                r#"{"uri":"/?d=2001-01-01T00:00:00Z","request_time":0.001,"time":1795227603}"#,
                Some((unix, 0)),
            ),
            (r#"{"bytes":1795227603,"status":200}"#, None),
            (r#"{"time":17952276031}"#, None),
        ] {
            assert_eq!(read(TimestampFormat::Auto, line), expected, "{line}");
        }
        let far = format!(r#"{{"uri":"{}","time":1795227603}}"#, "/x".repeat(1500));
        assert_eq!(read(TimestampFormat::Epoch, &far), Some((unix, 0)));
        let other = r#"{"time":1795227603,"date":"2026-11-21T08:20:04+06:00"}"#;
        assert_eq!(read(TimestampFormat::Iso8601, other), Some((unix + 1, 21_600)));
        assert_eq!(read(TimestampFormat::Epoch, other), Some((unix, 0)));
        assert_eq!(read(TimestampFormat::Nginx, other), None);
        assert_eq!(read(TimestampFormat::Arrival, other), None);
    }

    #[test]
    fn the_ends_of_months_years_and_time_are_as_the_calendar_has_them() {
        for (stamp, expected) in [
            ("31/Dec/2026:23:59:59 +0000", Some(1_798_761_599)),
            ("01/Jan/2027:00:00:00 +0000", Some(1_798_761_600)),
            ("01/Jan/2027:05:59:59 +0600", Some(1_798_761_599)),
            ("28/Feb/2026:23:59:59 +0000", Some(1_772_323_199)),
            ("01/Mar/2026:00:00:00 +0000", Some(1_772_323_200)),
            ("29/Feb/2028:23:59:59 +0000", Some(1_835_481_599)),
            ("01/Mar/2028:00:00:00 +0000", Some(1_835_481_600)),
            ("29/Feb/2000:00:00:00 +0000", Some(951_782_400)),
            ("29/Feb/2100:00:00:00 +0000", None),
            ("31/Apr/2026:00:00:00 +0000", None),
            ("00/Jan/2026:00:00:00 +0000", None),
            ("32/Jan/2026:00:00:00 +0000", None),
            ("21/Nov/2026:08:60:00 +0000", None),
            ("21/Nov/2026:08:20:61 +0000", None),
            ("21/Nov/2026:08:20:03 +1600", None),
            ("21/Nov/2026:08:20:03 +0060", None),
            ("31/Dec/9999:23:59:59 +0000", None),
            ("01/Jan/0000:00:00:00 +0000", Some(-62_167_219_200)),
        ] {
            let line = format!("203.0.113.9 - - [{stamp}] \"GET /\"");
            let unix = read(TimestampFormat::Nginx, &line).map(|(unix, _)| unix);
            assert_eq!(unix, expected, "{stamp}");
        }
    }

    #[test]
    fn the_remembered_minute_gives_what_parsing_gives() {
        let mut clock = LineClock::new(TimestampFormat::Nginx);
        for (minute, second, zone) in [
            (20, 3, "+0600"),
            (20, 59, "+0600"),
            (20, 4, "+0500"),
            (21, 4, "+0500"),
        ] {
            let line = format!("x [21/Nov/2026:08:{minute}:{second:02} {zone}] y");
            let fresh = LineClock::new(TimestampFormat::Nginx).read(line.as_bytes());
            assert!(fresh.is_some());
            assert_eq!(clock.read(line.as_bytes()), fresh);
        }
    }

    proptest! {
        /// The calendar in the way of the library that has it right.
        #[test]
        fn every_time_is_read_as_the_calendar_has_it(unix in 0_i64..253_000_000_000, quarter in -60_i32..60) {
            let utc_offset = quarter * 900;
            let zone = jiff::tz::Offset::from_seconds(utc_offset).expect("in range");
            let zoned = jiff::Timestamp::from_second(unix).expect("in range").to_zoned(zone.to_time_zone());
            let nginx = zoned.strftime("x [%d/%b/%Y:%H:%M:%S %z] y").to_string();
            let iso = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z y").to_string();
            for line in [nginx, iso] {
                prop_assert_eq!(read(TimestampFormat::Auto, &line), Some((unix, utc_offset)), "{}", line);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(line: Vec<u8>) {
            LineClock::new(TimestampFormat::Auto).read(&line);
        }

        #[test]
        fn near_misses_are_read_without_harm(line in "[0-9/:TZ+\\-\\[\\] Nov.]{0,80}") {
            LineClock::new(TimestampFormat::Auto).read(line.as_bytes());
        }
    }
}
