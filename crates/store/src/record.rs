//! What the indexer puts into the store. Pure.

use logferry_protocol::names::{GroupName, LogName, SourceId};

/// Where lines come from. The same for all lines of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineOrigin<'a> {
    /// The source.
    pub source: &'a SourceId,
    /// The source's group.
    pub group: &'a GroupName,
    /// The log, if it is known.
    pub log: Option<&'a LogName>,
    /// The batch's name, without `.log`.
    pub batch: &'a str,
    /// The format of the lines, as `Format::parse` takes it: `combined`, or the text of a `log_format`. The fields of a hit
    /// are read by it.
    pub format: &'a str,
}

/// A line for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRecord<'a> {
    /// Where it comes from.
    pub origin: LineOrigin<'a>,
    /// Its first byte in the batch. With the batch's name, it names the line for ever.
    pub offset: u64,
    /// Its time, in milliseconds since 1970. A line without one has the time of the line before it in its batch. Hits are
    /// sorted by it, so give a line from the future the time when it arrived.
    pub time_ms: i64,
    /// Its level, in lower case: `error`, `warn`, `info`, `debug` or another word.
    pub level: Option<&'a str>,
    /// Its HTTP status.
    pub status: Option<u16>,
    /// Its bytes. A newline at the end is not stored.
    pub line: &'a [u8],
}
