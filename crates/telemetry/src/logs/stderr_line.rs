//! A log line on stderr: time, level, and the text, which holds the values.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::full_message::EventFields;

/// The format of a line.
#[derive(Debug)]
pub(super) struct StderrLine;

impl<S, N> FormatEvent<S, N> for StderrLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let level = *event.metadata().level();
        if writer.has_ansi_escapes() {
            write!(writer, " \x1b[{}m{level:>5}\x1b[0m ", colour(level))?;
        } else {
            write!(writer, " {level:>5} ")?;
        }
        let mut fields = EventFields::default();
        event.record(&mut fields);
        match fields.get("message") {
            Some(text) => writer.write_str(text)?,
            // An event of another library.
            None => context.format_fields(writer.by_ref(), event)?,
        }
        writeln!(writer)
    }
}

/// The colour of a level (ECMA-48, SGR).
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    }
}
