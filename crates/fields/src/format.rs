//! The format of a log: its name or its text in the configuration, and the fields of its lines.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::LazyLock;

use logferry_text::nearest;
use logferry_time_windows::{LineTime, TimeReader, TimestampFormat};

use crate::escape::ValueEscape;
use crate::field::{FieldName, LineField};
use crate::level::Level;
use crate::log_format::{LogFormat, LogFormatError, ValueBorder};
use crate::text::without_line_end;
use crate::{free_text, keyed, syslog};

/// The format of a log's lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Format(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Kind {
    /// Found for each line.
    #[default]
    Auto,
    /// nginx's `combined`, also with a host or other addresses in front.
    Combined,
    /// The same without referer and user agent.
    Common,
    Json,
    Ltsv,
    Logfmt,
    Syslog,
    Text,
    /// The text of a `log_format`.
    Pasted(Box<LogFormat>),
}

/// Why a text is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A word that is no name of a format.
    #[error(
        "there is no format `{name}`{hint}; write auto, combined, common, json, ltsv, logfmt, syslog, text, or the text of an \
         nginx log_format, such as '$remote_addr [$time_local] \"$request\"'"
    )]
    Unknown {
        /// The word.
        name: String,
        /// The nearest name, as a question; may be empty.
        hint: String,
    },
    /// The text of a `log_format` that nginx would not take.
    #[error(transparent)]
    LogFormat(#[from] LogFormatError),
}

const NAMES: [&str; 8] = [
    "auto", "combined", "common", "json", "ltsv", "logfmt", "syslog", "text",
];

/// The name of the last field of a line of syslog.
pub(crate) const SYSLOG_MESSAGE: &str = "message";

/// The line of an access log in nginx's terms, after the client's address.
const COMMON: &str = r#" - $remote_user [$time_local] "$request" $status $body_bytes_sent"#;
const COMBINED: &str =
    r#" - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

static COMMON_LINES: LazyLock<Vec<LogFormat>> = LazyLock::new(|| access(COMMON));
static COMBINED_LINES: LazyLock<Vec<LogFormat>> = LazyLock::new(|| access(COMBINED));

fn access(rest: &str) -> Vec<LogFormat> {
    let addresses = [
        "$remote_addr",
        "$server_name $remote_addr",
        "$http_x_forwarded_for",
    ];
    let format = |address: &str| LogFormat::parse(&format!("{address}{rest}"));
    addresses
        .into_iter()
        .filter_map(|address| format(address).ok())
        .collect()
}

