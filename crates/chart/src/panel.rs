//! One panel for a page: an SVG that fills its width. Letters keep their size, so it reads well on a phone; colours are classes
//! of the page's style sheet, so it follows its light and dark.
//!
//! Classes: `plot` (all), `plot-area`, `s0` to `s9` and `rest` (areas and bars), `alarm` (bars), `before` (the line), `limit`, `grid`, `value`
//! (marks of the numbers) and `when` (marks of the time, with the Unix time in `data-at`). The marks of the numbers stand left of the
//! plot, and the last mark of the time may end right of it: the page leaves room at both sides (`padding`), and cuts nothing off.

use std::fmt::Write;
use std::time::Duration;

use logferry_text::{about, size};

use crate::drawing::escaped;
use crate::scale::{short_count, step_of_counts, step_of_times};
use crate::traffic::ChartSeries;

/// The height of the plot in its own units.
const UNITS: u64 = 1000;

/// Series with a colour of their own.
const COLOURS: usize = 10;

/// Pixels below the plot, for the marks of the time.
const TIME_HEIGHT: u32 = 18;

/// What a panel's numbers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PanelUnit {
    /// A count.
    #[default]
    Count,
    /// Seconds.
    Seconds,
    /// Hundredths of a percent.
    BasisPoints,
    /// Bytes.
    Bytes,
    /// Thousandths of a second's count.
    MilliPerSecond,
}

