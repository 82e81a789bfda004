//! The grid of a day: a row for each source, a column for each window. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use logferry_ledger::{BatchOutline, GapRecord, SourceReach};

use super::cell::{CellState, cell_state};
use super::silent_times::SilentTime;
use crate::pages::parts::links::query_text;

/// Windows of a day are at least so long in the grid: shorter ones share a column.
const COLUMN_SECONDS_MIN: i64 = 600;

/// The length of a window, if no batch tells it.
const WINDOW_SECONDS: i64 = 1200;

/// What was read for a day.
#[derive(Debug, Clone, Default)]
pub(crate) struct DayFacts {
    pub(crate) batches: Vec<BatchOutline>,
    pub(crate) gaps: Vec<GapRecord>,
    /// Each source with its group, and how far it is.
    pub(crate) sources: Vec<(String, String, SourceReach)>,
    /// When sources were not heard of.
    pub(crate) silent_times: Vec<SilentTime>,
}

impl DayFacts {
    /// Leaves only the source of this name, if there is one.
    pub(crate) fn keep_source(&mut self, name: &str) {
        if self.sources.iter().any(|(source, ..)| source == name) {
            self.sources.retain(|(source, ..)| source == name);
        }
    }
}

/// A day in the reader's zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GridDay {
    pub(crate) date: Date,
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl GridDay {
    /// The day with this date; without one, or with a text that is none, the day of `now`.
    pub(crate) fn new(text: &str, zone: &TimeZone, now: Timestamp) -> Self {
        let asked = text.parse().ok().and_then(|date| Self::of(date, zone));
        asked.unwrap_or_else(|| {
            let date = now.to_zoned(zone.clone()).date();
            Self::of(date, zone).unwrap_or_else(|| {
                let from = now.as_second();
                let until = from + 86_400;
                Self { date, from, until }
            })
        })
    }

    /// The day with this date; `None` if it ends outside of the times that can be written.
    pub(crate) fn of(date: Date, zone: &TimeZone) -> Option<Self> {
        let second = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_second());
        let from = second(date)?;
        let until = second(date.checked_add(1.day()).ok()?)?;
        Some(Self { date, from, until })
    }

    /// The date of the day before and of the day after.
    pub(crate) fn neighbours(&self) -> (String, String) {
        let text = |date: Result<Date, jiff::Error>| date.unwrap_or(self.date).to_string();
        (
            text(self.date.checked_sub(1.day())),
            text(self.date.checked_add(1.day())),
        )
    }
}

/// The head of some columns: an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GridHour {
    pub(crate) text: String,
    pub(crate) columns: usize,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GridRow {
    pub(crate) source: String,
    pub(crate) query: String,
    pub(crate) cells: Vec<CellState>,
}

/// A day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowGrid {
    pub(crate) hours: Vec<GridHour>,
    /// Where the first column begins. Windows follow the hours of the logs' zone, so the day may begin inside of one.
    pub(crate) from: i64,
    pub(crate) step: i64,
    /// Rows by group.
    pub(crate) groups: Vec<(String, Vec<GridRow>)>,
    pub(crate) counts: Vec<(CellState, usize)>,
    pub(crate) shown: usize,
    pub(crate) all: usize,
}

impl WindowGrid {
    /// Columns of windows.
    pub(crate) fn columns(&self) -> usize {
        self.hours.iter().map(|hour| hour.columns).sum()
    }

