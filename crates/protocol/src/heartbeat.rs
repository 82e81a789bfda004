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
    /// The streams it follows now.
    pub streams: Vec<StreamProgress>,
    /// Bytes that can no longer be sent. Repeated until a report with them is answered 204.
    #[serde(default)]
    pub gaps: Vec<ReportedGap>,
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
    /// The largest size seen of the file: at least the bytes from `from` up to here are lost. `None`: all bytes that
    /// were seen were sent, but the file disappeared before its end was known. No byte is known to be missing.
    pub until: Option<Offset>,
    /// When that was found.
    pub noticed_at: HostTime,
}

/// A time by the clock of the sender's host, in milliseconds since 1970 (UTC). That clock may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostTime(i64);

impl StreamProgress {
    /// Bytes on the sender's disk that the relay does not have.
    pub fn lag_bytes(&self) -> u64 {
        self.size.since(self.acked)
    }

    /// Whether it has unsent lines in a file that rotation may delete at any time, or has deleted.
    pub fn is_at_risk(&self) -> bool {
        (self.rotated || self.deleted) && self.lag_bytes() > 0
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

    #[test]
    fn what_an_end_does_not_know_it_skips() {
        let text = r#"{"version":"9.0.0","streams":[],"news":{"of":"later"}}"#;
        let beat: Heartbeat = serde_json::from_str(text).expect("a heartbeat");
        assert_eq!(beat.version, "9.0.0");
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
