//! `GET /api/v1/search`: a page of hits, newest first, with a cursor; as JSON, or line by line while they are found.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use logferry_search::{GapJson, HitJson};
use logferry_store::{Hit, Query, SearchPage, SearchProgress};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::line_query::{LineQuery, TimeRange};
use super::schemas::SearchAnswerSchema;
use crate::answer::input::QueryInput;
use crate::answer::json_body::{JsonBody, to_json};
use crate::answer::piece_writer::PieceWriter;
use crate::answer::problem::Problem;
use crate::answer::stream_body::{self, UNBUFFERED};
use crate::app::lines::{HitTaker, LineSearch, SearchFacts};
use crate::app::state::AppState;
use crate::database::MarkSet;
use crate::login::principal::Reader;

/// Hits of a page.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// A search may take so long.
const BUDGET: Duration = Duration::from_secs(5);
const BUDGET_MAX: Duration = Duration::from_mins(1);
/// How often the state of a search is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

pub(super) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Which page.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// At most so many lines: 1 to 1000 [default: 100].
    limit: Option<usize>,
    /// `next` of the page before.
    after: String,
    /// How many milliseconds the search may take, at most 60000 [default: 5000].
    timeout_ms: Option<u64>,
    /// Also lines that somebody has hidden.
    hidden: bool,
}

/// Lines, newest first
#[utoipa::path(get, path = "/search", params(LineQuery, TimeRange, PageParams),
    description = "One page. `complete` says whether everything was searched; if not, `next` goes on, and `searched_to` says how far it \
        has come. With `Accept: application/x-ndjson` each line is an object of its own while it is found, with the state of the \
        search between them and at the end.",
    responses(
        (status = 200, body = SearchAnswerSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn search(
    State(state): State<AppState>,
    _: Reader,
    headers: HeaderMap,
    QueryInput(words): QueryInput<LineQuery>,
    QueryInput(times): QueryInput<TimeRange>,
    QueryInput(params): QueryInput<PageParams>,
) -> Result<Response, Problem> {
    let search = line_search(&words, &times, &params)?;
    let is_stream = headers
        .get_all(ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("ndjson")));
    if is_stream {
        return Ok(streamed(state, search, params.hidden));
    }
    let (HitList(mut hits), facts) = state.search(search, HitList::default()).await?;
    let marks = marks_of(&state, &hits).await?;
    let mut shown: Vec<_> = hits.drain(..).zip(marks).collect();
    if !params.hidden {
        shown.retain(|(_, marks)| !marks.is_hidden);
    }
    let hits: Vec<_> = shown
        .iter()
        .map(|(hit, marks)| MarkedHitJson {
            line: HitJson::of(hit),
            marks: *marks,
        })
        .collect();
    let end = EndJson::of(&facts);
    Ok(JsonBody(AnswerJson { hits, end }).into_response())
}

pub(super) fn line_search(
    words: &LineQuery,
    times: &TimeRange,
    params: &PageParams,
) -> Result<LineSearch, Problem> {
    words.check()?;
    let (since, until) = times.read(Timestamp::now())?;
    let limit = params.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit: write 1 to {LIMIT_MAX}")));
    }
    let after = match params.after.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            Problem::bad_request("after: this is no cursor of a search; give `next` of the page before")
        })?),
    };
    let budget = params.timeout_ms.map_or(BUDGET, Duration::from_millis);
    Ok(LineSearch {
        query: query(words, since, until)?,
        selection: words.selection(since, until),
        page: SearchPage {
            limit,
            after,
            with_fields: true,
            only_count: false,
        },
        budget: budget.min(BUDGET_MAX),
    })
}

pub(super) fn query(
    words: &LineQuery,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Query, Problem> {
    let query = words.query();
    let mut query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    query.since_ms = since.map(Timestamp::as_millisecond);
    query.until_ms = until.map(Timestamp::as_millisecond);
    Ok(query)
}

/// The marks of hits, in their order.
pub(crate) async fn marks_of(state: &AppState, hits: &[Hit]) -> Result<Vec<MarkSet>, Problem> {
    let ids: Vec<_> = hits.iter().map(Hit::id).collect();
    Ok(state.database.run(move |db| db.marks(&ids)).await?)
}

/// Keeps the hits of a page.
#[derive(Debug, Default)]
pub(crate) struct HitList(pub(crate) Vec<Hit>);

impl HitTaker for HitList {
    fn hit(&mut self, hit: &Hit) -> bool {
        self.0.push(hit.clone());
        true
    }
}

#[derive(Serialize)]
struct AnswerJson<'a> {
    hits: Vec<MarkedHitJson<'a>>,
    #[serde(flatten)]
    end: EndJson<'a>,
}

