//! Finds out which file of the spool is which batch. Changes nothing.
//!
//! A file is proven to be a batch if the relay's template can have made its name, and if the window of its lines gives
//! it this name. A file that is not proven is left alone, and its name is not given to a new batch.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use logferry_config::{Destination, GroupSettings, NameValues, RelaySettings, TimestampFormat};
use logferry_durable::{DiskError, RealDisk};
use logferry_fields::LineClock;
use logferry_ledger::{BatchState, FoundBatch, NewBatch, Window};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_spool::{FileForm, Spool, SpoolFile};
use logferry_time_windows::{LineTime, batch_name, window_of};

use super::file_lines::{self, FileLines};
use super::name_fields::NameFields;
use crate::compare::by_batch_name;
use crate::finding::{self, Finding, FindingKind};

#[derive(Debug)]
pub(crate) struct RecoveredBatch {
    pub(crate) row: FoundBatch,
    pub(crate) path: PathBuf,
    /// Bytes after its last whole line.
    pub(crate) torn_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ScanResult {
    pub(crate) batches: Vec<RecoveredBatch>,
    /// Base name and part of the files that are left alone: no new batch may get such a name.
    pub(crate) reserved_names: Vec<(String, u32)>,
    /// Sources that have files which are left alone.
    pub(crate) uncertain_sources: BTreeSet<SourceId>,
    /// The files that are left alone, and the batches that are not fully proven.
    pub(crate) findings: Vec<Finding>,
}

pub(crate) fn scan(
    spool: &Spool<RealDisk>,
    relay: &RelaySettings,
    destinations: &[Destination],
) -> Result<ScanResult, DiskError> {
    let mut scanner = Scanner {
        spool,
        relay,
        destinations,
        result: ScanResult::default(),
    };
    let files = spool.all_files()?;
    let by_name = by_batch_name(&files);
    for files in by_name.values() {
        scanner.scan_name(files)?;
    }
    for file in &files {
        match file.form {
            // The housekeeper finishes or removes it.
            FileForm::Partial | FileForm::PartialPlain if by_name.contains_key(&*file.batch_name) => {}
            FileForm::Partial | FileForm::PartialPlain => {
                let detail = "left by a crash; it is no batch's file";
                scanner.leave_alone(file, FindingKind::Leftover, detail);
            }
            FileForm::Other => scanner.leave_alone(file, FindingKind::Unknown, "it is no batch's file"),
            FileForm::Plain | FileForm::Compressed => {}
        }
    }
    let mut result = scanner.result;
    result.batches.sort_by(|a, b| order(&a.row).cmp(&order(&b.row)));
    finding::sort(&mut result.findings);
    Ok(result)
}

fn order(row: &FoundBatch) -> impl Ord + '_ {
    (row.batch.window.start, &row.batch.base_name, row.part)
}

enum ScanError {
    Disk(DiskError),
    /// It is not proven to be one: the kind of finding, and why.
    NotProven(FindingKind, String),
}

impl From<DiskError> for ScanError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

struct Scanner<'a> {
    spool: &'a Spool<RealDisk>,
    relay: &'a RelaySettings,
    destinations: &'a [Destination],
    result: ScanResult,
}

