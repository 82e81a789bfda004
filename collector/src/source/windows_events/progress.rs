//! Which records of event logs are new.
//!
//! Pure: numbers and times in, decisions out. A file says nothing about which log it is of: a live file is overwritten in a
//! circle, an archive is the live file under another name, and numbers begin anew when a log is cleared. So a log is known by
//! *marks*, numbers of records with their times: a file is of a log if a record of it has a mark's number and its time. A file
//! that has no record of a known log, and is where one was, is this log if its numbers and times go on. In the
//! log's own file numbers are the log's; in `ForwardedEvents` the events have other numbers inside, which do not count.
//!
//! An archive stays while its log goes on, and marks of so long ago are thin. So a file that was captured whole is known by a
//! *fingerprint* of its records.
//!
//! Invariant: a record of a known log is new at most once.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A record's number and its time, in units of 100 ns or finer since 1970.
pub(super) type NumberedTime = (u64, i128);

/// Each so many records leave a lasting mark, and so does the last one of each reading.
const MARK_EVERY: u64 = 4096;
/// Lasting marks of all logs together.
const LASTING_MAX: usize = 400;
/// The newest records are marks, too: one that cannot be read any more does not make a log unknown.
const RECENT_MAX: usize = 6;
/// Logs that are known: their position stays below 64 KiB.
const LOGS_MAX: usize = 50;
/// Files that are known by their fingerprint.
const FILES_MAX: usize = 300;

/// What is captured of all logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EventLogs {
    /// The one that was read last is the last.
    logs: Vec<EventLog>,
    /// Hashes of a file's path and of its records, each record captured. The one that was read last is the last.
    files: VecDeque<(String, String)>,
}

/// What is known of a file that was read.
#[derive(Debug, Clone)]
pub(super) struct ReadEvents {
    path: String,
    fingerprint: String,
    /// The records that can be read.
    pub(super) records: BTreeMap<u64, i128>,
}

impl ReadEvents {
    pub(super) fn new(path: &Path, records: BTreeMap<u64, i128>) -> Self {
        let mut digest = Sha256::new();
        for (number, time) in &records {
            digest.update(number.to_le_bytes());
            digest.update(time.to_le_bytes());
        }
        Self {
            path: short_hash(Sha256::digest(path.as_os_str().as_encoded_bytes())),
            fingerprint: short_hash(digest.finalize()),
            records,
        }
    }
}

fn short_hash(hash: impl AsRef<[u8]>) -> String {
    logferry_text::hex(hash.as_ref().get(..8).unwrap_or_default())
}

/// Whether the log of a file could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenedLog {
    Opened,
    /// There are too many logs.
    TooMany,
    /// Some records of a known log, and others with its numbers: a log that was cleared is just being copied over its file.
    Mixed,
}

/// What a file's records have in common with a log's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Same,
    /// None, or only their numbers: a log that was cleared, or another host's.
    Other,
    Mixed,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct EventLog {
    /// The hash of the path of its live file: the first one at which it was read, as an archive that has its records is a copy. Empty:
    /// another log has that path now.
    file: String,
    /// First and last number of each run of captured records, in order.
    captured: Vec<(u64, u64)>,
    /// Marks by number.
    lasting: BTreeMap<u64, i128>,
    recent: BTreeMap<u64, i128>,
}

/// Runs of captured numbers that are told apart: more become one, and what is between them is not captured any more.
const RUNS_MAX: usize = 16;

