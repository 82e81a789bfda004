//! Questions to `index.db`, and their answers as JSON (`row_json`).

mod row_json;

use std::collections::BTreeMap;

use logferry_fields::Level;
use rusqlite::{Connection, Result as SqlResult, named_params};

use crate::counts::Counts;
use crate::state::series_key;
use crate::tally::SeriesKey;

/// The time that a row of numbers is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NumbersSpan {
    /// A minute.
    #[default]
    Minute,
    /// An hour.
    Hour,
}

impl NumbersSpan {
    /// Its length in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    /// The first second of the span that a time lies in.
    pub const fn start_of(self, unix: i64) -> i64 {
        unix - unix.rem_euclid(self.seconds())
    }

    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Minute => "minutes",
            Self::Hour => "hours",
        }
    }
}

/// What rows are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumbersDimension {
    /// The source.
    Source,
    /// The group.
    Group,
    /// The log.
    Log,
    /// The class of the HTTP status: `1xx` to `5xx`. Only lines and bytes are known of each.
    Status,
    /// The level. Only lines and bytes are known of each.
    Level,
}

/// A question. The default asks for all, a row a minute.
#[derive(Debug, Clone, Default)]
pub struct NumbersQuery {
    /// Only spans that end after this second.
    pub since: Option<i64>,
    /// Only spans that begin before this second.
    pub until: Option<i64>,
    /// A row for each of these.
    pub per: NumbersSpan,
    /// And for each value of this.
    pub by: Option<NumbersDimension>,
    /// Only of this source.
    pub source: Option<String>,
    /// Only of this group.
    pub group: Option<String>,
    /// Only of this log.
    pub log: Option<String>,
}

/// An answer's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumbersRow {
    /// First second of its span.
    pub start: i64,
    /// The value that it is for, if the question divides by one; `None` for lines without such a value.
    pub value: Option<String>,
    /// The numbers.
    pub counts: Counts,
}

pub(crate) fn rows(sql: &Connection, query: &NumbersQuery) -> SqlResult<Vec<NumbersRow>> {
    let table = query.per.table();
    let text = format!(
        "SELECT start, counts, source, grp, log FROM {table} JOIN series ON series.id = series
         WHERE start > :since AND start < :until
           AND (:source IS NULL OR source = :source) AND (:grp IS NULL OR grp = :grp) AND (:log IS NULL OR log = :log)"
    );
    let mut statement = sql.prepare_cached(&text)?;
    let mut found = statement.query(named_params! {
        ":since": query.since.map_or(i64::MIN, |since| since.saturating_sub(query.per.seconds())),
        ":until": query.until.unwrap_or(i64::MAX),
        ":source": query.source,
        ":grp": query.group,
        ":log": query.log,
    })?;
    let mut sums: BTreeMap<(i64, Option<String>), Counts> = BTreeMap::new();
    while let Some(row) = found.next()? {
        let start: i64 = row.get("start")?;
        let bytes = row.get_ref("counts")?.as_blob()?;
        let Some(counts) = Counts::decode(bytes) else {
            continue;
        };
        for (value, counts) in divided(counts, series_key(row)?, query.by) {
            sums.entry((start, value)).or_default().merge(&counts);
        }
    }
    let rows = sums.into_iter();
    Ok(rows
        .map(|((start, value), counts)| NumbersRow { start, value, counts })
        .collect())
}

/// The values that a row's counts are divided into.
fn divided(counts: Counts, key: SeriesKey, by: Option<NumbersDimension>) -> Vec<(Option<String>, Counts)> {
    let present =
        |(value, lines): (String, (u64, u64))| (lines.0 > 0).then(|| (Some(value), Counts::of_lines(lines)));
    match by {
        None => vec![(None, counts)],
        Some(NumbersDimension::Source) => vec![(Some(key.source), counts)],
        Some(NumbersDimension::Group) => vec![(Some(key.group), counts)],
        Some(NumbersDimension::Log) => vec![(key.log, counts)],
        Some(NumbersDimension::Status) => {
            let classes = (1..=5).map(|class| format!("{class}xx"));
            classes.zip(counts.statuses()).filter_map(present).collect()
        }
        Some(NumbersDimension::Level) => {
            let names = Level::ALL.map(|level| level.as_str().to_owned());
            names
                .into_iter()
                .zip(counts.levels())
                .filter_map(present)
                .collect()
        }
    }
}
