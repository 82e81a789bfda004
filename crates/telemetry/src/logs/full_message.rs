//! Makes the text of each log event whole. A journal and a mail show the text only: the values and the causes that are in
//! the fields of an event must be readable there, too.
//!
//! `TEXT (NAME VALUE, NAME VALUE). Cause: ERROR: ITS CAUSE`, on one line. A value that the text names already is not
//! repeated; neither is `false`, nor a field `…_bytes`, whose size the text names in a unit. The fields stay beside the text,
//! for programs.

use std::error::Error;
use std::fmt::{self, Write};

use logferry_text::error_chain;
use tracing::field::{Field, Value, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The field with the text of an event.
const MESSAGE: &str = "message";

/// The fields that say why.
const CAUSES: [&str; 2] = ["error", "reason"];

/// A layer that hands each event to `L` with its whole text.
#[derive(Debug)]
pub(super) struct FullMessage<L>(pub(super) L);

impl<S, L> Layer<S> for FullMessage<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = EventFields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = EventFields::default();
        event.record(&mut own);
        let mut all = own.clone();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<EventFields>() {
                all.0.extend(fields.0.iter().cloned());
            }
        }
        let text = all.full_message();
        let names = event.metadata().fields();
        let values = names.iter().map(|field| match field.name() {
            MESSAGE => Some(&text as &dyn Value),
            name => own.get(name).map(|value| value as &dyn Value),
        });
        let values: Vec<_> = values.collect();
        let values = names.value_set_all(&values);
        self.0.on_event(&Event::new(event.metadata(), &values), context);
    }
}

/// The fields of an event as text, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct EventFields(Vec<(&'static str, String)>);

impl EventFields {
    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&String> {
        let mut fields = self.0.iter();
        fields.find_map(|(field, value)| (*field == name).then_some(value))
    }

    /// The text with what it does not name yet.
    fn full_message(&self) -> String {
        let mut text = self.get(MESSAGE).cloned().unwrap_or_default();
        let is_news = |text: &str, value: &str| !value.is_empty() && !names(text, value);
        let mut values = String::new();
        for (name, value) in &self.0 {
            let is_for_programs = name.ends_with("_bytes") || value == "false";
            if *name != MESSAGE && !CAUSES.contains(name) && !is_for_programs && is_news(&text, value) {
                let separator = if values.is_empty() { "" } else { ", " };
                let _ = write!(values, "{separator}{} {value}", name.replace('_', " "));
            }
        }
        if !values.is_empty() {
            let _ = write!(text, " ({values})");
        }
        for cause in CAUSES.iter().filter_map(|name| self.get(name)) {
            if is_news(&text, cause) {
                let _ = write!(text, ". Cause: {cause}");
            }
        }
        one_line(&text)
    }
}

impl Visit for EventFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.push((field.name(), error_chain(value)));
    }
}

/// Whether the value stands in the text, not only as a part of a longer word or number.
fn names(text: &str, value: &str) -> bool {
    let is_word = |side: Option<char>| side.is_some_and(|it| it.is_alphanumeric() || it == '_');
    text.match_indices(value).any(|(start, _)| {
        let before = text.get(..start).and_then(|it| it.chars().next_back());
        let after = text.get(start + value.len()..).and_then(|it| it.chars().next());
        let (first, last) = (value.chars().next(), value.chars().next_back());
        !(is_word(first) && is_word(before) || is_word(last) && is_word(after))
    })
}

/// The text without line ends and other controls: a journal shows a text with controls as `[blob data]`, and a terminal
/// obeys them. Servers and clients can put any byte into a reason.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\n' => line.push_str(" / "),
            it if it.is_control() => line.extend(it.escape_default()),
            it => line.push(it),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::journal_messages;
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write to /var/lib/x")]
    struct WriteError(#[source] std::io::Error);

    fn write_error() -> WriteError {
        WriteError(std::io::Error::other("no space left on device"))
    }

    #[test]
    fn values_and_all_causes_are_in_the_text() {
        let error = write_error();
        let messages = journal_messages(|| {
            tracing::warn!(
                group = "main",
                retry_seconds = 30,
                error = &error as &dyn Error,
                "cannot commit: senders wait"
            );
        });
        let cause = "cannot write to /var/lib/x: no space left on device";
        assert_eq!(
            messages,
            [format!(
                "cannot commit: senders wait (group main, retry seconds 30). Cause: {cause}"
            )]
        );
    }

    #[test]
    fn what_the_text_names_is_not_repeated() {
        let messages = journal_messages(|| {
            let (source, attempts) = ("web-1", 3);
            tracing::warn!(
                source,
                attempts,
                error = "timed out",
                "source {source}: timed out, attempt {attempts}"
            );
            tracing::warn!(source, "web-11 is not web-1x");
            tracing::warn!(source, note = "", is_whole = false, free_bytes = 7, "nothing");
        });
        assert_eq!(
            messages,
            [
                "source web-1: timed out, attempt 3",
                "web-11 is not web-1x (source web-1)",
                "nothing (source web-1)"
            ]
        );
    }

    #[test]
    fn values_of_the_surrounding_span_are_in_the_text() {
        let messages = journal_messages(|| {
            let _log = tracing::error_span!("log", path = "/var/log/a.log").entered();
            tracing::error!(error = "status 413", "the relay refuses");
        });
        assert_eq!(
            messages,
            ["the relay refuses (path /var/log/a.log). Cause: status 413"]
        );
    }

    #[test]
    fn text_is_one_line_without_terminal_commands() {
        let messages =
            journal_messages(|| tracing::warn!(error = "550 no\r\n\x1b[2Jgo away\n", "mail not sent"));
        assert_eq!(messages, [r"mail not sent. Cause: 550 no\r / \u{1b}[2Jgo away"]);
    }
}