impl Format {
    /// The format that the configuration names, or whose `log_format` it quotes.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let kind = match text.trim() {
            "auto" => Kind::Auto,
            "combined" => Kind::Combined,
            "common" => Kind::Common,
            "json" => Kind::Json,
            "ltsv" => Kind::Ltsv,
            "logfmt" => Kind::Logfmt,
            "syslog" => Kind::Syslog,
            "text" => Kind::Text,
            word if word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) =>
            {
                let near = nearest(word, NAMES.into_iter())
                    .filter(|near| near.as_bytes().first() == word.as_bytes().first());
                let hint = near
                    .map(|near| format!(" (did you mean `{near}`?)"))
                    .unwrap_or_default();
                let name = word.to_owned();
                return Err(FormatError::Unknown { name, hint });
            }
            text => Kind::Pasted(Box::new(LogFormat::parse(text)?)),
        };
        Ok(Self(kind))
    }

    /// The text that [`Self::parse`] makes this format of.
    pub fn as_text(&self) -> &str {
        match &self.0 {
            Kind::Auto => "auto",
            Kind::Combined => "combined",
            Kind::Common => "common",
            Kind::Json => "json",
            Kind::Ltsv => "ltsv",
            Kind::Logfmt => "logfmt",
            Kind::Syslog => "syslog",
            Kind::Text => "text",
            Kind::Pasted(format) => format.as_text(),
        }
    }

    /// What stands beside the values of a `log_format` in each line; nothing of other formats, whose values have marks around them.
    pub fn value_borders(&self) -> &[ValueBorder] {
        match &self.0 {
            Kind::Pasted(format) => format.value_borders(),
            _ => &[],
        }
    }

    /// Why times of lines in this format are not certain; one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        match &self.0 {
            Kind::Pasted(format) => format.warnings(),
            _ => Vec::new(),
        }
    }

    /// Replaces `fields` by those of a line, in its order. A line that is not of the format has none. In `text` a line has
    /// its level at most. Of JSON, the members of the line's own object are the fields.
    pub fn read<'a>(&'a self, line: &[u8], fields: &mut Vec<LineField<'a>>) {
        fields.clear();
        let line = without_line_end(line);
        match &self.0 {
            Kind::Auto if keyed::is_json(line) => read_json(line, fields),
            Kind::Auto if keyed::is_ltsv(line) => fields.extend(keyed::labels(line).map(LineField::in_line)),
            Kind::Auto => {
                read_first(&COMBINED_LINES, line, fields);
                if fields.is_empty() {
                    read_first(&COMMON_LINES, line, fields);
                }
                if fields.is_empty() {
                    read_syslog(line, fields);
                }
            }
            Kind::Combined => read_first(&COMBINED_LINES, line, fields),
            Kind::Common => read_first(&COMMON_LINES, line, fields),
            Kind::Syslog => read_syslog(line, fields),
            Kind::Json => read_json(line, fields),
            Kind::Ltsv => fields.extend(keyed::labels(line).map(LineField::in_line)),
            Kind::Logfmt => fields.extend(keyed::pairs(line).map(LineField::in_line)),
            Kind::Text => {
                fields.extend(Level::in_text(line).map(|(_, word)| LineField::new("level", word)));
            }
            Kind::Pasted(format) => read_first(std::slice::from_ref(&**format), line, fields),
        }
    }

    /// The name of a line's field, without escapes: only JSON has them in names.
    pub fn name<'l>(&self, line: &'l [u8], field: &'l LineField<'_>) -> Cow<'l, [u8]> {
        let name = field.name(line);
        let is_json = match &self.0 {
            Kind::Json => true,
            Kind::Auto => keyed::is_json(line),
            _ => false,
        };
        if is_json && matches!(field.name, FieldName::InLine(_)) {
            ValueEscape::Json.remove(name)
        } else {
            Cow::Borrowed(name)
        }
    }

    /// The value of a line's field, without escapes.
    pub fn value<'l>(&self, line: &'l [u8], field: &LineField<'_>) -> Option<Cow<'l, [u8]>> {
        let value = line.get(field.value.clone())?;
        let is_string = || field.value.start.checked_sub(1).and_then(|quote| line.get(quote)) == Some(&b'"');
        let escape = match &self.0 {
            Kind::Json | Kind::Logfmt if is_string() => ValueEscape::Json,
            Kind::Auto if keyed::is_json(line) && is_string() => ValueEscape::Json,
            Kind::Auto if keyed::is_json(line) => ValueEscape::None,
            Kind::Json | Kind::Logfmt | Kind::Syslog | Kind::Text => ValueEscape::None,
            Kind::Auto | Kind::Combined | Kind::Common | Kind::Ltsv => ValueEscape::Hex,
            Kind::Pasted(format) => format.value_escape(),
        };
        Some(escape.remove(value))
    }

    /// The formats that can be found from lines, the most certain first.
    pub(crate) fn detectable() -> [Self; 6] {
        [
            Kind::Json,
            Kind::Ltsv,
            Kind::Combined,
            Kind::Common,
            Kind::Syslog,
            Kind::Logfmt,
        ]
        .map(Self)
    }

    /// The format of any text.
    pub(crate) fn text() -> Self {
        Self(Kind::Text)
    }

    /// Whether a line of any log can hardly have this format by chance. `fields`: any; they are replaced.
    pub(crate) fn suits<'a>(&'a self, line: &[u8], fields: &mut Vec<LineField<'a>>) -> bool {
        let line = without_line_end(line);
        match self.0 {
            Kind::Json => keyed::is_json(line),
            Kind::Ltsv => keyed::is_ltsv(line),
            Kind::Syslog => syslog::header(line, &mut TimeReader::new(TimestampFormat::Auto, 0)).is_some(),
            Kind::Logfmt => keyed::is_logfmt(line),
            _ => {
                self.read(line, fields);
                !fields.is_empty()
            }
        }
    }

    /// Whether lines of this format need have no fields.
    pub(crate) fn has_no_fields(&self) -> bool {
        self.0 == Kind::Text
    }

    /// Whether lines of this format are read alike if the format of each is found by the line alone.
    pub fn is_known_by_line(&self) -> bool {
        matches!(
            self.0,
            Kind::Combined | Kind::Common | Kind::Json | Kind::Ltsv | Kind::Syslog
        )
    }

    /// Whether the format of each line is found by the line alone.
    pub(crate) fn is_found_by_line(&self) -> bool {
        self.0 == Kind::Auto
    }

    /// Whether the level of a line stands among its words.
    pub(crate) fn is_of_words(&self) -> bool {
        matches!(self.0, Kind::Text | Kind::Syslog)
    }

    // What nearly all lines need stays small: `LineClock::read`.
    #[inline(never)]
    fn time(&self, line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
        let line = without_line_end(line);
        match &self.0 {
            Kind::Auto if keyed::is_json(line) => keyed::json_time(line, times),
            Kind::Auto if keyed::is_ltsv(line) => keyed::ltsv_time(line, times),
            Kind::Auto | Kind::Text => free_text::time(line, times),
            Kind::Combined | Kind::Common => free_text::before_quote(line, times),
            Kind::Json => keyed::json_time(line, times),
            Kind::Ltsv => keyed::ltsv_time(line, times),
            Kind::Logfmt => keyed::logfmt_time(line, times),
            Kind::Syslog => syslog::any_header(line, times)?.time,
            Kind::Pasted(format) => format.time(line, times),
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::parse(text)
    }
}

