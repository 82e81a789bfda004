//! Reads a text into a structure, and says where the text has another one: all such places, not only the first.
//!
//! The YAML reader stops at the first unknown key or value of a wrong type. That position is reported, taken out of the text, and
//! the text is read again. An error of syntax ends this: nothing after it can be judged.

use serde::de::DeserializeOwned;
use serde_yaml::Location;

use crate::error::ConfigProblem;
use crate::yaml::extent::{Position, Shape, second_entry, with_value, without_entry};
use crate::yaml::field::nearest_hint;
use crate::yaml::syntax;

/// At most this many places are reported. A text with more is not a configuration.
const PROBLEMS_MAX: usize = 100;

/// What could be read of a text.
pub(crate) struct Structure<T> {
    /// The structure, without the places that have a problem; `None` if the text cannot be read further.
    pub(crate) value: Option<T>,
    /// What is wrong with the form of the text.
    pub(crate) problems: Vec<ConfigProblem>,
    /// Settings whose value could not be read.
    unread: Vec<String>,
    /// The known keys that are nearest to the unknown ones.
    meant: Vec<String>,
}

impl<T: DeserializeOwned> Structure<T> {
    /// Reads a text.
    pub(crate) fn read(text: &str) -> Self {
        let mut structure = Self {
            value: None,
            problems: Vec::new(),
            unread: Vec::new(),
            meant: Vec::new(),
        };
        let mut rest = text.to_owned();
        while structure.problems.len() < PROBLEMS_MAX {
            let error = match serde_yaml::from_str(&rest) {
                Ok(value) => {
                    structure.value = Some(value);
                    break;
                }
                Err(error) => Refusal::of(&error),
            };
            match structure.note(text, &rest, error) {
                Some(next) => rest = next,
                None => break,
            }
        }
        structure
    }

    /// Whether a problem only follows from one that was reported here.
    pub(crate) fn explains(&self, problem: &ConfigProblem) -> bool {
        let key = problem.key.as_str();
        let is_unread = self.unread.iter().any(|unread| {
            let below = key.strip_prefix(unread.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with(['.', '[']))
        });
        // What is said of a mapping as a whole is not known while one of its entries could not be read.
        let is_halved = self.problems.iter().any(|reported| {
            let below = reported.key.strip_prefix(key);
            let name = below.and_then(|below| below.strip_prefix('.'));
            name.is_some_and(|name| !name.contains(['.', '[']))
        });
        let is_whole = key.is_empty() && !self.problems.is_empty();
        is_unread || is_halved || is_whole || self.meant.contains(&problem.key)
    }

    /// Adds a problem; the text in which it is mended, if it can be.
    fn note(&mut self, original: &str, text: &str, refusal: Refusal) -> Option<String> {
        let Refusal { position, path, said } = refusal;
        match said {
            Said::Syntax(said) => {
                // In a text that was changed, an error of syntax may come from the change.
                if self.problems.is_empty() {
                    let (line, message) = syntax::explain(original, position, &said);
                    self.report(line, String::new(), message);
                }
                None
            }
            Said::UnknownKey { key, known } => self.unknown_key(text, position, &path, &key, &known),
            Said::Twice(key) => self.written_twice(text, position, &path, &key),
            Said::OtherType { found, expected } => self.other_type(text, position, path, &found, &expected),
        }
    }

    fn report(&mut self, line: Option<usize>, key: String, message: String) {
        self.problems.push(ConfigProblem { line, key, message });
    }

    fn unknown_key(
        &mut self,
        text: &str,
        position: Option<Position>,
        path: &str,
        key: &str,
        known: &[String],
    ) -> Option<String> {
        let known = || known.iter().map(String::as_str);
        // The nearest key is not missing too: it is the one that was meant.
        self.meant
            .extend(logferry_text::slip_of(key, known()).map(|near| join(path, near)));
        let message = match key.strip_prefix('-') {
            Some(rest) => format!("has no space after its dash; write `- {rest}:`"),
            None if key == "<<" => {
                "mappings are not merged here; write the settings of the other mapping out instead".to_owned()
            }
            None => format!("unknown key{}", nearest_hint(key, known())),
        };
        self.report(position.map(|at| at.line), join(path, key), message);
        without_entry(text, position?)
    }

