//! What the spool proves: which file is which batch, and what cannot be said. Reads, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use logferry_config::{Destination, GroupSettings, NameValues, RelaySettings, TimestampFormat};
use logferry_durable::DiskError;
use logferry_ledger::{BatchState, FoundBatch, FoundSource, NewBatch, SourceEnd, Window};
use logferry_protocol::names::{GroupName, SourceId};
use logferry_windows::{batch_name, window_of};

use super::file::{self, Reading};
use super::name::Name;
use crate::judge::{Finding, Kind};
use crate::spool::{self, File, Form};

/// A batch that was found, and its file.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) batch: FoundBatch,
    pub(crate) path: PathBuf,
    /// Bytes after its last whole line.
    pub(crate) rest: u64,
}

/// What was found in the spool.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) taken: Vec<Taken>,
    pub(crate) sources: Vec<FoundSource>,
    /// Names of files that are left alone: base name and part.
    pub(crate) given: Vec<(String, u32)>,
    /// What is left alone, and what is taken without proof.
    pub(crate) findings: Vec<Finding>,
}

/// Looks at every file of the spool.
pub(crate) fn survey(
    data_dir: &Path,
    relay: &RelaySettings,
    destinations: &[Destination],
) -> Result<Survey, DiskError> {
    let mut surveyor = Surveyor {
        data_dir,
        relay,
        destinations,
        survey: Survey::default(),
        in_doubt: BTreeSet::new(),
    };
    let files = spool::files(data_dir)?;
    let mut by_name: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in &files {
        match &file.form {
            Form::Plain(name) | Form::Compressed(name) => by_name.entry(name).or_default().push(file),
            Form::Partial(_) | Form::Other => {}
        }
    }
    for files in by_name.values() {
        surveyor.one_batch(files)?;
    }
    let taken = |name: &str| by_name.contains_key(name);
    for file in &files {
        match &file.form {
            // The housekeeper goes on with it.
            Form::Partial(name) if taken(name) => {}
            Form::Partial(_) => {
                surveyor.leave(file, Kind::Leftover, "left by a crash; it is no batch's file");
            }
            Form::Other => surveyor.leave(file, Kind::Unknown, "it is no batch's file"),
            Form::Plain(_) | Form::Compressed(_) => {}
        }
    }
    surveyor.sources()?;
    let Survey { taken, findings, .. } = &mut surveyor.survey;
    taken.sort_by(|a, b| order(&a.batch).cmp(&order(&b.batch)));
    findings.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    Ok(surveyor.survey)
}

fn order(batch: &FoundBatch) -> impl Ord + '_ {
    (batch.batch.window.start, &batch.batch.base_name, batch.part)
}

struct Surveyor<'a> {
    data_dir: &'a Path,
    relay: &'a RelaySettings,
    destinations: &'a [Destination],
    survey: Survey,
    /// Sources of which files are left alone.
    in_doubt: BTreeSet<SourceId>,
}