impl EventLogs {
    pub(super) fn of_position(position: Option<&Value>) -> Self {
        let list = |name| {
            let list = position.and_then(|position| position.get(name)?.as_array());
            list.into_iter().flatten()
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let file = |file: &Value| Some((text(file.get(0)?)?, text(file.get(1)?)?));
        Self {
            logs: list("logs").map(EventLog::of_value).collect(),
            // Older positions have none.
            files: list("files").filter_map(file).collect(),
        }
    }

    pub(super) fn position(&self) -> Value {
        json!({ "logs": self.logs.iter().map(EventLog::value).collect::<Vec<_>>(), "files": self.files })
    }

    /// Whether each record of a file is captured, by its fingerprint.
    pub(super) fn is_captured(&self, file: &ReadEvents) -> bool {
        self.files.iter().any(|(_, known)| *known == file.fingerprint)
    }

    /// Each record of a file is captured; whether that is news. What was there before is forgotten: it is gone, or has another path.
    pub(super) fn captured_whole(&mut self, file: &ReadEvents) -> bool {
        let entry = (file.path.clone(), file.fingerprint.clone());
        if self.files.contains(&entry) {
            return false;
        }
        self.files.retain(|(path, _)| *path != file.path);
        self.files.push_back(entry);
        let over = self.files.len().saturating_sub(FILES_MAX);
        self.files.drain(..over);
        true
    }

    /// The log of a file becomes the last one: the known one, or a new one. `is_settled`: the file has not changed since the look
    /// before.
    pub(super) fn open(&mut self, file: &ReadEvents, is_settled: bool) -> OpenedLog {
        let ReadEvents { path, records, .. } = file;
        let likeness: Vec<_> = self.logs.iter().map(|log| log.likeness(records)).collect();
        if !is_settled && likeness.contains(&Likeness::Mixed) {
            return OpenedLog::Mixed;
        }
        let logs = std::mem::take(&mut self.logs).into_iter().zip(likeness);
        let (same, others): (Vec<_>, Vec<_>) = logs.partition(|(_, likeness)| *likeness == Likeness::Same);
        let logs = |logs: Vec<_>| logs.into_iter().map(|(log, _)| log).collect::<Vec<EventLog>>();
        let (mut same, mut others) = (logs(same), logs(others));
        if same.is_empty()
            && let Some(at) = others
                .iter()
                .rposition(|log| log.file == *path && log.goes_on_in(records))
        {
            same.push(others.remove(at));
        }
        if same.is_empty() && others.len() >= LOGS_MAX {
            // Of a log that has no file any more only an archive may come back. The one that was read longest ago goes.
            let has_no_file = |log: &EventLog| log.file.is_empty() || log.file == *path;
            if let Some(at) = others.iter().position(has_no_file) {
                others.remove(at);
            }
        }
        let has_room = !same.is_empty() || others.len() < LOGS_MAX;
        if has_room {
            let home = same.iter().map(|log| &log.file).rfind(|home| !home.is_empty());
            let home = home.unwrap_or(path).clone();
            // A file that has records of two logs shows that they are one, of which nothing in between was seen before.
            let log = same.into_iter().fold(EventLog::default(), EventLog::joined);
            for other in others.iter_mut().filter(|other| other.file == *path) {
                other.file.clear();
            }
            others.push(EventLog { file: home, ..log });
        }
        self.logs = others;
        if has_room {
            OpenedLog::Opened
        } else {
            OpenedLog::TooMany
        }
    }

    /// Whether a record of the log that was opened is new.
    pub(super) fn is_new(&self, number: u64) -> bool {
        self.logs.last().is_none_or(|log| !log.has(number))
    }

    /// First and last number of what is missing between captured records of the log that was opened, if these records follow on it.
    pub(super) fn missing_before(&self, records: &BTreeMap<u64, i128>) -> Vec<(u64, u64)> {
        let runs = self.logs.last().map_or(&[][..], |log| &log.captured);
        let pairs = runs.iter().zip(runs.iter().skip(1));
        let follows = pairs.filter(|(_, next)| records.contains_key(&next.0));
        follows
            .map(|(run, next)| (run.1.saturating_add(1), next.0.saturating_sub(1)))
            .collect()
    }

    /// A record of the log that was opened is captured.
    pub(super) fn captured(&mut self, (number, time): NumberedTime, is_last: bool) {
        let Some(log) = self.logs.last_mut() else { return };
        let is_first = log.captured.is_empty();
        log.add(number);
        if is_first || is_last || number.is_multiple_of(MARK_EVERY) {
            log.lasting.insert(number, time);
        }
        log.recent.insert(number, time);
        while log.recent.len() > RECENT_MAX {
            log.recent.pop_first();
        }
        self.thin_marks();
    }

    /// Each log has its share of the marks.
    fn thin_marks(&mut self) {
        let most = LASTING_MAX / self.logs.len().max(1);
        for log in &mut self.logs {
            while log.lasting.len() > most {
                thin(&mut log.lasting);
            }
        }
    }
}

/// Removes the mark that is missed least: the distances of the others from the newest one grow evenly by a factor. So a file has
/// marks in its older part, too, if its newest part cannot be read.
fn thin(marks: &mut BTreeMap<u64, i128>) {
    let newest = marks.last_key_value().map_or(0, |(number, _)| *number);
    let distance = |number: u64| u128::from(newest - number) + 1;
    let numbers: Vec<u64> = marks.keys().copied().collect();
    // By how much the distance grows from the mark after it to the one before it, as a fraction.
    let growths = numbers.windows(3).filter_map(|marks| match *marks {
        [older, mark, newer] => Some((mark, distance(older), distance(newer))),
        _ => None,
    });
    let least = growths.min_by(|left, right| (left.1 * right.2).cmp(&(right.1 * left.2)));
    match least {
        Some((mark, ..)) => drop(marks.remove(&mark)),
        None => drop(marks.pop_first()),
    }
}

impl EventLog {
    fn joined(mut self, other: Self) -> Self {
        self.captured.extend(other.captured);
        self.captured.sort_unstable();
        self.captured.dedup_by(|next, run| {
            let is_one = next.0 <= run.1.saturating_add(1);
            if is_one {
                run.1 = run.1.max(next.1);
            }
            is_one
        });
        self.lasting.extend(other.lasting);
        self.recent.extend(other.recent);
        self
    }

