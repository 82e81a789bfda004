//! A line that was found, its name, and where a search goes on. Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::hit_key::HitKey;
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
    pub(super) fn stricter(self, other: Self) -> Self {
        let is_stricter = (self.time_ms, self.behind.is_none(), &self.behind)
            <= (other.time_ms, other.behind.is_none(), &other.behind);
        if is_stricter { self } else { other }
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
        let stricter = |a: &str, b: &str| -> String {
            let [a, b] = [a, b].map(|text| text.parse::<SearchCursor>().unwrap());
            a.stricter(b).to_string()
        };
        assert_eq!(stricter("7", "7,a@1"), "7,a@1");
        assert_eq!(stricter("7,a@1", "7,a@0"), "7,a@0");
        assert_eq!(stricter("6", "7,a@1"), "6");
        for text in ["", "x", "1,", "1,a", "1,a@", "1,a@x"] {
            assert!(text.parse::<SearchCursor>().is_err(), "{text}");
        }
    }
}