impl Surveyor<'_> {
    /// The files of one name. One of them is the batch's, or it cannot be said which.
    fn one_batch(&mut self, files: &[&File]) -> Result<(), DiskError> {
        let file = match files {
            [file] => file,
            // While it is compressed both forms are there; the plain one is the original.
            [one, other] if one.is_compressed() != other.is_compressed() && is_beside(one, other) => {
                if one.is_compressed() { other } else { one }
            }
            doubles => {
                for file in doubles {
                    let detail = "there is more than one file of that name; leave the one that is right, move the \
                                  others out of the spool, and rebuild again";
                    self.leave(file, Kind::Double, detail);
                }
                return Ok(());
            }
        };
        let Some((state, source)) = self.home(file) else {
            self.leave(file, Kind::Unknown, "it is in no source's folder");
            return Ok(());
        };
        self.batch_file(file, state, source)
    }

    fn batch_file(&mut self, file: &File, state: BatchState, source: SourceId) -> Result<(), DiskError> {
        let Some(names) = self.names(file, &source) else {
            let detail = "no batch has such a name by the relay's `batch.name`; if that was changed, change it back and \
                          rebuild again";
            self.leave(file, Kind::Unknown, detail);
            return Ok(());
        };
        if file.is_compressed() && state != BatchState::Sent {
            self.leave(file, Kind::Place, "only what is sent is compressed");
            return Ok(());
        }
        let format = self.relay.batch.timestamp;
        let reading = match file::read(&file.path, file.is_compressed(), format)? {
            Ok(reading) => reading,
            Err(error) => {
                self.leave(file, Kind::Contents, &error.to_string());
                return Ok(());
            }
        };
        if reading.rest > 0 && state != BatchState::Open {
            let detail =
                "its last line has no end, so bytes are missing; restore it from a backup and rebuild again";
            self.leave(file, Kind::Size, detail);
            return Ok(());
        }
        // The relay makes such files when a batch is opened; whoever opens it again finds it empty.
        if reading.contents.bytes == 0 && reading.rest == 0 && state == BatchState::Open {
            return Ok(());
        }
        let found = names.iter().find_map(|(base, part, name)| {
            Some((base, *part, name, self.window(base, name, &source, &reading)?))
        });
        let Some((base, part, name, (window, is_proven))) = found else {
            self.leave(
                file,
                Kind::Unknown,
                "its name is of another window than its lines",
            );
            return Ok(());
        };
        if !is_proven && reading.contents.bytes > 0 {
            let detail = "taken, but no line of it tells the zone of its window: UTC is assumed";
            self.note(file, Kind::Window, detail);
        }
        let batch = NewBatch {
            group: name.group.clone().unwrap_or_else(|| self.group(&source)),
            log: name.log.clone(),
            window,
            base_name: base.clone(),
            source,
        };
        self.take(file, state, batch, part, reading);
        Ok(())
    }

    fn take(&mut self, file: &File, state: BatchState, batch: NewBatch, part: u32, reading: Reading) {
        let delivered = self
            .destinations
            .iter()
            .filter(|destination| {
                let wants = &destination.filter;
                state == BatchState::Sent && wants.accepts(&batch.source, &batch.group, batch.log.as_ref())
            })
            .map(|destination| (destination.name.clone(), believed_path(destination, &batch, part)))
            .collect();
        if reading.rest > 0 {
            let detail = format!(
                "taken up to its last whole line; the {} bytes after it are of a line that was being written",
                reading.rest
            );
            self.note(file, Kind::Torn, &detail);
        }
        self.survey.taken.push(Taken {
            batch: FoundBatch {
                batch,
                part,
                state,
                contents: reading.contents,
                sha256: reading.sha256,
                written_at: reading.written_at,
                is_compressed: file.is_compressed(),
                delivered,
            },
            path: file.path.clone(),
            rest: reading.rest,
        });
    }

    /// The window of a file, and whether that is certain: the one of its lines, if it gives the file its name.
    fn window(
        &self,
        base: &str,
        name: &Name,
        source: &SourceId,
        reading: &Reading,
    ) -> Option<(Window, bool)> {
        let any = self.group(source);
        let group = name.group.as_ref().unwrap_or(&any);
        let template = &self.relay.batch.name;
        let gives_name =
            |window: &Window| batch_name(template, *window, source, group, name.log.as_ref()) == base;
        let length = name.length()?;
        let windows = reading.times.iter().map(|time| window_of(*time, length));
        if let Some(window) = windows.into_iter().find(gives_name) {
            return Some((window, true));
        }
        // Lines that have no time of their own have the relay's, which is UTC.
        let is_arrival = self.relay.batch.timestamp == TimestampFormat::Arrival;
        let window = name.window_in_utc().filter(gives_name)?;
        (is_arrival || reading.times.is_empty()).then_some((window, is_arrival))
    }

    /// How a file's name can be read: the name of the window's first part, the part, and what is in the name.
    fn names(&self, file: &File, source: &SourceId) -> Option<Vec<(String, u32, Name)>> {
        let (Form::Plain(name) | Form::Compressed(name)) = &file.form else {
            return None;
        };
        let read = |base: &str, part| {
            let read = Name::read(&self.relay.batch.name, source, base)?;
            Some((base.to_owned(), part, read))
        };
        let part = name
            .rsplit_once('.')
            .and_then(|(base, part)| Some((base, part.parse::<u32>().ok()?)))
            .filter(|(base, part)| *part > 1 && format!("{base}.{part}") == *name);
        let names: Vec<_> = read(name, 1)
            .into_iter()
            .chain(part.and_then(|(base, part)| read(base, part)))
            .collect();
        (!names.is_empty()).then_some(names)
    }

    /// The state and the source whose folder a file is in.
    fn home(&self, file: &File) -> Option<(BatchState, SourceId)> {
        let folder = file.path.parent()?;
        let source: SourceId = folder.file_name()?.to_str()?.parse().ok()?;
        let state = BatchState::ALL
            .into_iter()
            .find(|state| folder == self.data_dir.join(state.as_str()).join(source.as_str()))?;
        Some((state, source))
    }

    /// A group that admits the source; the first, if none does any more.
    fn group(&self, source: &SourceId) -> GroupName {
        let groups = &self.relay.groups;
        let admits = |group: &&GroupSettings| group.sources.allows_name(source);
        let group = groups.iter().find(admits).or(groups.first());
        group.map_or_else(
            || "none".parse().expect("a plain word"),
            |group| group.name.clone(),
        )
    }

    /// Notes that a file's name is given, though nothing else is known of it.
    fn note_name(&mut self, file: &File) {
        let Some((_, source)) = self.home(file) else {
            return;
        };
        let names = self.names(file, &source).unwrap_or_default();
        let names = names.into_iter().map(|(base, part, _)| (base, part));
        self.survey.given.extend(names);
    }

    fn leave(&mut self, file: &File, kind: Kind, detail: &str) {
        if let Some((_, source)) = self.home(file) {
            self.in_doubt.insert(source);
        }
        self.note_name(file);
        self.note(file, kind, &format!("left alone: {detail}"));
    }

    fn note(&mut self, file: &File, kind: Kind, detail: &str) {
        self.survey
            .findings
            .push(Finding::new(kind, file.path.clone(), None, detail));
    }

    /// What is known of each source as a whole.
    fn sources(&mut self) -> Result<(), DiskError> {
        let mut of_source: BTreeMap<SourceId, Vec<&Taken>> = BTreeMap::new();
        for taken in &self.survey.taken {
            of_source
                .entry(taken.batch.batch.source.clone())
                .or_default()
                .push(taken);
        }
        let mut sources = Vec::new();
        for (source, taken) in of_source {
            let windows = taken.iter().map(|taken| taken.batch.batch.window.start);
            let end = match last_written(&taken) {
                Some(last) if !self.in_doubt.contains(&source) => end_of(last)?,
                _ => None,
            };
            sources.push(FoundSource {
                group: self.group(&source),
                written_at: taken
                    .iter()
                    .map(|taken| taken.batch.written_at)
                    .max()
                    .unwrap_or_default(),
                newest_window: windows.max().unwrap_or(i64::MIN),
                end,
                source,
            });
        }
        self.survey.sources = sources;
        Ok(())
    }
}