impl Scanner<'_> {
    /// Scans the files of one name. At most one of them is the batch's.
    fn scan_name(&mut self, files: &[&SpoolFile]) -> Result<(), DiskError> {
        let file = match files {
            [file] => file,
            // The housekeeper was compressing: the plain file is the original.
            [plain, copy] | [copy, plain] if is_being_compressed(plain, copy) => plain,
            doubles => {
                for file in doubles {
                    let detail = "there is more than one file of that name; leave the one that is right, move the \
                                  others out of the spool, and rebuild again";
                    self.leave_alone(file, FindingKind::Double, detail);
                }
                return Ok(());
            }
        };
        match self.scan_file(file) {
            Err(ScanError::NotProven(kind, detail)) => self.leave_alone(file, kind, &detail),
            Err(ScanError::Disk(error)) => return Err(error),
            Ok(()) => {}
        }
        Ok(())
    }

    fn scan_file(&mut self, file: &SpoolFile) -> Result<(), ScanError> {
        let not_proven = |kind, detail: &str| Err(ScanError::NotProven(kind, detail.to_owned()));
        let Some(source) = source_of(file) else {
            return not_proven(FindingKind::Unknown, "it is in no source's folder");
        };
        let names = self.possible_names(file, &source);
        if names.is_empty() {
            let detail = "no batch has such a name by the relay's `batch.name`; if that was changed, change it back and \
                          rebuild again";
            return not_proven(FindingKind::Unknown, detail);
        }
        if file.is_compressed() && file.state != BatchState::Sent {
            return not_proven(FindingKind::Misplaced, "only what is sent is compressed");
        }
        let logs: Vec<_> = names.iter().map(|(.., fields)| fields.log.as_ref()).collect();
        let lines = file_lines::read_lines(self.spool, file, |written_at| self.clocks(&logs, written_at))?
            .map_err(|error| ScanError::NotProven(FindingKind::Contents, error.to_string()))?;
        if lines.torn_bytes > 0 && file.state != BatchState::Open {
            let detail =
                "its last line has no end, so bytes are missing; restore it from a backup and rebuild again";
            return not_proven(FindingKind::Size, detail);
        }
        // The relay makes an empty file when it opens a batch. It may open the batch again and use the file.
        if lines.contents.bytes == 0 && lines.torn_bytes == 0 && file.state == BatchState::Open {
            return Ok(());
        }
        let proven = names.into_iter().find_map(|(base_name, part, fields)| {
            let (window, is_certain) = self.window(&base_name, &fields, &source, &lines)?;
            Some((base_name, part, fields, window, is_certain))
        });
        let Some((base_name, part, NameFields { group, log, .. }, window, is_certain)) = proven else {
            let detail = "its name is of another window than its lines";
            return not_proven(FindingKind::Unknown, detail);
        };
        if !is_certain && lines.contents.bytes > 0 {
            let detail = "taken, but no line of it tells the zone of its window: UTC is assumed";
            self.note(file, FindingKind::Window, detail);
        }
        let batch = NewBatch {
            group: group.unwrap_or_else(|| group_of(self.relay, &source)),
            log,
            window,
            base_name,
            source,
        };
        self.recover(file, batch, part, lines);
        Ok(())
    }

    fn recover(&mut self, file: &SpoolFile, batch: NewBatch, part: u32, lines: FileLines) {
        let wanting = self.destinations.iter().filter(|destination| {
            let wants = &destination.filter;
            file.state == BatchState::Sent && wants.accepts(&batch.source, &batch.group, batch.log.as_ref())
        });
        let delivery = |to: &Destination| (to.name.clone(), remote_path(to, &batch, part));
        let delivered = wanting.map(delivery).collect();
        if lines.torn_bytes > 0 {
            let detail = format!(
                "taken up to its last whole line; the {} bytes after it are of a line that was being written",
                lines.torn_bytes
            );
            self.note(file, FindingKind::Torn, &detail);
        }
        self.result.batches.push(RecoveredBatch {
            row: FoundBatch {
                batch,
                part,
                state: file.state,
                contents: lines.contents,
                sha256: lines.sha256,
                written_at: lines.written_at,
                is_compressed: file.is_compressed(),
                delivered,
            },
            path: file.path.clone(),
            torn_bytes: lines.torn_bytes,
        });
    }

    /// The window of a file's lines that gives the file its name, and whether it is certain. `None`: no window does.
    fn window(
        &self,
        base: &str,
        fields: &NameFields,
        source: &SourceId,
        lines: &FileLines,
    ) -> Option<(Window, bool)> {
        let default_group = group_of(self.relay, source);
        let group = fields.group.as_ref().unwrap_or(&default_group);
        let template = &self.relay.batch.name;
        let gives_name =
            |window: &Window| batch_name(template, *window, source, group, fields.log.as_ref()) == base;
        let length = fields.length()?;
        let windows = |in_zone: fn(LineTime) -> LineTime| {
            let times = lines.times.iter().map(move |time| in_zone(*time));
            times.map(|time| window_of(time, length)).find(gives_name)
        };
        // A line without a time of its own has the relay's time, in UTC. If such a line opened the batch, its name is of UTC.
        let in_utc = |time| LineTime {
            utc_offset: 0,
            ..time
        };
        if let Some(window) = windows(|time| time).or_else(|| windows(in_utc)) {
            return Some((window, true));
        }
        let is_arrival = self.relay.batch.timestamp == TimestampFormat::Arrival;
        // Lines of several logs were read in the format of each: a time may be none.
        let may_have_no_time =
            lines.times.is_empty() || (fields.log.is_none() && self.relay.batch.formats.all().count() > 1);
        let window = fields.window_in_utc().filter(gives_name)?;
        (is_arrival || may_have_no_time).then_some((window, is_arrival))
    }

    /// Clocks for the lines of a file that can be of these logs; `None` is any log.
    fn clocks(&self, logs: &[Option<&LogName>], written_at: Timestamp) -> Vec<LineClock<'_>> {
        let batch = &self.relay.batch;
        let formats: Vec<_> = if logs.contains(&None) {
            batch.formats.all().collect()
        } else {
            logs.iter().flatten().map(|log| batch.formats.of(log)).collect()
        };
        let clock = |format| LineClock::new(format, batch.timestamp, written_at.as_second());
        formats.into_iter().map(clock).collect()
    }

    /// All ways to read a file's name: the name of the window's first part, the part, and the name's fields.
    fn possible_names(&self, file: &SpoolFile, source: &SourceId) -> Vec<(String, u32, NameFields)> {
        if !matches!(file.form, FileForm::Plain | FileForm::Compressed) {
            return Vec::new();
        }
        let name = &*file.batch_name;
        let numbered = name.rsplit_once('.');
        let later_part = numbered.and_then(|(base, part)| Some((base, part.parse::<u32>().ok()?)));
        let is_exact = |(base, part): &(&str, u32)| *part > 1 && format!("{base}.{part}") == *name;
        let splits = std::iter::once((name, 1)).chain(later_part.filter(is_exact));
        let read = |(base, part): (&str, u32)| {
            let fields = NameFields::read(&self.relay.batch.name, source, base)?;
            Some((base.to_owned(), part, fields))
        };
        splits.filter_map(read).collect()
    }

    /// Leaves a file alone: reports it, and reserves its name.
    fn leave_alone(&mut self, file: &SpoolFile, kind: FindingKind, detail: &str) {
        if let Some(source) = source_of(file) {
            let names = self.possible_names(file, &source).into_iter();
            let names = names.map(|(base, part, _)| (base, part));
            self.result.reserved_names.extend(names);
            self.result.uncertain_sources.insert(source);
        }
        self.note(file, kind, &format!("left alone: {detail}"));
    }

    fn note(&mut self, file: &SpoolFile, kind: FindingKind, detail: &str) {
        let finding = Finding::new(kind, &file.path, None, detail);
        self.result.findings.push(finding);
    }
}

