//! Minutes by series: for rules, which divide and filter lines by more than one thing.

use std::collections::BTreeMap;

use crate::counts::Counts;
use crate::error::IndexError;
use crate::index_reader::IndexReader;
use crate::state::series_key;
use crate::tally::SeriesKey;

impl IndexReader {
    /// Gives `each` the counts of each series in each minute that begins at or after `since` and before `until`, by time.
    pub fn each_minute(
        &self,
        since: i64,
        until: i64,
        mut each: impl FnMut(i64, &SeriesKey, &Counts),
    ) -> Result<(), IndexError> {
        self.read("read the minutes", |sql| {
            let mut series = sql.prepare_cached("SELECT id, source, grp, log FROM series")?;
            let series: BTreeMap<i64, SeriesKey> = series
                .query_map([], |row| Ok((row.get("id")?, series_key(row)?)))?
                .collect::<Result<_, _>>()?;
            let mut minutes = sql.prepare_cached(
                "SELECT start, series, counts FROM minutes WHERE start >= ?1 AND start < ?2 ORDER BY start",
            )?;
            let mut rows = minutes.query([since, until])?;
            while let Some(row) = rows.next()? {
                let key = series.get(&row.get("series")?);
                let counts = Counts::decode(row.get_ref("counts")?.as_blob()?);
                if let (Some(key), Some(counts)) = (key, counts) {
                    each(row.get("start")?, key, &counts);
                }
            }
            Ok(())
        })
    }

    /// The series with lines in an hour that begins at or after `since`.
    pub fn series_since(&self, since: i64) -> Result<Vec<SeriesKey>, IndexError> {
        self.read("read the series", |sql| {
            let mut query = sql.prepare_cached(
                "SELECT source, grp, log FROM series WHERE id IN (SELECT series FROM hours WHERE start >= ?1)",
            )?;
            query.query_map([since], series_key)?.collect()
        })
    }

    /// The first minute of which numbers are kept; `None`: there are none.
    pub fn first_minute(&self) -> Result<Option<i64>, IndexError> {
        self.read("find the first minute", |sql| {
            sql.query_row("SELECT min(start) FROM minutes", [], |row| row.get(0))
        })
    }
}
