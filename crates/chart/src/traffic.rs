//! The picture of the last day: lines a minute, stacked by source, with the day before as a line; and under it how long
//! deliveries took.

use std::time::Duration;

use logferry_text::{about, count};

use crate::drawing::{Colour, Drawing, DrawnShape, Point, TextAnchor};
use crate::scale::{short_count, step_of_counts, step_of_times};

const WIDTH: f32 = 520.0;
const LEFT: f32 = 40.0;
const RIGHT: f32 = WIDTH - 4.0;
const TEXT_SIZE: f32 = 12.0;
const TITLE_SIZE: f32 = 12.5;
const LINES_HEIGHT: f32 = 150.0;
const DELAY_HEIGHT: f32 = 44.0;

/// Seen well on white and on black alike.
const INK: Colour = Colour::solid(0x0076_7e8a);
const GRID: Colour = INK.with_opacity(60);
const BEFORE: Colour = Colour::solid(0x004a_5361);
const EDGE: Colour = Colour::solid(0x00ff_ffff).with_opacity(170);
const DELAY: Colour = Colour::solid(0x007c_8ea6);
/// The time that a summary is about.
const MARKED: Colour = INK.with_opacity(26);

/// Colours of the series that have a name.
const SERIES: [Colour; 10] = [
    Colour::solid(0x003f_7cc4),
    Colour::solid(0x004f_b0a0),
    Colour::solid(0x00e0_a043),
    Colour::solid(0x00c9_677f),
    Colour::solid(0x008b_7bc9),
    Colour::solid(0x007f_b255),
    Colour::solid(0x0056_a8d4),
    Colour::solid(0x00d9_8859),
    Colour::solid(0x00b0_8f6c),
    Colour::solid(0x006d_8fb3),
];
const REST: Colour = Colour::solid(0x00b7_bec8);

/// Numbers over the time of a chart, in equally long steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChartSeries {
    /// Its name in the legend.
    pub name: String,
    /// One number for each step.
    pub values: Vec<u64>,
}

/// How long deliveries took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DelayBars {
    /// What they are.
    pub title: String,
    /// Seconds of the slowest one in each step; `None` if there was none.
    pub seconds: Vec<Option<u64>>,
}

/// The numbers of a day.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrafficChart {
    /// What it is.
    pub title: String,
    /// What the series count, such as `lines a minute`.
    pub unit: String,
    /// The stacked series, the lowest first. Those after the tenth have the colour of the rest.
    pub series: Vec<ChartSeries>,
    /// Another series, as a line.
    pub before: Option<ChartSeries>,
    /// The panel below.
    pub delays: Option<DelayBars>,
    /// Marks of the time, each at a share of the width.
    pub times: Vec<(f32, String)>,
    /// From this share of the width on, it is the time that is reported.
    pub marked_from: Option<f32>,
}

impl TrafficChart {
    /// Draws it.
    pub fn draw(&self) -> Drawing {
        let mut drawing = Drawing {
            width: WIDTH,
            height: 0.0,
            title: self.title.clone(),
            description: self.description(),
            shapes: Vec::new(),
        };
        drawing.text((0.0, 14.0), TextAnchor::Start, TITLE_SIZE, INK, &self.unit);
        let mut top = 26.0;
        self.lines_panel(&mut drawing, top);
        top += LINES_HEIGHT;
        if let Some(delays) = &self.delays {
            drawing.text(
                (0.0, top + 28.0),
                TextAnchor::Start,
                TITLE_SIZE,
                INK,
                &delays.title,
            );
            top += 40.0;
            self.delay_panel(&mut drawing, delays, top);
            top += DELAY_HEIGHT;
        }
        for (share, label) in &self.times {
            let x = at_share(*share);
            // A label near an edge stays inside.
            let anchor = if x > RIGHT - 13.0 {
                TextAnchor::End
            } else {
                TextAnchor::Middle
            };
            drawing.text((x, top + 16.0), anchor, TEXT_SIZE, INK, label);
        }
        drawing.height = self.legend(&mut drawing, top + 40.0);
        drawing
    }

    /// The greatest sum of a step.
    fn peak(&self) -> u64 {
        self.sums(self.series.len()).into_iter().max().unwrap_or(0)
    }

