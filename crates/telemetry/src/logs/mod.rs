//! Where log lines go: the journal when systemd connected stderr to it, stderr otherwise. The text of a line is the same.

mod full_message;
mod repeat_limit;
mod stderr_line;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

pub use self::repeat_limit::RepeatLimit;

use self::full_message::{EventFields, FullMessage};
use self::stderr_line::StderrLine;

/// The variable that holds the level, or a filter such as `info,logferry_relay=debug`.
const FILTER_VARIABLE: &str = "LOGFERRY_LOG";

/// Parts of other people that say at info what is of use to their authors only.
const QUIET_PARTS: &str = "tokio_cron_scheduler=warn";

/// Prefix of our fields in the journal, so that they do not collide with those of others.
const JOURNAL_PREFIX: &str = "LOGFERRY";

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter in the environment cannot be read.
    #[error("{FILTER_VARIABLE} holds {value:?}; use error, warn, info, debug or trace, or part=level pairs")]
    Filter {
        /// What the variable holds.
        value: String,
    },
    /// A log was set up before in this process.
    #[error("cannot start logging")]
    Started(#[source] TryInitError),
}

/// Sends the log of this process to the journal or to stderr, from now on.
///
/// `level` is used where `LOGFERRY_LOG` is not set. Call it once, before the first log line.
pub fn init(level: Level) -> Result<(), LogsError> {
    let filter = filter(std::env::var(FILTER_VARIABLE).ok(), level)?;
    tracing_subscriber::registry()
        .with(filter)
        .with(output())
        .try_init()
        .map_err(LogsError::Started)
}

fn filter(value: Option<String>, level: Level) -> Result<EnvFilter, LogsError> {
    let value = value.unwrap_or_else(|| format!("{level},{QUIET_PARTS}"));
    // To the parser a word that is no level is a part, at every level: a typo would make a role log everything.
    let is_level = |word: &str| word.contains('=') || word.trim().parse::<LevelFilter>().is_ok();
    let filter = EnvFilter::builder().parse(&value);
    let filter = filter.ok().filter(|_| value.split(',').all(is_level));
    filter.ok_or(LogsError::Filter { value })
}

fn output<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        let journal = journal.with_field_prefix(Some(JOURNAL_PREFIX.to_owned()));
        return FullMessage(journal).boxed();
    }
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let stderr = fmt::layer()
        .event_format(StderrLine)
        .with_ansi(colours)
        .with_writer(io::stderr);
    FullMessage(stderr).boxed()
}

/// The texts that the journal would get from `work`, which logs on this thread; for tests.
pub fn journal_messages(work: impl FnOnce()) -> Vec<String> {
    let texts = MessageRecorder::default();
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(FullMessage(texts.clone()));
    tracing::subscriber::with_default(subscriber, work);
    let texts = texts.0.lock().unwrap_or_else(PoisonError::into_inner);
    texts.clone()
}

/// Keeps the texts of events, as the journal does.
#[derive(Debug, Clone, Default)]
struct MessageRecorder(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for MessageRecorder {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        texts.extend(fields.get("message").cloned());
    }
}

/// Whether stderr is the stream that systemd connected to the journal: `JOURNAL_STREAM` names its device and inode
/// (systemd.exec(5)). The variable alone is no proof, since children with another stderr inherit it.
fn stderr_is_the_journal() -> bool {
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let facts = stderr.and_then(|stderr| File::from(stderr).metadata());
    let named = |stream: String| facts.is_ok_and(|it| stream == format!("{}:{}", it.dev(), it.ino()));
    std::env::var("JOURNAL_STREAM").is_ok_and(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_in_the_environment_wins_over_the_default() {
        let shown =
            |value: Option<&str>| filter(value.map(str::to_owned), Level::INFO).map(|f| f.to_string());
        assert_eq!(shown(None).unwrap(), "tokio_cron_scheduler=warn,info");
        let default = filter(None, Level::INFO).unwrap();
        assert_eq!(default.max_level_hint(), Some(Level::INFO.into()));
        assert_eq!(shown(Some("debug")).unwrap(), "debug");
        let by_part = shown(Some("warn,logferry_relay=trace")).unwrap();
        assert!(by_part.contains("logferry_relay=trace"));
    }

    #[test]
    fn bad_filter_is_named_with_what_would_be_right() {
        for wrong in ["logferry=loud", "blah", "info,blah"] {
            let error = filter(Some(wrong.to_owned()), Level::INFO).unwrap_err();
            let right = "use error, warn, info, debug or trace, or part=level pairs";
            assert_eq!(
                error.to_string(),
                format!("LOGFERRY_LOG holds {wrong:?}; {right}")
            );
        }
    }
}
