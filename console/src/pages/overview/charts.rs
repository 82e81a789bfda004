//! The charts of the last 24 hours, and the table beside them for people who do not see them. Pure.

use jiff::Timestamp;
use logferry_chart::{ChartSeries, Panel, PanelUnit};
use logferry_inspection::status::DiskStatus;
use logferry_ledger::{BatchOutline, DiskRecord};
use logferry_text::{about, count, count_of, size};

use std::time::Duration;

use super::day_counts::{DayCounts, STEP_SECONDS, STEPS};
use super::facts::OverviewFacts;
use crate::pages::parts::times;

/// The colours of errors and of the disk.
const ERRORS_COLOUR: usize = 3;
const DISK_COLOUR: usize = 1;

/// Sources with a colour of their own.
const NAMED_MAX: usize = 10;

/// Bars of the delivery delay: twenty minutes each.
const BARS: usize = 72;
const BAR_SECONDS: i64 = 1200;

const YEAR_SECONDS: u64 = 365 * 86_400;

/// A name in the legend, with what the browser shows under the pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegendEntry {
    pub(crate) class: String,
    pub(crate) name: String,
    /// Its numbers, with a space between them.
    pub(crate) values: String,
}

/// A chart of the page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChartView {
    pub(crate) title: String,
    pub(crate) note: String,
    /// Its classes for the layout: `card`, `wide`.
    pub(crate) span: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) from: i64,
    pub(crate) step: i64,
    pub(crate) svg: String,
    pub(crate) legend: Vec<LegendEntry>,
    /// Whether the legend is worth its room.
    pub(crate) has_legend: bool,
    /// A line below the picture.
    pub(crate) foot: String,
}

/// An hour of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HourRow {
    pub(crate) hour: String,
    pub(crate) lines: String,
    pub(crate) errors: String,
    pub(crate) delay: String,
    pub(crate) disk: String,
}

/// The disk, as a bar: thousandths of its width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskView {
    pub(crate) used: u64,
    pub(crate) class: &'static str,
    pub(crate) free: String,
    pub(crate) total: String,
    pub(crate) percent: u64,
    /// What it holds for, at the present speed; empty if nobody can say.
    pub(crate) lasts: String,
}

