//! Differences between times, and times that a log line claims.

use std::time::Duration;

use jiff::Timestamp;

/// How long ago `then` was. Zero if `then` is in the future: a clock may have been set back.
pub fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// The time so many seconds after 1970. A log line can claim an impossible year: its time becomes the nearest possible
/// one.
pub fn clamped_timestamp(second: i64) -> Timestamp {
    let clamped = second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(clamped).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_years_are_clamped() {
        let clamped = [i64::MAX, i64::MIN, 60].map(|second| clamped_timestamp(second).as_second());
        assert_eq!(
            clamped,
            [Timestamp::MAX.as_second(), Timestamp::MIN.as_second(), 60]
        );
    }
}
