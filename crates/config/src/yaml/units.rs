//! Sizes, times and percentages in settings: `64KiB`, `20m`, `1h30m`, `90%`.

use std::time::Duration;

/// The longest time of a setting: ten years, so that the sum of two does not overflow a clock.
pub const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Text that is not a size or a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a size, or one beyond 64 bits.
    #[error("`{0}` is not a size; write it like 64KiB, 8MiB or 1GiB, or as a plain number of bytes")]
    Size(String),
    /// Not a time.
    #[error("`{0}` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m")]
    Time(String),
    /// A time beyond [`LONGEST`].
    #[error("`{0}` is too long; at most 87600h (ten years) is allowed")]
    TooLong(String),
    /// Not a whole percentage from 1 to 100.
    #[error("`{}` is not a percentage from 1% to 100%; write it like 90%", .0.escape_debug())]
    Percent(String),
}

const SIZES: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// Units of time and their milliseconds, longest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a number of bytes: digits, then `KiB`, `MiB`, `GiB`, `TiB` or nothing.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_number(text);
    let mut units = SIZES.iter().chain([&("", 1)]);
    let factor = units.find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    let size = number.zip(factor).and_then(|(n, f)| n.checked_mul(f));
    size.ok_or_else(|| UnitError::Size(text.to_owned()))
}

/// Writes a number of bytes so that [`parse_size`] reads the same number back, in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    let mut units = SIZES.iter().filter(|(_, unit)| bytes >= *unit);
    match units.find(|(_, unit)| bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Reads a time: one or more of digits and `ms`, `s`, `m`, `h` or `d`, added up; at most [`LONGEST`].
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let malformed = || UnitError::Time(text.to_owned());
    let too_long = || UnitError::TooLong(text.to_owned());
    let mut rest = text;
    let mut total = Duration::ZERO;
    loop {
        let (number, tail) = split_number(rest);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_len);
        let factor = TIMES.iter().find(|(name, _)| *name == unit);
        let (number, (_, factor)) = number.zip(factor).ok_or_else(malformed)?;
        let millis = number.checked_mul(*factor).ok_or_else(too_long)?;
        total = total
            .checked_add(Duration::from_millis(millis))
            .filter(|t| *t <= LONGEST)
            .ok_or_else(too_long)?;
        if after.is_empty() {
            return Ok(total);
        }
        rest = after;
    }
}

/// Reads a whole percentage from 1 to 100.
pub fn parse_percent(text: &str) -> Result<u8, UnitError> {
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse().ok());
    number
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| UnitError::Percent(text.to_owned()))
}

/// The number at the start of a text (`None` without a digit, or beyond 64 bits), and the rest.
fn split_number(text: &str) -> (Option<u64>, &str) {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (digits.parse().ok(), rest)
}

#[cfg(test)]
mod tests {
    use logferry_time_windows::duration_setting;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_in_every_documented_form() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("8MiB", 8 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn times_are_read_in_every_documented_form() {
        for (text, millis) in [
            ("200ms", 200),
            ("30s", 30_000),
            ("20m", 1_200_000),
            ("4h", 14_400_000),
            ("1h30m", 5_400_000),
            ("1m500ms", 60_500),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_what_one_is() {
        for text in [
            "",
            "KiB",
            "64K",
            "64 KiB",
            "64kib",
            "-1",
            "1.5MiB",
            "18446744073709551616",
            "99999999999TiB",
        ] {
            let message = parse_size(text).expect_err(text).to_string();
            let right = "write it like 64KiB, 8MiB or 1GiB, or as a plain number of bytes";
            assert_eq!(message, format!("`{text}` is not a size; {right}"));
        }
    }

    #[test]
    fn what_is_no_time_says_what_one_is() {
        let malformed = ["", "30", "0", "s", "30 s", "-5s", "1.5h", "1h30", "5x", "5min"];
        let too_long = ["87601h", "9999999999999999h", "3650d1ms"];
        for (texts, problem) in [
            (
                &malformed[..],
                "is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m",
            ),
            (&too_long, "is too long; at most 87600h (ten years) is allowed"),
        ] {
            for text in texts {
                let message = parse_duration(text).expect_err(text).to_string();
                assert_eq!(message, format!("`{text}` {problem}"));
            }
        }
    }

    #[test]
    fn only_a_whole_percentage_from_1_to_100_is_one() {
        assert_eq!(parse_percent("90%"), Ok(90));
        for text in ["90", "0%", "101%", "-1%", "half", ""] {
            let message = parse_percent(text).expect_err(text).to_string();
            let right = "is not a percentage from 1% to 100%; write it like 90%";
            assert_eq!(message, format!("`{text}` {right}"));
        }
    }

    proptest! {
        #[test]
        fn sizes_survive_the_round_trip(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn times_survive_the_round_trip(millis in 0..=315_360_000_000_u64) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&duration_setting(time)), Ok(time));
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text: String, number in "[0-9]{0,25}[a-zA-Z]{0,3}") {
            let _ = (parse_size(&text), parse_duration(&text), parse_size(&number), parse_duration(&number));
        }
    }
}
