//! A source of type `windows_events`: looks at .evtx files, closed ones and live ones, and captures their new records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logferry_config::WindowsEventsSettings;
use logferry_text::error_chain;
use tokio::sync::mpsc;

use super::problems::{EventFileProblems, ProblemLog};
use super::progress::{EventLogs, OpenedLog, ReadEvents};
use super::read::{FileStamp, OpenEvents, ParsedEvent};
use super::record::record;
use crate::capture::Refused;
use crate::line_record::fit;
use crate::record::Record;
use crate::source::read_problem::ReadProblem;
use crate::source::{SourceContext, SourceError};

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// A live file on a share may change without a sign of it. So a file is read again after so many looks, or so many times as long as
/// reading it took, whichever is longer.
const REREAD_LOOKS: u32 = 12;
const REREAD_FACTOR: u32 = 100;

#[derive(Debug, thiserror::Error)]
enum EventsError {
    #[error("`{0}` is not a glob")]
    Glob(String),
    #[error("no file matches {0}; copy .evtx files there, or change `path` of the source")]
    NoFile(String),
    #[error("cannot read {path}; let the collector's user read its folder, and go into it")]
    Unreadable {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
}

/// What a pattern finds.
#[derive(Default)]
struct FoundEventFiles {
    stamps: BTreeMap<PathBuf, FileStamp>,
    /// Why something may be missing: the first error.
    error: Option<EventsError>,
}

impl FoundEventFiles {
    fn unreadable(&mut self, path: PathBuf, error: std::io::Error) {
        self.error.get_or_insert(EventsError::Unreadable { path, error });
    }
}

/// A file as it was read last.
struct EventFile {
    stamp: Option<FileStamp>,
    /// When it is read again, whatever its stamp says.
    due: Instant,
    problems: ProblemLog,
}

impl EventFile {
    fn new(due: Instant) -> Self {
        Self {
            stamp: None,
            due,
            problems: ProblemLog::default(),
        }
    }
}

/// Reads files until the shutdown.
pub async fn run(settings: &WindowsEventsSettings, context: &SourceContext) -> Result<(), SourceError> {
    follow(settings, context, LOOK_INTERVAL).await
}

pub(super) async fn follow(
    settings: &WindowsEventsSettings,
    context: &SourceContext,
    interval: Duration,
) -> Result<(), SourceError> {
    let mut logs = EventLogs::of_position(context.capture.position().as_ref());
    let mut files: BTreeMap<PathBuf, EventFile> = BTreeMap::new();
    let mut unreadable = ReadProblem::default();
    while !context.shutdown.is_cancelled() {
        let pattern = settings.path.clone();
        let FoundEventFiles { stamps: found, error } =
            tokio::task::spawn_blocking(move || find(&pattern)).await??;
        if found.is_empty() {
            let no_file = || EventsError::NoFile(settings.path.clone());
            context.status.failing(&error.unwrap_or_else(no_file));
        } else {
            context.status.running();
            let text = error.map(|error| format!("{}; other files are read", error_chain(&error)));
            unreadable.note(text, context);
        }
        files.retain(|path, _| found.contains_key(path));
        for (path, stamp) in found {
            let begun = Instant::now();
            let known = files.entry(path.clone()).or_insert_with(|| EventFile::new(begun));
            let is_settled = known.stamp.replace(stamp) == Some(stamp);
            if is_settled {
                tell(&path, known.problems.unchanged(), context);
                if begun < known.due {
                    continue;
                }
            }
            let Ok(problems) = read(&path, is_settled, &mut logs, context).await else {
                return Ok(());
            };
            if let Some(problems) = problems {
                tell(&path, known.problems.read(problems), context);
                known.due = Instant::now() + (interval * REREAD_LOOKS).max(begun.elapsed() * REREAD_FACTOR);
            } else {
                known.due = begun;
            }
        }
        let pause = tokio::time::sleep(interval);
        context.shutdown.run_until_cancelled(pause).await;
    }
    Ok(())
}

fn tell(path: &Path, problems: Option<EventFileProblems>, context: &SourceContext) {
    let Some(problems) = problems else { return };
    let text = problems.text(&path.display().to_string());
    context.status.count_dropped(problems.damages.len() as u64);
    if !problems.missing.is_empty() {
        context.status.gap(&text);
        return;
    }
    if problems.is_one_too_many {
        tracing::error!(source = %context.name, %text, "a file of events is not captured");
    } else {
        tracing::warn!(source = %context.name, %text, "a file of events is damaged; the rest of it is captured");
    }
    context.status.problem(text);
}

fn find(pattern: &str) -> Result<FoundEventFiles, EventsError> {
    let paths = glob::glob(pattern).map_err(|_| EventsError::Glob(pattern.to_owned()))?;
    let mut found = FoundEventFiles::default();
    for path in paths {
        let path = match path {
            Ok(path) => path,
            Err(error) => {
                found.unreadable(error.path().to_owned(), error.into());
                continue;
            }
        };
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => {
                found.stamps.insert(path, FileStamp::of(&metadata));
            }
            Ok(_) => {}
            // It was removed after it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => found.unreadable(path, error),
        }
    }
    Ok(found)
}