    /// The sum of the first series in each step.
    fn sums(&self, of_first: usize) -> Vec<u64> {
        let steps = self.series.iter().map(|series| series.values.len()).max();
        let mut sums = vec![0_u64; steps.unwrap_or(0)];
        for series in self.series.iter().take(of_first) {
            for (sum, value) in sums.iter_mut().zip(&series.values) {
                *sum = sum.saturating_add(*value);
            }
        }
        sums
    }

    fn description(&self) -> String {
        let names: Vec<_> = self.series.iter().map(|series| series.name.as_str()).collect();
        let mut parts = vec![format!("At most {} {}", count(self.peak()), self.unit)];
        if !names.is_empty() {
            parts.push(format!("stacked: {}", names.join(", ")));
        }
        if let Some(before) = &self.before {
            parts.push(format!("as a line: {}", before.name));
        }
        let delays = self.delays.iter().flat_map(|delays| &delays.seconds);
        if let Some(slowest) = delays.flatten().max() {
            let slowest = about(Duration::from_secs(*slowest));
            parts.push(format!("slowest delivery {slowest}"));
        }
        parts.join("; ") + "."
    }

    fn lines_panel(&self, drawing: &mut Drawing, top: f32) {
        let before = self.before.iter().flat_map(|series| &series.values).max();
        let max = self.peak().max(before.copied().unwrap_or(0)).max(1);
        let step = step_of_counts(max);
        let scale = Scale::new(
            top + LINES_HEIGHT,
            LINES_HEIGHT,
            max.div_ceil(step).saturating_mul(step),
        );
        self.mark(drawing, top, LINES_HEIGHT);
        // From the highest sum down, so that no background shows between two areas.
        for index in (0..self.series.len()).rev() {
            let sums = self.sums(index + 1);
            let mut points = scale.points(&sums);
            points.extend([(RIGHT, scale.zero), (LEFT, scale.zero)]);
            let fill = colour(index);
            drawing.shapes.push(DrawnShape::Area { points, fill });
        }
        scale.grid(drawing, step, short_count);
        if let Some(before) = &self.before {
            // With a light edge, so that it is seen on every colour.
            drawing.line(scale.points(&before.values), EDGE, 3.4);
            drawing.line(scale.points(&before.values), BEFORE, 1.5);
        }
    }

    fn delay_panel(&self, drawing: &mut Drawing, delays: &DelayBars, top: f32) {
        let max = delays.seconds.iter().flatten().max().copied().unwrap_or(0).max(1);
        let step = step_of_times(max);
        let scale = Scale::new(
            top + DELAY_HEIGHT,
            DELAY_HEIGHT,
            max.div_ceil(step).saturating_mul(step),
        );
        self.mark(drawing, top, DELAY_HEIGHT);
        let steps = delays.seconds.len();
        for (index, seconds) in delays.seconds.iter().enumerate() {
            let Some(seconds) = seconds else { continue };
            let left = at_share(ratio(index as u64, steps as u64)) + 0.8;
            let right = at_share(ratio(index as u64 + 1, steps as u64)) - 0.8;
            // A delivery at once is seen too.
            let height = scale.y(*seconds).min(scale.zero - 1.5);
            drawing.rectangle((left, height), (right, scale.zero), DELAY);
        }
        scale.grid(drawing, step, |seconds| about(Duration::from_secs(seconds)));
    }

    fn mark(&self, drawing: &mut Drawing, top: f32, height: f32) {
        if let Some(from) = self.marked_from {
            drawing.rectangle((at_share(from), top), (RIGHT, top + height), MARKED);
        }
    }

    /// Draws the names in columns from this height on, and returns the height below.
    fn legend(&self, drawing: &mut Drawing, top: f32) -> f32 {
        let stacked = self.series.iter().enumerate();
        let mut entries: Vec<_> = stacked
            .map(|(index, series)| (series.name.as_str(), colour(index), true))
            .collect();
        entries.extend(
            self.before
                .iter()
                .map(|series| (series.name.as_str(), BEFORE, false)),
        );
        let longest = entries
            .iter()
            .map(|(name, ..)| name.chars().count().min(40))
            .max();
        let column = ratio(longest.unwrap_or(1) as u64, 1).mul_add(TEXT_SIZE * 0.56, 32.0);
        let columns = [4_u16, 3, 2]
            .into_iter()
            .find(|columns| column * f32::from(*columns) <= WIDTH);
        let columns = usize::from(columns.unwrap_or(1));
        let column = WIDTH / ratio(columns as u64, 1);
        let mut bottom = top - 12.0;
        for (index, (name, colour, is_area)) in entries.into_iter().enumerate() {
            let x = column * ratio((index % columns) as u64, 1);
            let y = ratio((index / columns) as u64, 1).mul_add(20.0, top);
            if is_area {
                drawing.rectangle((x, y - 9.0), (x + 10.0, y + 1.0), colour);
            } else {
                drawing.line(vec![(x, y - 4.0), (x + 10.0, y - 4.0)], colour, 1.6);
            }
            let name: String = name.chars().take(40).collect();
            drawing.text((x + 16.0, y), TextAnchor::Start, TEXT_SIZE, INK, &name);
            bottom = y + 8.0;
        }
        bottom
    }
}

