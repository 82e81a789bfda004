//! What names a line, and what is answered to it: the line with those around it.

use std::fmt;
use std::str::FromStr;

use logferry_store::Hit;

/// Bytes before and after a line in which others are looked for. A line is at most as long as this.
pub(crate) const BYTES_MAX: u64 = 2 << 20;

/// The name of a line for ever: `<batch>@<offset>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineId {
    /// The batch's name, without `.log`.
    pub batch: String,
    /// Its first byte there.
    pub offset: u64,
}

/// A text that names no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no line's id; an id is BATCH@OFFSET, as `search --json` shows it")]
pub struct LineIdError;

impl FromStr for LineId {
    type Err = LineIdError;

    fn from_str(text: &str) -> Result<Self, LineIdError> {
        let (batch, offset) = text.rsplit_once('@').ok_or(LineIdError)?;
        // No file is found by it, but what it looks like is shown to people.
        let is_plain = !batch.is_empty() && !batch.contains(|c: char| c.is_control() || c == '/');
        let offset = offset.parse().ok().filter(|_| is_plain);
        Ok(Self {
            batch: batch.to_owned(),
            offset: offset.ok_or(LineIdError)?,
        })
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.batch, self.offset)
    }
}

/// A line with those around it, in the order of the batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinesAround {
    /// The lines before it.
    pub before: Vec<Hit>,
    /// The line itself.
    pub line: Hit,
    /// The lines after it.
    pub after: Vec<Hit>,
}
