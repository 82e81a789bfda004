//! One field of the configuration, and the checks of its value.
//!
//! Invariant: a method that returns `None` has reported the problem. So the caller reports nothing more.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use logferry_text::slip_of;
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::error::ConfigProblem;
use crate::yaml::units::{format_size, parse_duration, parse_size};
use crate::yaml::yaml_locate::{Step, locate};

/// Of many names only so many are listed.
const CANDIDATES_SHOWN: usize = 30;

/// The file that is checked, and its problems so far.
pub(crate) struct Diagnostics<'a> {
    pub(crate) file: &'a Path,
    pub(crate) text: &'a str,
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The role that reads the file, if it is one alone. The files and secrets of other roles may not be for its user.
    pub(crate) role: Option<&'a str>,
    pub(crate) problems: RefCell<Vec<ConfigProblem>>,
    pub(crate) warnings: RefCell<Vec<String>>,
    /// The addresses to listen on, each with the path of its field.
    pub(crate) listening: RefCell<Vec<(Vec<Step>, SocketAddr)>>,
}

/// A setting that has a default, as in the file.
#[derive(Default, Deserialize)]
#[serde(from = "String")]
pub(crate) struct RawText(Option<String>);

impl From<String> for RawText {
    fn from(text: String) -> Self {
        Self(Some(text))
    }
}

impl RawText {
    /// The text in the file, or the default.
    pub(crate) fn or<'a>(&'a self, default: &'a str) -> &'a str {
        self.0.as_deref().unwrap_or(default)
    }
}

/// A field, such as `relay.groups[1].listen`.
#[derive(Clone)]
pub(crate) struct ConfigField<'a> {
    pub(super) diagnostics: &'a Diagnostics<'a>,
    pub(super) path: Vec<Step>,
}

impl<'a> ConfigField<'a> {
    /// The whole file.
    pub(crate) fn root(diagnostics: &'a Diagnostics<'a>) -> Self {
        Self {
            diagnostics,
            path: Vec::new(),
        }
    }

