//! The names of batch files: literal text and fields in braces.
//!
//! Invariants: a [`NameTemplate`] gives batches of different sources or windows different names. Its names are plain file
//! names if the values are.

use std::fmt::Write as _;

use jiff::civil::DateTime;
use logferry_protocol::names::{GroupName, LogName, SourceId};

use crate::window::Window;
use crate::window_length::WindowLength;

/// Part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePiece {
    /// Literal text: letters, digits, `.`, `_` and `-`.
    Literal(String),
    /// A value of the batch.
    Field(NameField),
}

/// A field of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameField {
    /// `{yymmddHH}`: the window's hour, such as `26112108`.
    HourStamp,
    /// `{window}`: the window's label within its hour, such as `20-39`.
    Window,
    /// `{source}`: the source, with dashes for its dots and colons.
    Source,
    /// `{log}`: the log's name.
    Log,
    /// `{group}`: the group's name.
    Group,
    /// `{yyyy}`: the year, four digits.
    Year,
    /// `{mm}`: the month, two digits.
    Month,
    /// `{dd}`: the day of the month, two digits.
    Day,
    /// `{HH}`: the hour, two digits, 00 to 23.
    Hour,
    /// `{batch}`: the batch's own name, unique for ever; only at a destination.
    Batch,
}

/// The values of the fields for one batch.
#[derive(Debug, Clone, Copy)]
pub struct NameValues<'a> {
    /// The first second of its window, in local time of its lines.
    pub window_start: DateTime,
    /// The window's length in seconds.
    pub window_seconds: u32,
    /// Its source.
    pub source: &'a SourceId,
    /// The group of the source.
    pub group: &'a GroupName,
    /// Its log; `None` if it holds the lines of all.
    pub log: Option<&'a LogName>,
    /// Its name; empty while it is being named.
    pub batch: &'a str,
}

/// The pattern of batch names, such as `accessLog_{yymmddHH}_{window}_{source}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    pieces: Vec<NamePiece>,
}

/// An invalid pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameTemplateError {
    /// An unmatched brace.
    #[error("`{0}` has an unmatched brace; fields are written like {{window}}")]
    Unbalanced(String),
    /// A field that does not exist.
    #[error("there is no field {{{name}}}; did you mean {{{nearest}}}?")]
    UnknownField {
        /// The name in braces.
        name: String,
        /// The most similar field.
        nearest: &'static str,
    },
    /// A character that is not allowed in file names.
    #[error("{0:?} is not allowed in a file name; use letters, digits, '.', '_' and '-'")]
    Character(char),
    /// Batches of different sources or windows would have the same name.
    #[error("has no {0}, so two batches would share a name; add it")]
    Ambiguous(&'static str),
}

/// The fields of names at a destination.
pub const REMOTE_FIELDS: &[(&str, NameField)] = &[
    ("batch", NameField::Batch),
    ("yymmddHH", NameField::HourStamp),
    ("window", NameField::Window),
    ("source", NameField::Source),
    ("log", NameField::Log),
    ("group", NameField::Group),
    ("yyyy", NameField::Year),
    ("mm", NameField::Month),
    ("dd", NameField::Day),
    ("HH", NameField::Hour),
];

/// The fields of batch names: all fields but `{batch}`.
const FIELDS: &[(&str, NameField)] = REMOTE_FIELDS.split_at(1).1;

/// Splits a pattern into its pieces. The caller checks the literal text.
pub fn pieces(
    pattern: &str,
    fields: &[(&'static str, NameField)],
) -> Result<Vec<NamePiece>, NameTemplateError> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let literal_len = rest.find(['{', '}']).unwrap_or(rest.len());
        let (literal, tail) = rest.split_at(literal_len);
        if !literal.is_empty() {
            pieces.push(NamePiece::Literal(literal.to_owned()));
        }
        if tail.is_empty() {
            break;
        }
        let (name, after) = tail
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
            .ok_or_else(|| NameTemplateError::Unbalanced(pattern.to_owned()))?;
        pieces.push(NamePiece::Field(field(name, fields)?));
        rest = after;
    }
    Ok(pieces)
}

