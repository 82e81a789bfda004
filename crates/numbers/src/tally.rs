//! Counts that are not recorded yet. Pure.

use std::collections::BTreeMap;

use crate::counts::Counts;

/// Whose lines are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The source.
    pub source: String,
    /// The source's group.
    pub group: String,
    /// The log, if it is known.
    pub log: Option<String>,
}

/// Counts by minute and series.
#[derive(Debug, Default)]
pub struct Tally {
    series: BTreeMap<SeriesKey, usize>,
    counts: BTreeMap<(i64, usize), Counts>,
    /// The counts of the minute that was asked for last: nearly all lines fall into the minute of the line before.
    current: ((i64, usize), Counts),
}

impl Tally {
    /// The number of a series, for [`Self::minute`].
    pub fn series(&mut self, key: SeriesKey) -> usize {
        let next = self.series.len();
        *self.series.entry(key).or_insert(next)
    }

    /// The counts of the minute of a time, in seconds since 1970.
    pub fn minute(&mut self, unix: i64, series: usize) -> &mut Counts {
        let key = (unix - unix.rem_euclid(60), series);
        if self.current.0 != key {
            self.flush();
            self.current.0 = key;
        }
        &mut self.current.1
    }

    /// How many rows it has: each takes memory until it is recorded.
    pub fn rows_held(&self) -> usize {
        self.counts.len()
    }

    /// Each minute's first second and its counts, by series.
    pub(crate) fn rows(&mut self) -> impl Iterator<Item = (i64, &SeriesKey, &Counts)> {
        self.flush();
        let mut keys: Vec<_> = self.series.iter().collect();
        keys.sort_unstable_by_key(|(_, number)| **number);
        let rows = self.counts.iter();
        rows.filter_map(move |((minute, number), counts)| Some((*minute, keys.get(*number)?.0, counts)))
    }

    fn flush(&mut self) {
        let (key, counts) = std::mem::take(&mut self.current);
        if counts.lines() > 0 {
            self.counts.entry(key).or_default().merge(&counts);
        }
    }
}