    fn step(&self, step: Step) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self {
            diagnostics: self.diagnostics,
            path,
        }
    }

    /// The setting `key` of this mapping.
    pub(crate) fn key(&self, key: &'static str) -> Self {
        self.step(Step::Key(key))
    }

    /// The entry of this mapping whose name the operator chose.
    pub(crate) fn name(&self, name: &str) -> Self {
        self.step(Step::Name(name.to_owned()))
    }

    /// An item of this list, from 0.
    pub(crate) fn item(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// Resolves each item of this list; `None` if one of them has a problem.
    pub(crate) fn each<R, T>(
        &self,
        raw: Vec<R>,
        mut resolve: impl FnMut(R, &Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        // All items are resolved first, so that one bad item does not hide the next.
        let raw = raw.into_iter().enumerate();
        let items: Vec<_> = raw.map(|(index, raw)| resolve(raw, &self.item(index))).collect();
        items.into_iter().collect()
    }

    /// Reports a problem of this field. The message names the problem and a correct value.
    pub(crate) fn report(&self, message: impl Into<String>) {
        self.diagnostics.problems.borrow_mut().push(ConfigProblem {
            line: locate(self.diagnostics.text, &self.path),
            key: self.to_string(),
            message: message.into(),
        });
    }

    /// Reports a problem, and has no value.
    pub(crate) fn refuse<T>(&self, message: impl Into<String>) -> Option<T> {
        self.report(message);
        None
    }

    /// The value, if there was no error.
    pub(crate) fn accept<T, E: Display>(&self, judged: Result<T, E>) -> Option<T> {
        judged.map_err(|error| self.report(error.to_string())).ok()
    }

    /// Reports each item that has the same mark as an earlier item of this list. `None` is like no other mark.
    pub(crate) fn distinct<T: PartialEq + Display>(
        &self,
        key: &'static str,
        marks: impl IntoIterator<Item = Option<T>>,
        what: &str,
    ) {
        let mut earlier: Vec<Option<T>> = Vec::new();
        for (index, mark) in marks.into_iter().enumerate() {
            let first = earlier.iter().position(|earlier| *earlier == mark);
            if let (Some(mark), Some(first)) = (&mark, first) {
                let [first, this] = [first, index].map(|item| self.item(item).key(key));
                this.report(format!("`{mark}` is also {first}; {what}"));
            }
            earlier.push(mark);
        }
    }

    /// A setting of this mapping that has no default: `resolve` gets it if it exists.
    pub(crate) fn required<T>(
        &self,
        key: &'static str,
        raw: Option<String>,
        example: &str,
        resolve: impl FnOnce(&Self, &str) -> Option<T>,
    ) -> Option<T> {
        match raw {
            Some(raw) => resolve(&self.key(key), &raw),
            None => self
                .key(key)
                .refuse(format!("is missing; write for example `{example}`")),
        }
    }

    /// A setting of this mapping that may be absent: `resolve` gets it only if it exists.
    #[expect(clippy::option_option, reason = "outer: no problem; inner: there is a value")]
    pub(crate) fn optional<T>(
        &self,
        key: &'static str,
        raw: Option<String>,
        resolve: impl FnOnce(&Self, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        match raw {
            Some(raw) => resolve(&self.key(key), &raw).map(Some),
            None => Some(None),
        }
    }

    /// The value with each `${ENV_NAME}` in it replaced.
    pub(crate) fn text(&self, raw: &str) -> Option<String> {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once("${") {
            text.push_str(before);
            let Some((name, tail)) = after.split_once('}') else {
                return self.refuse("has a `${` without its `}`; write ${NAME} for an environment variable");
            };
            let Some(value) = (self.diagnostics.env)(name) else {
                return self.refuse(format!(
                    "the environment variable `{name}` is not set; set it, or write the value here"
                ));
            };
            text.push_str(&value);
            rest = tail;
        }
        text.push_str(rest);
        Some(text)
    }

    /// A text that may not be empty.
    pub(crate) fn filled(&self, raw: &str) -> Option<String> {
        match self.text(raw)? {
            text if text.is_empty() => self.refuse("is empty; write a value"),
            text => Some(text),
        }
    }

    /// A path, not empty.
    pub(crate) fn path(&self, raw: &str) -> Option<PathBuf> {
        let text = self.filled(raw)?;
        self.accept(refuse_home(&text))?;
        Some(PathBuf::from(text))
    }

    /// A value that a type parses from the text.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, raw: &str) -> Option<T> {
        self.check(raw, str::parse)
    }

    /// A value that `resolve` makes of the text.
    pub(crate) fn check<T, E: Display>(
        &self,
        raw: &str,
        resolve: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.accept(resolve(&self.text(raw)?))
    }

    /// One of these words.
    pub(crate) fn choice<T: Copy>(&self, raw: &str, words: &[(&str, T)]) -> Option<T> {
        self.check(raw, |text| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
                .ok_or_else(|| format!("`{text}` is not a valid value; write one of {}", names.join(", ")))
        })
    }

    /// A whole number within bounds.
    pub(crate) fn number<T>(&self, raw: &str, bounds: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        self.check(raw, |text| {
            text.parse()
                .ok()
                .filter(|number| bounds.contains(number))
                .ok_or_else(|| {
                    format!(
                        "`{text}` is not valid; write a whole number from {} to {}",
                        bounds.start(),
                        bounds.end()
                    )
                })
        })
    }

    /// A TCP port to connect to.
    pub(crate) fn port(&self, raw: &str) -> Option<u16> {
        self.number(raw, 1..=u16::MAX)
    }

    /// A number of bytes within bounds.
    pub(crate) fn size(&self, raw: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let size = self.check(raw, parse_size)?;
        if bounds.contains(&size) {
            return Some(size);
        }
        let (least, most) = (format_size(*bounds.start()), format_size(*bounds.end()));
        let given = format_size(size);
        self.refuse(if *bounds.end() == u64::MAX {
            format!("{given} is too small; write at least {least}")
        } else {
            format!("{given} is not valid; write a size from {least} to {most}")
        })
    }

    /// A number of bytes of memory within bounds.
    pub(crate) fn memory(&self, raw: &str, bounds: RangeInclusive<u64>) -> Option<usize> {
        let size = usize::try_from(self.size(raw, bounds)?);
        self.accept(size.map_err(|_| "is more than this machine can address"))
    }

    /// A time, zero included.
    pub(crate) fn time(&self, raw: &str) -> Option<Duration> {
        self.check(raw, parse_duration)
    }

    /// A time above zero.
    pub(crate) fn interval(&self, raw: &str) -> Option<Duration> {
        match self.time(raw)? {
            Duration::ZERO => self.refuse("must be above zero; write for example 5s"),
            time => Some(time),
        }
    }

    /// The waits of a back-off, from the settings `initial` and `max` of this mapping.
    pub(crate) fn backoff(&self, initial: &str, max: &str) -> Option<Backoff> {
        let max_at = self.key("max");
        let (initial, max) = (self.key("initial").interval(initial), max_at.interval(max));
        let (initial, max) = (initial?, max?);
        if initial > max {
            return max_at.refuse("is below `initial`; write a time that is not");
        }
        Some(Backoff { initial, max })
    }

    /// An address of this machine to listen on. It is noted, whatever else is wrong with its section.
    pub(crate) fn address(&self, raw: &str) -> Option<SocketAddr> {
        let address = self.check(raw, |text| {
            text.parse().map_err(|_| {
                format!(
                    "`{text}` is not an IP address with a port; write it like 127.0.0.1:9102 or [::1]:9102"
                )
            })
        })?;
        let mut listening = self.diagnostics.listening.borrow_mut();
        listening.push((self.path.clone(), address));
        Some(address)
    }

    /// The addresses to listen on that were read so far, each with its field.
    pub(crate) fn listening(&self) -> Vec<(Self, SocketAddr)> {
        let listening = self.diagnostics.listening.borrow();
        let field = |(path, address): &(Vec<Step>, SocketAddr)| {
            let (diagnostics, path) = (self.diagnostics, path.clone());
            (Self { diagnostics, path }, *address)
        };
        listening.iter().map(field).collect()
    }

    /// A host name or an IP address of another machine.
    pub(crate) fn host(&self, raw: &str) -> Option<String> {
        self.check(raw, |text| {
            if is_host(text) {
                return Ok(text.to_owned());
            }
            Err(format!(
                "`{text}` is not a host; write a name like drop.example.com or an IP address"
            ))
        })
    }

    /// Reports an allowed but unwise value.
    pub(crate) fn warn(&self, what: &str) {
        let warning = format!("{self}: {what}");
        self.diagnostics.warnings.borrow_mut().push(warning);
    }
}