/// Renders a pattern.
#[expect(clippy::missing_panics_doc, reason = "a String takes everything")]
pub fn render(pieces: &[NamePiece], values: &NameValues<'_>) -> String {
    let start = values.window_start;
    let mut name = String::new();
    for piece in pieces {
        let written = match piece {
            NamePiece::Literal(text) => name.write_str(text),
            NamePiece::Field(field) => match field {
                NameField::HourStamp => name.write_str(&hour_stamp(start)),
                NameField::Year => write!(name, "{:04}", start.year()),
                NameField::Month => write!(name, "{:02}", start.month()),
                NameField::Day => write!(name, "{:02}", start.day()),
                NameField::Hour => write!(name, "{:02}", start.hour()),
                NameField::Window => name.write_str(&window_label(start, values.window_seconds)),
                NameField::Source => name.write_str(&values.source.file_label()),
                NameField::Log => name.write_str(values.log.map_or(ALL_LOGS, LogName::as_str)),
                NameField::Group => name.write_str(values.group.as_str()),
                NameField::Batch => name.write_str(values.batch),
            },
        };
        written.expect("writing to a string does not fail");
    }
    name
}

/// The value of `{log}` for a batch with the lines of all logs.
const ALL_LOGS: &str = "all";

/// The hour of a window's start, as `{yymmddHH}`.
pub fn hour_stamp(start: DateTime) -> String {
    let year = start.year().rem_euclid(100);
    format!(
        "{year:02}{:02}{:02}{:02}",
        start.month(),
        start.day(),
        start.hour()
    )
}

/// A window's label within its hour: `00-19` in minutes, or `0010-0019` in minutes and seconds if its length is not whole
/// minutes.
pub fn window_label(start: DateTime, seconds: u32) -> String {
    let (minute, second) = (i64::from(start.minute()), i64::from(start.second()));
    if seconds.is_multiple_of(60) {
        format!("{minute:02}-{:02}", minute + i64::from(seconds) / 60 - 1)
    } else {
        let last = minute * 60 + second + i64::from(seconds) - 1;
        format!("{minute:02}{second:02}-{:02}{:02}", last / 60, last % 60)
    }
}

impl<'a> NameValues<'a> {
    /// The values for a batch of this window. `batch`: its name, empty while the name is being made.
    pub fn new(
        window: Window,
        source: &'a SourceId,
        group: &'a GroupName,
        log: Option<&'a LogName>,
        batch: &'a str,
    ) -> Self {
        Self {
            window_start: window.local_start(),
            window_seconds: window.seconds,
            source,
            group,
            log,
            batch,
        }
    }
}

impl NameTemplate {
    /// Parses a pattern.
    pub fn parse(pattern: &str) -> Result<Self, NameTemplateError> {
        let pieces = pieces(pattern, FIELDS)?;
        check_plain(&pieces)?;
        check_distinct(&pieces)?;
        Ok(Self { pieces })
    }

    /// The name for these values.
    pub fn render(&self, values: &NameValues<'_>) -> String {
        render(&self.pieces, values)
    }

    /// The pieces in order.
    pub fn pieces(&self) -> std::slice::Iter<'_, NamePiece> {
        self.pieces.iter()
    }

    /// Whether the name contains the log.
    pub fn uses_log(&self) -> bool {
        self.uses(NameField::Log)
    }

    /// Whether the name contains the field.
    pub fn uses(&self, field: NameField) -> bool {
        self.pieces.contains(&NamePiece::Field(field))
    }
}

/// The name of the first part of a window, without `.log`.
pub fn batch_name(
    template: &NameTemplate,
    window: Window,
    source: &SourceId,
    group: &GroupName,
    log: Option<&LogName>,
) -> String {
    template.render(&NameValues::new(window, source, group, log, ""))
}

/// Most bytes of the name of a window's first part, without `.log`. A file system takes 255 bytes; the spool appends the
/// number of a part (`.1999`) and an ending (`.log.gz.tmp`).
pub const BATCH_NAME_MAX: usize = 239;

/// The name of a batch's file would be too long for a file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the files of this source would have names of {bytes} bytes, and at most {BATCH_NAME_MAX} are possible; give the source a \
     shorter name, or shorten `relay.batch.name`"
)]
pub struct BatchNameTooLong {
    /// Length of the name.
    bytes: usize,
}

/// Refuses a source whose batches could have no file, because its name makes theirs too long. All its windows of this
/// length have names of one length.
pub fn check_name_length(
    template: &NameTemplate,
    length: WindowLength,
    source: &SourceId,
    group: &GroupName,
    log: Option<&LogName>,
) -> Result<(), BatchNameTooLong> {
    let window = Window {
        start: 0,
        seconds: length.seconds(),
        utc_offset: 0,
    };
    let bytes = batch_name(template, window, source, group, log).len();
    if bytes > BATCH_NAME_MAX {
        return Err(BatchNameTooLong { bytes });
    }
    Ok(())
}

