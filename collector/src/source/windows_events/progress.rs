//! Which records of event logs are new.
//!
//! Pure: numbers and times in, decisions out. A file says nothing about which log it is of: a live file is overwritten in a
//! circle, an archive is the live file under another name, and numbers begin anew when a log is cleared. So a log is known by
//! *marks*, numbers of records with their times: a file is of a log if a record of it has a mark's number and its time. In the
//! log's own file numbers are the log's; in `ForwardedEvents` the events have other numbers inside, which do not count.
//!
//! Invariant: a record of a known log is new at most once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A record's number and its time, in units of 100 ns or finer since 1970.
pub(super) type NumberedTime = (u64, i128);

/// Each so many records leave a lasting mark, and so does the last one of each reading.
const MARK_EVERY: u64 = 4096;
const LASTING_MAX: usize = 12;
/// The newest records are marks, too: one that cannot be read any more does not make a log unknown.
const RECENT_MAX: usize = 6;
/// Logs that are known: their position stays below 64 KiB.
const LOGS_MAX: usize = 50;

/// What is captured of all logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EventLogs {
    /// The one that was read last is the last.
    logs: Vec<EventLog>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct EventLog {
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
        let logs = position.and_then(|position| position.get("logs")?.as_array());
        Self {
            logs: logs.into_iter().flatten().map(EventLog::of_value).collect(),
        }
    }

    pub(super) fn position(&self) -> Value {
        json!({ "logs": self.logs.iter().map(EventLog::value).collect::<Vec<_>>() })
    }

    /// The log of a file with these records becomes the last one: the known one, or a new one. `false`: there are too many.
    pub(super) fn open(&mut self, records: &BTreeMap<u64, i128>) -> bool {
        let is_of = |log: &EventLog| {
            let marks = log.lasting.iter().chain(&log.recent);
            let mut common = marks.filter_map(|(number, time)| Some(records.get(number)? == time));
            // One record with another time: a log that was cleared, or another host's.
            common.next().is_some_and(|is_same| is_same) && common.all(|is_same| is_same)
        };
        let (same, mut others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.logs).into_iter().partition(is_of);
        let has_room = !same.is_empty() || others.len() < LOGS_MAX;
        if has_room {
            // A file that has records of two logs shows that they are one, of which nothing in between was seen before.
            others.push(same.into_iter().fold(EventLog::default(), EventLog::joined));
        }
        self.logs = others;
        has_room
    }

    /// Whether a record of the log that was opened is new.
    pub(super) fn is_new(&self, number: u64) -> bool {
        self.logs.last().is_none_or(|log| !log.has(number))
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
        for (marks, most) in [(&mut log.lasting, LASTING_MAX), (&mut log.recent, RECENT_MAX)] {
            while marks.len() > most {
                marks.pop_first();
            }
        }
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
        json!({ "captured": self.captured, "lasting": list(&self.lasting), "recent": list(&self.recent) })
    }

    fn of_value(value: &Value) -> Self {
        let list = |name: &str| value.get(name).and_then(Value::as_array).into_iter().flatten();
        let run = |run: &Value| Some((run.get(0)?.as_u64()?, run.get(1)?.as_u64()?));
        let mark = |mark: &Value| Some((mark.get(0)?.as_u64()?, mark.get(1)?.as_str()?.parse().ok()?));
        Self {
            captured: list("captured").filter_map(run).collect(),
            lasting: list("lasting").filter_map(mark).collect(),
            recent: list("recent").filter_map(mark).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn file(numbers: impl IntoIterator<Item = u64>, life: u64) -> BTreeMap<u64, i128> {
        let time = |number| i128::from(number * 10_000_000 + life);
        numbers.into_iter().map(|number| (number, time(number))).collect()
    }

    /// Captures a file, and returns what was new.
    fn capture(logs: &mut EventLogs, file: &BTreeMap<u64, i128>) -> Vec<u64> {
        if !logs.open(file) {
            return Vec::new();
        }
        let new: Vec<u64> = file
            .keys()
            .copied()
            .filter(|number| logs.is_new(*number))
            .collect();
        for number in &new {
            logs.captured((*number, file[number]), new.last() == Some(number));
        }
        *logs = EventLogs::of_position(Some(&logs.position()));
        new
    }

    #[test]
    fn live_file_and_its_archives_are_one_log() {
        let mut logs = EventLogs::default();
        assert_eq!(capture(&mut logs, &file(1..=100, 0)).len(), 100);
        // The live file went round, its beginning is gone; then it is archived under another name.
        assert_eq!(
            capture(&mut logs, &file(90..=130, 0)),
            (101..=130).collect::<Vec<_>>()
        );
        assert_eq!(capture(&mut logs, &file(1..=100, 0)), [0; 0]);
        assert_eq!(capture(&mut logs, &file(1..=130, 0)), [0; 0]);
    }

    #[test]
    fn cleared_log_and_another_hosts_log_are_new_ones() {
        let mut logs = EventLogs::default();
        capture(&mut logs, &file(1..=100, 0));
        assert_eq!(capture(&mut logs, &file(1..=10, 5)).len(), 10);
        assert_eq!(capture(&mut logs, &file(1..=100, 7)).len(), 100);
        assert_eq!(capture(&mut logs, &file(1..=100, 0)), [0; 0]);
    }

    #[test]
    fn record_that_could_not_be_read_is_new_when_it_can() {
        let mut logs = EventLogs::default();
        capture(&mut logs, &file((1..=50).chain(60..=100), 0));
        assert_eq!(
            capture(&mut logs, &file(1..=100, 0)),
            (51..=59).collect::<Vec<_>>()
        );
    }

    #[test]
    fn position_of_many_logs_fits() {
        let mut logs = EventLogs::default();
        for life in 0..100 {
            let sparse = (1..30).map(|number| number * MARK_EVERY * 1_000_000);
            capture(&mut logs, &file(sparse, life));
        }
        let len = logs.position().to_string().len();
        assert!(len < 64 << 10, "{len}");
    }

    proptest! {
        /// A live file of a log that is read now and then, whatever parts cannot be read.
        #[test]
        fn each_record_is_new_once(reads in vec((0..60_u64, 0..60_u64, 0..3_u64), 1..20)) {
            let mut logs = EventLogs::default();
            let mut captured = Vec::new();
            let mut newest = 100;
            for (grows, keeps, hole) in reads {
                newest += grows;
                let oldest = newest - 40 - keeps;
                let readable = (oldest..=newest).filter(|number| hole == 0 || number % 17 != hole || *number == newest || *number == oldest);
                captured.extend(capture(&mut logs, &file(readable, 0)));
            }
            let count = captured.len();
            captured.sort_unstable();
            captured.dedup();
            prop_assert_eq!(captured.len(), count, "a record was new twice");
        }
    }
}