impl PanelUnit {
    /// A number for people: `1.2k`, `3 min`, `0.25 %`, `3.4 GiB`.
    pub fn text(self, number: u64) -> String {
        match self {
            Self::Count => short_count(number),
            Self::Seconds => about(Duration::from_secs(number)),
            Self::BasisPoints => match (number / 100, number % 100) {
                (whole, 0) => format!("{whole} %"),
                (whole, rest) if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
                (whole, rest) => format!("{whole}.{rest:02} %"),
            },
            Self::Bytes => size(number),
            Self::MilliPerSecond if number >= 10_000 => format!("{}/s", short_count(number / 1000)),
            Self::MilliPerSecond => {
                let decimals = format!("{}.{:03}", number / 1000, number % 1000);
                format!("{}/s", decimals.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }

    /// A number as a mark of the axis: without decimals that say nothing.
    fn mark(self, number: u64) -> String {
        self.text(number).replacen(".0 ", " ", 1)
    }

    fn step(self, max: u64) -> u64 {
        match self {
            Self::Count | Self::BasisPoints | Self::MilliPerSecond => step_of_counts(max),
            Self::Seconds => step_of_times(max),
            Self::Bytes => {
                let unit = (1..=6)
                    .map(|power| 1_u64 << (10 * power))
                    .take_while(|unit| *unit <= max)
                    .last()
                    .unwrap_or(1);
                step_of_counts(max.div_ceil(unit)).saturating_mul(unit)
            }
        }
    }
}

/// Numbers over time, in equally long steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Panel {
    /// What it is, for people who do not see it.
    pub title: String,
    /// What the numbers are.
    pub unit: PanelUnit,
    /// First second of the first step, since 1970.
    pub from: i64,
    /// Seconds of a step.
    pub step_seconds: i64,
    /// The number of the colour of the lowest area and of the bars; further areas have the next ones.
    pub colour: usize,
    /// Stacked areas, the lowest first. Those after the tenth colour have that of the rest.
    pub series: Vec<ChartSeries>,
    /// Another series, as a line.
    pub before: Option<ChartSeries>,
    /// Bars; `None` where there is nothing to show.
    pub bars: Vec<Option<u64>>,
    /// The bars that are drawn as alarming; those without an entry are not.
    pub alarms: Vec<bool>,
    /// A level that should not be passed.
    pub limit: Option<u64>,
    /// The most that there can be: the axis ends there.
    pub most: Option<u64>,
    /// Pixels of the plot.
    pub height: u32,
    /// Whether there is room for few marks of the time only.
    pub is_narrow: bool,
}

impl Panel {
    /// The class of a colour.
    pub fn class(index: usize) -> String {
        if index < COLOURS {
            format!("s{index}")
        } else {
            "rest".to_owned()
        }
    }

    /// The greatest number that is drawn.
    pub fn peak(&self) -> u64 {
        let sums = self.sums(self.series.len()).into_iter();
        let before = self
            .before
            .iter()
            .flat_map(|series| series.values.iter().copied());
        sums.chain(before)
            .chain(self.bars.iter().flatten().copied())
            .max()
            .unwrap_or(0)
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let peak = self.peak().max(self.limit.unwrap_or(0));
        let peak = peak.max(self.most.unwrap_or(0)).max(1);
        // A low panel has room for two marks.
        let step = self.unit.step(peak).max(1);
        let step = if self.is_narrow && peak.div_ceil(step) > 2 {
            step.saturating_mul(2)
        } else {
            step
        };
        let max = if self.most.is_some() {
            peak
        } else {
            peak.div_ceil(step).saturating_mul(step)
        };
        let (height, whole) = (self.height, self.height + TIME_HEIGHT);
        let mut svg = format!(
            "<svg class=\"plot\" role=\"img\" height=\"{whole}\"><title>{}</title>\
             <svg class=\"plot-area\" viewBox=\"0 0 {} {UNITS}\" preserveAspectRatio=\"none\" width=\"100%\" height=\"{height}\">",
            escaped(&self.title),
            self.width(),
        );
        // Writing to a text cannot fail.
        let _ = self.write_shapes(&mut svg, max, step);
        svg.push_str("</svg>");
        let _ = self.write_marks(&mut svg, max, step);
        svg.push_str("</svg>");
        svg
    }

    /// The width of the plot in its own units. Bars stand in their steps; areas go from the first number to the last.
    fn width(&self) -> usize {
        let steps = self.steps();
        if self.bars.is_empty() {
            steps.saturating_sub(1).max(1)
        } else {
            steps
        }
    }

    fn steps(&self) -> usize {
        let series = self.series.iter().chain(&self.before);
        series
            .map(|series| series.values.len())
            .chain([self.bars.len()])
            .max()
            .unwrap_or(0)
    }

    /// The sum of the first series in each step.
    fn sums(&self, of_first: usize) -> Vec<u64> {
        let mut sums = vec![0_u64; self.steps()];
        for series in self.series.iter().take(of_first) {
            for (sum, value) in sums.iter_mut().zip(&series.values) {
                *sum = sum.saturating_add(*value);
            }
        }
        sums
    }

    fn write_shapes(&self, svg: &mut String, max: u64, step: u64) -> std::fmt::Result {
        // From the highest sum down, so that no background shows between two areas.
        for index in (0..self.series.len()).rev() {
            let path = line_path(&self.sums(index + 1), max);
            if !path.is_empty() {
                write!(
                    svg,
                    "<path class=\"{}\" d=\"{path}V{UNITS}H0Z\"/>",
                    Self::class(self.colour + index)
                )?;
            }
        }
        self.write_bars(svg, max)?;
        let end = self.width();
        svg.push_str("<path class=\"grid\" vector-effect=\"non-scaling-stroke\" d=\"");
        for mark in marks(max, step) {
            write!(svg, "M0 {}H{end}", height_of(mark, max))?;
        }
        svg.push_str("\"/>");
        if let Some(before) = &self.before {
            let path = line_path(&before.values, max);
            write!(
                svg,
                "<path class=\"before\" vector-effect=\"non-scaling-stroke\" d=\"{path}\"/>"
            )?;
        }
        if let Some(limit) = self.limit {
            let y = height_of(limit, max);
            write!(
                svg,
                "<path class=\"limit\" vector-effect=\"non-scaling-stroke\" d=\"M0 {y}H{end}\"/>"
            )?;
        }
        Ok(())
    }

    fn write_bars(&self, svg: &mut String, max: u64) -> std::fmt::Result {
        let bars = self.bars.iter().enumerate();
        let (mut calm, mut alarming) = (String::new(), String::new());
        for (index, value) in bars.filter_map(|(index, value)| Some((index, (*value)?))) {
            let is_alarming = self.alarms.get(index).is_some_and(|alarm| *alarm);
            let path = if is_alarming { &mut alarming } else { &mut calm };
            // A bar of nothing is seen too.
            let top = height_of(value, max).min(UNITS - 12);
            write!(path, "M{index} {UNITS}V{top}h.8V{UNITS}z")?;
        }
        for (class, path) in [(Self::class(self.colour), calm), ("alarm".to_owned(), alarming)] {
            if !path.is_empty() {
                write!(svg, "<path class=\"{class}\" d=\"{path}\"/>")?;
            }
        }
        Ok(())
    }

    fn write_marks(&self, svg: &mut String, max: u64, step: u64) -> std::fmt::Result {
        for mark in marks(max, step).skip(1) {
            let y = u64::from(self.height) * height_of(mark, max) / UNITS + 4;
            write!(
                svg,
                "<text class=\"value\" x=\"-6\" y=\"{y}\" text-anchor=\"end\">{}</text>",
                escaped(&self.unit.mark(mark))
            )?;
        }
        let length = self
            .step_seconds
            .saturating_mul(i64::try_from(self.width()).unwrap_or(0));
        let until = self.from.saturating_add(length);
        let y = self.height + 13;
        for at in time_marks(self.from, until, if self.is_narrow { 4 } else { 8 }) {
            let permille = (at - self.from).saturating_mul(1000) / length.max(1);
            let minutes = at.rem_euclid(86_400) / 60;
            write!(
                svg,
                "<text class=\"when\" x=\"{}.{}%\" y=\"{y}\" text-anchor=\"middle\" data-at=\"{at}\">{:02}:{:02}</text>",
                permille / 10,
                permille % 10,
                minutes / 60,
                minutes % 60
            )?;
        }
        Ok(())
    }
}

/// The marks of the numbers, from zero to the end of the axis. A round one beside the end gives way to it.
fn marks(max: u64, step: u64) -> impl Iterator<Item = u64> {
    let step = step.max(1);
    let round = (0..=max / step).map(move |index| index.saturating_mul(step));
    round
        .filter(move |mark| *mark == 0 || (*mark < max && max - mark >= step / 2))
        .chain([max])
}

/// Full hours between two times: at most so many, at hours that a clock's face has.
fn time_marks(from: i64, until: i64, at_most: i64) -> impl Iterator<Item = i64> {
    let length = until.saturating_sub(from).max(1);
    let steps = [300, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];
    let step = steps
        .into_iter()
        .find(|step| length / step <= at_most)
        .unwrap_or(86_400);
    let first = from
        .saturating_add(step - 1)
        .div_euclid(step)
        .saturating_mul(step);
    std::iter::successors(Some(first), move |at| at.checked_add(step))
        .take_while(move |at| *at <= until)
        .take(40)
}

/// How far down a number is.
fn height_of(value: u64, max: u64) -> u64 {
    let up = u128::from(value.min(max)) * u128::from(UNITS) / u128::from(max.max(1));
    UNITS.saturating_sub(u64::try_from(up).unwrap_or(UNITS))
}

/// A path from the first step to the last. Steps on one height are one piece.
fn line_path(values: &[u64], max: u64) -> String {
    let mut path = String::new();
    let mut run = 0_u32;
    let mut last = 0_u64;
    for (index, value) in values.iter().enumerate() {
        let y = height_of(*value, max);
        let _ = match index {
            0 => write!(path, "M0 {y}"),
            _ if y == last => {
                run += 1;
                Ok(())
            }
            _ => {
                let flat = if run > 0 { format!("h{run}") } else { String::new() };
                run = 0;
                let rise = i64::try_from(y).unwrap_or(0) - i64::try_from(last).unwrap_or(0);
                let space = if rise < 0 { "" } else { " " };
                write!(path, "{flat}l1{space}{rise}")
            }
        };
        last = y;
    }
    if run > 0 {
        let _ = write!(path, "h{run}");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(values: &[&[u64]]) -> Panel {
        let series = values.iter().enumerate().map(|(index, values)| ChartSeries {
            name: format!("<s{index}>"),
            values: values.to_vec(),
        });
        Panel {
            title: "lines <a minute>".to_owned(),
            step_seconds: 600,
            series: series.collect(),
            height: 100,
            ..Panel::default()
        }
    }

    #[test]
    fn areas_are_stacked_and_flat_pieces_are_short() {
        let svg = panel(&[&[1, 1, 1, 3], &[1, 1, 1, 1]]).svg();
        assert!(svg.contains("class=\"s1\" d=\"M0 500h2l1-500V1000H0Z\""), "{svg}");
        assert!(svg.contains("class=\"s0\" d=\"M0 750h2l1-500V1000H0Z\""), "{svg}");
        assert!(
            svg.contains("<title>lines &#60;a minute&#62;</title>")
                || svg.contains("<title>lines &lt;a minute&gt;</title>"),
            "{svg}"
        );
    }

    #[test]
    fn any_numbers_make_a_picture() {
        for values in [vec![], vec![0], vec![u64::MAX, 0, u64::MAX], vec![1; 300]] {
            let chart = Panel {
                bars: values.iter().copied().map(Some).collect(),
                limit: values.first().copied(),
                from: i64::MAX - 5,
                ..panel(&[&values, &values])
            };
            for unit in [
                PanelUnit::Count,
                PanelUnit::Seconds,
                PanelUnit::BasisPoints,
                PanelUnit::Bytes,
            ] {
                let svg = Panel {
                    unit,
                    ..chart.clone()
                }
                .svg();
                assert!(svg.ends_with("</svg>") && svg.len() < 40_000, "{svg}");
            }
        }
    }

    #[test]
    fn marks_of_the_time_are_few_and_on_full_hours() {
        let marks: Vec<_> = time_marks(1_795_248_000 + 1234, 1_795_248_000 + 1234 + 86_400, 8).collect();
        assert!((4..=9).contains(&marks.len()), "{marks:?}");
        assert!(marks.iter().all(|at| at % 10_800 == 0));
    }

    #[test]
    fn what_has_an_end_ends_its_axis() {
        let gib = 1_u64 << 30;
        let disk = Panel {
            unit: PanelUnit::Bytes,
            bars: vec![Some(40 * gib)],
            most: Some(91 * gib),
            ..panel(&[])
        };
        let marks = |panel: &Panel| -> Vec<String> {
            let svg = panel.svg();
            let marks = svg.split("class=\"value\"").skip(1);
            marks
                .filter_map(|mark| Some(mark.split_once('>')?.1.split_once('<')?.0.to_owned()))
                .collect()
        };
        assert_eq!(marks(&disk), ["50 GiB", "91 GiB"]);
        let free = Panel { most: None, ..disk };
        assert_eq!(marks(&free), ["10 GiB", "20 GiB", "30 GiB", "40 GiB"]);
    }

    #[test]
    fn marks_of_numbers_stand_beside_the_plot() {
        let svg = panel(&[&[1, 2, 3]]).svg();
        assert!(svg.contains("class=\"value\" x=\"-6\""), "{svg}");
        assert!(!svg.contains("text-anchor=\"start\""), "{svg}");
    }

    #[test]
    fn numbers_are_short_texts() {
        let texts = [250, 25, 100].map(|number| PanelUnit::BasisPoints.text(number));
        assert_eq!(texts, ["2.5 %", "0.25 %", "1 %"]);
    }
}
