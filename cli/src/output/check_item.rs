//! One thing that `check` has looked at: for people a line with a mark, for programs an object of JSON.
//!
//! The JSON (`name`, `state`, `detail`, `advice`) is a contract. Pure, but for [`Marks::of_terminal`].

use logferry_text::wrapped;
use serde::{Deserialize, Serialize};

use super::paint;

/// Whether a thing is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckState {
    Ok,
    /// Works, but a person should know.
    Warning,
    Problem,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckItem {
    /// What was looked at, such as `relay http://192.0.2.10:5001`.
    pub(crate) name: String,
    pub(crate) state: CheckState,
    /// What is so.
    pub(crate) detail: String,
    /// What to do, if there is something to do.
    pub(crate) advice: Option<String>,
}

impl CheckItem {
    pub(crate) fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: CheckState::Ok,
            detail: detail.into(),
            advice: None,
        }
    }

    pub(crate) fn warning(name: impl Into<String>, sentence: &str) -> Self {
        Self::of_sentence(name.into(), CheckState::Warning, sentence)
    }

    /// `sentence`: as all messages of logferry, it says what is wrong and, after a semicolon, what to do.
    pub(crate) fn problem(name: impl Into<String>, sentence: &str) -> Self {
        Self::of_sentence(name.into(), CheckState::Problem, sentence)
    }

    fn of_sentence(name: String, state: CheckState, sentence: &str) -> Self {
        let (detail, advice) = match sentence.split_once("; ") {
            Some((detail, advice)) => (detail, Some(advice.to_owned())),
            None => (sentence, None),
        };
        Self {
            name,
            state,
            detail: detail.to_owned(),
            advice,
        }
    }

    /// Its line, or lines that fit a terminal.
    pub(crate) fn as_text(&self, marks: Marks) -> String {
        let Self { name, detail, .. } = self;
        let mark = marks.of(self.state);
        let advice = self.advice.as_deref();
        if !marks.is_terminal || detail.contains('\n') || advice.is_some_and(|advice| advice.contains('\n')) {
            // Lines that are to be copied, such as those of a drop-in, stay as they are.
            let between = if detail.contains('\n') { "\n" } else { "; " };
            let advice = advice.map_or_else(String::new, |advice| format!("{between}{advice}"));
            let text = format!("{mark} {name}: {detail}{advice}");
            return text.replace('\n', "\n    ") + "\n";
        }
        let colour = match self.state {
            CheckState::Ok => paint::GREEN,
            CheckState::Warning => paint::YELLOW,
            CheckState::Problem => paint::RED,
        };
        let painted = paint::in_colour(colour, mark);
        let what = wrapped(&format!("{mark} {name}: {detail}")).replacen(mark, &painted, 1);
        let to_do = advice.map_or_else(String::new, |advice| {
            wrapped(&format!("{} {advice}", marks.to_do()))
        });
        to_do.lines().fold(what, |text, line| text + "  " + line + "\n")
    }
}

/// How the lines begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Whether ✓ and ✗ can be shown.
    pub(crate) is_unicode: bool,
    /// Whether lines are broken where a terminal ends, and marks have colours.
    pub(crate) is_terminal: bool,
}

impl Marks {
    /// `variable`: an environment variable by its name. A locale that names another charset than UTF-8 gets ASCII (locale(7):
    /// `LC_ALL` counts before `LC_CTYPE`, and that before `LANG`). Without any, as in cron and in containers, it is UTF-8.
    pub(crate) fn of_terminal(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable);
        let locale = set.into_iter().find(|value| !value.is_empty());
        let locale = locale.map(|locale| locale.to_ascii_lowercase());
        Self {
            is_unicode: locale.is_none_or(|locale| locale.contains("utf-8") || locale.contains("utf8")),
            is_terminal,
        }
    }

    fn of(self, state: CheckState) -> &'static str {
        match (state, self.is_unicode) {
            (CheckState::Ok, true) => "✓",
            (CheckState::Problem, true) => "✗",
            (CheckState::Ok, false) => "ok",
            (CheckState::Problem, false) => "FAIL",
            (CheckState::Warning, _) => "!",
        }
    }

    fn to_do(self) -> &'static str {
        if self.is_unicode { "→" } else { "->" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Marks = Marks {
        is_unicode: true,
        is_terminal: false,
    };

    #[test]
    fn what_is_not_for_a_terminal_is_one_line() {
        let item = CheckItem::problem(
            "port of group web-1 0.0.0.0:5001",
            "is taken by pid 7 (nginx); stop that one, or set another",
        );
        assert_eq!(item.advice.as_deref(), Some("stop that one, or set another"));
        assert_eq!(
            item.as_text(PLAIN),
            "✗ port of group web-1 0.0.0.0:5001: is taken by pid 7 (nginx); stop that one, or set another\n"
        );
        let ascii = Marks {
            is_unicode: false,
            ..PLAIN
        };
        assert_eq!(
            CheckItem::ok("sender", "fine").as_text(ascii),
            "ok sender: fine\n"
        );
        assert_eq!(
            CheckItem::warning("disk", "is 93 % full").as_text(ascii),
            "! disk: is 93 % full\n"
        );
    }

    #[test]
    fn on_a_terminal_what_to_do_has_a_line_of_its_own() {
        let terminal = Marks {
            is_terminal: true,
            ..PLAIN
        };
        let text = CheckItem::problem(
            "relay http://192.0.2.10:5001",
            "cannot connect; check that the relay runs and listens there, and the firewalls between",
        );
        let text = text.as_text(terminal);
        assert!(
            text.contains("✗\u{1b}[0m relay http://192.0.2.10:5001: cannot connect\n  → check that"),
            "{text:?}"
        );
    }

    #[test]
    fn lines_that_are_to_be_copied_are_not_broken() {
        let item = CheckItem::problem(
            "unit",
            "keeps the role from /srv; write this:\n[Service]\nReadWritePaths=/srv",
        );
        let text = "✗ unit: keeps the role from /srv; write this:\n    [Service]\n    ReadWritePaths=/srv\n";
        for is_terminal in [false, true] {
            assert_eq!(item.as_text(Marks { is_terminal, ..PLAIN }), text);
        }
    }

    #[test]
    fn a_locale_of_another_charset_gets_ascii() {
        let marks = |all: Option<&str>, lang: Option<&str>| {
            let of = |name: &str| match name {
                "LC_ALL" => all.map(str::to_owned),
                "LANG" => lang.map(str::to_owned),
                _ => None,
            };
            Marks::of_terminal(false, of).is_unicode
        };
        assert!(marks(None, None));
        assert!(marks(None, Some("C.UTF-8")) && marks(Some("de_DE.utf8"), Some("C")));
        assert!(!marks(None, Some("C")) && !marks(Some("POSIX"), Some("en_US.UTF-8")));
        assert!(!marks(Some(""), Some("de_DE.ISO-8859-1")));
    }
}