/// Reads a line by the first of the formats that fits.
fn read_first<'a>(formats: &'a [LogFormat], line: &[u8], fields: &mut Vec<LineField<'a>>) {
    let _fits = formats.iter().any(|format| format.read(line, fields));
}

fn read_json(line: &[u8], fields: &mut Vec<LineField<'_>>) {
    keyed::members(line, |member| {
        let mut value = member.value.clone();
        if member.is_object {
            value.end = keyed::container_end(line, value.start);
        }
        fields.push(LineField::in_line((member.key.clone(), value)));
        ControlFlow::Continue(false)
    });
}

fn read_syslog(line: &[u8], fields: &mut Vec<LineField<'_>>) {
    // The year does not matter: the fields are bytes of the line.
    let mut times = TimeReader::new(TimestampFormat::Auto, 0);
    if let Some(header) = syslog::any_header(line, &mut times) {
        fields.extend([
            LineField::new("time", header.stamp),
            LineField::new("host", header.host),
            LineField::new(SYSLOG_MESSAGE, header.message),
        ]);
    }
}

/// Reads the times of many lines of one log.
#[derive(Debug)]
pub struct LineClock<'f> {
    format: &'f Format,
    /// `None`: the time of arrival counts.
    times: Option<TimeReader>,
}

impl<'f> LineClock<'f> {
    /// A clock for lines in `format` that arrived at about `arrival`, in seconds since 1970. Only times in the notation
    /// `wanted` are read.
    pub fn new(format: &'f Format, wanted: TimestampFormat, arrival: i64) -> Self {
        let times = (wanted != TimestampFormat::Arrival).then(|| TimeReader::new(wanted, arrival));
        Self { format, times }
    }

    /// Takes a time without a zone for one of this offset from UTC, in seconds east. Without this it is UTC.
    #[must_use]
    pub fn with_default_zone(self, utc_offset: i32) -> Self {
        Self {
            times: self.times.map(|times| times.with_default_zone(utc_offset)),
            ..self
        }
    }

    /// The time of `line`, if it has one.
    pub fn read(&mut self, line: &[u8]) -> Option<LineTime> {
        let times = self.times.as_mut()?;
        let is_any = matches!(self.format.0, Kind::Auto | Kind::Text);
        let usual = is_any.then(|| free_text::access_time(line, times)).flatten();
        usual.or_else(|| self.format.time(line, times))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_way_to_the_time_of_an_access_line_finds_what_the_long_way_does(
            address in "([0-9]{1,9}[./:T-]?){1,4}|[a-f:0-9<{]{1,6}",
            between in prop::sample::select(vec![" - - ", " ", "\t", ": ", " \\", " a:b ", " \""]),
            stamp in prop::sample::select(vec![
                "[21/Nov/2026:08:20:03 +0600]", "[21/Nov/2026:08:20:61 +0600]", "2026-11-21T08:20:03Z", "1795227603",
            ]),
            after in prop::sample::select(vec![" \"GET", "\"GET", " \\\"GET", "  \"GET", " GET"]),
            rest in "[ -~]{0,40}",
            wanted in prop::sample::select(vec![TimestampFormat::Auto, TimestampFormat::Iso8601, TimestampFormat::Nginx]),
            kind in prop::sample::select(vec![Kind::Auto, Kind::Text]),
        ) {
            let line = format!("{address}{between}{stamp}{after}{rest}\n");
            let format = Format(kind);
            let long = format.time(line.as_bytes(), &mut TimeReader::new(wanted, 1_795_227_603));
            let mut clock = LineClock::new(&format, wanted, 1_795_227_603);
            prop_assert_eq!(clock.read(line.as_bytes()), long, "{}", line);
        }
    }
}
