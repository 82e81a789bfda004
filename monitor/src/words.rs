//! Numbers and times as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How long ago `then` was; nothing if it is still to come (a clock may have been set back).
pub(crate) fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// The instant so many seconds after 1970; the nearest there is if a log line claimed an impossible year.
pub(crate) fn instant(second: i64) -> Timestamp {
    let clamped = second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(clamped).expect("clamped to what a Timestamp holds")
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 source`, `2,000 sources`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A size in the largest binary unit that leaves a whole number, with one decimal.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    // Tenths of the unit, rounded down: whole numbers only, so that no size is shown larger than it is.
    let mut tenths = u128::from(number) * 10 / 1024;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A time span in its two largest units, such as `1h30m`.
pub(crate) fn span(length: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = length.as_secs();
    let mut words = Vec::new();
    let largest = UNITS.iter().position(|(seconds, _)| rest >= *seconds);
    for (seconds, unit) in UNITS.iter().skip(largest.unwrap_or(3)).take(2) {
        let whole = rest / seconds;
        rest %= seconds;
        if whole > 0 || words.is_empty() {
            words.push(format!("{whole}{unit}"));
        }
    }
    words.concat()
}

/// A moment in the reader's zone, such as `2026-11-21 08:20:03 +06:00`.
pub(crate) fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T %:z").to_string()
}

/// Text made safe for one line of a header or a log: control characters are spaces.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 1023, 1536, 6_600_000_000, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "6.1 GiB", "15.9 EiB"]
        );
        assert_eq!(
            [0, 59, 300, 5400, 90_000].map(|seconds| span(Duration::from_secs(seconds))),
            ["0s", "59s", "5m", "1h30m", "1d1h"]
        );
        assert_eq!(counted(1, "source"), "1 source");
        assert_eq!(counted(2000, "source"), "2,000 sources");
    }

    #[test]
    fn impossible_years_are_clamped() {
        assert_eq!(instant(i64::MAX).as_second(), Timestamp::MAX.as_second());
        assert_eq!(instant(i64::MIN).as_second(), Timestamp::MIN.as_second());
        assert_eq!(instant(60).as_second(), 60);
    }
}
