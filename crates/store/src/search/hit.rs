//! A line that was found, its name, and where a search goes on. Pure.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::parts_read::PartsRead;

/// A line that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hit {
    /// Its time, in milliseconds since 1970.
    pub time_ms: i64,
    /// The source.
    pub source: String,
    /// The source's group.
    pub group: String,
    /// The log; empty if it is not known.
    pub log: String,
    /// The batch's name, without `.log`.
    pub batch: String,
    /// Its first byte in the batch.
    pub offset: u64,
    /// Its level.
    pub level: Option<String>,
    /// Its HTTP status.
    pub status: Option<u16>,
    /// Its bytes, without the newline.
    pub line: Vec<u8>,
    /// Its fields, names and values without escapes, if they are asked for.
    pub fields: Vec<(String, String)>,
}

impl Hit {
    /// The line's name for ever, on every host: `<batch>@<offset>`.
    pub fn id(&self) -> String {
        format!("{}@{}", self.batch, self.offset)
    }
}

/// The order of hits: by time; lines of one time by batch and offset, so that the order is the same in spool and store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HitKey {
    pub(crate) time_ms: i64,
    pub(crate) batch: String,
    pub(crate) offset: u64,
}

impl HitKey {
    /// Whether the line comes before it, or is it.
    pub(super) fn is_at_or_after(&self, time_ms: i64, batch: &str, offset: u64) -> bool {
        self.compare(time_ms, batch, offset).is_ge()
    }

    /// Makes `newest` that of the line, if the line is newer.
    pub(super) fn raise(newest: &mut Option<Self>, time_ms: i64, batch: &str, offset: u64) {
        let Some(key) = newest else {
            let batch = batch.to_owned();
            *newest = Some(Self {
                time_ms,
                batch,
                offset,
            });
            return;
        };
        if key.compare(time_ms, batch, offset).is_lt() {
            (key.time_ms, key.offset) = (time_ms, offset);
            batch.clone_into(&mut key.batch);
        }
    }

    fn compare(&self, time_ms: i64, batch: &str, offset: u64) -> Ordering {
        (self.time_ms, self.batch.as_str(), self.offset).cmp(&(time_ms, batch, offset))
    }
}

/// Nothing of a part is newer than this line; if only the time is known, than any line of the time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartBound {
    pub(super) time_ms: i64,
    is_any_line: bool,
    batch: String,
    offset: u64,
}

impl PartBound {
    pub(super) fn of_time(time_ms: i64) -> Self {
        Self {
            time_ms,
            is_any_line: true,
            batch: String::new(),
            offset: 0,
        }
    }

    pub(super) fn of_line(key: HitKey) -> Self {
        Self {
            time_ms: key.time_ms,
            is_any_line: false,
            batch: key.batch,
            offset: key.offset,
        }
    }

    /// Whether the part may have this line.
    pub(super) fn may_have(&self, key: &HitKey) -> bool {
        let own = (self.time_ms, self.is_any_line, self.batch.as_str(), self.offset);
        own >= (key.time_ms, false, key.batch.as_str(), key.offset)
    }
}

/// Where a search goes on: behind a hit, or at a time. As text (`Display`, `FromStr`): `<ms>` or `<ms>,<batch>@<offset>`.
///
/// The one that a search returns also knows what is left of the frames that were read; it is for the same query. Its text does
/// not: a search from the text reads them again.
#[derive(Debug, Clone)]
pub struct SearchCursor {
    time_ms: i64,
    /// The batch and the offset of the last hit that was shown; without it, all hits of later times were shown.
    behind: Option<(String, u64)>,
    parts_read: Arc<PartsRead>,
}

impl PartialEq for SearchCursor {
    fn eq(&self, other: &Self) -> bool {
        (self.time_ms, &self.behind) == (other.time_ms, &other.behind)
    }
}

impl Eq for SearchCursor {}

impl SearchCursor {
    pub(crate) fn at(time_ms: i64) -> Self {
        Self {
            time_ms,
            behind: None,
            parts_read: Arc::default(),
        }
    }

