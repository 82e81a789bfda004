//! What its page fetches, and the three actions, each of which turns a mark over.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_numbers::{NumbersDimension, NumbersQuery, NumbersSpan};
use logferry_search::{LineId, LineSelection};
use logferry_store::{Hit, Query, SearchPage};
use serde::{Deserialize, Serialize};

use super::log_entry::{LogEntry, level_word};
use crate::answer::input::{PathInput, QueryInput};
use crate::answer::json_body::JsonBody;
use crate::answer::problem::Problem;
use crate::api::search::{HitList, marks_of};
use crate::app::lines::{HitTaker, LineSearch};
use crate::app::state::AppState;
use crate::database::MarkKind;
use crate::login::principal::{Actor, Reader};

/// Lines of one answer.
const LINES_MAX: usize = 500;
/// Lines of one page of a search. The memory is bounded by the store, which ends a page earlier.
const PAGE_LINES: usize = 100_000;
/// What came since a line is looked for in this time behind it first,
const FIRST_SPAN_MS: i64 = 60_000;
/// and in so many times the time after that.
const SPAN_GROWTH: i64 = 4;
/// Without `since`: so many, the newest.
const NEWEST: usize = 100;
const BUDGET: Duration = Duration::from_secs(5);
/// The time that the counts are of: that of the search.
const COUNTED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Which lines.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SinceParams {
    /// The last id that the page has.
    since: String,
}

/// What came since a line, the oldest first, so that a page that puts each on top is right; without one, the newest lines. Hidden
/// lines are left out. Of many lines these are the oldest, so whoever asks with the last id of each answer gets all that was there
/// when it began. "Behind" is by the time of the lines: one that becomes durable later than a newer one is not in a later answer.
pub(super) async fn new_logs(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<SinceParams>,
) -> Result<JsonBody<Vec<LogEntry>>, Problem> {
    let hits = match params.since.as_str() {
        "" => newest_lines(&state).await?,
        text => lines_behind(&state, &known_line(&state, text).await?).await?,
    };
    let marks = marks_of(&state, &hits).await?;
    let zone = TimeZone::system();
    let shown = hits.iter().zip(marks).filter(|(_, marks)| !marks.is_hidden);
    Ok(JsonBody(
        shown
            .map(|(hit, marks)| LogEntry::of(hit, marks, &zone))
            .collect(),
    ))
}

/// The newest lines, the oldest of them first. First of the last hour, where they nearly always are: a search of all time looks for
/// each batch that there is.
async fn newest_lines(state: &AppState) -> Result<Vec<Hit>, Problem> {
    let hour = Timestamp::now().checked_sub(SignedDuration::from_hours(1)).ok();
    let mut newest = lines_since(state, hour, NEWEST).await?;
    if newest.len() < NEWEST {
        newest = lines_since(state, None, NEWEST).await?;
    }
    newest.reverse();
    Ok(newest)
}

/// The place of a line in the order of a search.
type LineKey = (i64, String, u64);

fn key_of(hit: &Hit) -> LineKey {
    (hit.time_ms, hit.batch.clone(), hit.offset)
}

/// Keeps the oldest lines behind a line that are shown.
struct OldestBehind {
    last: LineKey,
    hidden: HashSet<String>,
    /// The newest first.
    hits: VecDeque<Hit>,
}

impl HitTaker for OldestBehind {
    fn hit(&mut self, hit: &Hit) -> bool {
        if key_of(hit) > self.last && (self.hidden.is_empty() || !self.hidden.contains(&hit.id())) {
            self.hits.push_back(hit.clone());
            if self.hits.len() > LINES_MAX {
                self.hits.pop_front();
            }
        }
        true
    }
}

/// The oldest lines behind a line, the oldest first. Short times are searched one after the other: a search goes from new to old.
async fn lines_behind(state: &AppState, last: &Hit) -> Result<Vec<Hit>, Problem> {
    let end = Instant::now() + BUDGET;
    let turn = state.search_turn().await?;
    let marks = state.database.run(|db| db.all_marks()).await?;
    let hidden = marks.into_iter().filter(|(_, marks)| marks.is_hidden);
    let mut taker = OldestBehind {
        last: key_of(last),
        hidden: hidden.map(|(line, _)| line).collect(),
        hits: VecDeque::new(),
    };
    let now = Timestamp::now().as_millisecond();
    let (mut since, mut span) = (last.time_ms, FIRST_SPAN_MS);
    let mut found = Vec::new();
    while found.len() < LINES_MAX {
        // The last one has no end: a clock may be ahead.
        let until = since.checked_add(span).filter(|until| *until <= now);
        let mut search = search_of(Timestamp::from_millisecond(since).ok(), PAGE_LINES);
        search.query.until_ms = until;
        search.selection.until = until.and_then(|until| Timestamp::from_millisecond(until).ok());
        loop {
            search.budget = end.saturating_duration_since(Instant::now());
            let (took, facts) = state
                .search_page(Arc::clone(&turn), search.clone(), taker)
                .await?;
            taker = took;
            if facts.end.next.is_none() {
                break;
            }
            if Instant::now() >= end {
                // The lines of a time that was not searched to its beginning may not be the next ones.
                return if found.is_empty() {
                    Err(too_many())
                } else {
                    Ok(found)
                };
            }
            search.page.after = facts.end.next;
        }
        found.extend(taker.hits.drain(..).rev());
        let Some(until) = until else { break };
        (since, span) = (until, span.saturating_mul(SPAN_GROWTH));
    }
    found.truncate(LINES_MAX);
    Ok(found)
}

