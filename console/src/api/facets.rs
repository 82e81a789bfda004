//! `GET /api/v1/search/facets`: which values the lines of a search have, beyond the page that is shown.
//!
//! It is a search of its own, with a short time, so that the search for lines is not slower for it. Bounded: the lines that are
//! counted, and the values that are told apart.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::extract::State;
use jiff::Timestamp;
use logferry_fields::LineReader;
use logferry_store::{Hit, MatchedLine, SearchProgress};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::line_query::{LineQuery, TimeRange};
use super::search::{PageParams, line_search};
use crate::answer::input::QueryInput;
use crate::answer::json_body::JsonBody;
use crate::answer::problem::Problem;
use crate::app::lines::{HitTaker, LineSearch};
use crate::app::state::AppState;
use crate::login::principal::Reader;

/// Lines that are counted at most.
const COUNTED_MAX: u64 = 200_000;
/// Steps of time that are told apart.
const STEPS_MAX: usize = 1000;
/// Counting may take so long.
const BUDGET: Duration = Duration::from_secs(2);
const BUDGET_MAX: Duration = Duration::from_secs(10);
/// Values of a field that are told apart. A longer one is counted with the others.
const VALUES_MAX: usize = 1000;
const VALUE_BYTES_MAX: usize = 200;
/// Values that are answered.
const ANSWERED_MAX: usize = 20;

/// How long.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct FacetParams {
    /// How many milliseconds counting may take, at most 10000 [default: 2000].
    timeout_ms: Option<u64>,
    /// Also count the lines of each so many seconds from `since` on, in at most 1000 steps.
    step: Option<u32>,
}

/// What the lines of a search have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FacetsAnswer {
    /// Lines that were counted: those that the search finds, about the newest first, hidden ones included; at most 200000.
    counted: u64,
    /// Whether these are all that there are.
    complete: bool,
    /// All lines later than this were counted; null: nothing was, or all were.
    counted_to: Option<Timestamp>,
    /// The counted lines over time; null without `since` or `step`.
    over_time: Option<OverTime>,
    /// source, level, status, path.
    fields: Vec<FieldCounts>,
}

/// Lines in steps of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct OverTime {
    /// Where the first step begins: a multiple of the step, at `since` or before it.
    since: Timestamp,
    /// Seconds of a step.
    step: u32,
    /// Lines of each step.
    lines: Vec<u64>,
}

/// The values of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldCounts {
    field: &'static str,
    /// The most frequent ones, at most 20.
    values: Vec<ValueCount>,
    /// Lines with another value.
    others: u64,
}

/// A value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ValueCount {
    value: String,
    lines: u64,
}