    /// `find`: only sources and groups with this text. `only`: only sources with a window in this state.
    pub(crate) fn new(
        facts: &DayFacts,
        day: &GridDay,
        zone: &TimeZone,
        (find, only): (&str, &str),
        now: i64,
    ) -> Self {
        let (seconds, shift) = usual_window(&facts.batches);
        let step = seconds.max(COLUMN_SECONDS_MIN);
        let from = day.from + (shift - day.from).rem_euclid(seconds);
        let columns = usize::try_from((day.until - from + step - 1).div_euclid(step)).unwrap_or(1);
        let columns = columns.clamp(1, 200);
        let column = |second: i64| {
            let index = usize::try_from((second - from).div_euclid(step)).ok()?;
            (index < columns).then_some(index)
        };
        let mut batches: BTreeMap<(&str, usize), Vec<&BatchOutline>> = BTreeMap::new();
        for batch in &facts.batches {
            if let Some(index) = column(batch.window.start) {
                batches
                    .entry((batch.source.as_str(), index))
                    .or_default()
                    .push(batch);
            }
        }
        let gaps: BTreeSet<_> = facts
            .gaps
            .iter()
            .filter_map(|gap| Some((gap.source.as_str(), column(gap.noticed_at.as_second())?)))
            .collect();
        let find = find.trim().to_lowercase();
        let mut groups: BTreeMap<&str, Vec<GridRow>> = BTreeMap::new();
        let mut counts: BTreeMap<CellState, usize> = BTreeMap::new();
        let mut shown = 0;
        for (source, group, reach) in &facts.sources {
            if !source.to_lowercase().contains(&find) && !group.to_lowercase().contains(&find) {
                continue;
            }
            let silent = facts.silent_times.iter();
            let silent: Vec<_> = silent.filter(|time| time.is_of(source, group)).collect();
            let cells: Vec<_> = (0..columns)
                .map(|index| {
                    let start = from + i64::try_from(index).unwrap_or(0) * step;
                    let of_cell = batches
                        .get(&(source.as_str(), index))
                        .map_or(&[][..], Vec::as_slice);
                    let has_gap = gaps.contains(&(source.as_str(), index));
                    let state = cell_state(of_cell, (start, start + step), reach, has_gap, now);
                    unless_silent(&silent, (start, start + step), state)
                })
                .collect();
            if !only.is_empty() && !cells.iter().any(|cell| cell.word() == only) {
                continue;
            }
            for cell in &cells {
                *counts.entry(*cell).or_default() += 1;
            }
            shown += 1;
            groups.entry(group).or_default().push(GridRow {
                query: query_text(source),
                source: source.clone(),
                cells,
            });
        }
        let groups = groups.into_iter().map(|(group, rows)| (group.to_owned(), rows));
        Self {
            hours: hours(from, zone, step, columns),
            from,
            step,
            groups: groups.collect(),
            counts: CellState::ALL
                .map(|state| (state, counts.get(&state).copied().unwrap_or(0)))
                .to_vec(),
            shown,
            all: facts.sources.len(),
        }
    }
}

/// Quiet is only a source that was heard of in that window.
fn unless_silent(silent: &[&SilentTime], window: (i64, i64), state: CellState) -> CellState {
    if state == CellState::Quiet && silent.iter().any(|time| time.hides(window)) {
        return CellState::Missing;
    }
    state
}

/// The most usual length of a window, and how far its start is from a multiple of it.
fn usual_window(batches: &[BatchOutline]) -> (i64, i64) {
    let mut windows: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for window in batches.iter().map(|batch| batch.window) {
        let seconds = i64::from(window.seconds).max(1);
        *windows
            .entry((seconds, window.start.rem_euclid(seconds)))
            .or_default() += 1;
    }
    let usual = windows.into_iter().max_by_key(|(_, batches)| *batches);
    usual.map_or((WINDOW_SECONDS, 0), |(window, _)| window)
}

