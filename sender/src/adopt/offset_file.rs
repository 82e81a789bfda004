//! The offset file: a decimal byte offset and nothing else. It is written in place after each chunk, so its time of change says
//! until when lines were read.

use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use super::AdoptError;

/// No offset has more characters.
const TEXT_MAX: u64 = 64;

/// What another shipper has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetFile {
    pub(super) offset: u64,
    /// In seconds since 1970, rounded down.
    pub(super) written_at: i64,
}

impl OffsetFile {
    pub(super) fn read(path: &Path) -> Result<Self, AdoptError> {
        let failed = |source| AdoptError::Read {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let modified = file
            .metadata()
            .and_then(|found| found.modified())
            .map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(TEXT_MAX).read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        let digits = text.trim();
        // The standard parser would take a sign, too.
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let offset = digits.parse().ok().filter(|_| is_number);
        Ok(Self {
            offset: offset.ok_or_else(|| AdoptError::NoOffset {
                path: path.to_owned(),
                content: text.into_owned(),
            })?,
            written_at: seconds(modified),
        })
    }

    pub(super) fn written_at_time(&self) -> Timestamp {
        Timestamp::from_second(self.written_at).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Seconds since 1970, rounded down; 0 for an earlier time.
pub(super) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
