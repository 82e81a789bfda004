//! The structured data of RFC 5424, section 6.3: `[ID NAME="VALUE" …]…`.

use std::borrow::Cow;

/// One element: an id and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// `SD-ID`, such as `origin` or `exampleSDID@32473`.
    pub(crate) id: &'a str,
    /// Names and values in order, without escapes. A name may come more than once.
    pub(crate) parameters: Vec<(&'a str, Cow<'a, str>)>,
}

/// The elements, and the text after them. `None`: what `rest` begins with is not structured data.
pub(super) fn parse(rest: &str) -> Option<(Vec<Element<'_>>, &str)> {
    let mut elements = Vec::new();
    let mut rest = match rest.strip_prefix('-') {
        Some(rest) => rest,
        None => rest.strip_prefix('[').map(|_| rest)?,
    };
    while let Some(inside) = rest.strip_prefix('[') {
        let (element, after) = element(inside)?;
        elements.push(element);
        rest = after;
        if rest.is_empty() || rest.starts_with(' ') {
            break;
        }
    }
    match rest.strip_prefix(' ') {
        Some(text) => Some((elements, text)),
        None => rest.is_empty().then_some((elements, rest)),
    }
}

/// What follows the `[` of an element: the element, and the text after its `]`.
fn element(inside: &str) -> Option<(Element<'_>, &str)> {
    let end = inside.find([' ', ']'])?;
    let (id, mut rest) = inside.split_at_checked(end).filter(|(id, _)| is_name(id))?;
    let mut parameters = Vec::new();
    loop {
        rest = rest.trim_start_matches(' ');
        if let Some(after) = rest.strip_prefix(']') {
            return Some((Element { id, parameters }, after));
        }
        let (name, after) = rest.split_once("=\"").filter(|(name, _)| is_name(name))?;
        let (value, after) = value(after)?;
        parameters.push((name, value));
        rest = after;
    }
}

/// Section 6.3.2 and 6.3.3: printable, without `=`, space, `]` and `"`.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|character: char| "= ]\"".contains(character) || character.is_control())
}

/// A value up to its quote, and what follows the quote. `\"`, `\\` and `\]` are escapes; any other backslash is one.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let mut unescaped: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => break,
            b'\\' if matches!(bytes.get(at + 1), Some(b'"' | b'\\' | b']')) => {
                unescaped.get_or_insert_default().push_str(text.get(copied..at)?);
                copied = at + 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    let last = text.get(copied..at)?;
    let value = match unescaped {
        Some(mut value) => {
            value.push_str(last);
            Cow::Owned(value)
        }
        None => Cow::Borrowed(last),
    };
    Some((value, text.get(at + 1..)?))
}