fn colour(index: usize) -> Colour {
    SERIES.get(index).copied().unwrap_or(REST)
}

/// The x of a share of the width.
fn at_share(share: f32) -> f32 {
    share.clamp(0.0, 1.0).mul_add(RIGHT - LEFT, LEFT)
}

#[expect(clippy::cast_precision_loss, reason = "a picture is not exact")]
fn ratio(part: u64, whole: u64) -> f32 {
    part as f32 / whole.max(1) as f32
}

/// A panel's vertical scale.
struct Scale {
    zero: f32,
    height: f32,
    max: u64,
}

impl Scale {
    fn new(zero: f32, height: f32, max: u64) -> Self {
        Self { zero, height, max }
    }

    fn y(&self, value: u64) -> f32 {
        self.height.mul_add(-ratio(value, self.max), self.zero)
    }

    /// A point in the middle of each step; the first and the last reach the edges.
    fn points(&self, values: &[u64]) -> Vec<Point> {
        let steps = values.len() as u64;
        let middle =
            |(index, value): (u64, &u64)| (at_share(ratio(2 * index + 1, 2 * steps)), self.y(*value));
        let mut points: Vec<_> = (0..).zip(values).map(middle).collect();
        if let (Some((_, first)), Some((_, last))) = (points.first().copied(), points.last().copied()) {
            points.insert(0, (LEFT, first));
            points.push((RIGHT, last));
        }
        points
    }

    fn grid(&self, drawing: &mut Drawing, step: u64, label: impl Fn(u64) -> String) {
        let marks = self.max / step.max(1);
        for mark in (0..=marks).map(|index| index.saturating_mul(step)) {
            let y = self.y(mark);
            drawing.line(vec![(LEFT, y), (RIGHT, y)], GRID, 1.0);
            drawing.text(
                (LEFT - 6.0, y + 4.0),
                TextAnchor::End,
                TEXT_SIZE,
                INK,
                &label(mark),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[u64]) -> ChartSeries {
        ChartSeries {
            name: name.to_owned(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let chart = TrafficChart {
            title: "last 24 h".to_owned(),
            unit: "lines a minute".to_owned(),
            series: vec![series("a", &[1, 2]), series("b", &[1000, 0])],
            before: Some(series("yesterday", &[5, 5])),
            delays: Some(DelayBars {
                title: "delivery delay".to_owned(),
                seconds: vec![None, Some(125)],
            }),
            times: vec![(0.0, "08:00".to_owned())],
            marked_from: Some(0.9),
        };
        let drawing = chart.draw();
        assert_eq!(
            drawing.description,
            "At most 1,001 lines a minute; stacked: a, b; as a line: yesterday; slowest delivery 2 min."
        );
        let svg = drawing.svg();
        assert!(svg.contains("<title>last 24 h</title>"), "{svg}");
        assert!(
            svg.contains(">08:00</text>") && svg.contains(">1k</text>"),
            "{svg}"
        );
    }

    #[test]
    fn any_numbers_make_a_finite_drawing() {
        let values = [vec![], vec![0], vec![u64::MAX, 0, u64::MAX], vec![1; 300]];
        for values in &values {
            for count in [0, 1, 12] {
                let chart = TrafficChart {
                    series: vec![series("<s>", values); count],
                    before: Some(series("y", values)),
                    delays: Some(DelayBars {
                        seconds: values.iter().copied().map(Some).collect(),
                        ..DelayBars::default()
                    }),
                    ..TrafficChart::default()
                };
                let drawing = chart.draw();
                assert!(drawing.height > 200.0 && drawing.height < 2000.0);
                let svg = drawing.svg();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
