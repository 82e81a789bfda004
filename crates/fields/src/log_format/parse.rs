//! Reads the text of a `log_format`, as it stands in nginx.conf or as the one string that nginx makes of it.
//!
//! Source: `ngx_conf_read_token` for quotes and backslashes, `ngx_http_log_compile_format` for variables.

use super::variables::Escape;

/// Why a text is no `log_format`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFormatError {
    /// A `$` without a name.
    #[error(
        "`{0}` has a `$` without the name of a variable; write variables as nginx does: $remote_addr or ${{remote_addr}}"
    )]
    NoName(String),
    /// A `${` without `}`.
    #[error("`{0}` has a `${{` without its `}}`; write ${{remote_addr}}, or $remote_addr")]
    Unclosed(String),
    /// A string without its end.
    #[error("the string that begins with `{0}` has no closing quote; paste the log_format up to its `;`")]
    NoQuote(String),
    /// Something else beside the strings.
    #[error(
        "`{0}` is not in quotes as the rest is; paste the log_format as it stands in nginx.conf, up to its `;`"
    )]
    Unquoted(String),
    /// Another word after `escape=`.
    #[error("nginx has no `escape={0}`; write escape=default, escape=json or escape=none")]
    Escape(String),
    /// No variable at all.
    #[error(
        "`{0}` has no variable; write the text of a log_format, such as '$remote_addr [$time_local] \"$request\"'"
    )]
    NoVariable(String),
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(Vec<u8>),
    Variable(String),
}

/// The pieces of a `log_format`, in order, no two literals in a row; and its escaping.
pub(crate) fn parse(text: &str) -> Result<(Vec<Piece>, Escape), LogFormatError> {
    let mut rest = text.trim();
    let mut is_directive = false;
    if let Some(after) = word_after(rest, "log_format") {
        // Its name follows.
        rest = after
            .split_once(char::is_whitespace)
            .map_or("", |(_, rest)| rest.trim_start());
        is_directive = true;
    }
    let mut escape = Escape::Default;
    if let Some(after) = rest.strip_prefix("escape=") {
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        escape = match word.trim_end_matches(';') {
            "default" => Escape::Default,
            "json" => Escape::Json,
            "none" => Escape::None,
            other => return Err(LogFormatError::Escape(other.to_owned())),
        };
        rest = after.trim_start();
        is_directive = true;
    }
    let joined = if is_directive && rest.starts_with(['\'', '"']) || is_of_nginx_conf(rest) {
        join_strings(rest)?
    } else {
        rest.as_bytes().to_vec()
    };
    let pieces = pieces(&joined)?;
    if !pieces.iter().any(|piece| matches!(piece, Piece::Variable(_))) {
        return Err(LogFormatError::NoVariable(shorten(text.as_bytes())));
    }
    Ok((pieces, escape))
}

fn word_after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let after = text.strip_prefix(word)?;
    after.starts_with(char::is_whitespace).then(|| after.trim_start())
}

/// Whether the text is quoted strings of nginx.conf, not a format that begins with a quote itself, such as
/// `"$http_x_forwarded_for" [$time_local]`.
fn is_of_nginx_conf(text: &str) -> bool {
    let is_quote = |byte: u8| text.bytes().filter(|other| *other == byte).count() == 2;
    match text.as_bytes() {
        [b'\'', ..] => true,
        [b'"', .., b'"' | b';'] => text.ends_with(';') || text.contains("\"\n") || is_quote(b'"'),
        _ => false,
    }
}

/// Joins the quoted strings of a directive, up to its `;`.
fn join_strings(text: &str) -> Result<Vec<u8>, LogFormatError> {
    let mut joined = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] | [b';'] => return Ok(joined),
            [quote @ (b'\'' | b'"'), string @ ..] => {
                rest = unquote(string, *quote, &mut joined)
                    .ok_or_else(|| LogFormatError::NoQuote(shorten(rest)))?;
            }
            _ => return Err(LogFormatError::Unquoted(shorten(rest))),
        }
    }
}

