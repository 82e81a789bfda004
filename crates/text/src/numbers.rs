//! Counts, sizes and durations.

use std::time::Duration;

/// A count with a comma before each group of three digits: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 source`, `2,000 sources`, `2 batches`. The noun is regular, in the singular.
pub fn count_of(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), noun_for(number, noun))
}

/// The noun as it stands behind this number: `batch`, `batches`.
pub fn noun_for(number: u64, noun: &str) -> String {
    if number == 1 {
        return noun.to_owned();
    }
    let is_vowel = |c: char| "aeiou".contains(c);
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(is_vowel) => format!("{stem}ies"),
        _ if ["s", "x", "z", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// A size in the largest binary unit that leaves a whole part: `3.4 MiB`. Rounded down, so that no size is shown larger
/// than it is.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A duration in its largest unit, for narrow columns: `42 s`, `5 min`, `3 h`, `4 d`.
pub fn about(time: Duration) -> String {
    let text = duration(time);
    let words: Vec<_> = text.split(' ').take(2).collect();
    words.join(" ")
}

/// A duration to the second, in its two largest units: `42 s`, `5 min`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let (large, small) = match (days, hours, minutes) {
        (0, 0, 0) => return format!("{seconds} s"),
        (0, 0, _) => ((minutes, "min"), (seconds % 60, "s")),
        (0, _, _) => ((hours, "h"), (minutes % 60, "min")),
        _ => ((days, "d"), (hours % 24, "h")),
    };
    match small {
        (0, _) => format!("{} {}", large.0, large.1),
        (number, unit) => format!("{} {} {number} {unit}", large.0, large.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        let shown = [0, 999, 1_000, 123_456, 1_234_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "123,456", "1,234,567"]);
        assert_eq!(count_of(1, "source"), "1 source");
        assert_eq!(count_of(2000, "source"), "2,000 sources");
    }

    #[test]
    fn plurals_are_those_of_english() {
        for (noun, plural) in [
            ("line", "lines"),
            ("batch", "batches"),
            ("stretch", "stretches"),
            ("delivery", "deliveries"),
            ("day", "days"),
            ("pass", "passes"),
            ("more log", "more logs"),
        ] {
            assert_eq!(count_of(10, noun), format!("10 {plural}"));
            assert_eq!(count_of(1, noun), format!("1 {noun}"));
        }
    }

    #[test]
    fn sizes_have_a_fitting_unit() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (6_600_000_000, "6.1 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (185, "3 min 5 s"),
            (300, "5 min"),
            (5_400, "1 h 30 min"),
            (7_800, "2 h 10 min"),
            (90_000, "1 d 1 h"),
            (356_400, "4 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), shown);
        }
    }
}