/// Refuses a pattern that gives batches of different sources or windows the same name.
pub fn check_distinct(pieces: &[NamePiece]) -> Result<(), NameTemplateError> {
    let uses = |field| pieces.contains(&NamePiece::Field(field));
    let dated = [NameField::Year, NameField::Month, NameField::Day, NameField::Hour]
        .into_iter()
        .all(uses);
    if !dated && !uses(NameField::HourStamp) {
        return Err(NameTemplateError::Ambiguous(
            "{yymmddHH} (or {yyyy}, {mm}, {dd} and {HH})",
        ));
    }
    for (field, name) in [(NameField::Window, "{window}"), (NameField::Source, "{source}")] {
        if !uses(field) {
            return Err(NameTemplateError::Ambiguous(name));
        }
    }
    Ok(())
}

/// Refuses literal text that is not allowed in file names.
pub fn check_plain(pieces: &[NamePiece]) -> Result<(), NameTemplateError> {
    let is_odd = |c: &char| !(c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(c));
    for piece in pieces {
        if let NamePiece::Literal(text) = piece
            && let Some(odd) = text.chars().find(is_odd)
        {
            return Err(NameTemplateError::Character(odd));
        }
    }
    Ok(())
}

fn field(name: &str, fields: &[(&'static str, NameField)]) -> Result<NameField, NameTemplateError> {
    if let Some((_, field)) = fields.iter().find(|(known, _)| *known == name) {
        return Ok(*field);
    }
    let nearest = logferry_text::nearest(name, fields.iter().map(|(known, _)| *known)).unwrap_or("window");
    Err(NameTemplateError::UnknownField {
        name: name.to_owned(),
        nearest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(pattern: &str) -> String {
        NameTemplate::parse(pattern).expect_err(pattern).to_string()
    }

    #[test]
    fn the_documented_name_is_read_piece_by_piece() {
        let template = NameTemplate::parse("accessLog_{yymmddHH}_{window}_{source}").expect("valid");
        let literal = |text: &str| NamePiece::Literal(text.to_owned());
        assert!(template.pieces().eq(&[
            literal("accessLog_"),
            NamePiece::Field(NameField::HourStamp),
            literal("_"),
            NamePiece::Field(NameField::Window),
            literal("_"),
            NamePiece::Field(NameField::Source),
        ]));
        assert!(!template.uses_log());
    }

    #[test]
    fn a_source_whose_files_would_have_too_long_names_is_refused() {
        let template = NameTemplate::parse("accessLog_{yymmddHH}_{window}_{source}").expect("valid");
        let length = WindowLength::try_from(std::time::Duration::from_mins(20)).expect("divides an hour");
        let check = |bytes| {
            let source = "x".repeat(bytes).parse().expect("valid");
            check_name_length(&template, length, &source, &"web-1".parse().expect("valid"), None)
        };
        assert_eq!(check(BATCH_NAME_MAX - 25), Ok(()));
        assert_eq!(
            check(BATCH_NAME_MAX - 24),
            Err(BatchNameTooLong {
                bytes: BATCH_NAME_MAX + 1
            })
        );
    }

    #[test]
    fn a_date_in_four_fields_serves_as_well() {
        let template =
            NameTemplate::parse("{log}.{yyyy}{mm}{dd}-{HH}.{window}.{group}.{source}").expect("valid");
        assert!(template.uses_log());
    }

    #[test]
    fn names_that_two_batches_would_share_are_refused() {
        assert_eq!(
            refusal("a_{yymmddHH}_{source}"),
            "has no {window}, so two batches would share a name; add it"
        );
        assert_eq!(
            refusal("a_{yymmddHH}_{window}"),
            "has no {source}, so two batches would share a name; add it"
        );
        assert_eq!(
            refusal("a_{yyyy}{mm}{dd}_{window}_{source}"),
            "has no {yymmddHH} (or {yyyy}, {mm}, {dd} and {HH}), so two batches would share a name; add it"
        );
    }

    #[test]
    fn what_is_no_field_or_no_file_name_is_refused() {
        assert_eq!(
            refusal("{windw}"),
            "there is no field {windw}; did you mean {window}?"
        );
        assert_eq!(
            refusal("a{window"),
            "`a{window` has an unmatched brace; fields are written like {window}"
        );
        assert_eq!(
            refusal("a}"),
            "`a}` has an unmatched brace; fields are written like {window}"
        );
        assert_eq!(
            refusal("a/{window}"),
            "'/' is not allowed in a file name; use letters, digits, '.', '_' and '-'"
        );
    }
}
