//! The indexer's numbers of the last two days in steps of ten minutes, kept between two looks: a day of 300 sources is 432,000
//! rows, and only its last hour changes all the time. Pure.
//!
//! Older minutes get lines too: of an indexer that was behind, and of a sender that catches up. So they are read again, an hour of
//! them after the other.

use std::collections::BTreeMap;

use logferry_numbers::NumbersRow;

/// Seconds of a step.
pub(crate) const STEP_SECONDS: i64 = 600;

/// Steps of a day.
pub(crate) const STEPS: usize = 144;

const DAY_SECONDS: i64 = 86_400;

/// One query is for so long: it bounds the rows in memory.
const QUERY_SECONDS: i64 = 3600;

/// Late lines change the numbers of so many seconds nearly always; these are read again in each look.
const READ_AGAIN_SECONDS: i64 = 1800;

/// So often some older hours are read again,
const OLDER_EVERY_SECONDS: i64 = 60;

/// so many of them: all of the two days in ten minutes.
const OLDER_HOURS: usize = 5;

/// The speed of a source is of so many minutes.
const SPEED_MINUTES: i64 = 5;

/// The counts of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct StepCounts {
    lines: u64,
    with_status: u64,
    server_errors: u64,
    by_source: BTreeMap<String, u64>,
}

/// The counts of two days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DayCounts {
    steps: BTreeMap<i64, StepCounts>,
    /// What the steps hold ends here.
    read_until: Option<i64>,
    /// The next of the older hours that are read again begins here.
    older_from: i64,
    /// When older hours were read last.
    older_at: i64,
    /// Lines of each source in the last whole minutes.
    latest: BTreeMap<String, u64>,
    /// Where these minutes end.
    latest_until: i64,
    /// The first minute with a line.
    began: Option<i64>,
}

impl DayCounts {
    /// The pieces of time that have to be read, oldest first.
    pub(crate) fn due(&self, now: i64) -> Vec<(i64, i64)> {
        let oldest = step_of(now) - 2 * DAY_SECONDS;
        let latest = self.latest_from(now).map(|from| from.max(oldest));
        let until = step_of(now) + STEP_SECONDS;
        let mut due = Vec::new();
        if let Some(latest) = latest.filter(|_| !(0..OLDER_EVERY_SECONDS).contains(&(now - self.older_at))) {
            let is_there = (oldest..latest).contains(&self.older_from);
            let from = if is_there { self.older_from } else { oldest };
            due.extend(pieces(from, latest).take(OLDER_HOURS));
        }
        due.extend(pieces(latest.unwrap_or(oldest), until));
        due
    }

    /// What is read in each look begins here; `None` before the first one. The clock may have been put back.
    fn latest_from(&self, now: i64) -> Option<i64> {
        let until = self.read_until?.min(now);
        Some(step_of(until - READ_AGAIN_SECONDS))
    }

    /// Takes over what was read of a piece.
    pub(crate) fn add(&mut self, (since, until): (i64, i64), rows: &[NumbersRow], now: i64) {
        self.steps.retain(|start, _| !(since..until).contains(start));
        let minute = now - now.rem_euclid(60);
        let latest = minute - SPEED_MINUTES * 60..minute;
        // They may be in two pieces, and each look reads both.
        if (since..until).contains(&latest.start) {
            self.latest.clear();
            self.latest_until = minute;
        }
        for row in rows.iter().filter(|row| (since..until).contains(&row.start)) {
            let step = self.steps.entry(step_of(row.start)).or_default();
            let lines = row.counts.lines();
            let statuses = row.counts.statuses().map(|(lines, _)| lines);
            let [.., server_errors] = statuses;
            step.lines += lines;
            step.with_status += statuses.iter().sum::<u64>();
            step.server_errors += server_errors;
            let source = row.value.clone().unwrap_or_default();
            self.began = Some(self.began.map_or(row.start, |began| began.min(row.start)));
            if latest.contains(&row.start) {
                *self.latest.entry(source.clone()).or_default() += lines;
            }
            *step.by_source.entry(source).or_default() += lines;
        }
        let oldest = step_of(now) - 2 * DAY_SECONDS;
        self.steps = self.steps.split_off(&oldest);
        for (_, step) in self.steps.range_mut(..oldest + DAY_SECONDS) {
            // Of the day before only the sums are shown.
            step.by_source.clear();
        }
        if self.latest_from(now).is_some_and(|latest| until <= latest) {
            (self.older_from, self.older_at) = (until, now);
        } else {
            self.read_until = Some(until.min(now));
        }
    }

