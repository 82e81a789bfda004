//! What its page fetches, and the three actions, each of which turns a mark over.

use std::collections::BTreeMap;
use std::time::Duration;

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
use crate::app::lines::LineSearch;
use crate::app::state::AppState;
use crate::database::MarkKind;
use crate::login::principal::{Actor, Reader};

/// Lines of one answer.
const LINES_MAX: usize = 500;
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
/// lines are left out.
pub(super) async fn new_logs(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<SinceParams>,
) -> Result<JsonBody<Vec<LogEntry>>, Problem> {
    let last = match params.since.as_str() {
        "" => None,
        text => Some(known_line(&state, text).await?),
    };
    let mut hits = match &last {
        Some(last) => lines_since(&state, Timestamp::from_millisecond(last.time_ms).ok(), LINES_MAX).await?,
        None => newest_lines(&state).await?,
    };
    hits.reverse();
    if let Some(last) = &last {
        let key = |hit: &Hit| (hit.time_ms, hit.batch.clone(), hit.offset);
        let behind = key(last);
        hits.retain(|hit| key(hit) > behind);
    }
    let marks = marks_of(&state, &hits).await?;
    let zone = TimeZone::system();
    let shown = hits.iter().zip(marks).filter(|(_, marks)| !marks.is_hidden);
    Ok(JsonBody(
        shown
            .map(|(hit, marks)| LogEntry::of(hit, marks, &zone))
            .collect(),
    ))
}

/// Of the last hour, where the newest lines nearly always are: a search of all time looks for each batch that there is.
async fn newest_lines(state: &AppState) -> Result<Vec<Hit>, Problem> {
    let hour = Timestamp::now().checked_sub(SignedDuration::from_hours(1)).ok();
    let newest = lines_since(state, hour, NEWEST).await?;
    if newest.len() < NEWEST {
        return lines_since(state, None, NEWEST).await;
    }
    Ok(newest)
}

/// The newest lines, not older than that.
async fn lines_since(state: &AppState, since: Option<Timestamp>, limit: usize) -> Result<Vec<Hit>, Problem> {
    let mut query = Query::default();
    query.since_ms = since.map(Timestamp::as_millisecond);
    let search = LineSearch {
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
    };
    let (HitList(hits), _) = state.search(search, HitList::default()).await?;
    Ok(hits)
}

/// The line that a page had last. One that is gone from everywhere has its window's time.
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
