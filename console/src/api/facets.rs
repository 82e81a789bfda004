//! `GET /api/v1/search/facets`: which values the lines of a search have, beyond the page that is shown.
//!
//! It is a search of its own, with a short time, so that the search for lines is not slower for it. Bounded: the lines that are
//! counted, and the values that are told apart.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::extract::State;
use jiff::Timestamp;
use logferry_store::Hit;
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
/// Lines of one page of the search.
const PAGE_LINES: usize = 5000;
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
}

/// What the lines of a search have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FacetsAnswer {
    /// Lines that were counted: the newest of those that the search finds, hidden ones included; at most 200000.
    counted: u64,
    /// Whether these are all that there are.
    complete: bool,
    /// All lines later than this were counted; null: nothing was, or all were.
    counted_to: Option<Timestamp>,
    /// source, level, status, path.
    fields: Vec<FieldCounts>,
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
    let search = line_search(&words, &times, &PageParams::default())?;
    let budget = params.timeout_ms.map_or(BUDGET, Duration::from_millis);
    let until = Instant::now() + budget.min(BUDGET_MAX);
    Ok(JsonBody(count(&state, search, until).await?))
}

async fn count(state: &AppState, mut search: LineSearch, until: Instant) -> Result<FacetsAnswer, Problem> {
    let mut counts = FacetCounts::default();
    loop {
        let left = COUNTED_MAX - counts.counted.min(COUNTED_MAX);
        search.page.limit = usize::try_from(left).unwrap_or(PAGE_LINES).min(PAGE_LINES);
        search.budget = until.saturating_duration_since(Instant::now());
        let counted = counts.counted;
        let (so_far, facts) = state.search(search.clone(), counts).await?;
        counts = so_far;
        search.page.after = facts.end.next;
        let is_over = search.page.after.is_none() || counts.counted >= COUNTED_MAX || until <= Instant::now();
        if is_over || counts.counted == counted {
            let to = facts.end.progress.searched_to_ms;
            let to = to.filter(|_| !facts.end.is_complete);
            return Ok(FacetsAnswer {
                counted: counts.counted,
                complete: facts.end.is_complete,
                counted_to: to.and_then(|to| Timestamp::from_millisecond(to).ok()),
                fields: counts.fields(),
            });
        }
    }
}

/// Counts of the fields, as lines are found.
#[derive(Debug, Default)]
struct FacetCounts {
    counted: u64,
    source: ValueCounts,
    level: ValueCounts,
    status: ValueCounts,
    path: ValueCounts,
}

impl FacetCounts {
    fn fields(self) -> Vec<FieldCounts> {
        let fields = [
            ("source", self.source),
            ("level", self.level),
            ("status", self.status),
            ("path", self.path),
        ];
        fields.map(|(field, counts)| counts.answer(field)).into()
    }
}

impl HitTaker for FacetCounts {
    fn hit(&mut self, hit: &Hit) -> bool {
        self.counted += 1;
        self.source.add(&hit.source);
        if let Some(level) = &hit.level {
            self.level.add(level);
        }
        if let Some(status) = hit.status {
            self.status.add(&status.to_string());
        }
        if let Some((_, path)) = hit.fields.iter().find(|(name, _)| name == "path") {
            self.path.add(path.split('?').next().unwrap_or_default());
        }
        true
    }
}

/// How often each value was there.
#[derive(Debug, Default)]
struct ValueCounts {
    values: HashMap<String, u64>,
    others: u64,
}

impl ValueCounts {
    fn add(&mut self, value: &str) {
        if let Some(lines) = self.values.get_mut(value) {
            *lines += 1;
        } else if self.values.len() < VALUES_MAX && (1..=VALUE_BYTES_MAX).contains(&value.len()) {
            self.values.insert(value.to_owned(), 1);
        } else if !value.is_empty() {
            self.others += 1;
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
    use super::*;

    #[test]
    fn what_is_too_much_to_tell_apart_is_counted_with_the_others() {
        let mut counts = FacetCounts::default();
        let hit = |path: String| Hit {
            source: "a".to_owned(),
            status: Some(200),
            fields: vec![("path".to_owned(), path)],
            ..Hit::default()
        };
        for number in 0..5000 {
            counts.hit(&hit(format!("/{number}?x")));
        }
        for _ in 0..7 {
            counts.hit(&hit("/0?y".to_owned()));
            counts.hit(&hit("/".repeat(VALUE_BYTES_MAX + 1)));
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
