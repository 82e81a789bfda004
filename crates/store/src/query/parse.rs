//! Reads the text of a query. Pure.

use logferry_text::escape_controls;

use super::condition::{Condition, QueryTerm};
use super::text_term::TextTerm;
use super::value_pattern::{ValuePattern, without_stars};

/// Most conditions of a query.
const TERMS_MAX: usize = 100;

/// A text that is no query: a sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(String);

impl QueryError {
    pub(super) fn pattern(pattern: &str, error: &regex::Error) -> Self {
        let text = error.to_string();
        // Its other lines show the place in the pattern.
        let reason = text.lines().last().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        Self(format!("`{pattern}` is no regular expression: {reason}"))
    }
}

pub(super) fn terms(text: &str) -> Result<Vec<QueryTerm>, QueryError> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (part, behind) = split_part(rest)?;
        terms.extend(term(part)?);
        rest = behind.trim_start();
    }
    if terms.len() > TERMS_MAX {
        return Err(QueryError(format!(
            "the query has {} parts; {TERMS_MAX} are the most that is searched for at once",
            terms.len()
        )));
    }
    Ok(terms)
}

/// The condition that lines are not this part. Of several words, it is a phrase: the words behind the first would be required else.
pub(super) fn without(part: &str) -> Result<Option<QueryTerm>, QueryError> {
    let text = part.trim();
    if text.is_empty() {
        return Err(QueryError(format!("`{part}` stands for nothing; write a word")));
    }
    let negated = format!("-{text}");
    if split_part(&negated)?.1.is_empty() {
        return term(&negated);
    }
    text_condition(text, (false, false), text, true).map(Some)
}

/// The next part and what is behind it. White space ends it, outside of quotes.
fn split_part(text: &str) -> Result<(&str, &str), QueryError> {
    let mut is_quoted = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            // Within quotes two of them are one of the text.
            '"' if is_quoted && characters.next_if(|(_, next)| *next == '"').is_some() => {}
            // In the middle of a word, a quote is a character like others.
            '"' if is_quoted || opens_quote(&text[..at]) => is_quoted = !is_quoted,
            _ if character.is_whitespace() && !is_quoted => return Ok((&text[..at], &text[at..])),
            _ => {}
        }
    }
    if is_quoted {
        return Err(QueryError(format!(
            "`{text}` has no second quote; write \"connection refused\" (in a shell: '\"connection refused\"')"
        )));
    }
    Ok((text, ""))
}

/// Whether a quote behind this part of a word opens a phrase: at its beginning, or at that of a field's value.
fn opens_quote(before: &str) -> bool {
    let before = before.strip_prefix('-').unwrap_or(before);
    let before = before.strip_suffix('*').unwrap_or(before);
    before.is_empty() || before.strip_suffix(':').is_some_and(is_field_name)
}

fn is_field_name(name: &str) -> bool {
    let is_of_name = |character: char| character.is_alphanumeric() || "_.-@".contains(character);
    name.starts_with(|first: char| first.is_alphabetic() || "_@".contains(first))
        && name.chars().all(is_of_name)
}

/// The condition of a part; `None` if every line fulfils it.
fn term(part: &str) -> Result<Option<QueryTerm>, QueryError> {
    match part {
        "OR" => {
            return Err(QueryError(
                "there is no OR: a line must have all the words; write --regex 'one|other', or \"OR\" for the word".to_owned(),
            ));
        }
        "NOT" => {
            return Err(QueryError(
                "write -word for NOT word, or \"NOT\" for the word".to_owned(),
            ));
        }
        _ => {}
    }
    let negated = part.strip_prefix('-').filter(|rest| !rest.is_empty());
    let (is_negated, part) = (negated.is_some(), negated.unwrap_or(part));
    if let Some((name, value)) = part.split_once(':')
        && is_field_name(name)
        && !value.is_empty()
        && !value.starts_with("//")
    {
        return field_condition(name, pattern_of(value), value, is_negated).map(Some);
    }
    let (text, is_open) = without_stars(part);
    let is_phrase = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    let phrase = is_phrase.then(|| without_doubled(&text[1..text.len() - 1]));
    let text = phrase.as_deref().unwrap_or(text);
    if text.is_empty() {
        let every_line = is_open != (false, false) && !is_negated;
        let error = || QueryError(format!("`{part}` stands for nothing; write a word"));
        return if every_line { Ok(None) } else { Err(error()) };
    }
    if text.contains('*') && !is_phrase {
        return Err(QueryError(format!(
            "`{part}` has a * in the middle; it may stand at the beginning and at the end of a word. Write \"{text}\" for the \
             character, or --regex"
        )));
    }
    text_condition(text, is_open, part, is_negated).map(Some)
}

/// The condition that a line has this text, which `part` stands for.
fn text_condition(
    text: &str,
    is_open: (bool, bool),
    part: &str,
    is_negated: bool,
) -> Result<QueryTerm, QueryError> {
    if text.contains('\n') {
        return Err(QueryError(format!(
            "`{}` has the end of a line in it, which no line has; search for a part before it or behind it",
            escape_controls(part)
        )));
    }
    let text_term = TextTerm::new(text, is_open).map_err(|_| QueryError(format!("`{part}` is too long")))?;
    let condition = Condition::Text(Box::new(text_term));
    Ok(QueryTerm {
        is_negated,
        condition,
    })
}

