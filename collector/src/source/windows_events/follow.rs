//! A source of type `windows_events`: looks at .evtx files, closed ones and live ones, and captures their new records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use evtx::{EvtxParser, ParserSettings, SerializedEvtxRecord};
use logferry_config::WindowsEventsSettings;
use serde_json::Value;
use tokio::sync::mpsc;

use super::progress::EventLogs;
use super::record::record;
use crate::capture::Refused;
use crate::line_record::fit;
use crate::record::Record;
use crate::source::{SourceContext, SourceError};

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Records of one append.
const BATCH: usize = 500;

#[derive(Debug, thiserror::Error)]
enum EventsError {
    #[error("`{0}` is not a glob")]
    Glob(String),
    #[error("no file matches {0}; copy .evtx files there, or change `path` of the source")]
    NoFile(String),
}

/// What of a file tells that it has changed.
type FileStamp = (u64, Option<SystemTime>);

/// A file as it was read last.
struct EventFile {
    stamp: FileStamp,
    /// What could not be read.
    damages: Vec<String>,
    is_told: bool,
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
    while !context.shutdown.is_cancelled() {
        let pattern = settings.path.clone();
        let found = tokio::task::spawn_blocking(move || find(&pattern)).await??;
        if found.is_empty() {
            context
                .status
                .failing(&EventsError::NoFile(settings.path.clone()));
        } else {
            context.status.running();
        }
        files.retain(|path, _| found.contains_key(path));
        for (path, stamp) in found {
            if let Some(file) = files.get_mut(&path)
                && file.stamp == stamp
            {
                file.tell_damages(&path, context);
                continue;
            }
            let Ok(damages) = read(&path, &mut logs, context).await else {
                return Ok(());
            };
            files.insert(
                path,
                EventFile {
                    stamp,
                    damages,
                    is_told: false,
                },
            );
        }
        let pause = tokio::time::sleep(interval);
        context.shutdown.run_until_cancelled(pause).await;
    }
    Ok(())
}

impl EventFile {
    /// What is damaged in a file that has not changed since it was read. A live file may have been in the middle of a write.
    fn tell_damages(&mut self, path: &Path, context: &SourceContext) {
        if std::mem::replace(&mut self.is_told, true) || self.damages.is_empty() {
            return;
        }
        context.status.count_dropped(self.damages.len() as u64);
        let (path, count) = (path.display(), self.damages.len());
        let first = self.damages.first().map_or("", String::as_str);
        tracing::warn!(source = %context.name, file = %path, damages = count, first, "a file of events is damaged; the rest of it is captured");
        context.status.problem(format!(
            "{path}: {count} parts are damaged and left out, the first: {first}; copy the file again"
        ));
    }
}

fn find(pattern: &str) -> Result<BTreeMap<PathBuf, FileStamp>, EventsError> {
    let paths = glob::glob(pattern).map_err(|_| EventsError::Glob(pattern.to_owned()))?;
    let stamp = |path: PathBuf| {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((path, (metadata.len(), metadata.modified().ok())))
    };
    Ok(paths.flatten().filter_map(stamp).collect())
}

/// Captures the new records of a file, and returns what could not be read. Ends early when the collector stops.
async fn read(path: &Path, logs: &mut EventLogs, context: &SourceContext) -> Result<Vec<String>, Refused> {
    let numbers = {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || numbers(&path)).await
    };
    let (numbers, damages) = match numbers {
        Ok(Ok(read)) => read,
        Ok(Err(reason)) => return Ok(vec![reason]),
        Err(_) => return Ok(vec!["reading it failed".to_owned()]),
    };
    let mut next = logs.clone();
    if !next.open(&numbers) {
        let reason = "it is of one log too many for a source, which knows 50; give it a further source with a `path` of its own";
        return Ok(vec![reason.to_owned()]);
    }
    let new: BTreeSet<u64> = numbers
        .keys()
        .copied()
        .filter(|number| next.is_new(*number))
        .collect();
    let new = Arc::new(new);
    if new.is_empty() {
        return Ok(damages);
    }
    let (batches, mut ready) = mpsc::channel(1);
    let reading = {
        let (path, new) = (path.to_owned(), Arc::clone(&new));
        tokio::task::spawn_blocking(move || events(&path, &new, &batches))
    };
    while let Some(batch) = ready.recv().await {
        let mut records = Vec::new();
        for event in batch {
            let mut record: Record = record(event.event_record_id, event.timestamp, &event.data);
            let is_cut = fit(&mut record, 0, context.max_record);
            context.status.count_cut(u64::from(is_cut));
            let is_last = new.last() == Some(&event.event_record_id);
            next.captured((event.event_record_id, event.timestamp.as_nanosecond()), is_last);
            records.push(record);
        }
        let position = next.position();
        context
            .capture
            .append_waiting(&records, Some(&position), &context.shutdown)
            .await?;
        logs.clone_from(&next);
    }
    // It ends when its channel is closed.
    let _ = reading.await;
    Ok(damages)
}

type ParsedEvent = SerializedEvtxRecord<Value>;

/// The numbers and times of a file's records, and what cannot be read.
fn numbers(path: &Path) -> Result<(BTreeMap<u64, i128>, Vec<String>), String> {
    let mut parser = parser(path)?;
    let (mut numbers, mut damages) = (BTreeMap::new(), Vec::new());
    let records = parser.serialized_records(|record| {
        let record = record?;
        Ok((record.event_record_id, record.timestamp.as_nanosecond()))
    });
    for record in records {
        match record {
            Ok((number, time)) => drop(numbers.insert(number, time)),
            Err(error) => damages.push(error.to_string()),
        }
    }
    Ok((numbers, damages))
}

/// Sends the events with these numbers, in order.
fn events(path: &Path, wanted: &Arc<BTreeSet<u64>>, batches: &mpsc::Sender<Vec<ParsedEvent>>) {
    let Ok(mut parser) = parser(path) else { return };
    let wanted = Arc::clone(wanted);
    let events = parser.serialized_records(move |record| {
        let record = record?;
        let is_wanted = wanted.contains(&record.event_record_id);
        is_wanted.then(|| record.into_json_value()).transpose()
    });
    let mut batch = Vec::new();
    for event in events.filter_map(Result::ok).flatten() {
        batch.push(event);
        if batch.len() >= BATCH && batches.blocking_send(std::mem::take(&mut batch)).is_err() {
            return;
        }
    }
    if !batch.is_empty() {
        // Nobody waits for it when the collector stops.
        let _ = batches.blocking_send(batch);
    }
}

fn parser(path: &Path) -> Result<EvtxParser<std::fs::File>, String> {
    let parser = EvtxParser::from_path(path).map_err(|error| error.to_string())?;
    // A damaged chunk could give wrong records, and a damaged record could make the reader go in a circle.
    let settings = ParserSettings::new().validate_checksums(true).num_threads(1);
    Ok(parser.with_configuration(settings))
}