    /// The first second of the 24 hours until now.
    pub(crate) fn from(now: i64) -> i64 {
        step_of(now) - DAY_SECONDS + STEP_SECONDS
    }

    /// Lines a minute of each source in each step, the largest source first.
    pub(crate) fn by_source(&self, now: i64) -> Vec<(String, Vec<u64>)> {
        let from = Self::from(now);
        let mut sources: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (start, step) in self.steps.range(from..) {
            let Some(index) = index_of(*start, from) else {
                continue;
            };
            for (source, lines) in &step.by_source {
                let values = sources.entry(source).or_insert_with(|| vec![0; STEPS]);
                if let Some(value) = values.get_mut(index) {
                    *value = per_minute(*lines, *start, now);
                }
            }
        }
        let mut sources: Vec<_> = sources
            .into_iter()
            .map(|(name, values)| (name.to_owned(), values))
            .collect();
        sources.sort_by_key(|(_, values)| std::cmp::Reverse(values.iter().sum::<u64>()));
        sources
    }

    /// Lines a minute of all sources in each step of the day before.
    pub(crate) fn day_before(&self, now: i64) -> Vec<u64> {
        let from = Self::from(now) - DAY_SECONDS;
        self.each_step(from, |start, step| per_minute(step.lines, start, now))
    }

    /// The share of 5xx in each step, in hundredths of a percent.
    pub(crate) fn error_share(&self, now: i64) -> Vec<u64> {
        self.each_step(Self::from(now), |_, step| {
            (step.server_errors * 10_000)
                .checked_div(step.with_status)
                .unwrap_or(0)
        })
    }

    /// Lines, lines with a status and 5xx of each of the last 24 hours, oldest first.
    pub(crate) fn hours(&self, now: i64) -> Vec<(i64, [u64; 3])> {
        let mut hours: BTreeMap<i64, [u64; 3]> = BTreeMap::new();
        for (start, step) in self.steps.range(Self::from(now)..) {
            let sums = hours.entry(start - start.rem_euclid(3600)).or_default();
            let counts = [step.lines, step.with_status, step.server_errors];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        hours.into_iter().collect()
    }

    /// Lines of the last 24 hours, and of those before. `None`: the numbers begin later, so the day before is not whole, and no
    /// measure of this one.
    pub(crate) fn totals(&self, now: i64) -> (u64, Option<u64>) {
        let from = Self::from(now);
        let lines = |since, until| self.steps.range(since..until).map(|(_, step)| step.lines).sum();
        let before = from - DAY_SECONDS;
        let mut first_hour = self.steps.range(..before + 3600);
        let is_whole = first_hour.any(|(_, step)| step.lines > 0);
        (lines(from, i64::MAX), is_whole.then(|| lines(before, from)))
    }

    /// Lines a second of a source in the last minutes, or since the numbers begin.
    pub(crate) fn rate(&self, source: &str) -> f64 {
        let lines = self.latest.get(source).copied().unwrap_or(0);
        let number = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let since = self.latest_until - self.began.unwrap_or(0);
        number(lines) / number(since.clamp(60, SPEED_MINUTES * 60).unsigned_abs())
    }

    fn each_step(&self, from: i64, value: impl Fn(i64, &StepCounts) -> u64) -> Vec<u64> {
        let mut values = vec![0; STEPS];
        for (start, step) in self.steps.range(from..from + DAY_SECONDS) {
            if let Some(place) = index_of(*start, from).and_then(|index| values.get_mut(index)) {
                *place = value(*start, step);
            }
        }
        values
    }
}

/// Lines a minute of a step, rounded up, so that a few are seen. Of a step that is not over, by the time that has passed; in its
/// first half that would jump about.
fn per_minute(lines: u64, start: i64, now: i64) -> u64 {
    let seconds = (now - start).clamp(STEP_SECONDS / 2, STEP_SECONDS);
    let seconds = u64::try_from(seconds).unwrap_or(60);
    lines.saturating_mul(60).div_ceil(seconds)
}

/// The pieces of a time, oldest first.
fn pieces(from: i64, until: i64) -> impl Iterator<Item = (i64, i64)> {
    let starts = std::iter::successors(Some(from), |start| Some(start + QUERY_SECONDS));
    let starts = starts.take_while(move |start| *start < until);
    starts.map(move |start| (start, (start + QUERY_SECONDS).min(until)))
}

fn step_of(at: i64) -> i64 {
    at - at.rem_euclid(STEP_SECONDS)
}

fn index_of(start: i64, from: i64) -> Option<usize> {
    usize::try_from((start - from).div_euclid(STEP_SECONDS)).ok()
}

#[cfg(test)]
mod tests {
    use logferry_numbers::{CountedLine, Counts};