/// The values of source, level, status and path in the newest lines of a search
#[utoipa::path(get, path = "/search/facets", params(LineQuery, TimeRange, FacetParams),
    description = "Counts until the time is over, everything is searched, or 200000 lines are counted; `counted`, `complete` and \
        `counted_to` say which. A path has no query string.",
    responses(
        (status = 200, body = FacetsAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn facets(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(words): QueryInput<LineQuery>,
    QueryInput(times): QueryInput<TimeRange>,
    QueryInput(params): QueryInput<FacetParams>,
) -> Result<JsonBody<FacetsAnswer>, Problem> {
    let mut search = line_search(&words, &times, &PageParams::default())?;
    search.page.only_count = true;
    let budget = params.timeout_ms.map_or(BUDGET, Duration::from_millis);
    search.budget = budget.min(BUDGET_MAX);
    let counts = FacetCounts {
        over_time: params
            .step
            .and_then(|step| OverTime::of(&search, step).transpose())
            .transpose()?,
        ..FacetCounts::default()
    };
    let (counts, facts) = state.search(search, counts).await?;
    let complete = facts.end.is_complete && counts.counted < COUNTED_MAX;
    let to = facts.end.progress.searched_to_ms.filter(|_| !complete);
    Ok(JsonBody(FacetsAnswer {
        counted: counts.counted,
        complete,
        counted_to: to.and_then(|to| Timestamp::from_millisecond(to).ok()),
        over_time: counts.over_time.clone(),
        fields: counts.fields(),
    }))
}

impl OverTime {
    /// No steps yet; `None` if the search has no beginning.
    fn of(search: &LineSearch, step: u32) -> Result<Option<Self>, Problem> {
        let until = search.selection.until.unwrap_or_else(Timestamp::now).as_second();
        let Some(since) = search.selection.since.map(Timestamp::as_second) else {
            return Ok(None);
        };
        let seconds = i64::from(step);
        let too_many = || {
            Problem::bad_request(format!(
                "step: the time has 1 to {STEPS_MAX} steps of so many seconds"
            ))
        };
        let start = since - since.checked_rem_euclid(seconds).ok_or_else(too_many)?;
        let steps = usize::try_from((until - start).max(0) / seconds + 1).unwrap_or(usize::MAX);
        if steps > STEPS_MAX {
            return Err(too_many());
        }
        Ok(Some(Self {
            since: Timestamp::from_second(start).unwrap_or(Timestamp::MIN),
            step,
            lines: vec![0; steps],
        }))
    }

    fn add(&mut self, time_ms: i64) {
        let step = (time_ms.div_euclid(1000) - self.since.as_second()).div_euclid(i64::from(self.step));
        if let Some(lines) = usize::try_from(step)
            .ok()
            .and_then(|step| self.lines.get_mut(step))
        {
            *lines += 1;
        }
    }
}

/// Counts of the fields, as lines are found.
#[derive(Debug, Default)]
struct FacetCounts {
    counted: u64,
    over_time: Option<OverTime>,
    source: ValueCounts,
    level: ValueCounts,
    status: BTreeMap<u16, u64>,
    path: ValueCounts,
}

impl FacetCounts {
    fn fields(self) -> Vec<FieldCounts> {
        let mut status = ValueCounts::default();
        for (value, lines) in self.status {
            status.add(&value.to_string(), lines);
        }
        let fields = [
            ("source", self.source),
            ("level", self.level),
            ("status", status),
            ("path", self.path),
        ];
        fields.map(|(field, counts)| counts.answer(field)).into()
    }
}

impl HitTaker for FacetCounts {
    fn hit(&mut self, _: &Hit) -> bool {
        true
    }

    fn matched(&mut self, line: &MatchedLine<'_>, reader: &mut LineReader<'_>) {
        if self.counted >= COUNTED_MAX {
            return;
        }
        self.counted += 1;
        if let Some(over_time) = &mut self.over_time {
            over_time.add(line.time_ms);
        }
        self.source.add(line.source, 1);
        if let Some(level) = line.level {
            self.level.add(level, 1);
        }
        if let Some(status) = line.status {
            *self.status.entry(status).or_default() += 1;
        }
        let facts = reader.read(line.line);
        let path = reader.field(line.line, b"path").or(facts.path);
        if let Some(path) = path {
            let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
            self.path.add(&String::from_utf8_lossy(path), 1);
        }
    }

    fn progress(&mut self, _: &SearchProgress) -> bool {
        self.counted < COUNTED_MAX
    }
}

/// How often each value was there.
#[derive(Debug, Default)]
struct ValueCounts {
    values: HashMap<String, u64>,
    others: u64,
}

impl ValueCounts {
    fn add(&mut self, value: &str, count: u64) {
        if let Some(lines) = self.values.get_mut(value) {
            *lines += count;
        } else if self.values.len() < VALUES_MAX && (1..=VALUE_BYTES_MAX).contains(&value.len()) {
            self.values.insert(value.to_owned(), count);
        } else if !value.is_empty() {
            self.others += count;
        }
    }

    fn answer(self, field: &'static str) -> FieldCounts {
        let values = self.values.into_iter();
        let mut values: Vec<_> = values.map(|(value, lines)| ValueCount { value, lines }).collect();
        values.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.value.cmp(&b.value)));
        let rest = values.split_off(values.len().min(ANSWERED_MAX));
        FieldCounts {
            field,
            others: self.others + rest.iter().map(|value| value.lines).sum::<u64>(),
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_fields::Format;

    use super::*;

    #[test]
    fn what_is_too_much_to_tell_apart_is_counted_with_the_others() {
        let mut counts = FacetCounts::default();
        let format = Format::default();
        let mut reader = LineReader::new(&format, 0);
        let mut take = |path: String| {
            let line = format!("192.0.2.1 - - [21/Nov/2026:08:20:03 +0000] \"GET {path} HTTP/1.1\" 200 5");
            let matched = MatchedLine {
                time_ms: 0,
                source: "a",
                level: None,
                status: Some(200),
                line: line.as_bytes(),
            };
            counts.matched(&matched, &mut reader);
        };
        for number in 0..5000 {
            take(format!("/{number}?x"));
        }
        for _ in 0..7 {
            take("/0?y".to_owned());
            take("/".repeat(VALUE_BYTES_MAX + 1));
        }
        assert_eq!(counts.counted, 5014);
        let fields = counts.fields();
        let [source, level, status, path] = &fields[..] else {
            panic!("four fields")
        };
        assert_eq!((source.values[0].lines, source.others), (5014, 0));
        assert_eq!((level.values.len(), status.values[0].value.as_str()), (0, "200"));
        assert_eq!((path.values[0].value.as_str(), path.values[0].lines), ("/0", 8));
        assert_eq!(path.values.len(), ANSWERED_MAX);
        let told: u64 = path.values.iter().map(|value| value.lines).sum();
        assert_eq!(told + path.others, 5014);
    }
}
