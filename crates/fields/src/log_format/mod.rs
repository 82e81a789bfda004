//! nginx's `log_format`: its text, its variables, and the lines that it gives.
//!
//! May be changed here alone: which variables are known, how a pasted text is read, and how a line is taken apart. The rest
//! of the crate uses [`LogFormat`] only.

mod parse;
mod read;
mod template;
mod variables;

pub use self::parse::LogFormatError;
use self::template::Template;
use self::variables::{Content, Escape};
use crate::escape::ValueEscape;

/// A format of lines in the notation of nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFormat {
    text: String,
    template: Template,
}

impl LogFormat {
    pub(crate) fn parse(text: &str) -> Result<Self, LogFormatError> {
        let (pieces, escape) = parse::parse(text)?;
        Ok(Self {
            text: text.to_owned(),
            template: Template::new(pieces, escape),
        })
    }

    /// The text that it was made of.
    pub(crate) fn as_text(&self) -> &str {
        &self.text
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