fn is_beside(one: &File, other: &File) -> bool {
    let is_sent = one
        .path
        .parent()
        .and_then(Path::parent)
        .is_some_and(|state| state.ends_with("sent"));
    is_sent && one.path.parent() == other.path.parent()
}

/// Where a batch must be at a destination, as the settings are now.
fn believed_path(destination: &Destination, batch: &NewBatch, part: u32) -> String {
    let name = batch.name_of_part(part);
    let values = NameValues {
        window_start: batch.window.local_start(),
        window_seconds: batch.window.seconds,
        source: &batch.source,
        group: &batch.group,
        log: batch.log.as_ref(),
        batch: &name,
    };
    destination.paths(&values, part).file
}

/// The file that was written last, if that is certain. Compressed files must be of earlier windows: when their lines came
/// is not to be seen any more.
fn last_written<'a>(taken: &[&'a Taken]) -> Option<&'a Taken> {
    let (compressed, plain): (Vec<_>, Vec<_>) = taken.iter().partition(|taken| taken.batch.is_compressed);
    let last = plain
        .iter()
        .max_by_key(|taken: &&&Taken| taken.batch.written_at)?;
    let is_last = plain
        .iter()
        .all(|taken| taken.path == last.path || taken.batch.written_at < last.batch.written_at);
    let start = |taken: &Taken| taken.batch.batch.window.start;
    let is_latest = compressed.iter().all(|taken| start(taken) < start(last));
    (is_last && is_latest && last.rest == 0).then_some(*last)
}

fn end_of(last: &Taken) -> Result<Option<SourceEnd>, DiskError> {
    let Window {
        start, utc_offset, ..
    } = last.batch.batch.window;
    let ending = file::sole_ending(&last.path, last.batch.contents.bytes)?;
    Ok(ending.map(|bytes| SourceEnd {
        bytes,
        window: (start, utc_offset),
    }))
}
