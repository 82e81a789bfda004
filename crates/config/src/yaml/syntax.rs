//! Errors of YAML syntax in words for a person: which line looks wrong, and how it should look.
//!
//! The reader's position is right but its words are a parser's. What cannot be explained here keeps the reader's words.

use crate::yaml::extent::{Position, indent_of, is_silent};

/// The line, from 1, and the message for an error of syntax. `said`: the reader's words without its position.
pub(crate) fn explain(text: &str, position: Option<Position>, said: &str) -> (Option<usize>, String) {
    let lines: Vec<&str> = text.lines().collect();
    let explained = position.and_then(|position| {
        let begun = begun_line(said);
        tab(&lines, position)
            .or_else(|| variable(&lines, position, said))
            .or_else(|| anchor(&lines, position, said))
            .or_else(|| unclosed(&lines, said, begun))
            .or_else(|| reserved(&lines, position, said))
            .or_else(|| no_colon(&lines, said, begun))
            .or_else(|| misplaced(&lines, position))
            .or_else(|| unquoted(&lines, position, said))
    });
    // The reader gives no position for this.
    let explained = explained.or_else(|| documents(&lines, said));
    explained.map_or_else(
        || {
            (
                position.map(|position| position.line),
                format!("is not YAML: {said}"),
            )
        },
        |(line, message)| (Some(line), message),
    )
}

type Explained = Option<(usize, String)>;

/// The line on which the construct began that could not be read, by the reader's words.
fn begun_line(said: &str) -> Option<usize> {
    let (_, after) = said.rsplit_once(" at line ")?;
    after.split(' ').next()?.parse().ok()
}

fn line<'t>(lines: &[&'t str], number: usize) -> Option<&'t str> {
    lines.get(number.checked_sub(1)?).copied()
}

/// A line that is indented with a tab.
fn tab(lines: &[&str], position: Position) -> Explained {
    let wrong = line(lines, position.line)?;
    let content = wrong.trim_start();
    let indent = wrong.get(..wrong.len() - content.len())?;
    if !indent.contains('\t') {
        return None;
    }
    let right = indent.replace('\t', "  ");
    Some((
        position.line,
        format!("begins with a tab, and YAML is indented by spaces; write `{right}{content}`"),
    ))
}

/// A quote or a bracket that is not closed.
fn unclosed(lines: &[&str], said: &str, begun: Option<usize>) -> Explained {
    if said.contains("while scanning a quoted scalar") {
        let begun = begun?;
        let shown = line(lines, begun)?.trim();
        let message = format!("`{shown}` opens a quote that is not closed; close it at the end of the value");
        return Some((begun, message));
    }
    let (open, close) = if said.contains("while parsing a flow sequence") {
        ('[', ']')
    } else if said.contains("while parsing a flow mapping") {
        ('{', '}')
    } else if said.contains("while parsing a flow node") {
        let is_open = |(_, line): &(usize, &&str)| line.matches('[').count() > line.matches(']').count();
        let (at, shown) = lines.iter().enumerate().rfind(is_open)?;
        let shown = shown.trim();
        let message = format!("`{shown}` opens a `[` that is not closed; write the `]`");
        return Some((at + 1, message));
    } else {
        return None;
    };
    let begun = begun?;
    let shown = line(lines, begun)?.trim();
    let message = format!(
        "`{shown}` opens a `{open}` whose `{close}` is not found; close it, and put a comma between its entries"
    );
    Some((begun, message))
}

/// The name of an environment variable inside of `{…}` or `[…]`, where its braces are YAML's.
fn variable(lines: &[&str], position: Position, said: &str) -> Explained {
    if !said.contains("while parsing a flow ") {
        return None;
    }
    let wrong = line(lines, position.line)?;
    let variable = wrong.match_indices("${").find_map(|(at, _)| {
        let (before, from) = wrong.split_at_checked(at)?;
        let is_quoted = |quote: char| before.matches(quote).count() % 2 == 1;
        let end = from.find('}')?;
        from.get(..=end).filter(|_| !is_quoted('"') && !is_quoted('\''))
    })?;
    let message = format!("has `{variable}` between brackets, where it needs quotes; write `\"{variable}\"`");
    Some((position.line, message))
}

/// A value that begins with `*`: to YAML it is the name of another value.
fn anchor(lines: &[&str], position: Position, said: &str) -> Explained {
    if !said.contains("unknown anchor") {
        return None;
    }
    let wrong = line(lines, position.line)?;
    let at = wrong.find('*')?;
    let name: String = wrong
        .get(at + 1..)?
        .chars()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
        .collect();
    let message = format!(
        "`*{name}` stands for the value that is marked `&{name}`, and none above it is; mark it, or write the value in quotes \
         if the `*` belongs to it"
    );
    Some((position.line, message))
}