    fn written_twice(
        &mut self,
        text: &str,
        position: Option<Position>,
        path: &str,
        key: &str,
    ) -> Option<String> {
        let second = position.and_then(|first| second_entry(text, first, key));
        let key = join(path, key);
        let Some(second) = second else {
            let message = "is written twice in the mapping that begins on this line; keep one";
            self.report(position.map(|at| at.line), key, message.to_owned());
            return None;
        };
        let message = "is already written above in the same mapping; keep one of them";
        self.report(Some(second.line), key, message.to_owned());
        without_entry(text, second)
    }

    fn other_type(
        &mut self,
        text: &str,
        position: Option<Position>,
        path: String,
        found: &str,
        expected: &str,
    ) -> Option<String> {
        // An entry without a value is what is left of one that was taken out.
        if found != "unit value" || !self.has_problem_below(&path) {
            let message = type_message(&path, found, expected);
            self.report(position.map(|at| at.line), path.clone(), message);
        }
        self.unread.push(path);
        let shape = match found {
            "map" => Shape::Mapping,
            "sequence" => Shape::Sequence,
            _ => Shape::Scalar,
        };
        let mended = with_value(text, position?, shape, empty_value(expected))?;
        (mended != text).then_some(mended)
    }

    /// Whether a setting below this one was reported.
    fn has_problem_below(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| {
            let below = problem.key.strip_prefix(path);
            below.is_some_and(|below| below.starts_with('.'))
        })
    }
}

/// What the YAML reader refused, and where.
struct Refusal {
    position: Option<Position>,
    /// The mapping or value, such as `relay.groups[0]`; empty for the whole text.
    path: String,
    said: Said,
}

enum Said {
    Syntax(String),
    UnknownKey { key: String, known: Vec<String> },
    Twice(String),
    OtherType { found: String, expected: String },
}

impl Refusal {
    /// The reader's text begins with the path of the mapping, if known, and ends with the position.
    fn of(error: &serde_yaml::Error) -> Self {
        let whole = error.to_string();
        let location = error.location();
        let suffix = |at: &Location| format!(" at line {} column {}", at.line(), at.column());
        let suffix = location.as_ref().map_or_else(String::new, suffix);
        let text = whole.strip_suffix(&suffix).unwrap_or(&whole);
        let (path, said) = match text.split_once(": ") {
            Some((path, said)) if !path.contains(char::is_whitespace) => (path, said),
            _ => ("", text),
        };
        let said = if let Some((key, known)) = field_of(said, "unknown field `") {
            Said::UnknownKey {
                key: key.to_owned(),
                known: known.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
            }
        } else if let Some((key, _)) = field_of(said, "duplicate field `") {
            Said::Twice(key.to_owned())
        } else if let Some((found, expected)) = type_of(said) {
            Said::OtherType {
                found: found.to_owned(),
                expected: expected.to_owned(),
            }
        } else {
            Said::Syntax(said.to_owned())
        };
        Self {
            position: location.map(|at| Position {
                line: at.line(),
                column: at.column(),
            }),
            path: path.to_owned(),
            said,
        }
    }
}

/// The field after this beginning of a message, and the rest of the message.
fn field_of<'m>(said: &'m str, beginning: &str) -> Option<(&'m str, &'m str)> {
    let rest = said.strip_prefix(beginning)?;
    rest.rsplit_once("`, expected ")
        .or_else(|| Some((rest.strip_suffix('`')?, "")))
}

/// What was found and what was expected.
fn type_of(said: &str) -> Option<(&str, &str)> {
    let rest = said
        .strip_prefix("invalid type: ")
        .or_else(|| said.strip_prefix("invalid value: "))?;
    rest.rsplit_once(", expected ")
}

