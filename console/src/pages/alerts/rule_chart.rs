//! The chart of a configured rule beside its incident: what the rule measured in the last 24 hours, with its limit. Pure.

use std::time::Duration;

use logferry_chart::{Panel, PanelUnit};
use logferry_config::{BuiltInCounter, RuleCounter, RuleMeasure, RuleSettings, RuleThreshold};
use logferry_rules::{RuleCourse, limit_text};
use logferry_text::{about, duration};

use crate::pages::overview::charts::{ChartView, LegendEntry};
use crate::pages::parts::times;

/// Seconds of a step, and the steps of a day.
pub(super) const STEPS: (i64, usize) = (600, 144);

/// Steps of an hour.
const HOUR_STEPS: usize = 6;

/// An hour of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleHour {
    pub(crate) hour: String,
    pub(crate) measured: String,
    /// Whether the limit was passed.
    pub(crate) is_past: bool,
}

/// A rule's numbers of one subject, as a picture and as a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RuleChart {
    pub(crate) view: ChartView,
    pub(crate) hours: Vec<RuleHour>,
}

impl RuleChart {
    pub(crate) fn new(rule: &RuleSettings, subject: &str, course: &RuleCourse) -> Self {
        let (unit, name, scale) = unit(rule);
        let drawn = |measured: f64| whole(measured * scale);
        let text = |measured| unit.text(drawn(measured));
        let (title, note) = (what(rule), note(rule, course, text));
        let steps = course.steps.iter();
        let bars: Vec<_> = steps.clone().map(|step| step.measured.map(drawn)).collect();
        let legend = vec![LegendEntry::of_bars(0, "measured", &bars)];
        let panel = Panel {
            title: format!(
                "{title}, of {subject}: the worst of each ten minutes in the last 24 hours; {note}"
            ),
            unit,
            from: course.from,
            step_seconds: course.step_seconds,
            bars,
            alarms: steps.map(|step| step.fires).collect(),
            limit: match rule.threshold {
                RuleThreshold::Above(limit) | RuleThreshold::Below(limit) => Some(drawn(limit)),
                RuleThreshold::Absent => None,
            },
            height: 110,
            is_narrow: true,
            ..Panel::default()
        };
        let mut view = ChartView::new(title, name, &panel, legend);
        view.note = note;
        Self {
            view,
            hours: hours(rule, course, text),
        }
    }
}

/// How the measure is drawn: its unit here, its name in `chart.js`, and what of it is one.
fn unit(rule: &RuleSettings) -> (PanelUnit, &'static str, f64) {
    let is_bytes = rule.counter == RuleCounter::BuiltIn(BuiltInCounter::Bytes);
    match rule.measure {
        RuleMeasure::Count if is_bytes => (PanelUnit::Bytes, "bytes", 1.0),
        RuleMeasure::Count => (PanelUnit::Count, "count", 1.0),
        RuleMeasure::Rate => (PanelUnit::MilliPerSecond, "rate", 1000.0),
        RuleMeasure::Share | RuleMeasure::RatioToYesterday | RuleMeasure::RatioToLastWeek => {
            (PanelUnit::BasisPoints, "share", 10_000.0)
        }
    }
}

/// `status_5xx of all lines in 5 min`
fn what(rule: &RuleSettings) -> String {
    let (counter, over) = (&rule.counter, duration(rule.over));
    match rule.measure {
        RuleMeasure::Count => format!("{counter} in {over}"),
        RuleMeasure::Rate => format!("{counter} a second, over {over}"),
        RuleMeasure::Share => format!("{counter}, share of the lines in {over}"),
        RuleMeasure::RatioToYesterday => format!("{counter} in {over}, share of yesterday's"),
        RuleMeasure::RatioToLastWeek => format!("{counter} in {over}, share of last week's"),
    }
}

