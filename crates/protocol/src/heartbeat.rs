//! The sender's report on itself, sent every few seconds apart from the data. It distinguishes a quiet log from a dead
//! sender, and tells the seal rule whether lines are still to come. It also reports lines that are lost for good.
//!
//! Versions interoperate: fields added after the first version are optional, and unknown fields are ignored.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::chunk::LineCounts;
use crate::names::LogName;
use crate::stream::{Offset, StreamId};

/// A sender's report on itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender's version.
    pub version: String,
    /// When this report was made.
    #[serde(default)]
    pub at: Option<HostTime>,
    /// When the sender was started.
    #[serde(default)]
    pub started_at: Option<HostTime>,
    /// Since when the sender cannot save its checkpoint; `None` if it can.
    #[serde(default)]
    pub checkpoint_failing_since: Option<HostTime>,
    /// Paths of logs that cannot be read: no permission, a bad disk, a damaged archive.
    #[serde(default)]
    pub unreadable: Vec<String>,
    /// Files that the sender can read and does not ship.
    #[serde(default)]
    pub held: Vec<HeldFile>,
    /// Files beside the logs that begin like a log's name and are not taken for rotated files of it.
    #[serde(default)]
    pub neighbours: Vec<String>,
    /// What keeps the sender from logs: paths that match nothing, and folders and files that it cannot read. At most
    /// [`PROBLEMS_MAX`] of them.
    #[serde(default)]
    pub log_problems: Vec<LogProblem>,
    /// How many files it has found of which it does not know yet how much the relay has.
    #[serde(default)]
    pub unresolved_files: u64,
    /// The streams it follows now.
    pub streams: Vec<StreamProgress>,
    /// Bytes that can no longer be sent. Repeated until a report with them is answered 204.
    #[serde(default)]
    pub gaps: Vec<ReportedGap>,
    /// Which part of the report this is; `None`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<ReportPart>,
}

/// Bytes that the streams of one part take at most. A relay accepts a report of 1 MiB.
pub const PART_BYTES: usize = 512 * 1024;

/// Most streams of one report, in all its parts. A relay ignores the others.
pub const REPORT_STREAMS_MAX: usize = 50_000;

/// The number of a part of a report. The parts of one report have the same time `at`, and are sent in their order. All but
/// the last have streams only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPart {
    /// From 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

/// Most problems in one report.
pub const PROBLEMS_MAX: usize = 50;

/// Something that keeps a sender from a log, or from a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogProblem {
    /// The log.
    pub log: LogName,
    /// The path or glob of the log, or the folder or file that the problem is about.
    pub path: String,
    /// Its kind.
    #[serde(default)]
    pub kind: LogProblemKind,
    /// What is wrong and what to do; it reads on after the path and a colon.
    pub reason: String,
    /// Since when the sender has seen it.
    #[serde(default)]
    pub since: Option<HostTime>,
}

/// The kind of a [`LogProblem`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogProblemKind {
    /// No file has the path or matches the glob.
    NoMatch,
    /// A folder on the way may not be entered or listed.
    FolderRefused,
    /// What has the path is no regular file.
    NotAFile,
    /// A file is there and cannot be read.
    Unreadable,
    /// Of a newer version.
    #[default]
    #[serde(other)]
    Other,
}

/// A file that the sender sees and does not ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldFile {
    /// Where it is.
    pub path: String,
    /// Why it is not shipped, and what to do.
    pub reason: String,
}

