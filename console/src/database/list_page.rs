//! Where a list goes on: lists of rows by a time and a name, the newest first.

use std::fmt;
use std::str::FromStr;

/// The last row that somebody has. As text (`Display`, `FromStr`) it is `<ms>,<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListCursor {
    pub(crate) ms: i64,
    pub(crate) name: String,
}

/// A text that is no cursor of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListCursorError;

impl FromStr for ListCursor {
    type Err = ListCursorError;

    fn from_str(text: &str) -> Result<Self, ListCursorError> {
        let (ms, name) = text.split_once(',').ok_or(ListCursorError)?;
        Ok(Self {
            ms: ms.parse().map_err(|_| ListCursorError)?,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.ms, self.name)
    }
}

/// Which rows of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListPage {
    pub(crate) limit: usize,
    /// Only rows behind this one.
    pub(crate) after: Option<ListCursor>,
}

impl ListPage {
    /// The first rows.
    pub(crate) fn first(limit: usize) -> Self {
        Self { limit, after: None }
    }

    /// The values of `(ms, name) < (?1, ?2) ... LIMIT ?3`.
    pub(super) fn values(&self) -> (i64, &str, i64) {
        let (ms, name) = match &self.after {
            Some(after) => (after.ms, after.name.as_str()),
            None => (i64::MAX, ""),
        };
        (ms, name, i64::try_from(self.limit).unwrap_or(i64::MAX))
    }
}