/// Lines a minute by source, and of the day before.
pub(crate) fn lines_chart(counts: &DayCounts, now: Timestamp) -> ChartView {
    let second = now.as_second();
    let mut sources = counts.by_source(second);
    let rest = sources.split_off(sources.len().min(NAMED_MAX));
    if !rest.is_empty() {
        let mut sum = vec![0_u64; STEPS];
        for (_, values) in &rest {
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sources.push((format!("{} more", rest.len()), sum));
    }
    let series = sources.into_iter();
    let series: Vec<_> = series
        .map(|(name, values)| ChartSeries { name, values })
        .collect();
    let before = ChartSeries {
        name: "the day before".to_owned(),
        values: counts.day_before(second),
    };
    let mut legend: Vec<_> = series
        .iter()
        .enumerate()
        .map(|(index, series)| entry(Panel::class(index), series))
        .collect();
    let has_before = before.values.iter().any(|value| *value > 0);
    if has_before {
        legend.push(entry("line".to_owned(), &before));
    }
    let (today, yesterday) = counts.totals(second);
    let compared = yesterday.map_or_else(String::new, |yesterday| compared(today, yesterday));
    let panel = Panel {
        title: "Lines a minute by source in the last 24 hours".to_owned(),
        from: DayCounts::from(second),
        step_seconds: STEP_SECONDS,
        series,
        before: has_before.then_some(before),
        height: 190,
        ..Panel::default()
    };
    ChartView {
        note: format!("{} in 24 h{compared}", count_of(today, "line")),
        span: "card wide",
        has_legend: true,
        ..ChartView::new("Lines a minute", "count", &panel, legend)
    }
}

/// Lines a minute of one source, beside an incident; `None` if it had none.
pub(crate) fn source_chart(counts: &DayCounts, source: &str, now: Timestamp) -> Option<ChartView> {
    let second = now.as_second();
    let sources = counts.by_source(second);
    let (name, values) = sources.into_iter().find(|(name, _)| name == source)?;
    let series = ChartSeries { name, values };
    let legend = vec![entry("s0".to_owned(), &series)];
    let panel = Panel {
        title: format!("Lines a minute of {source} in the last 24 hours"),
        from: DayCounts::from(second),
        step_seconds: STEP_SECONDS,
        series: vec![series],
        height: 90,
        is_narrow: true,
        ..Panel::default()
    };
    Some(ChartView::new("Lines a minute", "count", &panel, legend))
}

/// The share of 5xx.
pub(crate) fn errors_chart(counts: &DayCounts, now: Timestamp) -> ChartView {
    let second = now.as_second();
    let series = ChartSeries {
        name: "5xx of all answers".to_owned(),
        values: counts.error_share(second),
    };
    let hours = counts.hours(second);
    let [answers, errors] = hours.iter().fold(
        [0, 0],
        |[answers, errors], (_, [_, with_status, server_errors])| {
            [answers + with_status, errors + server_errors]
        },
    );
    let note = match (errors * 10_000).checked_div(answers) {
        Some(share) => format!(
            "{} of {} answers",
            PanelUnit::BasisPoints.text(share),
            count(answers)
        ),
        None => "no line has a status".to_owned(),
    };
    let legend = vec![entry(Panel::class(ERRORS_COLOUR), &series)];
    let panel = Panel {
        title: "Share of 5xx in the last 24 hours".to_owned(),
        unit: PanelUnit::BasisPoints,
        from: DayCounts::from(second),
        step_seconds: STEP_SECONDS,
        colour: ERRORS_COLOUR,
        series: vec![series],
        height: 110,
        is_narrow: true,
        ..Panel::default()
    };
    ChartView {
        note,
        span: "card",
        ..ChartView::new("5xx share", "share", &panel, legend)
    }
}

/// The slowest delivery of each twenty minutes, from the window's end on.
pub(crate) fn delay_chart(batches: &[BatchOutline], now: Timestamp) -> ChartView {
    let from = bars_from(now);
    let bars = delays(batches, from);
    let slowest = bars.iter().flatten().max();
    let note = slowest.map_or_else(
        || "nothing delivered".to_owned(),
        |slowest| format!("slowest {}", about(Duration::from_secs(*slowest))),
    );
    let legend = vec![LegendEntry::of_bars(0, "slowest delivery", &bars)];
    let panel = Panel {
        title: "Slowest delivery of each twenty minutes, in the last 24 hours".to_owned(),
        unit: PanelUnit::Seconds,
        from,
        step_seconds: BAR_SECONDS,
        bars,
        height: 110,
        is_narrow: true,
        ..Panel::default()
    };
    ChartView {
        note,
        span: "card",
        ..ChartView::new("Delivery delay", "seconds", &panel, legend)
    }
}

/// The disk in the last 24 hours: what is used, and what may be. `None`: the monitor has noted nothing.
pub(crate) fn disk_chart(
    disk: &DiskView,
    history: &[DiskRecord],
    min_free: u64,
    now: Timestamp,
) -> Option<ChartView> {
    let newest = history.last()?;
    let second = now.as_second();
    let from = DayCounts::from(second);
    let mut bars = vec![None; STEPS];
    for record in history {
        let index = usize::try_from((record.start.as_second() - from).div_euclid(STEP_SECONDS)).ok();
        if let Some(bar) = index.and_then(|index| bars.get_mut(index)) {
            *bar = Some(record.used_bytes());
        }
    }
    let limit = newest.total_bytes.saturating_sub(min_free.max(1));
    let legend = vec![LegendEntry::of_bars(DISK_COLOUR, "used", &bars)];
    let panel = Panel {
        title: format!(
            "Disk used in the last 24 hours: {} % of {} now, {} free; the relay takes no lines above the dashed line",
            disk.percent, disk.total, disk.free
        ),
        unit: PanelUnit::Bytes,
        from,
        step_seconds: STEP_SECONDS,
        colour: DISK_COLOUR,
        alarms: bars
            .iter()
            .map(|bar| bar.is_some_and(|used| used > limit))
            .collect(),
        bars,
        limit: Some(limit),
        most: Some(newest.total_bytes),
        height: 110,
        is_narrow: true,
        ..Panel::default()
    };
    let foot = match disk.lasts.as_str() {
        "" => format!("{} free", disk.free),
        lasts => format!("{} free: {lasts}", disk.free),
    };
    Some(ChartView {
        note: format!("{} % of {}", disk.percent, disk.total),
        span: "card",
        foot,
        ..ChartView::new("Disk used", "bytes", &panel, legend)
    })
}

/// What a day brings, by the batches of the last one. `None` in the first hour: too little to reckon with.
pub(crate) fn bytes_a_day(batches: &[BatchOutline], now: Timestamp) -> Option<u64> {
    const HOUR: i64 = 3600;
    let first = batches.iter().map(|batch| batch.window.start).min()?;
    let seconds = (now.as_second() - first).min(24 * HOUR);
    let bytes: u64 = batches.iter().map(|batch| batch.bytes).sum();
    let seconds = u64::try_from(seconds).ok().filter(|_| seconds >= HOUR)?;
    Some(bytes.saturating_mul(86_400) / seconds)
}

/// The disk, and how long it lasts if nothing is delivered any more.
pub(crate) fn disk_view(disk: &DiskStatus, min_free: u64, bytes_a_day: Option<u64>) -> DiskView {
    let used = disk.total_bytes.saturating_sub(disk.free_bytes);
    let permille =
        u64::try_from(u128::from(used) * 1000 / u128::from(disk.total_bytes.max(1))).unwrap_or(1000);
    let room = disk.free_bytes.saturating_sub(min_free);
    let seconds = bytes_a_day
        .filter(|bytes| *bytes > 0)
        .and_then(|bytes| u64::try_from(u128::from(room) * 86_400 / u128::from(bytes)).ok());
    DiskView {
        used: permille,
        class: if permille >= 900 { "bar-bad" } else { "bar-well" },
        free: size(disk.free_bytes),
        total: size(disk.total_bytes),
        percent: permille / 10,
        lasts: seconds.map_or_else(String::new, |seconds| match seconds {
            YEAR_SECONDS.. => "room for more than a year without any delivery".to_owned(),
            seconds => format!(
                "room for {} without any delivery",
                about(Duration::from_secs(seconds))
            ),
        }),
    }
}

/// The table beside the charts.
pub(crate) fn hour_rows(counts: Option<&DayCounts>, facts: &OverviewFacts, now: Timestamp) -> Vec<HourRow> {
    let second = now.as_second();
    let first = (second - 23 * 3600).div_euclid(3600) * 3600;
    let numbers = counts.map(|counts| counts.hours(second));
    let mut rows = Vec::new();
    for start in (0..24).map(|hour| first + hour * 3600) {
        let found = numbers.iter().flatten().find(|(hour, _)| *hour == start);
        let [lines, answers, errors] = found.map_or([0; 3], |(_, counts)| *counts);
        let hour = start..start + 3600;
        let of_disk = facts
            .disk
            .iter()
            .filter(|it| hour.contains(&it.start.as_second()));
        let used = of_disk.map(DiskRecord::used_bytes).max();
        let delays = facts
            .batches
            .iter()
            .filter(|batch| hour.contains(&batch.window.start))
            .filter_map(delay);
        rows.push(HourRow {
            hour: times::minute(times::of_second(start)),
            lines: count(lines),
            errors: (errors * 10_000)
                .checked_div(answers)
                .map_or_else(|| "–".to_owned(), |share| PanelUnit::BasisPoints.text(share)),
            delay: delays
                .max()
                .map_or_else(|| "–".to_owned(), |delay| about(Duration::from_secs(delay))),
            disk: used.map_or_else(|| "–".to_owned(), size),
        });
    }
    rows
}

impl ChartView {
    /// A chart without a note, and without room for its legend. `unit`: its name in `chart.js`.
    pub(crate) fn new(
        title: impl Into<String>,
        unit: &'static str,
        panel: &Panel,
        legend: Vec<LegendEntry>,
    ) -> Self {
        Self {
            title: title.into(),
            note: String::new(),
            span: "",
            unit,
            from: panel.from,
            step: panel.step_seconds,
            svg: panel.svg(),
            legend,
            has_legend: false,
            foot: String::new(),
        }
    }
}

impl LegendEntry {
    /// Of bars in this colour; `-` where there is none.
    pub(crate) fn of_bars(colour: usize, name: &str, bars: &[Option<u64>]) -> Self {
        let values = bars
            .iter()
            .map(|bar| bar.map_or_else(|| "-".to_owned(), |it| it.to_string()));
        Self {
            class: Panel::class(colour),
            name: name.to_owned(),
            values: values.collect::<Vec<_>>().join(" "),
        }
    }
}

fn entry(class: String, series: &ChartSeries) -> LegendEntry {
    let values: Vec<_> = series.values.iter().map(ToString::to_string).collect();
    LegendEntry {
        class,
        name: series.name.clone(),
        values: values.join(" "),
    }
}

fn compared(today: u64, yesterday: u64) -> String {
    let Some(percent) = (today.saturating_mul(100)).checked_div(yesterday) else {
        return String::new();
    };
    match percent {
        ..=98 => format!(", {} % less than the day before", 100 - percent),
        99..=101 => ", as many as the day before".to_owned(),
        300.. => format!(", {} times the day before", count(percent / 100)),
        _ => format!(", {} % more than the day before", percent - 100),
    }
}

fn bars_from(now: Timestamp) -> i64 {
    let bars = i64::try_from(BARS).unwrap_or(0);
    now.as_second().div_euclid(BAR_SECONDS) * BAR_SECONDS - (bars - 1) * BAR_SECONDS
}

fn delays(batches: &[BatchOutline], from: i64) -> Vec<Option<u64>> {
    let mut bars = vec![None; BARS];
    for batch in batches {
        let index = usize::try_from((batch.window.start - from).div_euclid(BAR_SECONDS)).ok();
        if let (Some(bar), Some(delay)) = (index.and_then(|index| bars.get_mut(index)), delay(batch)) {
            *bar = Some(bar.unwrap_or(0).max(delay));
        }
    }
    bars
}

/// Seconds from the window's end to the last delivery.
fn delay(batch: &BatchOutline) -> Option<u64> {
    let sent = batch.sent_at?;
    Some(u64::try_from(sent.as_second() - batch.window.end()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use logferry_ledger::{BatchState, Window};

    use super::*;

    #[test]
    fn a_day_is_reckoned_from_the_time_since_the_first_window_and_not_in_the_first_hour() {
        let batch = |start| BatchOutline {
            source: "192.0.2.1".to_owned(),
            window: Window {
                start,
                seconds: 600,
                utc_offset: 0,
            },
            state: BatchState::Sent,
            bytes: 1000,
            sent_at: None,
        };
        let at = |second| Timestamp::from_second(second).expect("a time");
        let batches = [batch(0), batch(600)];
        assert_eq!(bytes_a_day(&batches, at(3599)), None);
        assert_eq!(bytes_a_day(&batches, at(7200)), Some(24_000));
        assert_eq!(bytes_a_day(&batches, at(200_000)), Some(2000));
        assert_eq!(bytes_a_day(&[], at(7200)), None);
    }
}
