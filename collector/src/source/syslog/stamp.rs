//! The time of an older syslog message: `Oct 11 22:14:15`, also with a year or a fraction, or RFC 3339.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_time_windows::{TimeReader, TimestampFormat};

/// What a time needs that lacks its year or its zone.
#[derive(Debug, Clone)]
pub(crate) struct MessageArrival {
    /// When the message came.
    pub(crate) at: Timestamp,
    /// The zone of times that name none.
    pub(crate) zone: TimeZone,
}

/// The length of `Oct 11 22:14:15`.
const CLASSIC_LEN: usize = 15;

/// The time that a text begins with, and what follows the space after it.
pub(super) fn strip<'a>(text: &'a str, arrival: &MessageArrival) -> Option<(Timestamp, &'a str)> {
    let word = text.split(' ').next().unwrap_or_default();
    if let Ok(time) = word.parse() {
        // It names its zone (RFC 3339), as rsyslog forwards it.
        return Some((time, after(text, word.len())?));
    }
    let reader = TimeReader::new(TimestampFormat::Auto, arrival.at.as_second());
    if let Some(found) = reader.syslog(text.as_bytes()) {
        let fraction = text.get(CLASSIC_LEN..found.len).unwrap_or_default();
        let time = in_zone(found.time.unix, fraction, &arrival.zone)?;
        return Some((time, after(text, found.len)?));
    }
    with_year(text, arrival)
}

/// `Oct 11 2026 22:14:15`, as some network devices write it.
fn with_year<'a>(text: &'a str, arrival: &MessageArrival) -> Option<(Timestamp, &'a str)> {
    let (day, year, clock) = (text.get(..7)?, text.get(7..11)?, text.get(12..20)?);
    let year: i16 = year.parse().ok()?;
    let civil = jiff::civil::DateTime::strptime("%b %e %Y %H:%M:%S", format!("{day}{year} {clock}")).ok()?;
    let time = civil.to_zoned(arrival.zone.clone()).ok()?.timestamp();
    Some((time, after(text, 20)?))
}

/// The rest of a text after a time of `len` bytes, which a space or a colon ends.
fn after(text: &str, len: usize) -> Option<&str> {
    let rest = text.get(len..)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    rest.strip_prefix(' ').or_else(|| rest.is_empty().then_some(rest))
}

/// A time that was read as if it were UTC, in its own zone. `fraction`: nothing, or `.` and digits.
fn in_zone(as_utc: i64, fraction: &str, zone: &TimeZone) -> Option<Timestamp> {
    let civil = Timestamp::from_second(as_utc)
        .ok()?
        .to_zoned(TimeZone::UTC)
        .datetime();
    let time = zone.to_timestamp(civil).ok()?;
    let digits = fraction.get(1..).unwrap_or_default();
    let digits = digits.get(..9).unwrap_or(digits);
    let nanoseconds = format!("{digits:0<9}").parse().unwrap_or(0);
    time.checked_add(SignedDuration::from_nanos(nanoseconds)).ok()
}
