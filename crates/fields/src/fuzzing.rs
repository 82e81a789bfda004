//! What must hold for any line; for the fuzz target `line_time` and the test of its corpus.

use std::time::Duration;

use logferry_time_windows::{
    LineTime, NameTemplate, TimestampFormat, WindowLength, batch_name, window_label, window_of,
};

use crate::{Format, LineClock, LineReader};

const NOTATIONS: [TimestampFormat; 5] = [
    TimestampFormat::Auto,
    TimestampFormat::Nginx,
    TimestampFormat::Iso8601,
    TimestampFormat::Epoch,
    TimestampFormat::Arrival,
];

const FORMATS: [&str; 12] = [
    "auto",
    "combined",
    "common",
    "json",
    "ltsv",
    "logfmt",
    "syslog",
    "text",
    r#"$remote_addr|$time_iso8601|"$request"|$status|$request_time"#,
    "$remote_user|$time_local|$request",
    r#"escape=json {"user":"$remote_user","msec":$msec,"request":"$request"}"#,
    "escape=none $host$request_uri $msec$status $time_local",
];

/// Reads lines, as they would stand in a chunk, in each format and notation. A time that is found is one of the calendar's,
/// has a window that it lies in, and that has a plain name; whether other lines were read before makes no difference. Fields
/// are in the line. The first line is read as a format, too.
#[expect(clippy::missing_panics_doc, reason = "that is how it says what does not hold")]
pub fn line_time(data: &[u8]) {
    let first = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let own = Format::parse(&String::from_utf8_lossy(first));
    let formats = FORMATS.iter().map(|name| Format::parse(name).expect("a format"));
    for format in formats.chain(own.ok()) {
        let mut fields = Vec::new();
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            format.read(line, &mut fields);
            for field in &fields {
                assert!(line.get(field.value.clone()).is_some(), "{field:?}");
            }
        }
        check_facts(&format, data);
        for notation in NOTATIONS {
            let mut clock = LineClock::new(&format, notation, 1_795_227_603);
            for line in data.split_inclusive(|&byte| byte == b'\n') {
                let time = clock.read(line);
                let alone = LineClock::new(&format, notation, 1_795_227_603).read(line);
                assert_eq!(time, alone, "another time alone");
                let Some(time) = time else { continue };
                assert!(notation != TimestampFormat::Arrival, "nothing was to be read");
                check_window(time);
            }
        }
    }
}

/// Facts do not depend on the lines before, and values without escapes are not longer.
fn check_facts(format: &Format, data: &[u8]) {
    let lines = || data.split_inclusive(|&byte| byte == b'\n');
    let mut reader = LineReader::new(format, 1_795_227_603);
    for line in lines() {
        let facts = reader.read(line);
        assert_eq!(
            facts,
            LineReader::new(format, 1_795_227_603).read(line),
            "other facts alone"
        );
        assert!(facts.status.is_none_or(|status| (100..600).contains(&status)));
        for field in reader.fields() {
            let value = reader.field(line, field.name(line)).expect("it is a field");
            assert!(value.len() <= line.len(), "{field:?}");
        }
    }
    let found = Format::found_in(lines());
    assert!(lines().all(|line| {
        line.len()
            >= LineReader::new(&found, 0)
                .read(line)
                .path
                .map_or(0, |path| path.len())
    }));
}

fn check_window(time: LineTime) {
    let template = NameTemplate::parse("a_{yymmddHH}_{window}_{source}").expect("valid");
    let (source, group) = (
        "192.0.2.1".parse().expect("an address"),
        "web-1".parse().expect("a name"),
    );
    assert!(time.utc_offset.abs() < 16 * 3600, "{time:?}");
    // jiff is no dependency of this crate: its years are -9999 to 9999.
    let calendar = -377_705_116_800..253_402_207_200;
    assert!(calendar.contains(&time.unix), "no time of the calendar: {time:?}");
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