/// A second document after a line `---`.
fn documents(lines: &[&str], said: &str) -> Explained {
    if !said.contains("more than one document") {
        return None;
    }
    let mut numbered = lines.iter().enumerate().skip_while(|(_, line)| is_silent(line));
    // The first document may begin with such a line of its own.
    numbered.next()?;
    let (at, _) = numbered.find(|(_, line)| line.starts_with("---"))?;
    let message = "`---` begins a second document, and a configuration is one; write all sections in one, without this line";
    Some((at + 1, message.to_owned()))
}

/// A value that begins with a character that YAML uses for itself.
fn reserved(lines: &[&str], position: Position, said: &str) -> Explained {
    let is_reserved = said.contains("cannot start any token")
        || said.contains("while scanning an alias")
        || said.contains("while scanning an anchor")
        || said.contains("while scanning a tag");
    if !is_reserved {
        return None;
    }
    let wrong = line(lines, position.line)?;
    let (key, value) = key_and_value(wrong)?;
    let first = value.chars().next()?;
    let quoted = value.replace('\'', "''");
    Some((
        position.line,
        format!("a value that begins with `{first}` needs quotes; write `{key} '{quoted}'`"),
    ))
}

/// A key without its colon.
fn no_colon(lines: &[&str], said: &str, begun: Option<usize>) -> Explained {
    if !said.contains("while scanning a simple key") {
        return None;
    }
    let begun = begun?;
    let content = line(lines, begun)?.trim();
    if content.contains(": ") || content.ends_with(':') {
        return None;
    }
    let message =
        format!("`{content}` has no colon; write `{content}:` before a block, or `{content}: value`");
    Some((begun, message))
}

/// A line whose indentation is that of no block around it.
fn misplaced(lines: &[&str], position: Position) -> Explained {
    let wrong = line(lines, position.line)?;
    let indent = indent_of(wrong);
    let content = wrong.trim_start();
    let above = lines.get(..position.line.checked_sub(1)?)?;
    let (mut open, mut takes_block) = (Vec::<(usize, usize)>::new(), false);
    for (at, above) in above.iter().enumerate().filter(|(_, line)| !is_silent(line)) {
        let mut column = indent_of(above);
        open.retain(|(block, _)| *block <= column);
        let mut rest = above.trim_start();
        loop {
            if open.last().is_none_or(|(block, _)| *block < column) {
                open.push((column, at + 1));
            }
            match rest.strip_prefix("- ") {
                Some(item) => {
                    let inner = item.trim_start();
                    column += rest.len() - inner.len();
                    rest = inner;
                }
                None => break,
            }
        }
        takes_block = rest.trim_end().ends_with(':') || rest.trim_end() == "-";
    }
    let is_known = open.iter().any(|(block, _)| *block == indent);
    let is_deeper = open.last().is_none_or(|(block, _)| indent > *block);
    if is_known || (is_deeper && takes_block) || open.is_empty() {
        return None;
    }
    let item_of = |block: usize, number: usize| {
        line(lines, number).is_some_and(|line| line.get(block..).is_some_and(|rest| rest.starts_with('-')))
    };
    // A line that begins with a dash belongs to a list, another line to a mapping.
    let is_item = content.starts_with("- ") || content == "-";
    let fitting = open
        .iter()
        .filter(|(block, number)| item_of(*block, *number) == is_item);
    let (block, like) = fitting.min_by_key(|(block, _)| (block.abs_diff(indent), usize::MAX - block))?;
    let right = format!("{}{content}", " ".repeat(*block));
    let spaces = |n: usize| {
        if n == 1 {
            "1 space".to_owned()
        } else {
            format!("{n} spaces")
        }
    };
    Some((
        position.line,
        format!(
            "is indented by {}, but the block of line {like} by {}; write `{right}`",
            spaces(indent),
            spaces(*block)
        ),
    ))
}

/// A value with a `: ` or a quote in it.
fn unquoted(lines: &[&str], position: Position, said: &str) -> Explained {
    let wrong = line(lines, position.line)?;
    let (key, value) = key_and_value(wrong)?;
    if said.contains("mapping values are not allowed") && value.contains(": ") {
        let quoted = value.replace('\'', "''");
        let message = format!("has a colon in its value, which needs quotes; write `{key} '{quoted}'`");
        return Some((position.line, message));
    }
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let message = format!(
        "goes on after the {quote} that closes its value; put the value in {} instead, or write the inner {quote} {}",
        if quote == '"' {
            "single quotes"
        } else {
            "double quotes"
        },
        if quote == '"' { "as \\\"" } else { "twice" },
    );
    Some((position.line, message))
}

/// `key:` (after a dash, if there is one) and its value.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let content = line.trim();
    let content = content.strip_prefix("- ").unwrap_or(content).trim_start();
    if let Some(at) = content.find(": ") {
        let (key, value) = content.split_at_checked(at + 1)?;
        return Some((key, value.trim()));
    }
    let item = line.trim().strip_prefix("- ")?;
    Some(("-", item.trim()))
}