fn source_of(file: &SpoolFile) -> Option<SourceId> {
    let folder = file.source.as_deref()?;
    let source: SourceId = folder.parse().ok()?;
    (source.as_str() == folder).then_some(source)
}

/// A group that admits the source; the first group, if none does.
pub(crate) fn group_of(relay: &RelaySettings, source: &SourceId) -> GroupName {
    let groups = &relay.groups;
    let admits = |group: &&GroupSettings| group.sources.allows_name(source);
    let group = groups.iter().find(admits).or(groups.first());
    let name = group.map(|group| group.name.clone());
    name.unwrap_or_else(|| "none".parse().expect("a plain word"))
}

fn is_being_compressed(plain: &SpoolFile, copy: &SpoolFile) -> bool {
    let is_sent = |file: &SpoolFile| file.state == BatchState::Sent && file.source.is_some();
    !plain.is_compressed()
        && copy.is_compressed()
        && is_sent(plain)
        && is_sent(copy)
        && plain.source == copy.source
}

fn remote_path(destination: &Destination, batch: &NewBatch, part: u32) -> String {
    let name = batch.name_of_part(part);
    let log = batch.log.as_ref();
    let values = NameValues::new(batch.window, &batch.source, &batch.group, log, &name);
    destination.paths(&values, part).file
}