impl Display for ConfigField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.path.iter().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Refuses a path that begins with `~`, which only a shell replaces.
pub(crate) fn refuse_home(path: &str) -> Result<(), String> {
    if path == "~" || path.starts_with("~/") {
        return Err(format!(
            "`{path}` begins with `~`, which only a shell knows; write the whole path, such as /home/ferry"
        ));
    }
    Ok(())
}

/// Whether a text has the form of a host name or an IP address.
pub(crate) fn is_host(text: &str) -> bool {
    let name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    text.parse::<std::net::IpAddr>().is_ok()
        || (text.bytes().all(name) && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()))
}

/// `; did you mean …?`, or all that can be meant; nothing without a candidate.
pub(crate) fn nearest_hint<'n>(word: &str, candidates: impl Iterator<Item = &'n str>) -> String {
    let candidates: Vec<_> = candidates.collect();
    if let Some(near) = slip_of(word, candidates.iter().copied()) {
        return format!("; did you mean `{near}`?");
    }
    let shown: Vec<_> = candidates.iter().copied().take(CANDIDATES_SHOWN).collect();
    let more = match candidates.len() - shown.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    match shown.as_slice() {
        [] => String::new(),
        [only] => format!("; there is only `{only}`"),
        _ => format!("; there are {}{more}", shown.join(", ")),
    }
}