    fn likeness(&self, records: &BTreeMap<u64, i128>) -> Likeness {
        let marks = self.lasting.iter().chain(&self.recent);
        let common = marks.filter_map(|(number, time)| Some(records.get(number)? == time));
        let (same, other): (Vec<bool>, Vec<bool>) = common.partition(|is_same| *is_same);
        match (same.is_empty(), other.is_empty()) {
            (false, true) => Likeness::Same,
            (false, false) => Likeness::Mixed,
            (true, _) => Likeness::Other,
        }
    }

    /// Whether these records can only come after those that are captured: all were overwritten since it was read last.
    fn goes_on_in(&self, records: &BTreeMap<u64, i128>) -> bool {
        let last = self.captured.last().map(|(_, last)| last);
        let newest = self.recent.last_key_value().map(|(_, time)| time);
        let first = records.first_key_value();
        first.is_some_and(|(number, time)| {
            last.is_some_and(|last| number > last) && newest.is_some_and(|newest| time >= newest)
        })
    }

    fn has(&self, number: u64) -> bool {
        self.captured
            .iter()
            .any(|(first, last)| (first..=last).contains(&&number))
    }

    fn add(&mut self, number: u64) {
        if self.has(number) {
            return;
        }
        let at = self.captured.partition_point(|(first, _)| *first < number);
        self.captured.insert(at, (number, number));
        self.captured.dedup_by(|next, run| {
            let is_one = run.1.checked_add(1) == Some(next.0);
            if is_one {
                run.1 = next.1;
            }
            is_one
        });
        if self.captured.len() > RUNS_MAX {
            // The oldest runs become one: what is missing between them was damaged.
            let (_, last) = self.captured.remove(1);
            if let Some(run) = self.captured.first_mut() {
                run.1 = last;
            }
        }
    }

    fn value(&self) -> Value {
        // Times are larger than JSON's numbers may be.
        let list = |marks: &BTreeMap<u64, i128>| {
            let marks = marks
                .iter()
                .map(|(number, time)| json!([number, time.to_string()]));
            marks.collect::<Vec<_>>()
        };
        json!({ "file": self.file, "captured": self.captured, "lasting": list(&self.lasting), "recent": list(&self.recent) })
    }

    fn of_value(value: &Value) -> Self {
        let list = |name: &str| value.get(name).and_then(Value::as_array).into_iter().flatten();
        let run = |run: &Value| Some((run.get(0)?.as_u64()?, run.get(1)?.as_u64()?));
        let mark = |mark: &Value| Some((mark.get(0)?.as_u64()?, mark.get(1)?.as_str()?.parse().ok()?));
        let file = value.get("file").and_then(Value::as_str);
        Self {
            // Older positions have none.
            file: file.unwrap_or_default().to_owned(),
            captured: list("captured").filter_map(run).collect(),
            lasting: list("lasting").filter_map(mark).collect(),
            recent: list("recent").filter_map(mark).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
