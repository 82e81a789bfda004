//! Reading one .evtx file: first the numbers of its records, then the records that are new.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use evtx::{EvtxParser, ParserSettings, SerializedEvtxRecord};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Records of one append.
const BATCH: usize = 500;

/// What of a file tells that it has changed. A program that copies may keep its length and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
}

impl FileStamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

pub(super) type ParsedEvent = SerializedEvtxRecord<Value>;

/// An open file: one that is put in its place meanwhile changes nothing of what is read.
pub(super) struct OpenEvents {
    parser: EvtxParser<File>,
}

/// The numbers and times of a file's records, and what cannot be read.
pub(super) type NumbersAndDamages = (BTreeMap<u64, i128>, Vec<String>);

impl OpenEvents {
    /// Opens a file and reads the numbers of its records; not all of them after `stop`. The error is the reason, for people.
    pub(super) fn open(path: &Path, stop: &CancellationToken) -> Result<(Self, NumbersAndDamages), String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let parser = EvtxParser::from_read_seek(file).map_err(|error| error.to_string())?;
        // A damaged chunk could give wrong records, and a damaged record could make the reader go in a circle.
        let settings = ParserSettings::new().validate_checksums(true).num_threads(1);
        let mut parser = parser.with_configuration(settings);
        let (mut numbers, mut damages) = (BTreeMap::new(), Vec::new());
        let records = parser.serialized_records(|record| {
            let record = record?;
            Ok((record.event_record_id, record.timestamp.as_nanosecond()))
        });
        for record in records.take_while(|_| !stop.is_cancelled()) {
            match record {
                Ok((number, time)) => drop(numbers.insert(number, time)),
                Err(error) => damages.push(error.to_string()),
            }
        }
        Ok((Self { parser }, (numbers, damages)))
    }

    /// Sends the events with these numbers and times, and returns what could not be read. If the file was overwritten in place
    /// since its numbers were read, a record with one of the numbers may be another one; it is read next time.
    pub(super) fn send(
        mut self,
        mut wanted: BTreeMap<u64, i128>,
        batches: &mpsc::Sender<Vec<ParsedEvent>>,
    ) -> Vec<String> {
        let asked = Arc::new(wanted.clone());
        let events = self.parser.serialized_records(move |record| {
            let record = record?;
            let time = record.timestamp.as_nanosecond();
            let is_wanted = asked.get(&record.event_record_id) == Some(&time);
            is_wanted.then(|| record.into_json_value()).transpose()
        });
        let (mut batch, mut damages) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                // A file may hold a record twice, in a chunk that is not used any more.
                Ok(Some(event)) if wanted.remove(&event.event_record_id).is_some() => batch.push(event),
                Ok(_) => {}
                Err(error) => damages.push(error.to_string()),
            }
            if batch.len() >= BATCH && batches.blocking_send(std::mem::take(&mut batch)).is_err() {
                return damages;
            }
        }
        if !batch.is_empty() {
            // Nobody waits for it when the collector stops.
            let _ = batches.blocking_send(batch);
        }
        damages
    }
}
