//! Times that people type: an age, a time of day, a date, or a full time. Pure.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}; write an age (2h, 30m, 3d, 1h30m), a time of day (08:00), a day (2026-11-21, today, yesterday), a local time \
     (2026-11-21T08:00), or RFC 3339 (2026-11-21T08:00:00Z, 2026-11-21T08:00:00+06:00)"
)]
pub struct MomentError {
    /// What is wrong with it.
    reason: String,
}

/// The time that the text means at `now`, in the zone of the reader. A time of day is the last one that has been.
pub fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, MomentError> {
    let text = text.trim();
    let here = now.to_zoned(zone.clone());
    let error = |reason: String| MomentError { reason };
    match text {
        "" => return Err(error("the time is empty".to_owned())),
        "now" => return Ok(now),
        "today" => return start_of(here.date(), zone).map_err(error),
        "yesterday" => return start_of(here.date().yesterday().unwrap_or(Date::MIN), zone).map_err(error),
        _ => {}
    }
    let parsed = if let Some(age) = age(text) {
        now.checked_sub(age)
            .map_err(|_| format!("`{text}` ago is before all time"))
    } else if text.contains('-') {
        full_time(text, zone)
    } else if text.contains(':') {
        time_of_day(text, &here)
    } else {
        Err(format!("`{text}` is no time"))
    };
    parsed.map_err(error)
}

/// `2h`, `1h30m`, `3d`: numbers with units, also with a space or `ago`.
fn age(text: &str) -> Option<Duration> {
    let text = text.strip_suffix("ago").unwrap_or(text).trim_end();
    let (mut total, mut digits) = (0_u64, String::new());
    let mut rest = text.chars().filter(|it| !it.is_whitespace()).peekable();
    rest.peek()?;
    while let Some(character) = rest.next() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let seconds = match character {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        if character == 'm' && rest.next_if_eq(&'i').is_some() {
            rest.next_if_eq(&'n')?;
        }
        let number: u64 = std::mem::take(&mut digits).parse().ok()?;
        total = total.checked_add(number.checked_mul(seconds)?)?;
    }
    digits.is_empty().then(|| Duration::from_secs(total))
}

/// A date, with a time or without, with an offset or without.
fn full_time(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let reason = |error: jiff::Error| format!("`{text}` is no time: {error}");
    let has_time = text.contains('T') || text.contains(' ') || text.contains(':');
    if !has_time {
        return start_of(text.parse().map_err(reason)?, zone);
    }
    let local: DateTime = text.parse().map_err(reason)?;
    let zoned = local.to_zoned(zone.clone());
    zoned.map(|zoned| zoned.timestamp()).map_err(|_| too_far(text))
}

/// The last `08:00` that has been, today or yesterday.
fn time_of_day(text: &str, here: &Zoned) -> Result<Timestamp, String> {
    let time: Time = text
        .parse()
        .map_err(|error| format!("`{text}` is no time of day: {error}"))?;
    let at = |date: Date| date.to_datetime(time).to_zoned(here.time_zone().clone());
    let reason = |error: jiff::Error| format!("`{text}` is no time of day here: {error}");
    let today = at(here.date()).map_err(reason)?;
    if today.timestamp() <= here.timestamp() {
        return Ok(today.timestamp());
    }
    let yesterday = here.date().checked_sub(Span::new().days(1)).map_err(reason)?;
    Ok(at(yesterday).map_err(reason)?.timestamp())
}

fn start_of(date: Date, zone: &TimeZone) -> Result<Timestamp, String> {
    let start = date.to_zoned(zone.clone());
    start
        .map(|start| start.timestamp())
        .map_err(|_| too_far(&date.to_string()))
}

/// Of a valid date whose time is not between the first and the last one that can be told.
fn too_far(text: &str) -> String {
    format!("`{text}` is too far away: the last day is 9999-12-30")
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    const NOW: &str = "2026-11-21T10:30:00+06:00";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn read(text: &str) -> Result<Timestamp, String> {
        let zone = TimeZone::fixed(Offset::constant(6));
        moment(text, at(NOW), &zone).map_err(|error| error.to_string())
    }

    #[test]
    fn ages_times_of_day_days_and_full_times_are_read() {
        for (text, meant) in [
            ("2h", "2026-11-21T08:30:00+06:00"),
            ("90m", "2026-11-21T09:00:00+06:00"),
            ("90min", "2026-11-21T09:00:00+06:00"),
            ("1h30m", "2026-11-21T09:00:00+06:00"),
            ("1h 30m ago", "2026-11-21T09:00:00+06:00"),
            ("30s", "2026-11-21T10:29:30+06:00"),
            ("3d", "2026-11-18T10:30:00+06:00"),
            ("1w", "2026-11-14T10:30:00+06:00"),
            ("08:00", "2026-11-21T08:00:00+06:00"),
            ("10:30", NOW),
            ("10:31", "2026-11-20T10:31:00+06:00"),
            ("23:59:30", "2026-11-20T23:59:30+06:00"),
            ("2026-11-20", "2026-11-20T00:00:00+06:00"),
            ("today", "2026-11-21T00:00:00+06:00"),
            ("yesterday", "2026-11-20T00:00:00+06:00"),
            ("now", NOW),
            ("2026-11-20T08:00", "2026-11-20T08:00:00+06:00"),
            ("2026-11-20 08:00:00", "2026-11-20T08:00:00+06:00"),
            ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
            ("2026-11-20T08:00:00-03:00", "2026-11-20T08:00:00-03:00"),
        ] {
            assert_eq!(read(text), Ok(at(meant)), "{text}");
        }
    }

    #[test]
    fn a_bad_time_is_named_with_what_is_wrong_and_with_the_right_forms() {
        for (text, reason) in [
            ("soon", "`soon` is no time; "),
            ("2x", "`2x` is no time; "),
            ("h", "`h` is no time; "),
            ("5", "`5` is no time; "),
            ("", "the time is empty; "),
            ("25:00", "`25:00` is no time of day: "),
            ("2026-13-01", "`2026-13-01` is no time: "),
            ("2026-11-21T08:61", "`2026-11-21T08:61` is no time: "),
            ("999999999999999w", "`999999999999999w` is no time; "),
            ("99999999d", "`99999999d` ago is before all time; "),
            (
                "9999-12-31T08:00",
                "`9999-12-31T08:00` is too far away: the last day is 9999-12-30; ",
            ),
        ] {
            let error = read(text).expect_err("no time");
            assert!(error.starts_with(reason), "{text}: {error}");
            assert!(
                error.contains("write an age (2h, 30m, 3d, 1h30m), a time of day (08:00)"),
                "{error}"
            );
        }
        let far = moment("9999-12-31", at(NOW), &TimeZone::UTC).expect_err("after the last time");
        let told = "`9999-12-31` is too far away: the last day is 9999-12-30; write an age";
        assert!(far.to_string().starts_with(told), "{far}");
    }
}
