//! The `formats` section: the format of each log's lines.

use std::collections::BTreeMap;

use logferry_fields::Format;
use logferry_protocol::names::LogName;

use crate::yaml::field::ConfigField;

/// The formats of logs, by the log's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatsByLog {
    named: BTreeMap<LogName, Format>,
    /// Of every other log.
    auto: Format,
}

impl FormatsByLog {
    /// The format of a log; `auto` if none is set for it.
    pub fn of(&self, log: &LogName) -> &Format {
        self.named.get(log).unwrap_or(&self.auto)
    }

    /// The logs that have a format of their own.
    pub fn logs(&self) -> impl Iterator<Item = &LogName> {
        self.named.keys()
    }

    /// Every format that a log can have.
    pub fn all(&self) -> impl Iterator<Item = &Format> {
        self.named.values().chain([&self.auto])
    }
}

/// Checks the section. A `$` in it is nginx's: environment variables are not replaced.
pub(crate) fn resolve(raw: BTreeMap<String, String>, at: &ConfigField<'_>) -> Option<FormatsByLog> {
    let entries: Vec<_> = raw
        .into_iter()
        .map(|(log, text)| {
            let at = at.name(&log);
            let name = at.accept(log.parse::<LogName>());
            let format = at.accept(Format::parse(&text));
            for warning in format.iter().flat_map(Format::warnings) {
                at.warn(&warning);
            }
            Some((name?, format?))
        })
        .collect();
    Some(FormatsByLog {
        named: entries.into_iter().collect::<Option<_>>()?,
        auto: Format::default(),
    })
}