/// The text within quotes: `""` is a quote.
fn without_doubled(text: &str) -> String {
    text.replace("\"\"", "\"")
}

/// What a value of a query stands for: `"a value"*` has its stars outside of the quotes; those within are characters.
fn pattern_of(value: &str) -> ValuePattern {
    let (text, is_open) = without_stars(value);
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None => ValuePattern::of(text, is_open),
        Some(text) => ValuePattern::of(&without_doubled(text), is_open),
    }
}

pub(super) fn field(name: &str, value: &str, is_negated: bool) -> Result<QueryTerm, QueryError> {
    field_condition(name, ValuePattern::new(value), value, is_negated)
}

fn field_condition(
    name: &str,
    pattern: ValuePattern,
    shown: &str,
    is_negated: bool,
) -> Result<QueryTerm, QueryError> {
    let condition = Condition::of_field(name, pattern, shown).map_err(QueryError)?;
    Ok(QueryTerm {
        is_negated,
        condition,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        let terms = terms(text).expect("a query");
        let show = |term: &QueryTerm| {
            let shown = match &term.condition {
                Condition::Text(text) => format!("text of {}", text.len()),
                Condition::Status(range) => format!("{range:?}"),
                Condition::Field(name, pattern) => format!("{name}={:?}", pattern.exact()),
                Condition::Level(pattern) => format!("level={:?}", pattern.exact()),
                Condition::Source(pattern) => format!("source={:?}", pattern.exact()),
                other => format!("{other:?}"),
            };
            format!("{}{shown}", if term.is_negated { "-" } else { "" })
        };
        terms.iter().map(show).collect()
    }

    #[test]
    fn words_phrases_fields_and_their_opposites_are_read() {
        for (text, expected) in [
            ("error  timeout", vec!["text of 5", "text of 7"]),
            ("\"connection refused\" -a", vec!["text of 18", "-text of 1"]),
            ("ab* *cd* *", vec!["text of 2", "text of 2"]),
            ("-", vec!["text of 1"]),
            ("status:5xx -status:503", vec!["500..=599", "-503..=503"]),
            ("level:warning", vec!["level=Some(\"warn\")"]),
            ("level:w*", vec!["level=None"]),
            ("source:10.0.0.7", vec!["source=Some(\"10.0.0.7\")"]),
            ("http_user_agent:\"a b\"", vec!["http_user_agent=Some(\"a b\")"]),
            (
                "path:/a* -method:POST",
                vec!["path=None", "-method=Some(\"post\")"],
            ),
            (
                "http://x/y 08:20:03 a:",
                vec!["text of 10", "text of 8", "text of 2"],
            ),
            ("it\"s \"*\"", vec!["text of 4", "text of 1"]),
            ("\"a \"\"b\"\" c\" d", vec!["text of 7", "text of 1"]),
            (
                "path:\"//xmlrpc.php\" agent:\"a \"\"b\"\" c\" x:\"\"\"b\"\"\"",
                vec![
                    "path=Some(\"//xmlrpc.php\")",
                    "agent=Some(\"a \\\"b\\\" c\")",
                    "x=Some(\"\\\"b\\\"\")",
                ],
            ),
            (
                "accept:\"*/*\" agent:*\"a b\"* agent:\"a*\"* -level:\"*\"*",
                vec!["accept=Some(\"*/*\")", "agent=None", "agent=None", "-level=None"],
            ),
            ("größe:5 数量:7", vec!["größe=Some(\"5\")", "数量=Some(\"7\")"]),
            ("", vec![]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn all_words_of_what_lines_must_not_have_are_one_phrase() {
        for (part, expected) in [
            ("two words", "-Text 9"),
            (" word ", "-Text 4"),
            ("\"two words\"", "-Text 9"),
            ("a \"b c\"", "-Text 7"),
            ("status:503", "-Status"),
        ] {
            let term = without(part).expect("a part").expect("a condition");
            let shown = match &term.condition {
                Condition::Text(text) => format!("Text {}", text.len()),
                Condition::Status(_) => "Status".to_owned(),
                other => format!("{other:?}"),
            };
            let sign = if term.is_negated { "-" } else { "" };
            assert_eq!(format!("{sign}{shown}"), expected, "{part}");
        }
        for part in ["", " ", "\"\"", "*"] {
            let error = without(part).expect_err("nothing").to_string();
            assert!(
                error.contains("stands for nothing; write a word"),
                "{part}: {error}"
            );
        }
    }

    #[test]
    fn text_that_is_no_query_is_named() {
        for (text, reason) in [
            ("\"open", "`\"open` has no second quote"),
            ("a*b", "`a*b` has a * in the middle"),
            ("a OR b", "there is no OR"),
            ("NOT b", "write -word"),
            ("status:9xx", "`9xx` is no status"),
            ("level:bad", "`bad` is no level"),
            ("\"\"", "`\"\"` stands for nothing"),
            ("-*", "`*` stands for nothing"),
            ("a \"b\nc\"", "`\"b\\nc\"` has the end of a line in it"),
            ("-\"b\n\"", "`"),
        ] {
            let error = terms(text).expect_err("no query").to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
        assert!(terms(&"a ".repeat(101)).is_err());
    }
}
