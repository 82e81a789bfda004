//! Windows, and the batches of one.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_inspection::audit::AuditedBatch;
use logferry_ledger::{Batch, BatchFilter, Delivery};
use logferry_protocol::names::SourceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::input::{PathInput, QueryInput};
use crate::answer::json_body::JsonBody;
use crate::answer::problem::{Problem, shown};
use crate::app::state::AppState;
use crate::login::principal::Reader;
use crate::pages::windows::cell::CellState;
use crate::pages::windows::grid::{GridDay, WindowGrid};
use crate::pages::windows::read;

/// Which day.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DayParams {
    /// A date [default: today], such as 2026-11-21.
    day: String,
    /// The IANA name of the zone of the day [default: UTC], such as Europe/Berlin.
    zone: String,
    /// Only sources and groups with this text.
    find: String,
}

/// The windows of a day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DayWindows {
    day: String,
    /// Where the first window of the day begins, RFC 3339: window `i` begins `i * step_seconds` later. It is midnight, or, where the
    /// zone is half an hour off those of the logs, a little later.
    from: Timestamp,
    /// Behind the day's last second.
    until: Timestamp,
    /// Seconds from one window to the next. Windows shorter than ten minutes share one.
    step_seconds: i64,
    sources: Vec<SourceWindows>,
}

/// The windows of a source.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceWindows {
    source: String,
    group: String,
    /// Of each window, from `from` on: delivered, waiting, refused, open, quiet, missing, gap, nothing.
    windows: Vec<&'static str>,
}

/// Sources and windows of a day
#[utoipa::path(get, path = "/windows", params(DayParams), responses(
    (status = 200, body = DayWindows),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn day(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<DayParams>,
) -> Result<Response, Problem> {
    let zone = match params.zone.as_str() {
        "" => TimeZone::UTC,
        name => TimeZone::get(name)
            .map_err(|_| Problem::bad_request("zone: write an IANA name, such as Europe/Berlin"))?,
    };
    let now = Timestamp::now();
    let day = match params.day.as_str() {
        "" => GridDay::new("", &zone, now),
        text => {
            let date = text
                .parse()
                .map_err(|_| Problem::bad_request("day: write a date, such as 2026-11-21"))?;
            GridDay::of(date, &zone).ok_or_else(|| {
                Problem::bad_request("day: no log has lines of such a day; write a nearer one")
            })?
        }
    };
    let facts = read::day(&state, &day).await?;
    let grid = WindowGrid::new(&facts, &day, &zone, (&params.find, ""), now.as_second());
    let sources = grid.groups.into_iter().flat_map(|(group, rows)| {
        rows.into_iter().map(move |row| SourceWindows {
            source: row.source,
            group: group.clone(),
            windows: row.cells.into_iter().map(CellState::word).collect(),
        })
    });
    let time = |second| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let answer = DayWindows {
        day: day.date.to_string(),
        from: time(grid.from),
        until: time(day.until),
        step_seconds: grid.step,
        sources: sources.collect(),
    };
    Ok(JsonBody(answer).into_response())
}

/// A batch with its life.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchLife {
    /// `name`, `source`, `window_start`, `part`, `state`, `lines`, `bytes`, `sha256`, `destinations`, as in the audit.
    #[serde(flatten)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    batch: AuditedBatch,
    group: String,
    log: Option<String>,
    opened_at: Timestamp,
    sealed_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    compressed_at: Option<Timestamp>,
    /// When its file was deleted.
    expired_at: Option<Timestamp>,
    attempts: Vec<DeliveryAttempts>,
}

/// What a destination said of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryAttempts {
    destination: String,
    delivered_at: Option<Timestamp>,
    failed_attempts: u32,
    last_error: Option<String>,
    next_attempt: Option<Timestamp>,
    /// When somebody asked for another delivery that is not made yet.
    resend_requested_at: Option<Timestamp>,
}

impl BatchLife {
    fn new(batch: &Batch, deliveries: Vec<Delivery>) -> Self {
        let attempts = deliveries.iter().map(|it| DeliveryAttempts {
            destination: it.destination.to_string(),
            delivered_at: it.delivered_at,
            failed_attempts: it.attempts,
            last_error: it.last_error.clone(),
            next_attempt: it.next_attempt,
            resend_requested_at: it.resend_requested_at,
        });
        Self {
            attempts: attempts.collect(),
            group: batch.group.to_string(),
            log: batch.log.as_ref().map(ToString::to_string),
            opened_at: batch.opened_at,
            sealed_at: batch.sealed_at,
            sent_at: batch.sent_at,
            compressed_at: batch.compressed_at,
            expired_at: batch.expired_at,
            batch: AuditedBatch::new(batch, deliveries),
        }
    }
}

/// The batches of a window
#[utoipa::path(get, path = "/windows/{source}/{start}",
    params(("source" = String, Path, description = "The source"),
           ("start" = i64, Path, description = "First second of the window, since 1970")),
    responses(
    (status = 200, body = Vec<BatchLife>),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn window(
    State(state): State<AppState>,
    _: Reader,
    PathInput((source, start)): PathInput<(String, i64)>,
) -> Result<Response, Problem> {
    let unknown = Problem::not_found(format!("there is no window of {} at {start}", shown(&source)));
    let Ok(source) = source.parse::<SourceId>() else {
        return Err(unknown);
    };
    let time = |second: i64| {
        Timestamp::from_second(second).map_err(|_| Problem::bad_request("start: this is no time"))
    };
    let filter = BatchFilter {
        source: Some(source),
        since: Some(time(start)?),
        until: Some(time(start.saturating_add(1))?),
    };
    let batches = state
        .host
        .ledger(move |ledger| {
            let batches = ledger.batches(&filter)?;
            let with = |batch: &Batch| Ok(BatchLife::new(batch, ledger.deliveries(batch.id)?));
            batches
                .iter()
                .map(with)
                .collect::<Result<Vec<_>, logferry_ledger::LedgerError>>()
        })
        .await?;
    if batches.is_empty() {
        return Err(unknown);
    }
    Ok(JsonBody(batches).into_response())
}