fn join(path: &str, key: &str) -> String {
    let parts = [path, key].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(".")
}

/// An empty value of the expected type.
fn empty_value(expected: &str) -> &'static str {
    match expected {
        "a sequence" => "[]",
        "a string" => "''",
        "a boolean" => "false",
        "a map" | "a mapping of settings" => "{}",
        _ if expected.starts_with("the sections") => "{}",
        _ => "[]",
    }
}

/// A message that shows the right form.
fn type_message(path: &str, found: &str, expected: &str) -> String {
    // `relay:http://a` is one text to YAML.
    if let Some((key, value)) = unspaced(found)
        && !value.starts_with("//")
        && expected == "a mapping of settings"
    {
        return format!("`{key}:{value}` has no space after its colon; write `{key}: {value}`");
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    let (name, is_item) = match key.split_once('[') {
        Some((name, _)) => (name, true),
        None => (key, false),
    };
    let found = found_words(found);
    match expected {
        "a sequence" => match list_example(name, is_item) {
            Some(example) => format!("is {found}, but takes a list; write for example `{name}: {example}`"),
            None => format!(
                "is {found}, but takes a list; write `{name}: [a, b]`, or each entry on a line of its own that begins with `- `"
            ),
        },
        "a string" if is_item => format!("is {found}, but takes one value; write `- value`"),
        "a string" => format!("is {found}, but takes one value; write `{name}: value`"),
        "a boolean" => format!("is {found}, but takes true or false"),
        "a map" | "a mapping of settings" => match mapping_example(name) {
            Some(example) => format!("is {found}, but takes settings; write for example `{example}`"),
            None => format!(
                "is {found}, but takes settings; write each as `key: value` on a line of its own below it"
            ),
        },
        _ => format!("is {found}; write {expected}"),
    }
}

/// A list for the setting of this name: `item` for an entry of it.
fn list_example(name: &str, is_item: bool) -> Option<&'static str> {
    Some(match (name, is_item) {
        ("logs", false) => "[{path: /app/log/nginx/access.log}]",
        ("groups", false) => r#"[{name: web-1, listen: "0.0.0.0:5001"}]"#,
        ("destinations", false) => {
            "[{name: edw, host: drop.example.com, user: ferry, directory: /in, key_file: /etc/logferry/key}]"
        }
        ("sources" | "expected_sources", false) => "[198.51.100.1]",
        ("exclude", _) => r#"[["/health.php", "nginx/"]]"#,
        ("to", false) => "[ops@example.com]",
        _ => return None,
    })
}

fn mapping_example(name: &str) -> Option<&'static str> {
    Some(match name {
        "logs" => "- path: /app/log/nginx/access.log",
        "groups" => r#"- {name: web-1, listen: "0.0.0.0:5001"}"#,
        "destinations" => {
            "- {name: edw, host: drop.example.com, user: ferry, directory: /in, key_file: /etc/logferry/key}"
        }
        "chunk" => "chunk: {max_delay: 1s}",
        "retry" => "retry: {initial: 200ms, max: 30s}",
        "batch" => "batch: {window: 20m}",
        "summary" => "summary: {after: 15m}",
        "smtp" => "smtp: {host: mail.example.com, from: ops@example.com, to: [ops@example.com]}",
        _ => return None,
    })
}

/// The reader's words for what it found, in ours.
fn found_words(found: &str) -> String {
    match found {
        "map" => "a mapping".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" => "empty".to_owned(),
        _ => match found.split_once(['`', '"']) {
            Some((_, value)) => format!("`{}`", value.trim_end_matches(['`', '"'])),
            None => found.to_owned(),
        },
    }
}

/// Key and value of `string "key:value …"`.
fn unspaced(found: &str) -> Option<(&str, &str)> {
    let text = found.strip_prefix("string \"")?.strip_suffix('"')?;
    let word = text.split_whitespace().next()?;
    let (key, value) = word.split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_key && !value.is_empty()).then_some((key, value))
}
