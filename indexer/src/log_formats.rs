//! The format of each log's lines: as configured, else found from the log's first lines and kept. Pure.
//!
//! What was found is recorded in `index.db` with the lines that were read by it, so a restart reads on in the same way.
//! A format that was found is looked for again when most lines do not fit it any more. Lines whose log is not known, since the
//! batches of several logs share a file, are read each for itself unless all are of one format: the first that is of another one
//! may be of a log that writes rarely. From then on a line is read by another format than its own only if most are of one that a line
//! alone does not tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use logferry_config::FormatsByLog;
use logferry_fields::{Format, LineReader};
use logferry_numbers::FoundLogFormat;
use logferry_protocol::names::{LogName, SourceId};

/// Lines that are looked at to find a format.
const LOOKED_AT: usize = 100;

/// After so few lines nothing is said about whether they fit.
const JUDGED_MIN: u64 = 20;

/// Lines over which it is counted whether they fit.
const JUDGED_MAX: u64 = 1000;

/// Whose lines they are.
pub(crate) type LogKey = (SourceId, Option<LogName>);

#[derive(Debug)]
struct FoundFormat {
    format: Arc<Format>,
    lines: u64,
    misfits: u64,
    /// Most lines do not fit: it is looked for again.
    is_doubted: bool,
}

/// The formats of all logs.
#[derive(Debug)]
pub(crate) struct LogFormats {
    configured: FormatsByLog,
    auto: Format,
    found: BTreeMap<LogKey, FoundFormat>,
    /// The texts that `index.db` has.
    recorded: BTreeMap<LogKey, String>,
    /// The logs whose formats were found since the last transaction.
    changed: BTreeSet<LogKey>,
}

impl FoundFormat {
    fn new(format: Format) -> Self {
        Self {
            format: Arc::new(format),
            lines: 0,
            misfits: 0,
            is_doubted: false,
        }
    }
}

impl LogFormats {
    /// The formats of the configuration, and for other logs those that were found before.
    pub(crate) fn new(configured: FormatsByLog, before: Vec<FoundLogFormat>) -> Self {
        let mut formats = Self {
            configured,
            auto: Format::default(),
            found: BTreeMap::new(),
            recorded: BTreeMap::new(),
            changed: BTreeSet::new(),
        };
        for FoundLogFormat { source, log, format } in before {
            let (Ok(source), Ok(log)) = (source.parse(), log.map(|log| log.parse()).transpose()) else {
                continue;
            };
            let key: LogKey = (source, log);
            if let (None, Ok(found)) = (formats.configured_of(&key), Format::parse(&format)) {
                formats.found.insert(key.clone(), FoundFormat::new(found));
            }
            formats.recorded.insert(key, format);
        }
        formats
    }

