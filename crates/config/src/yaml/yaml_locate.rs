//! Finds the line of a setting, for messages: the YAML reader keeps no positions.
//!
//! It follows block style by indentation. Inside `{…}` or `[…]`, or below a missing key, the result is the last line that it
//! could follow: a person would look there.

/// One step of the path to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a mapping.
    Key(&'static str),
    /// Into a mapping whose keys are names of the operator's choice.
    Name(String),
    /// Into a list, from 0.
    Index(usize),
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    content: &'a str,
}

impl<'a> Line<'a> {
    /// The line without the first `skipped` bytes of its content and the white space after them.
    fn skip(self, skipped: usize) -> Self {
        let rest = self.content.get(skipped..).unwrap_or("");
        let content = rest.trim_start();
        Self {
            indent: self.indent + skipped + rest.len() - content.len(),
            content,
            ..self
        }
    }

    fn is_item(&self) -> bool {
        self.content == "-" || self.content.starts_with("- ")
    }

    fn says_something(&self) -> bool {
        !self.content.is_empty() && !self.content.starts_with('#')
    }

    /// The text after `key:`, if this line starts with it.
    fn value_of(self, key: &str) -> Option<Line<'a>> {
        let unquoted = self.content.strip_prefix(['"', '\'']).unwrap_or(self.content);
        let after = unquoted
            .strip_prefix(key)?
            .trim_start_matches(['"', '\''])
            .trim_start()
            .strip_prefix(':')?;
        Some(self.skip(self.content.len() - after.len()))
    }
}

/// The line, from 1, of the setting at `path`, or of the last step that was found; `None` if the first step was not found.
pub(crate) fn locate(text: &str, path: &[Step]) -> Option<usize> {
    let whole = |(index, content)| Line {
        number: index + 1,
        indent: 0,
        content,
    };
    let lines = text.lines().enumerate().map(|line| whole(line).skip(0));
    let mut block: Vec<_> = lines.filter(Line::says_something).collect();
    let mut found = None;
    for step in path {
        let Some((number, inner)) = descend(&block, step) else {
            break;
        };
        found = Some(number);
        block = inner;
    }
    found
}

/// The line of `step` in a block, and the block below it.
fn descend<'a>(block: &[Line<'a>], step: &Step) -> Option<(usize, Vec<Line<'a>>)> {
    let indent = block.first()?.indent;
    let mut siblings = block.iter().enumerate().filter(|(_, line)| line.indent == indent);
    let (at, rest) = match step {
        Step::Key(key) => siblings.find_map(|(at, line)| Some((at, line.value_of(key)?)))?,
        Step::Name(key) => siblings.find_map(|(at, line)| Some((at, line.value_of(key)?)))?,
        Step::Index(index) => siblings
            .filter(|(_, line)| line.is_item())
            .nth(*index)
            .map(|(at, line)| (at, line.skip(1)))?,
    };
    // A list may have the same indentation as its key.
    let belongs = |line: &&Line<'_>| {
        line.indent > indent || (!matches!(step, Step::Index(_)) && line.indent == indent && line.is_item())
    };
    let below = block.iter().skip(at + 1).take_while(belongs).copied();
    let here = Some(rest).filter(Line::says_something);
    Some((rest.number, here.into_iter().chain(below).collect()))
}

#[cfg(test)]
mod tests {
    use super::Step::{Index, Key, Name};
    use super::*;

    const TEXT: &str = "\
# a comment
relay:

  groups:
    - {name: a, listen: x}
    - name: b   # listen: no
      # listen: no
      listen: y
  \"batch\": {window: 20m}
sender:
  logs:
  - path: p
    name: n
  -
    path: q
formats:
  access: combined
  shop: |
    $a
";

    #[test]
    fn keys_and_items_are_found_in_block_style() {
        for (path, line) in [
            (&[Key("relay")][..], 2),
            (&[Key("relay"), Key("groups"), Index(1), Key("name")], 6),
            (&[Key("relay"), Key("groups"), Index(1), Key("listen")], 8),
            (&[Key("relay"), Key("batch")], 9),
            (&[Key("sender"), Key("logs"), Index(0), Key("path")], 12),
            (&[Key("sender"), Key("logs"), Index(0), Key("name")], 13),
            (&[Key("sender"), Key("logs"), Index(1), Key("path")], 15),
            (&[Key("formats"), Name("shop".to_owned())], 18),
        ] {
            assert_eq!(locate(TEXT, path), Some(line), "{path:?}");
        }
    }

    #[test]
    fn what_cannot_be_followed_stops_at_the_last_line_on_the_way() {
        for (path, line) in [
            (
                &[Key("relay"), Key("groups"), Index(0), Key("listen")][..],
                Some(5),
            ),
            (&[Key("relay"), Key("batch"), Key("window")], Some(9)),
            (&[Key("relay"), Key("limits"), Key("max_chunk")], Some(2)),
            (&[Key("sender"), Key("logs"), Index(7)], Some(11)),
            (&[Key("monitor")], None),
        ] {
            assert_eq!(locate(TEXT, path), line, "{path:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_searched_without_a_panic(text: String, yaml in "([ -]{0,4}[a:\"#é-]{0,3}\n){0,9}") {
            let path = [Key("a"), Index(0), Key("a")];
            let _ = (locate(&text, &path), locate(&yaml, &path));
        }
    }
}