    pub(crate) fn behind(key: HitKey) -> Self {
        Self {
            behind: Some((key.batch, key.offset)),
            ..Self::at(key.time_ms)
        }
    }

    /// The newest time that is still to be searched.
    pub(crate) fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Whether a line is still to be shown.
    pub(crate) fn admits(&self, time_ms: i64, batch: &str, offset: u64) -> bool {
        match &self.behind {
            None => time_ms <= self.time_ms,
            Some((last, last_offset)) => {
                (time_ms, batch, offset) < (self.time_ms, last.as_str(), *last_offset)
            }
        }
    }

    /// The one of both that admits less.
    pub(super) fn later(self, other: Self) -> Self {
        let is_later = (self.time_ms, self.behind.is_none(), &self.behind)
            <= (other.time_ms, other.behind.is_none(), &other.behind);
        if is_later { self } else { other }
    }

    pub(super) fn parts_read(&self) -> PartsRead {
        PartsRead::clone(&self.parts_read)
    }

    pub(super) fn with_parts_read(self, parts_read: PartsRead) -> Self {
        Self {
            parts_read: Arc::new(parts_read),
            ..self
        }
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cursor of a search; give the text that the search before has returned")]
pub struct CursorError(String);

impl fmt::Display for SearchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.time_ms)?;
        match &self.behind {
            Some((batch, offset)) => write!(f, ",{batch}@{offset}"),
            None => Ok(()),
        }
    }
}

impl FromStr for SearchCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parse = || {
            let Some((time, id)) = text.split_once(',') else {
                return Some(Self::at(text.parse().ok()?));
            };
            let (batch, offset) = id.rsplit_once('@')?;
            Some(Self::behind(HitKey {
                time_ms: time.parse().ok()?,
                batch: batch.to_owned(),
                offset: offset.parse().ok()?,
            }))
        };
        parse().ok_or_else(|| CursorError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_read_back_from_its_text_and_admits_what_is_behind_it() {
        let cursor: SearchCursor = "1000,a@x@7".parse().unwrap();
        assert_eq!(cursor.to_string(), "1000,a@x@7");
        assert!(cursor.admits(999, "z", 9) && cursor.admits(1000, "a@x", 6) && cursor.admits(1000, "a", 9));
        assert!(
            !cursor.admits(1000, "a@x", 7) && !cursor.admits(1000, "b", 0) && !cursor.admits(1001, "a", 0)
        );
        let cursor: SearchCursor = "-5".parse().unwrap();
        assert!(cursor.admits(-5, "a", 0) && !cursor.admits(-4, "a", 0));
        let later = |a: &str, b: &str| -> String {
            let [a, b] = [a, b].map(|text| text.parse::<SearchCursor>().unwrap());
            a.later(b).to_string()
        };
        assert_eq!(later("7", "7,a@1"), "7,a@1");
        assert_eq!(later("7,a@1", "7,a@0"), "7,a@0");
        assert_eq!(later("6", "7,a@1"), "6");
        for text in ["", "x", "1,", "1,a", "1,a@", "1,a@x"] {
            assert!(text.parse::<SearchCursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn part_may_have_the_lines_up_to_its_bound() {
        let key = |time_ms, batch: &str, offset| HitKey {
            time_ms,
            batch: batch.to_owned(),
            offset,
        };
        let bound = PartBound::of_line(key(5, "b", 7));
        assert!(bound.may_have(&key(5, "b", 7)) && bound.may_have(&key(5, "a", 9)));
        assert!(!bound.may_have(&key(5, "b", 8)) && !bound.may_have(&key(6, "a", 0)));
        assert!(PartBound::of_time(5).may_have(&key(5, "z", 9)) && PartBound::of_time(5) > bound);
        let mut newest = None;
        for (time, batch, offset) in [(4, "z", 9), (5, "b", 7), (5, "a", 8)] {
            HitKey::raise(&mut newest, time, batch, offset);
        }
        assert_eq!(newest, Some(key(5, "b", 7)));
    }
}
