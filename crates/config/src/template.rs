//! The names of batch files: literal text and fields in braces.
//!
//! Invariant: a [`NameTemplate`] tells apart any two batches of different sources or windows, and what it renders to
//! is a plain file name if the values filled in are.

/// Part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Taken as it is: letters, digits, `.`, `_` and `-`.
    Literal(String),
    /// Filled in per batch.
    Field(Field),
}

/// What is filled in per batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
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
}

/// The pattern of batch names, such as `accessLog_{yymmddHH}_{window}_{source}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    pieces: Vec<Piece>,
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameTemplateError {
    /// A brace without its partner.
    #[error("`{0}` has a brace without its partner; fields are written like {{window}}")]
    Unbalanced(String),
    /// A field that does not exist.
    #[error("there is no field {{{name}}}; did you mean {{{nearest}}}?")]
    UnknownField {
        /// The name in braces.
        name: String,
        /// The field whose name is nearest.
        nearest: &'static str,
    },
    /// A character that does not belong in file names.
    #[error("{0:?} may not be in a file name; use letters, digits, '.', '_' and '-'")]
    Character(char),
    /// A batch of another source or window would have the same name.
    #[error("has no {0}, so two batches would share a name; add it")]
    Ambiguous(&'static str),
}

const FIELDS: [(&str, Field); 9] = [
    ("yymmddHH", Field::HourStamp),
    ("window", Field::Window),
    ("source", Field::Source),
    ("log", Field::Log),
    ("group", Field::Group),
    ("yyyy", Field::Year),
    ("mm", Field::Month),
    ("dd", Field::Day),
    ("HH", Field::Hour),
];

impl NameTemplate {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Result<Self, NameTemplateError> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let literal_len = rest.find(['{', '}']).unwrap_or(rest.len());
            let (literal, tail) = rest.split_at(literal_len);
            if !literal.is_empty() {
                pieces.push(Piece::Literal(plain(literal)?.to_owned()));
            }
            if tail.is_empty() {
                break;
            }
            let (name, after) = tail
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'))
                .ok_or_else(|| NameTemplateError::Unbalanced(pattern.to_owned()))?;
            pieces.push(Piece::Field(field(name)?));
            rest = after;
        }
        let template = Self { pieces };
        template.check_distinct()?;
        Ok(template)
    }

    /// The parts in their order.
    pub fn pieces(&self) -> std::slice::Iter<'_, Piece> {
        self.pieces.iter()
    }

    /// Whether the name tells logs of one source apart.
    pub fn uses_log(&self) -> bool {
        self.uses(Field::Log)
    }

    fn uses(&self, field: Field) -> bool {
        self.pieces.contains(&Piece::Field(field))
    }

    fn check_distinct(&self) -> Result<(), NameTemplateError> {
        let dated = [Field::Year, Field::Month, Field::Day, Field::Hour]
            .into_iter()
            .all(|field| self.uses(field));
        if !dated && !self.uses(Field::HourStamp) {
            return Err(NameTemplateError::Ambiguous(
                "{yymmddHH} (or {yyyy}, {mm}, {dd} and {HH})",
            ));
        }
        for (field, name) in [(Field::Window, "{window}"), (Field::Source, "{source}")] {
            if !self.uses(field) {
                return Err(NameTemplateError::Ambiguous(name));
            }
        }
        Ok(())
    }
}

fn plain(literal: &str) -> Result<&str, NameTemplateError> {
    match literal
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(c)))
    {
        Some(odd) => Err(NameTemplateError::Character(odd)),
        None => Ok(literal),
    }
}

fn field(name: &str) -> Result<Field, NameTemplateError> {
    if let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) {
        return Ok(*field);
    }
    let nearest = crate::place::nearest(name, FIELDS.iter().map(|(known, _)| *known)).unwrap_or("window");
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
        let literal = |text: &str| Piece::Literal(text.to_owned());
        assert!(template.pieces().eq(&[
            literal("accessLog_"),
            Piece::Field(Field::HourStamp),
            literal("_"),
            Piece::Field(Field::Window),
            literal("_"),
            Piece::Field(Field::Source),
        ]));
        assert!(!template.uses_log());
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
            "`a{window` has a brace without its partner; fields are written like {window}"
        );
        assert_eq!(
            refusal("a}"),
            "`a}` has a brace without its partner; fields are written like {window}"
        );
        assert_eq!(
            refusal("a/{window}"),
            "'/' may not be in a file name; use letters, digits, '.', '_' and '-'"
        );
    }
}
