//! Times as pages show them. The text is UTC; `assets/js/times.js` turns it into the reader's zone. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_inspection::time::age;
use logferry_text::about;

/// How much of a time is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeForm {
    Full,
    Minute,
    Ago(Timestamp),
}

/// A time with its day, as an element.
pub(crate) fn full(at: Timestamp) -> String {
    element(at, TimeForm::Full)
}

/// Hour and minute, as an element.
pub(crate) fn minute(at: Timestamp) -> String {
    element(at, TimeForm::Minute)
}

/// How long ago, as an element whose text grows in the browser.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    element(at, TimeForm::Ago(now))
}

/// A second of a window or of a day; a time that no calendar has is the beginning of 1970.
pub(crate) fn of_second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn element(at: Timestamp, form: TimeForm) -> String {
    let zoned = at.to_zoned(TimeZone::UTC);
    let (name, text) = match form {
        TimeForm::Full => ("full", zoned.strftime("%F %T UTC").to_string()),
        TimeForm::Minute => ("minute", zoned.strftime("%H:%M").to_string()),
        TimeForm::Ago(now) => ("ago", format!("{} ago", about(age(at, now)))),
    };
    let value = zoned.strftime("%FT%TZ");
    format!("<time datetime=\"{value}\" data-form=\"{name}\">{text}</time>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_until_a_browser_has_them() {
        let at: Timestamp = "2026-11-21T08:13:02.7Z".parse().unwrap();
        assert_eq!(
            full(at),
            "<time datetime=\"2026-11-21T08:13:02Z\" data-form=\"full\">2026-11-21 08:13:02 UTC</time>"
        );
        assert!(minute(at).ends_with(">08:13</time>"));
        assert!(ago(at, "2026-11-21T08:18:03Z".parse().unwrap()).ends_with(">5 min ago</time>"));
        assert!(ago(at, Timestamp::UNIX_EPOCH).ends_with(">0 s ago</time>"));
    }
}