/// Captures the new records of a file, and returns what is wrong with it; nothing if it has to be read at the next look. Ends early
/// when the collector stops.
async fn read(
    path: &Path,
    is_settled: bool,
    logs: &mut EventLogs,
    context: &SourceContext,
) -> Result<Option<EventFileProblems>, Refused> {
    let unreadable = |reason: &str| {
        let problems = EventFileProblems {
            damages: [reason.to_owned()].into(),
            ..EventFileProblems::default()
        };
        Ok(Some(problems))
    };
    let opened = {
        let (path, stop) = (path.to_owned(), context.shutdown.clone());
        tokio::task::spawn_blocking(move || OpenEvents::open(&path, &stop)).await
    };
    if context.shutdown.is_cancelled() {
        return Err(Refused::Stopped);
    }
    let (events, (numbers, damages)) = match opened {
        Ok(Ok(read)) => read,
        Ok(Err(reason)) => return unreadable(&reason),
        Err(_) => return unreadable("reading it failed"),
    };
    let mut problems = EventFileProblems {
        damages: damages.into_iter().collect(),
        ..EventFileProblems::default()
    };
    let file = ReadEvents::new(path, numbers);
    let mut next = logs.clone();
    if next.is_captured(&file) {
        let mut looked = logs.clone();
        if looked.open(&file, true) == OpenedLog::Opened {
            problems.missing.extend(looked.missing_before(&file.records));
        }
    } else {
        match next.open(&file, is_settled) {
            OpenedLog::Opened => {}
            OpenedLog::TooMany => {
                problems.is_one_too_many = true;
                return Ok(Some(problems));
            }
            OpenedLog::Mixed => return Ok(None),
        }
        let (captured, damages) = capture(events, &file, &mut next, context).await?;
        problems.damages.extend(damages);
        problems.missing.extend(next.missing_before(&file.records));
        logs.clone_from(&next);
        if !captured {
            return Ok(Some(problems));
        }
    }
    if next.captured_whole(&file) {
        append(&[], &next, context).await?;
        *logs = next;
    }
    Ok(Some(problems))
}

/// Captures the new records of the log that was opened; whether that was all of them, and what could not be read.
async fn capture(
    events: OpenEvents,
    file: &ReadEvents,
    logs: &mut EventLogs,
    context: &SourceContext,
) -> Result<(bool, Vec<String>), Refused> {
    let new = file.records.iter().filter(|(number, _)| logs.is_new(**number));
    let new: BTreeMap<u64, i128> = new.map(|(number, time)| (*number, *time)).collect();
    let (mut missing, last) = (new.len(), new.last_key_value().map(|(number, _)| *number));
    if new.is_empty() {
        return Ok((true, Vec::new()));
    }
    let (batches, mut ready) = mpsc::channel::<Vec<ParsedEvent>>(1);
    let reading = tokio::task::spawn_blocking(move || events.send(new, &batches));
    while let Some(batch) = ready.recv().await {
        // A large file has batches for minutes. Reading ends when nobody takes the next one.
        if context.shutdown.is_cancelled() {
            return Err(Refused::Stopped);
        }
        let mut records = Vec::new();
        for event in batch {
            let mut record: Record = record(event.event_record_id, event.timestamp, &event.data);
            let is_cut = fit(&mut record, 0, context.max_record);
            context.status.count_cut(u64::from(is_cut));
            let is_last = last == Some(event.event_record_id);
            logs.captured((event.event_record_id, event.timestamp.as_nanosecond()), is_last);
            records.push(record);
        }
        append(&records, logs, context).await?;
        missing = missing.saturating_sub(records.len());
    }
    // It ends when its channel is closed.
    let damages = reading
        .await
        .unwrap_or_else(|_| vec!["reading it failed".to_owned()]);
    Ok((missing == 0, damages))
}

async fn append(records: &[Record], logs: &EventLogs, context: &SourceContext) -> Result<(), Refused> {
    let position = logs.position();
    let capture = &context.capture;
    capture
        .append_waiting(records, Some(&position), &context.shutdown)
        .await
}
