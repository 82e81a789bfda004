//! Questions to `index.db`, and their answers as JSON (`row_json`).

mod row_json;

use std::collections::BTreeMap;

use logferry_fields::Level;
use logferry_text::natural_order;
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

impl NumbersQuery {
    /// Asks only for the rows behind the span of this one.
    pub fn go_on_after(&mut self, row: &NumbersRow) {
        self.since = Some(row.start.saturating_add(self.per.seconds()));
    }

    /// The `CROSS` makes SQLite read the times in order, without a sort (<https://sqlite.org/optoverview.html>, "Manual Control Of
    /// Query Plans Using CROSS JOIN").
    fn sql(&self) -> String {
        let table = self.per.table();
        format!(
            "SELECT start, counts, source, grp, log FROM {table} CROSS JOIN series ON series.id = series
             WHERE start > :since AND start < :until
               AND (:source IS NULL OR source = :source) AND (:grp IS NULL OR grp = :grp) AND (:log IS NULL OR log = :log)
             ORDER BY start"
        )
    }
}

/// The first rows that answer a question, by time and value: once there are `least`, none of a further span.
pub(crate) fn first_rows(sql: &Connection, query: &NumbersQuery, least: usize) -> SqlResult<Vec<NumbersRow>> {
    let mut statement = sql.prepare_cached(&query.sql())?;
    let mut found = statement.query(named_params! {
        ":since": query.since.map_or(i64::MIN, |since| since.saturating_sub(query.per.seconds())),
        ":until": query.until.unwrap_or(i64::MAX),
        ":source": query.source,
        ":grp": query.group,
        ":log": query.log,
    })?;
    let mut rows = Vec::new();
    let (mut of, mut sums) = (i64::MIN, BTreeMap::new());
    while let Some(row) = found.next()? {
        let start: i64 = row.get("start")?;
        if start != of {
            end_span(of, &mut sums, &mut rows);
            if rows.len() >= least {
                return Ok(rows);
            }
            of = start;
        }
        let bytes = row.get_ref("counts")?.as_blob()?;
        let Some(counts) = Counts::decode(bytes) else {
            continue;
        };
        for (value, counts) in divided(counts, series_key(row)?, query.by) {
            sums.entry(value).or_default().merge(&counts);
        }
    }
    end_span(of, &mut sums, &mut rows);
    Ok(rows)
}

/// Adds the rows of a span, in the order of people.
fn end_span(start: i64, sums: &mut BTreeMap<Option<String>, Counts>, rows: &mut Vec<NumbersRow>) {
    let mut sums: Vec<_> = std::mem::take(sums).into_iter().collect();
    sums.sort_by(|(a, _), (b, _)| {
        let [a, b] = [a, b].map(|value| value.as_deref().unwrap_or_default());
        natural_order(a, b)
    });
    let of_span = sums
        .into_iter()
        .map(|(value, counts)| NumbersRow { start, value, counts });
    rows.extend(of_span);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IndexDb;

    #[test]
    fn times_are_read_in_order_without_a_sort_that_takes_memory() {
        let dir = tempfile::tempdir().expect("a folder");
        let db = IndexDb::open_or_create(dir.path()).expect("created");
        for per in [NumbersSpan::Minute, NumbersSpan::Hour] {
            let query = NumbersQuery {
                per,
                ..NumbersQuery::default()
            };
            let plan = db.read("explain", |sql| {
                let mut explain = sql.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql()))?;
                let steps = explain.raw_query().mapped(|row| row.get("detail"));
                steps.collect::<SqlResult<Vec<String>>>()
            });
            let plan = plan.expect("explained").join("; ");
            assert!(plan.starts_with(&format!("SEARCH {}", per.table())), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
