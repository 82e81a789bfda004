//! nginx's `log_format`: its text, its variables, and the lines that it gives.
//!
//! May be changed here alone: which variables are known, how a pasted text is read, and how a line is taken apart. The rest
//! of the crate uses [`LogFormat`] only.

mod parse;
mod read;
mod template;
mod variables;

pub use self::parse::LogFormatError;
use self::parse::Piece;
use self::template::Template;
use self::variables::{Content, Escape};
use crate::escape::ValueEscape;

/// A format of lines in the notation of nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFormat {
    text: String,
    template: Template,
    value_borders: Vec<ValueBorder>,
}

/// What stands beside a value in each line of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueBorder {
    /// This character.
    Character(char),
    /// Another value.
    Value,
}

impl LogFormat {
    pub(crate) fn parse(text: &str) -> Result<Self, LogFormatError> {
        let (pieces, escape) = parse::parse(text)?;
        Ok(Self {
            text: text.to_owned(),
            value_borders: pieces.windows(2).filter_map(value_border).collect(),
            template: Template::new(pieces, escape),
        })
    }

    /// The text that it was made of.
    pub(crate) fn as_text(&self) -> &str {
        &self.text
    }

    /// What stands beside its values.
    pub(crate) fn value_borders(&self) -> &[ValueBorder] {
        &self.value_borders
    }

    /// How its values are escaped.
    pub(crate) fn value_escape(&self) -> ValueEscape {
        match self.template.escape {
            Escape::Default => ValueEscape::Hex,
            Escape::Json => ValueEscape::Json,
            Escape::None => ValueEscape::None,
        }
    }

    /// Why the times of some lines cannot be known, or none of them; one sentence each, for the person who wrote the format.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let template = &self.template;
        let mut warnings = Vec::new();
        match template.times.first() {
            None => warnings.push(
                "has none of nginx's times, so each line counts with the time it arrived; add $time_iso8601, $time_local or \
                 $msec to the log_format, best at its start"
                    .to_owned(),
            ),
            Some(time) if !template.is_certain(time.delimiter) => {
                let (before, after) = template.variables.split_at(time.delimiter);
                let is_text = |variable: &&template::Variable| variable.content == Content::Text;
                let text = before.iter().rev().find(is_text).into_iter().chain(after.iter().find(is_text));
                let names: Vec<_> = text.map(|variable| format!("${}", variable.name)).collect();
                warnings.push(format!(
                    "a client can write a second time into {}; a line with two times has no time of its own and goes with \
                     the line before it; put ${} first in the log_format, or these variables in quotes",
                    names.join(" or "),
                    time.variable.name()
                ));
            }
            Some(_) => {}
        }
        if template.escape == Escape::None {
            warnings.push(
                "has escape=none, so a client can write whole lines, with any time; use escape=default or escape=json"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// What a value of two pieces has beside it, if one of them is a value.
fn value_border(pair: &[Piece]) -> Option<ValueBorder> {
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let character = match pair {
        [Piece::Variable(_), Piece::Variable(_)] => return Some(ValueBorder::Value),
        [Piece::Variable(_), Piece::Literal(behind)] => text(behind).chars().next(),
        [Piece::Literal(before), Piece::Variable(_)] => text(before).chars().next_back(),
        _ => None,
    };
    character.map(ValueBorder::Character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_of_values_are_those_of_the_joined_strings() {
        let borders = |text: &str| LogFormat::parse(text).expect(text).value_borders().to_vec();
        let characters = |text: &str| text.chars().map(ValueBorder::Character).collect::<Vec<_>>();
        assert_eq!(borders("[$a] ${b}s"), characters("[] s"));
        assert_eq!(borders("'${a}'\n's up=$b'"), characters("s="));
        assert_eq!(
            borders("$a$time_iso8601"),
            [ValueBorder::Value],
            "a time is a value too"
        );
    }
}