/// Adds the string up to its quote. Returns what follows the quote.
fn unquote<'a>(text: &'a [u8], quote: u8, joined: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        match rest {
            [byte, after @ ..] if *byte == quote => return Some(after),
            [b'\\', escaped, after @ ..] => {
                match escaped {
                    b'"' | b'\'' | b'\\' => joined.push(*escaped),
                    b't' => joined.push(b'\t'),
                    b'r' => joined.push(b'\r'),
                    b'n' => joined.push(b'\n'),
                    other => joined.extend([b'\\', *other]),
                }
                rest = after;
            }
            [byte, after @ ..] => {
                joined.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

fn pieces(format: &[u8]) -> Result<Vec<Piece>, LogFormatError> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while !rest.is_empty() {
        let dollar = memchr::memchr(b'$', rest).unwrap_or(rest.len());
        let (literal, after) = rest.split_at(dollar);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_vec()));
        }
        rest = match after {
            [] => after,
            [b'$', b'{', braced @ ..] => {
                let end =
                    memchr::memchr(b'}', braced).ok_or_else(|| LogFormatError::Unclosed(shorten(after)))?;
                pieces.push(variable(&braced[..end], after)?);
                &braced[end + 1..]
            }
            [_, plain @ ..] => {
                let end = plain.iter().take_while(|byte| is_of_name(**byte)).count();
                pieces.push(variable(&plain[..end], after)?);
                &plain[end..]
            }
        };
    }
    Ok(pieces)
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn variable(name: &[u8], context: &[u8]) -> Result<Piece, LogFormatError> {
    if name.is_empty() || !name.iter().all(|byte| is_of_name(*byte)) {
        return Err(LogFormatError::NoName(shorten(context)));
    }
    Ok(Piece::Variable(String::from_utf8_lossy(name).into_owned()))
}

/// The beginning of a text, for a message of one line.
fn shorten(text: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default();
    let short: String = line
        .chars()
        .filter(|letter| !letter.is_control())
        .take(SHOWN)
        .collect();
    if short.len() < text.len() {
        short + "…"
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let (pieces, _) = parse(text).expect(text);
        let show = |piece: &Piece| match piece {
            Piece::Literal(text) => String::from_utf8_lossy(text).into_owned(),
            Piece::Variable(name) => format!("<{name}>"),
        };
        pieces.iter().map(show).collect()
    }

    #[test]
    fn formats_are_read_as_nginx_reads_them() {
        for (text, expected) in [
            ("$remote_addr|$time_iso8601", "<remote_addr>|<time_iso8601>"),
            ("${host}x$request", "<host>x<request>"),
            (
                "log_format main '$remote_addr - \"$request\" '\n    '$status';",
                "<remote_addr> - \"<request>\" <status>",
            ),
            (
                "'$remote_addr [$time_local] '\n'\"$request\"'",
                "<remote_addr> [<time_local>] \"<request>\"",
            ),
            ("log_format tsv \"$msec\\t$status\";", "<msec>\t<status>"),
            ("'it\\'s $status \\d'", "it's <status> \\d"),
            ("\"$remote_addr [$time_local]\"", "<remote_addr> [<time_local>]"),
            // It begins with a quote of its own.
            (
                "\"$http_x_forwarded_for\" [$time_local]",
                "\"<http_x_forwarded_for>\" [<time_local>]",
            ),
            (
                "\"$time_iso8601\" \"$request\"",
                "\"<time_iso8601>\" \"<request>\"",
            ),
            (
                "log_format j escape=json '{\"a\":\"$msec\"}';",
                "{\"a\":\"<msec>\"}",
            ),
            ("escape=json {\"a\":\"$msec\"}", "{\"a\":\"<msec>\"}"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(
            parse("log_format j escape=json '$a';").map(|(_, escape)| escape),
            Ok(Escape::Json)
        );
        assert_eq!(
            parse("escape=none '$a'").map(|(_, escape)| escape),
            Ok(Escape::None)
        );
        assert_eq!(parse("'$a'").map(|(_, escape)| escape), Ok(Escape::Default));
    }

    #[test]
    fn faults_are_told_with_what_is_right() {
        for (text, expected) in [
            (
                "$ [$time_local]",
                "`$ [$time_local]` has a `$` without the name of a variable; write variables as nginx does: $remote_addr \
                 or ${remote_addr}",
            ),
            (
                "${time_local",
                "`${time_local` has a `${` without its `}`; write ${remote_addr}, or $remote_addr",
            ),
            (
                "'$remote_addr",
                "the string that begins with `'$remote_addr` has no closing quote; paste the log_format up to its `;`",
            ),
            (
                "log_format a '$status' $msec;",
                "`$msec;` is not in quotes as the rest is; paste the log_format as it stands in nginx.conf, up to its `;`",
            ),
            (
                "log_format a escape=yes '$status';",
                "nginx has no `escape=yes`; write escape=default, escape=json or escape=none",
            ),
            (
                "hello\nworld",
                "`hello…` has no variable; write the text of a log_format, such as '$remote_addr [$time_local] \
                 \"$request\"'",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text: String, near in "[\"'$;{}a\\\\ \n=]{0,40}") {
            for text in [text, format!("log_format {near}"), near] {
                if let Err(error) = parse(&text) {
                    prop_assert!(!error.to_string().contains(char::is_control));
                }
            }
        }
    }
}