fn note(rule: &RuleSettings, course: &RuleCourse, text: impl Fn(f64) -> String) -> String {
    let worst = course.worst(rule).map_or_else(|| "not known".to_owned(), text);
    let past = course.steps.iter().filter(|step| step.fires).count();
    let seconds = u64::try_from(course.step_seconds).unwrap_or(0) * past as u64;
    let past = match past {
        0 => "never past it".to_owned(),
        _ => format!("past it for about {}", about(Duration::from_secs(seconds))),
    };
    match rule.threshold {
        RuleThreshold::Absent => format!("alarms at none; lowest {worst}, {past}"),
        RuleThreshold::Above(_) => format!("alarms {}; highest {worst}, {past}", limit_text(rule)),
        RuleThreshold::Below(_) => format!("alarms {}; lowest {worst}, {past}", limit_text(rule)),
    }
}

fn hours(rule: &RuleSettings, course: &RuleCourse, text: impl Fn(f64) -> String) -> Vec<RuleHour> {
    let steps = course.steps.chunks(HOUR_STEPS).enumerate();
    let hours = steps.map(|(index, steps)| {
        let part = RuleCourse {
            from: course.from,
            step_seconds: course.step_seconds,
            steps: steps.to_vec(),
        };
        let length = course.step_seconds * i64::try_from(index * HOUR_STEPS).unwrap_or(0);
        RuleHour {
            hour: times::minute(times::of_second(course.from.saturating_add(length))),
            measured: part.worst(rule).map_or_else(|| "–".to_owned(), &text),
            is_past: steps.iter().any(|step| step.fires),
        }
    });
    hours.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number for a picture; `as` keeps it in range"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use logferry_rules::CourseStep;

    use super::*;

    fn rule(settings: &str) -> RuleSettings {
        let text = format!(
            "monitor:\n  smtp: {{host: h, from: a@example.com, to: [a@example.com]}}\n  rules: [{{name: r, {settings}}}]\nindexer: {{}}\n"
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
        config.monitor.unwrap().rules.pop().unwrap()
    }

    fn course(measured: &[Option<f64>], limit: f64) -> RuleCourse {
        let steps = measured.iter().map(|measured| CourseStep {
            measured: *measured,
            fires: measured.is_some_and(|it| it > limit),
        });
        RuleCourse {
            from: 1_795_227_600,
            step_seconds: 600,
            steps: steps.collect(),
        }
    }

    #[test]
    fn limit_and_what_is_past_it_are_in_the_picture_and_in_words() {
        let rule = rule("counter: status_5xx, measure: share, above: 5%, by: source");
        let chart = RuleChart::new(&rule, "a<b", &course(&[Some(0.01), None, Some(0.092)], 0.05));
        let view = chart.view;
        assert_eq!(view.title, "status_5xx, share of the lines in 5 min");
        assert_eq!(
            view.note,
            "alarms above 5%; highest 9.2 %, past it for about 10 min"
        );
        assert_eq!((view.unit, &*view.legend[0].values), ("share", "100 - 920"));
        for part in ["class=\"alarm\"", "class=\"s0\"", "class=\"limit\"", "9.2 %"] {
            assert!(view.svg.contains(part), "{part}: {}", view.svg);
        }
        assert!(!view.svg.contains("a<b"), "{}", view.svg);
        assert_eq!(
            chart
                .hours
                .iter()
                .map(|hour| (&*hour.measured, hour.is_past))
                .collect::<Vec<_>>(),
            [("9.2 %", true)]
        );
    }

    #[test]
    fn each_measure_has_its_unit() {
        for (settings, measured, expected) in [
            (
                "counter: bytes, above: 1KiB",
                2048.0,
                "alarms above 1024; highest 2.0 KiB",
            ),
            (
                "counter: lines, measure: rate, below: 0.5",
                0.25,
                "alarms below 0.5 a second; lowest 0.25/s",
            ),
            ("counter: lines, absent: true", 3.0, "alarms at none; lowest 3"),
            (
                "counter: lines, measure: ratio_to_yesterday, below: 50%",
                4.0,
                "alarms below 50%; lowest 400 %",
            ),
        ] {
            let chart = RuleChart::new(&rule(settings), "all", &course(&[Some(measured)], f64::MAX));
            assert!(chart.view.note.starts_with(expected), "{}", chart.view.note);
        }
    }
}