/// How far one stream is: `acked <= sent <= read <= size`, except for a file that has just become shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamProgress {
    /// The stream.
    pub stream: StreamId,
    /// Its log.
    pub log: LogName,
    /// Where its file is, or was before it was deleted.
    #[serde(default)]
    pub path: String,
    /// Read up to here. The bytes after `sent` are the beginning of a line that has no end yet.
    #[serde(default)]
    pub read: Offset,
    /// Sent, or on its way.
    #[serde(default)]
    pub sent: Offset,
    /// Acknowledged by the relay.
    pub acked: Offset,
    /// Size of the file now.
    pub size: Offset,
    /// Milliseconds since the sender first saw the oldest line that is not acknowledged; 0 if there is none. For a file
    /// found with a backlog it is the age of the last change of the file, so the line may be older.
    #[serde(default)]
    pub oldest_unread_ms: u64,
    /// Lines acknowledged since the sender was started. The relay's ledger has them since the stream began.
    #[serde(default)]
    pub lines: LineCounts,
    /// Whether the file was rotated away.
    pub rotated: bool,
    /// Whether the file was deleted. It is held open and read on, but a restart would lose it.
    #[serde(default)]
    pub deleted: bool,
}

/// Bytes of a log that were gone from the sender's disk before they could be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedGap {
    /// The stream.
    pub stream: StreamId,
    /// Its log.
    pub log: LogName,
    /// Where its file was last.
    #[serde(default)]
    pub path: String,
    /// The first byte that is missing.
    pub from: Offset,
    /// The largest size seen of the file: at least the bytes from `from` up to here are lost. `None`: no byte is known to be
    /// missing. Either all bytes that were seen were sent, but the file disappeared before its end was known. Or the file was
    /// seen and could never be read: its lines may be in another file.
    pub until: Option<Offset>,
    /// When that was found.
    pub noticed_at: HostTime,
}

/// A time by the clock of the sender's host, in milliseconds since 1970 (UTC). That clock may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostTime(i64);

impl StreamProgress {
    /// More than it takes as JSON. A character of the path takes up to six bytes.
    fn json_bytes_max(&self) -> usize {
        400 + self.log.as_str().len() + 6 * self.path.len()
    }

    /// Bytes on the sender's disk that the relay does not have.
    pub fn lag_bytes(&self) -> u64 {
        self.size.since(self.acked)
    }

    /// Whether it has unsent lines in a file that rotation may delete at any time, or has deleted.
    pub fn is_at_risk(&self) -> bool {
        (self.rotated || self.deleted) && self.lag_bytes() > 0
    }
}

impl Heartbeat {
    /// The report in parts that a relay accepts; one if it is small. Everything but streams is in the last part, and so are
    /// the streams that are furthest behind: a relay that knows no parts keeps the last one.
    pub fn into_parts(mut self, bytes_max: usize) -> Vec<Self> {
        let mut streams = std::mem::take(&mut self.streams);
        streams.sort_by_key(StreamProgress::lag_bytes);
        let mut groups = Vec::new();
        let (mut group, mut left) = (Vec::new(), bytes_max);
        while let Some(stream) = streams.pop() {
            let size = stream.json_bytes_max();
            if size > left && !group.is_empty() {
                groups.push(std::mem::take(&mut group));
                left = bytes_max;
            }
            left = left.saturating_sub(size);
            group.push(stream);
        }
        let of = u32::try_from(groups.len() + 1).unwrap_or(u32::MAX);
        groups.push(group);
        let mut parts = Vec::with_capacity(groups.len());
        for (number, streams) in (1..=of).zip(groups.into_iter().rev()) {
            let part = (of > 1).then_some(ReportPart { number, of });
            let rest = if number == of {
                std::mem::take(&mut self)
            } else {
                Self {
                    version: self.version.clone(),
                    at: self.at,
                    started_at: self.started_at,
                    ..Self::default()
                }
            };
            parts.push(Self {
                streams,
                part,
                ..rest
            });
        }
        parts
    }

    /// Adds the next part of the same report to the parts before it; the part comes back if it is of another report.
    pub fn join(mut self, next: Self) -> Result<Self, Box<Self>> {
        let follows = match (self.part, next.part) {
            (Some(last), Some(part)) => part.number == last.number.saturating_add(1) && part.of == last.of,
            _ => false,
        };
        if !follows || (self.at, self.started_at) != (next.at, next.started_at) {
            return Err(Box::new(next));
        }
        let room = REPORT_STREAMS_MAX.saturating_sub(self.streams.len());
        self.streams.extend(next.streams.into_iter().take(room));
        Ok(Self {
            streams: self.streams,
            ..next
        })
    }

