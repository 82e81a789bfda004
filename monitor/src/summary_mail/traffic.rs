//! The numbers of the picture. Pure.

use std::cmp::Reverse;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use logferry_chart::{ChartSeries, DelayBars, TrafficChart};
use logferry_ledger::Batch;

use super::facts::SummaryFacts;
use super::index_numbers::{IndexNumbers, STEPS};
use crate::summary::period::PeriodKind;
use crate::time::later;

/// Sources that have a colour of their own.
const NAMED_MAX: usize = 10;

/// Minutes in a step.
const STEP_MINUTES: u64 = 5;

/// Bars of the delivery delay: twenty minutes each.
const BARS: usize = 72;
const BAR_SECONDS: i64 = 1200;

/// Hours between the marks of the time.
const MARK_HOURS: i8 = 4;

/// The picture of the 24 hours that end with the period; `None` without an indexer.
pub(crate) fn traffic_chart(facts: &SummaryFacts, zone: &TimeZone) -> Option<TrafficChart> {
    let numbers = facts.index.numbers()?;
    let (from, until) = facts.period.last_day();
    let at = |time: jiff::Timestamp| time.to_zoned(zone.clone()).strftime("%F %H:%M").to_string();
    Some(TrafficChart {
        title: format!("Lines a minute by source, {} to {}", at(from), at(until)),
        unit: "lines a minute".to_owned(),
        series: series(numbers),
        before: Some(ChartSeries {
            name: "the day before".to_owned(),
            values: per_minute(&numbers.steps_before),
        }),
        delays: Some(DelayBars {
            title: "delivery delay, slowest in 20 minutes".to_owned(),
            seconds: delays(&facts.last_day, from.as_second()),
        }),
        times: times(facts, zone),
        marked_from: (facts.period.kind == PeriodKind::Hour).then_some(23.0 / 24.0),
    })
}

fn per_minute(steps: &[u64]) -> Vec<u64> {
    steps.iter().map(|lines| lines.div_ceil(STEP_MINUTES)).collect()
}

/// The sources with the most lines, and the rest.
fn series(numbers: &IndexNumbers) -> Vec<ChartSeries> {
    let mut sources: Vec<_> = numbers.steps.iter().collect();
    sources.retain(|(_, steps)| steps.iter().any(|lines| *lines > 0));
    sources.sort_by_key(|(_, steps)| Reverse(steps.iter().sum::<u64>()));
    // One more that alone would be the rest is shown by its name.
    let named = if sources.len() == NAMED_MAX + 1 {
        NAMED_MAX + 1
    } else {
        NAMED_MAX
    };
    let mut series: Vec<_> = sources
        .iter()
        .take(named)
        .map(|(name, steps)| ChartSeries {
            name: (*name).clone(),
            values: per_minute(steps),
        })
        .collect();
    if sources.len() > named {
        let mut rest = vec![0_u64; STEPS];
        for (_, steps) in sources.iter().skip(named) {
            for (sum, lines) in rest.iter_mut().zip(*steps) {
                *sum += lines;
            }
        }
        series.push(ChartSeries {
            name: format!("{} more", sources.len() - named),
            values: per_minute(&rest),
        });
    }
    series
}

/// The slowest delivery of the windows that begin in each bar, from the window's end on.
fn delays(batches: &[Batch], from: i64) -> Vec<Option<u64>> {
    let mut bars = vec![None; BARS];
    for batch in batches {
        let index = usize::try_from((batch.window.start - from).div_euclid(BAR_SECONDS)).ok();
        let (Some(bar), Some(sent)) = (index.and_then(|index| bars.get_mut(index)), batch.sent_at) else {
            continue;
        };
        let seconds = u64::try_from(sent.as_second() - batch.window.end()).unwrap_or(0);
        *bar = Some(bar.unwrap_or(0).max(seconds));
    }
    bars
}

/// Full hours of the local clock, and where they are.
fn times(facts: &SummaryFacts, zone: &TimeZone) -> Vec<(f32, String)> {
    let (from, until) = facts.period.last_day();
    let hours = (0_i16..25).map(|hour| later(from, SignedDuration::from_hours(hour.into())));
    let marks = hours.filter(|at| *at <= until).filter_map(|at| {
        let local = at.to_zoned(zone.clone());
        let minutes = i16::try_from(at.as_second().saturating_sub(from.as_second()) / 60).ok()?;
        let is_mark = local.hour() % MARK_HOURS == 0 && local.minute() == 0;
        is_mark.then(|| (f32::from(minutes) / 1440.0, local.strftime("%H:%M").to_string()))
    });
    let marks: Vec<_> = marks.collect();
    marks
}