fn hours(from: i64, zone: &TimeZone, step: i64, columns: usize) -> Vec<GridHour> {
    let mut hours: Vec<GridHour> = Vec::new();
    for index in 0..columns {
        let start = from + i64::try_from(index).unwrap_or(0) * step;
        let at = Timestamp::from_second(start).unwrap_or(Timestamp::UNIX_EPOCH);
        let text = format!("{:02}", at.to_zoned(zone.clone()).hour());
        match hours.last_mut() {
            Some(hour) if hour.text == text => hour.columns += 1,
            _ => hours.push(GridHour { text, columns: 1 }),
        }
    }
    hours
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;
    use logferry_ledger::{BatchState, Window};

    use super::super::silent_times::silent_time;
    use super::*;

    #[test]
    fn a_day_is_the_readers() {
        let zone = TimeZone::fixed(jiff::tz::offset(6));
        let now: Timestamp = "2026-11-20T22:30:00Z".parse().unwrap();
        let day = GridDay::new("", &zone, now);
        assert_eq!(day.date.to_string(), "2026-11-21");
        assert_eq!(
            Timestamp::from_second(day.from).unwrap().to_string(),
            "2026-11-20T18:00:00Z"
        );
        assert_eq!(day.until - day.from, 86_400);
        assert_eq!(
            day.neighbours(),
            ("2026-11-20".to_owned(), "2026-11-22".to_owned())
        );
        assert_eq!(GridDay::new("nonsense", &zone, now), day);
        // The last day ends behind all times.
        assert_eq!(GridDay::new("9999-12-31", &zone, now), day);
        assert_eq!(GridDay::of("9999-12-31".parse().unwrap(), &zone), None);
        assert_eq!(GridDay::of("-009999-01-01".parse().unwrap(), &zone), None);
    }

    #[test]
    fn source_that_was_silent_for_a_while_is_not_quiet_then() {
        let seen = SourceReach {
            first_seen: Some(Timestamp::UNIX_EPOCH),
            last_contact: Timestamp::from_second(1_795_219_200 + 7200).ok(),
            ..SourceReach::default()
        };
        let midnight = 1_795_219_200;
        let facts = DayFacts {
            sources: vec![
                ("a".to_owned(), "g".to_owned(), seen),
                ("b".to_owned(), "g".to_owned(), seen),
            ],
            silent_times: silent_time("stale", "a", (midnight + 1300, midnight + 3600))
                .into_iter()
                .collect(),
            ..DayFacts::default()
        };
        let now = Timestamp::from_second(midnight + 7200).unwrap();
        let day = GridDay::new("", &TimeZone::UTC, now);
        let grid = WindowGrid::new(&facts, &day, &TimeZone::UTC, ("", ""), now.as_second());
        let [a, b] = &grid.groups[0].1[..] else {
            panic!("two rows")
        };
        let (quiet, missing) = (CellState::Quiet, CellState::Missing);
        assert_eq!(a.cells[..5], [quiet, missing, missing, quiet, quiet]);
        assert_eq!(b.cells[..5], [quiet; 5]);

        // What silences more than one source is no incident of each.
        for (rule, subject, expected) in [
            ("all silent", "g", [quiet, missing, missing, quiet, quiet]),
            ("group", "g", [quiet, quiet, missing, quiet, quiet]),
            ("role", "relay", [quiet, quiet, missing, quiet, quiet]),
            ("disk full", "disk", [quiet, quiet, missing, quiet, quiet]),
            ("role", "forwarder", [quiet; 5]),
            ("group", "other", [quiet; 5]),
        ] {
            let silent = silent_time(rule, subject, (midnight + 1300, midnight + 3600));
            let facts = DayFacts {
                silent_times: silent.into_iter().collect(),
                ..facts.clone()
            };
            let grid = WindowGrid::new(&facts, &day, &TimeZone::UTC, ("", ""), now.as_second());
            for row in &grid.groups[0].1 {
                assert_eq!(row.cells[..5], expected, "{rule} {subject}");
            }
        }
    }

    #[test]
    fn columns_are_the_windows_though_the_reader_is_half_an_hour_off() {
        let kolkata = TimeZone::fixed(Offset::from_seconds(19_800).unwrap());
        // Midnight there is 18:30 UTC, in the middle of a window of a log in UTC.
        let midnight = 1_795_285_800;
        let starts = [midnight - 600, midnight + 600, midnight + 1800];
        let batches = starts.map(|start| BatchOutline {
            source: "a".to_owned(),
            window: Window {
                start,
                seconds: 1200,
                utc_offset: 0,
            },
            state: BatchState::Sent,
            bytes: 1,
            sent_at: None,
        });
        let facts = DayFacts {
            batches: batches.to_vec(),
            sources: vec![(
                "a".to_owned(),
                "g".to_owned(),
                SourceReach {
                    reached: Some(midnight + 40_000),
                    lag_bytes: Some(0),
                    ..SourceReach::default()
                },
            )],
            ..DayFacts::default()
        };
        let now = Timestamp::from_second(midnight + 40_000).unwrap();
        let day = GridDay::new("", &kolkata, now);
        assert_eq!(day.from, midnight);
        let grid = WindowGrid::new(&facts, &day, &kolkata, ("", ""), now.as_second());
        assert_eq!((grid.from, grid.columns()), (midnight + 600, 72));
        let cells = &grid.groups[0].1[0].cells;
        assert_eq!(
            cells[..2],
            [CellState::Delivered; 2],
            "the one before is of yesterday"
        );
        assert_ne!(cells[2], CellState::Delivered);
        assert_eq!(
            (
                grid.hours[0].text.as_str(),
                grid.hours[0].columns,
                grid.hours.len()
            ),
            ("00", 3, 24)
        );
    }

    #[test]
    fn three_hundred_sources_have_a_row_each_and_a_choice() {
        let seen = SourceReach {
            first_seen: Some(Timestamp::UNIX_EPOCH),
            last_contact: Some(Timestamp::UNIX_EPOCH),
            ..SourceReach::default()
        };
        let sources = (0..300).map(|number| (format!("host-{number}"), format!("g{}", number % 3), seen));
        let facts = DayFacts {
            sources: sources.collect(),
            ..DayFacts::default()
        };
        let now: Timestamp = "2026-11-20T22:30:00Z".parse().unwrap();
        let day = GridDay::new("", &TimeZone::UTC, now);
        let grid = |find, only| WindowGrid::new(&facts, &day, &TimeZone::UTC, (find, only), now.as_second());
        let whole = grid("", "");
        assert_eq!((whole.shown, whole.groups.len(), whole.hours.len()), (300, 3, 24));
        assert_eq!(whole.groups[0].1[0].cells.len(), 72);
        assert_eq!(whole.groups[0].1[0].cells[0], CellState::Missing);
        assert_eq!(grid("HOST-29", "").shown, 11);
        let mut of_one = facts.clone();
        of_one.keep_source("host-29");
        assert_eq!(of_one.sources.len(), 1);
        of_one.keep_source("host-2");
        assert_eq!(
            of_one.sources.len(),
            1,
            "there is no source of this name: nothing is left out"
        );
        assert_eq!(grid("", "gap").shown, 0);
    }
}