fn too_many() -> Problem {
    Problem::unavailable(
        "too many lines came since this one to find the next ones in time; ask without `since`, or search them",
    )
}

/// The newest lines, not older than that.
async fn lines_since(state: &AppState, since: Option<Timestamp>, limit: usize) -> Result<Vec<Hit>, Problem> {
    let (HitList(hits), _) = state.search(search_of(since, limit), HitList::default()).await?;
    Ok(hits)
}

fn search_of(since: Option<Timestamp>, limit: usize) -> LineSearch {
    let mut query = Query::default();
    query.since_ms = since.map(Timestamp::as_millisecond);
    LineSearch {
        query,
        selection: LineSelection {
            since,
            ..LineSelection::default()
        },
        page: SearchPage {
            limit,
            with_fields: true,
            ..SearchPage::default()
        },
        budget: BUDGET,
    }
}

/// The line that a page had last.
async fn known_line(state: &AppState, text: &str) -> Result<Hit, Problem> {
    let id: LineId = crate::api::lines::line_id(text)?;
    Ok(state.line(id, 0).await?.line)
}

/// Lines by level of the last seven days, without hidden ones.
pub(super) async fn log_stats(
    State(state): State<AppState>,
    _: Reader,
) -> Result<JsonBody<BTreeMap<&'static str, u64>>, Problem> {
    let now = Timestamp::now();
    let since = now.checked_sub(COUNTED).unwrap_or(Timestamp::UNIX_EPOCH);
    let rows = state.host.index(move |index| {
        let query = |by| NumbersQuery {
            since: Some(since.as_second()),
            per: NumbersSpan::Hour,
            by,
            ..NumbersQuery::default()
        };
        Ok((
            index.numbers(&query(None))?,
            index.numbers(&query(Some(NumbersDimension::Level)))?,
        ))
    });
    let (all, by_level) = rows.await?;
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for row in &by_level {
        *counts.entry(level_word(row.value.as_deref())).or_default() += row.counts.lines();
    }
    let with_level: u64 = counts.values().sum();
    let lines: u64 = all.iter().map(|row| row.counts.lines()).sum();
    if let Some(others) = lines.checked_sub(with_level).filter(|others| *others > 0) {
        *counts.entry(level_word(None)).or_default() += others;
    }
    let since_ms = since.as_millisecond();
    let hidden = state.database.run(move |db| db.hidden_by_level(since_ms)).await?;
    for (level, lines) in hidden {
        if let Some(count) = counts.get_mut(level_word(level.as_deref())) {
            *count = count.saturating_sub(lines);
        }
    }
    counts.retain(|_, lines| *lines > 0);
    Ok(JsonBody(counts))
}

/// The new state of a mark.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum MarkedState {
    Pin { status: &'static str, is_pinned: bool },
    Ticket { status: &'static str, is_ticket: bool },
    Delete { status: &'static str, is_deleted: bool },
}

/// Turns a mark over. `delete` hides a line in the console and touches no file.
pub(super) async fn act(
    State(state): State<AppState>,
    Actor(principal): Actor,
    PathInput((id, action)): PathInput<(String, String)>,
) -> Result<JsonBody<MarkedState>, Problem> {
    let kind = match action.as_str() {
        "pin" => MarkKind::Pin,
        "ticket" => MarkKind::Ticket,
        "delete" => MarkKind::Hidden,
        _ => return Err(Problem::not_found("the actions are pin, ticket and delete")),
    };
    let marks = state.mark(&id, kind, None, principal.name).await?;
    let status = "success";
    Ok(JsonBody(match kind {
        MarkKind::Pin => MarkedState::Pin {
            status,
            is_pinned: marks.is_pinned,
        },
        MarkKind::Ticket => MarkedState::Ticket {
            status,
            is_ticket: marks.is_ticket,
        },
        MarkKind::Hidden => MarkedState::Delete {
            status,
            is_deleted: marks.is_hidden,
        },
    }))
}