    /// Whether all of the report is here.
    pub fn is_whole(&self) -> bool {
        self.part.is_none_or(|part| part.number >= part.of)
    }

    /// Whether the sender has, or may have, files of which nobody knows how many bytes are still to come: the lag by this
    /// report is then a part of the true one. A path that matches nothing has no file.
    pub fn has_unknown_lag(&self) -> bool {
        let hides_lines = |problem: &LogProblem| problem.kind != LogProblemKind::NoMatch;
        self.unresolved_files > 0 || !self.unreadable.is_empty() || self.log_problems.iter().any(hides_lines)
    }
}

impl ReportedGap {
    /// Bytes that are known to be lost; 0 if none is.
    pub fn bytes(&self) -> u64 {
        self.until.map_or(0, |until| until.since(self.from))
    }
}

impl HostTime {
    /// The time `millis` milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970; negative before.
    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl From<SystemTime> for HostTime {
    fn from(time: SystemTime) -> Self {
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => millis(before.duration()).saturating_neg(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stream::{FileKey, Head};

    fn stream() -> StreamId {
        let head = Head::of(b"line\n").expect("a line");
        StreamId::derive(FileKey { dev: 1, inode: 1 }, head, 0)
    }

    #[test]
    fn a_report_of_the_first_version_is_understood() {
        let stream = stream();
        let text = format!(
            r#"{{"version":"0.1.0","streams":[{{"stream":"{stream}","log":"access","acked":5,"size":9,"rotated":true}}]}}"#
        );
        let beat: Heartbeat = serde_json::from_str(&text).expect("a heartbeat");
        assert_eq!(beat.streams[0].lag_bytes(), 4);
        assert!(beat.streams[0].is_at_risk());
        assert_eq!((beat.at, beat.gaps.len()), (None, 0));
    }

    fn report(streams: u64) -> Heartbeat {
        let progress = |number: u64| StreamProgress {
            stream: stream(),
            log: "access".parse().expect("a name"),
            path: format!("/log/{number}"),
            read: Offset::ZERO,
            sent: Offset::ZERO,
            acked: Offset::ZERO,
            size: Offset::new(number),
            oldest_unread_ms: 0,
            lines: LineCounts::default(),
            rotated: false,
            deleted: false,
        };
        Heartbeat {
            at: Some(HostTime::from_millis(1)),
            unreadable: vec!["/a".to_owned()],
            streams: (0..streams).map(progress).collect(),
            ..Heartbeat::default()
        }
    }

    /// Room for three streams of [`report`].
    const THREE: usize = 3 * 460;

    #[test]
    fn a_report_of_many_streams_goes_in_parts_and_is_whole_again() {
        for streams in [0, 1, 3, 4, 7, 9, 10] {
            let parts = report(streams).into_parts(THREE);
            assert!(parts.iter().all(|part| part.streams.len() <= 3), "{streams}");
            assert_eq!(parts.len() as u64, 1.max(streams.div_ceil(3)), "{streams}");
            let last = parts.last().expect("a part");
            assert_eq!(last.unreadable, ["/a"], "{streams}");
            let mut parts = parts.into_iter();
            let mut whole = parts.next().expect("a part");
            for part in parts {
                assert!(!whole.is_whole());
                whole = whole.join(part).expect("the next part");
            }
            assert!(whole.is_whole());
            whole.streams.sort_by_key(StreamProgress::lag_bytes);
            let expected = report(streams);
            assert_eq!(
                (whole.streams, whole.unreadable),
                (expected.streams, expected.unreadable)
            );
        }
    }

    #[test]
    fn each_part_of_a_report_is_small_enough_for_a_relay() {
        let mut large = report(5000);
        for stream in &mut large.streams {
            stream.path = "\u{1}".repeat(1000);
        }
        for part in large.into_parts(PART_BYTES) {
            let bytes = serde_json::to_vec(&part).expect("JSON").len();
            assert!(bytes <= PART_BYTES + 4096, "{bytes}");
        }
    }

    #[test]
    fn the_last_part_has_the_streams_that_are_furthest_behind() {
        let parts = report(10).into_parts(THREE);
        let mut last: Vec<_> = parts[3].streams.iter().map(StreamProgress::lag_bytes).collect();
        last.sort_unstable();
        assert_eq!(last, [7, 8, 9]);
    }

    #[test]
    fn parts_of_different_reports_are_not_joined() {
        let mut other = report(9);
        other.at = Some(HostTime::from_millis(2));
        let (first, others) = (report(9).into_parts(THREE), other.into_parts(THREE));
        assert!(
            first[0].clone().join(others[1].clone()).is_err(),
            "another report"
        );
        assert!(
            first[0].clone().join(first[2].clone()).is_err(),
            "a part is missing"
        );
        assert!(first[0].clone().join(first[0].clone()).is_err(), "a repeat");
        assert!(
            report(1).join(first[1].clone()).is_err(),
            "a report without parts"
        );
    }

    #[test]
    fn what_an_end_does_not_know_it_skips() {
        let text = r#"{"version":"9.0.0","streams":[],"news":{"of":"later"}}"#;
        let beat: Heartbeat = serde_json::from_str(text).expect("a heartbeat");
        assert_eq!(beat.version, "9.0.0");
    }

    #[test]
    fn a_kind_of_problem_that_an_end_does_not_know_is_a_problem_all_the_same() {
        let text = r#"{"version":"9.0.0","streams":[],"log_problems":[
            {"log":"a","path":"/a","kind":"haunted","reason":"by a newer version"}]}"#;
        let beat: Heartbeat = serde_json::from_str(text).expect("a heartbeat");
        assert_eq!(beat.log_problems[0].kind, LogProblemKind::Other);
        assert!(beat.has_unknown_lag());
    }

    #[test]
    fn the_lag_of_a_sender_with_files_that_nobody_has_read_is_unknown() {
        let problem = |kind| LogProblem {
            log: "access".parse().expect("a name"),
            path: "/log/access.log".to_owned(),
            kind,
            reason: "is wrong".to_owned(),
            since: None,
        };
        let with = |kind| Heartbeat {
            log_problems: vec![problem(kind)],
            ..Heartbeat::default()
        };
        assert!(with(LogProblemKind::Unreadable).has_unknown_lag());
        assert!(with(LogProblemKind::FolderRefused).has_unknown_lag());
        assert!(with(LogProblemKind::NotAFile).has_unknown_lag());
        assert!(
            !with(LogProblemKind::NoMatch).has_unknown_lag(),
            "there is no file"
        );
        let unresolved = Heartbeat {
            unresolved_files: 1,
            ..Heartbeat::default()
        };
        assert!(unresolved.has_unknown_lag());
        assert!(!Heartbeat::default().has_unknown_lag());
    }

    #[test]
    fn a_gap_counts_only_bytes_that_were_seen() {
        let gap = |until| ReportedGap {
            stream: stream(),
            log: "access".parse().expect("a name"),
            path: "/log/access.log.1".into(),
            from: Offset::new(10),
            until,
            noticed_at: HostTime::from_millis(0),
        };
        assert_eq!(gap(Some(Offset::new(25))).bytes(), 15);
        assert_eq!(gap(None).bytes(), 0);
    }

    #[test]
    fn a_clock_before_1970_has_a_time_too() {
        let before = HostTime::from(UNIX_EPOCH - Duration::from_secs(2));
        assert_eq!(before.millis(), -2000);
        assert_eq!(HostTime::from(UNIX_EPOCH + Duration::from_millis(3)).millis(), 3);
    }
}