/// A hit with its marks.
#[derive(Serialize)]
pub(crate) struct MarkedHitJson<'a> {
    #[serde(flatten)]
    pub(crate) line: HitJson<'a>,
    #[serde(flatten)]
    pub(crate) marks: MarkSet,
}

/// How a search ended.
#[derive(Serialize)]
struct EndJson<'a> {
    searched_to: Option<Timestamp>,
    complete: bool,
    found: u64,
    next: Option<String>,
    scanned_bytes: u64,
    damage: &'a [String],
    gaps: Vec<GapJson<'a>>,
    notes: &'a [String],
}

impl<'a> EndJson<'a> {
    fn of(facts: &'a SearchFacts) -> Self {
        let progress = facts.end.progress;
        Self {
            searched_to: timestamp(progress.searched_to_ms),
            complete: facts.end.is_complete,
            found: progress.hits,
            next: facts.end.next.as_ref().map(ToString::to_string),
            scanned_bytes: progress.scanned_bytes,
            damage: &facts.end.damage,
            gaps: facts.gaps.iter().map(GapJson::of).collect(),
            notes: &facts.notes,
        }
    }
}

/// How far a search is, between two lines.
#[derive(Serialize)]
struct ProgressJson {
    searched_to: Option<Timestamp>,
    found: u64,
    scanned_bytes: u64,
}

fn timestamp(milliseconds: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds?).ok()
}

/// Hits and states as they come, one object a line.
fn streamed(state: AppState, search: LineSearch, with_hidden: bool) -> Response {
    let (writer, body) = stream_body::body();
    tokio::spawn(async move {
        let searched = async {
            let marks = state.database.run(|db| db.all_marks()).await?;
            let turn = state.search_turn().await?;
            let taker = NdjsonTaker {
                marks,
                // A reader that takes nothing keeps the turn no longer than any search does.
                lines: PieceWriter::new(writer.clone(), Instant::now() + search.budget),
                with_hidden,
                told: Instant::now(),
            };
            state.search_page(turn, search, taker).await
        };
        let ended = tokio::select! {
            ended = searched => ended,
            () = writer.closed() => return,
        };
        let (mut rest, last) = match ended {
            Ok((taker, facts)) => (taker.lines.rest(), to_json(&EndJson::of(&facts))),
            Err(problem) => (Vec::new(), to_json(&problem)),
        };
        rest.extend(last.unwrap_or_default());
        let _ = writer.send(line_of(rest)).await;
    });
    let headers = [
        (CONTENT_TYPE, NDJSON),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

pub(super) fn line_of(mut json: Vec<u8>) -> Bytes {
    json.push(b'\n');
    json.into()
}

/// Writes hits as they are found.
struct NdjsonTaker {
    marks: HashMap<String, MarkSet>,
    lines: PieceWriter,
    with_hidden: bool,
    told: Instant,
}

impl NdjsonTaker {
    fn write(&mut self, value: &impl Serialize) -> bool {
        self.lines.add(&to_json(value).unwrap_or_default())
    }
}

impl HitTaker for NdjsonTaker {
    fn hit(&mut self, hit: &Hit) -> bool {
        let marks = self.marks.get(&hit.id()).copied().unwrap_or_default();
        if marks.is_hidden && !self.with_hidden {
            return true;
        }
        self.write(&MarkedHitJson {
            line: HitJson::of(hit),
            marks,
        })
    }

    fn progress(&mut self, progress: &SearchProgress) -> bool {
        if self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            self.write(&ProgressJson {
                searched_to: timestamp(progress.searched_to_ms),
                found: progress.hits,
                scanned_bytes: progress.scanned_bytes,
            });
        }
        self.lines.flush()
    }
}
