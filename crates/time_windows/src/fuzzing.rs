//! What must hold for any line; for the fuzz target `line_time` and the test of its corpus.

use std::time::Duration;

use crate::{LineClock, NameTemplate, TimestampFormat, WindowLength, batch_name, window_label, window_of};

const FORMATS: [TimestampFormat; 5] = [
    TimestampFormat::Auto,
    TimestampFormat::Nginx,
    TimestampFormat::Iso8601,
    TimestampFormat::Epoch,
    TimestampFormat::Arrival,
];

/// Reads lines, as they would stand in a chunk, in each format. A time that is found is one of the calendar's, has a
/// window that it lies in, and that has a plain name; whether other lines were read before makes no difference.
#[expect(clippy::missing_panics_doc, reason = "that is how it says what does not hold")]
pub fn line_time(data: &[u8]) {
    let template = NameTemplate::parse("a_{yymmddHH}_{window}_{source}").expect("valid");
    let (source, group) = (
        "192.0.2.1".parse().expect("an address"),
        "web-1".parse().expect("a name"),
    );
    for format in FORMATS {
        let mut clock = LineClock::new(format);
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            let time = clock.read(line);
            assert_eq!(time, LineClock::new(format).read(line), "another time alone");
            let Some(time) = time else { continue };
            assert!(format != TimestampFormat::Arrival, "nothing was to be read");
            assert!(time.utc_offset.abs() < 16 * 3600, "{time:?}");
            let instant = jiff::Timestamp::from_second(time.unix);
            assert!(instant.is_ok(), "no time of the calendar: {time:?}");
            for seconds in [1, 90, 1200, 3600] {
                let length = WindowLength::try_from(Duration::from_secs(seconds)).expect("divides an hour");
                let window = window_of(time, length);
                assert!(
                    window.start <= time.unix && time.unix < window.end(),
                    "{window:?}"
                );
                assert!(
                    window_label(window.local_start(), window.seconds).len() <= 9,
                    "{window:?}"
                );
                let name = batch_name(&template, window, &source, &group, None);
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                assert!(name.bytes().all(is_plain), "{name}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn corpus_of_lines_holds() {
        for entry in corpus::entries("line_time") {
            line_time(&entry);
        }
    }

    proptest! {
        #[test]
        fn changed_corpus_of_lines_holds(dice: [u16; 6]) {
            line_time(&corpus::mutant("line_time", dice));
        }
    }
}