    /// What was found since the last call, and is not recorded.
    pub(crate) fn take_found(&mut self) -> Vec<FoundLogFormat> {
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let Some(found) = self.found.get(&key) else {
                continue;
            };
            let format = found.format.as_text().to_owned();
            if self.recorded.get(&key) == Some(&format) {
                continue;
            }
            changes.push(FoundLogFormat {
                source: key.0.to_string(),
                log: key.1.as_ref().map(ToString::to_string),
                format: format.clone(),
            });
            self.recorded.insert(key, format);
        }
        changes
    }

    fn configured_of(&self, key: &LogKey) -> Option<&Format> {
        let configured = key.1.as_ref().map(|log| self.configured.of(log));
        configured.filter(|format| **format != self.auto)
    }

    /// The format of a log. If it is neither configured nor known, it is found from these lines.
    pub(crate) fn of(&mut self, key: &LogKey, lines: &[u8]) -> Arc<Format> {
        let before = self.found.get(key);
        if let Some(found) = before.filter(|found| !found.is_doubted) {
            return Arc::clone(&found.format);
        }
        let was_by_line = key.1.is_none() && before.is_some_and(|found| *found.format == self.auto);
        let mut format = if let Some(configured) = self.configured_of(key) {
            configured.clone()
        } else {
            self.changed.insert(key.clone());
            self.find(key, lines)
        };
        // These lines may be all of one log, and the next ones of another: each for itself they are read alike.
        if was_by_line && (format.is_known_by_line() || format.as_text() == "text") {
            format = self.auto.clone();
        }
        let found = FoundFormat::new(format);
        let format = Arc::clone(&found.format);
        self.found.insert(key.clone(), found);
        format
    }

    /// Notes how many lines did not fit the format of a log.
    pub(crate) fn note(&mut self, key: &LogKey, lines: u64, misfits: u64) {
        let Some(found) = self.found.get_mut(key) else {
            return;
        };
        if key.1.is_none() && misfits > 0 && found.format.is_known_by_line() {
            *found = FoundFormat::new(self.auto.clone());
            self.changed.insert(key.clone());
            return;
        }
        found.lines += lines;
        found.misfits += misfits;
        // Everything fits `text`, so it is looked for again in any case.
        let is_text = found.format.as_text() == "text";
        if found.lines >= JUDGED_MIN && (is_text || found.misfits * 2 > found.lines) {
            found.is_doubted = true;
        } else if found.lines >= JUDGED_MAX {
            (found.lines, found.misfits) = (0, 0);
        }
    }

    fn find(&self, (_, log): &LogKey, lines: &[u8]) -> Format {
        let lines = || {
            lines
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .take(LOOKED_AT)
        };
        if log.is_some() {
            return Format::found_in(lines());
        }
        let is_parsed = |format: &Format| {
            let mut reader = LineReader::new(format, 0);
            lines()
                .map(|line| reader.read(line).is_parsed)
                .collect::<Vec<_>>()
        };
        let fits_all = |format: &Format| {
            // Everything is text, but then no line may be of another format.
            let is_mixed = format.as_text() == "text" && is_parsed(&self.auto).contains(&true);
            !is_mixed && !is_parsed(format).contains(&false)
        };
        let configured = self
            .configured
            .all()
            .filter(|format| **format != self.auto)
            .cloned();
        let found = std::iter::once_with(|| Format::found_in(lines()));
        configured.chain(found).find(fits_all).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMBINED: &str = "::1 - - [21/Nov/2026:08:20:03 +0600] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\"\n";

    fn key(log: Option<&str>) -> LogKey {
        let log = log.map(|log| log.parse().expect("a name"));
        ("a".parse().expect("a source"), log)
    }

    #[test]
    fn format_that_was_found_is_kept_until_most_lines_do_not_fit() {
        let mut formats = LogFormats::new(FormatsByLog::default(), Vec::new());
        let log = key(Some("access"));
        let of =
            |formats: &mut LogFormats, lines: &str| formats.of(&log, lines.as_bytes()).as_text().to_owned();
        assert_eq!(of(&mut formats, COMBINED), "combined");
        assert_eq!(of(&mut formats, "{\"a\":1}\n"), "combined", "kept");
        formats.note(&log, 19, 19);
        assert_eq!(of(&mut formats, "{\"a\":1}\n"), "combined", "too few to say");
        formats.note(&log, 1, 1);
        assert_eq!(of(&mut formats, "{\"a\":1}\n"), "json");
        formats.note(&log, 1000, 499);
        assert_eq!(of(&mut formats, COMBINED), "json", "most fit");
    }

    #[test]
    fn format_that_was_found_is_recorded_once_and_kept_over_a_restart() {
        let mut formats = LogFormats::new(FormatsByLog::default(), Vec::new());
        let (log, mixed) = (key(Some("access")), key(None));
        formats.of(&log, COMBINED.as_bytes());
        formats.of(&mixed, format!("{COMBINED}{{\"a\":1}}\n").as_bytes());
        let found = formats.take_found();
        let texts: Vec<_> = found.iter().map(|found| found.format.as_str()).collect();
        assert_eq!(texts, ["auto", "combined"]);
        formats.note(&log, 20, 20);
        formats.of(&log, COMBINED.as_bytes());
        assert_eq!(formats.take_found(), [], "the same was found again");
        let mut formats = LogFormats::new(FormatsByLog::default(), found);
        assert_eq!(formats.of(&log, b"{\"a\":1}\n").as_text(), "combined", "kept");
        assert_eq!(formats.of(&mixed, COMBINED.as_bytes()).as_text(), "auto", "kept");
        assert_eq!(formats.take_found(), []);
    }

    #[test]
    fn lines_of_several_logs_are_read_each_for_itself() {
        let mut formats = LogFormats::new(FormatsByLog::default(), Vec::new());
        let mixed = format!("{COMBINED}{{\"a\":1}}\n");
        assert_eq!(formats.of(&key(None), mixed.as_bytes()).as_text(), "auto");
        let mut formats = LogFormats::new(FormatsByLog::default(), Vec::new());
        assert_eq!(formats.of(&key(None), COMBINED.as_bytes()).as_text(), "combined");
    }

    #[test]
    fn rarer_log_of_a_source_is_read_by_its_own_format_from_its_first_lines_on() {
        let (known, unknown) = (key(Some("access")), key(None));
        let lines = COMBINED.repeat(100) + "{\"a\":1}\n";
        let mut formats = LogFormats::new(FormatsByLog::default(), Vec::new());
        for (key, then) in [(known, "combined"), (unknown, "auto")] {
            assert_eq!(formats.of(&key, lines.as_bytes()).as_text(), "combined");
            formats.note(&key, 101, 1);
            assert_eq!(formats.of(&key, COMBINED.as_bytes()).as_text(), then);
        }
        let found = formats.take_found();
        let mut formats = LogFormats::new(FormatsByLog::default(), found);
        let format = formats.of(&key(None), COMBINED.as_bytes());
        assert_eq!(format.as_text(), "auto", "kept over a restart");
        // Most are of a log whose lines are text.
        for lines in [COMBINED, "no format\n", COMBINED] {
            formats.note(&key(None), 1000, 999);
            assert_eq!(formats.of(&key(None), lines.as_bytes()).as_text(), "auto");
        }
        formats.note(&key(None), 1000, 999);
        let told_by_most = formats.of(&key(None), b"level=info msg=\"x y\"\n");
        assert_eq!(told_by_most.as_text(), "logfmt");
    }

    #[test]
    fn format_that_a_line_alone_does_not_tell_is_kept_for_most_lines() {
        let mut formats = LogFormats::new(FormatsByLog::default(), Vec::new());
        assert_eq!(
            formats.of(&key(None), b"level=info msg=\"x y\"\n").as_text(),
            "logfmt"
        );
        formats.note(&key(None), 100, 1);
        assert_eq!(formats.of(&key(None), b"{}\n").as_text(), "logfmt");
    }
}
