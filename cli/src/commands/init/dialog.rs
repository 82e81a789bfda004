//! Asks for what no option has said: at a terminal; otherwise the default counts, and what has none is missing.

use std::fmt::Display;
use std::io::{self, BufRead};

/// One question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'q> {
    /// What is asked for, for people.
    pub(super) text: &'q str,
    /// The option that answers it.
    pub(super) flag: &'q str,
    /// A right answer.
    pub(super) example: &'q str,
}

/// Who answers.
pub(super) struct Dialog<'d> {
    /// The terminal; `None`: nobody is there, or `--yes`.
    terminal: Option<&'d mut dyn BufRead>,
    /// Shows the questions.
    show: &'d mut dyn FnMut(&str) -> io::Result<()>,
    /// Questions without an answer.
    missing: Vec<String>,
}

impl<'d> Dialog<'d> {
    pub(super) fn new(
        terminal: Option<&'d mut dyn BufRead>,
        show: &'d mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Self {
        Self {
            terminal,
            show,
            missing: Vec::new(),
        }
    }

    /// The given answer; else the one from the terminal, asked for again until it is right; else the default. `None`: it is missing.
    pub(super) fn answer<T: Display>(
        &mut self,
        question: &Question<'_>,
        given: Option<T>,
        default: Option<T>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> io::Result<Option<T>> {
        if given.is_some() {
            return Ok(given);
        }
        let Some(terminal) = &mut self.terminal else {
            if default.is_none() {
                self.missing.push(missing(question));
            }
            return Ok(default);
        };
        loop {
            let hint = default.as_ref().map_or_else(
                || format!(" (such as {})", question.example),
                |default| format!(" [{default}]"),
            );
            (self.show)(&format!("{}{hint}: ", question.text))?;
            let mut line = String::new();
            if terminal.read_line(&mut line)? == 0 {
                self.missing.push(missing(question));
                return Ok(None);
            }
            match (line.trim(), &default) {
                ("", Some(_)) => return Ok(default),
                ("", None) => {}
                (text, _) => match parse(text) {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(reason) => (self.show)(&format!("  {reason}\n"))?,
                },
            }
        }
    }

    /// What is still missing, one question a line with the option that answers it.
    pub(super) fn into_missing(self) -> Vec<String> {
        self.missing
    }
}

fn missing(question: &Question<'_>) -> String {
    let Question { text, flag, example } = question;
    let text = text
        .chars()
        .next()
        .into_iter()
        .flat_map(char::to_lowercase)
        .chain(text.chars().skip(1));
    format!("{}: give {flag} {example}", text.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Question<'static> = Question {
        text: "Port",
        flag: "--port",
        example: "5001",
    };

    fn number(text: &str) -> Result<u16, String> {
        text.parse().map_err(|_| "is no number".to_owned())
    }

    /// The answer, and all that was shown; then what is missing.
    fn asked(
        typed: Option<&str>,
        given: Option<u16>,
        default: Option<u16>,
    ) -> (Option<u16>, String, Vec<String>) {
        let mut input = typed.map(str::as_bytes);
        let mut shown = String::new();
        let mut show = |text: &str| {
            shown += text;
            Ok(())
        };
        let mut dialog = Dialog::new(input.as_mut().map(|input| input as &mut dyn BufRead), &mut show);
        let answer = dialog.answer(&PORT, given, default, number).unwrap();
        let missing = dialog.into_missing();
        (answer, shown, missing)
    }

    #[test]
    fn an_option_is_not_asked_for() {
        assert_eq!(
            asked(Some("7\n"), Some(1), Some(2)),
            (Some(1), String::new(), vec![])
        );
    }

    #[test]
    fn a_wrong_answer_is_asked_for_again_and_an_empty_one_is_the_default() {
        let shown = "Port [2]:   is no number\nPort [2]: ";
        assert_eq!(
            asked(Some("x\n7\n"), None, Some(2)),
            (Some(7), shown.to_owned(), vec![])
        );
        assert_eq!(asked(Some("\n"), None, Some(2)).0, Some(2));
        let shown = "Port (such as 5001): Port (such as 5001): ";
        assert_eq!(
            asked(Some("\n9\n"), None, None),
            (Some(9), shown.to_owned(), vec![])
        );
    }

    #[test]
    fn without_a_terminal_the_default_counts_and_what_has_none_is_missing_with_its_option() {
        assert_eq!(asked(None, None, Some(2)), (Some(2), String::new(), vec![]));
        let missing = vec!["port: give --port 5001".to_owned()];
        assert_eq!(asked(None, None, None), (None, String::new(), missing.clone()));
        assert_eq!(
            asked(Some(""), None, Some(2)).2,
            missing,
            "the terminal was closed"
        );
    }
}