    use super::*;

    const NOW: i64 = 1_795_248_000 + 1234;

    fn row(source: &str, start: i64, lines: u64, status: u16) -> NumbersRow {
        let mut counts = Counts::default();
        for _ in 0..lines {
            counts.count(&CountedLine {
                bytes: 10,
                status: Some(status),
                ..CountedLine::default()
            });
        }
        NumbersRow {
            start,
            value: Some(source.to_owned()),
            counts,
        }
    }

    /// Counts that have read two days in which nothing was, and the older hours once more.
    fn read_empty() -> DayCounts {
        let mut counts = DayCounts::default();
        let first = counts.due(NOW);
        assert_eq!(first.len(), 49);
        for piece in first {
            counts.add(piece, &[], NOW);
        }
        for piece in counts.due(NOW) {
            counts.add(piece, &[], NOW);
        }
        counts
    }

    #[test]
    fn a_second_look_reads_only_the_last_half_hour_again() {
        let counts = read_empty();
        let again = counts.due(NOW + 10);
        assert_eq!(again.len(), 1);
        let (since, until) = again[0];
        assert!(NOW - since <= 2400 && until > NOW);
    }

    #[test]
    fn the_speed_is_of_the_last_five_minutes_or_since_the_numbers_begin() {
        let minute = NOW - NOW.rem_euclid(60);
        for (first, seconds) in [
            (minute - 60, 60),
            (minute - 180, 180),
            (minute - 1200, 300),
            (minute - 7200, 300),
        ] {
            let mut counts = DayCounts::default();
            let rows = [row("b", first, 1, 200), row("a", minute - 60, 600, 200)];
            for piece in counts.due(NOW) {
                counts.add(piece, &rows, NOW);
            }
            let expected = 600.0 / f64::from(seconds);
            assert!(
                (counts.rate("a") - expected).abs() < 0.001,
                "{seconds}: {}",
                counts.rate("a")
            );
        }
    }

    #[test]
    fn hours_that_were_empty_because_the_indexer_was_behind_are_read_again_within_minutes() {
        let mut counts = read_empty();
        let rows: Vec<_> = (0..48)
            .map(|hour| row("a", NOW - NOW.rem_euclid(60) - hour * 3600, 10, 200))
            .collect();
        let mut most = 0;
        for minute in 1..=11 {
            let now = NOW + minute * OLDER_EVERY_SECONDS;
            let due = counts.due(now);
            most = most.max(due.len());
            for piece in due {
                counts.add(piece, &rows, now);
            }
        }
        assert_eq!(counts.totals(NOW + 660), (240, Some(240)));
        assert_eq!(most, OLDER_HOURS + 1, "not all at once");
    }

    #[test]
    fn a_clock_that_was_put_back_is_followed() {
        let counts = read_empty();
        let earlier = NOW - 7200;
        let (since, until) = *counts.due(earlier).last().expect("the last minutes");
        assert!(since < earlier && until > earlier);
    }

    #[test]
    fn what_is_read_again_replaces_what_was_read() {
        let mut counts = DayCounts::default();
        let minute = NOW - NOW.rem_euclid(60) - 120;
        let mut pieces = counts.due(NOW).into_iter();
        let piece = pieces
            .find(|(since, until)| (*since..*until).contains(&minute))
            .unwrap();
        for _ in 0..2 {
            counts.add(
                piece,
                &[row("a", minute, 600, 200), row("b", minute, 3, 502)],
                NOW,
            );
        }
        assert_eq!(counts.totals(NOW), (603, None));
        assert!((counts.rate("a") - 5.0).abs() < 0.001, "there were two minutes");
        let by_source = counts.by_source(NOW);
        assert_eq!(by_source[0].0, "a");
        let share = counts.error_share(NOW);
        assert_eq!(share.iter().max(), Some(&49));
        let later = NOW + 86_400;
        assert_eq!(
            counts.totals(later),
            (0, None),
            "the numbers begin in the middle of the day before"
        );
        assert_eq!(counts.by_source(later), []);
    }
}
