//! Who asks; the state; the proof; the incidents; the numbers.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use logferry_inspection::audit::Listing;
use logferry_inspection::status::incidents_since;
use logferry_ledger::BatchFilter;
use logferry_numbers::{CounterId, NumbersDimension, NumbersQuery, NumbersRow, NumbersSpan};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::line_query::TimeRange;
use super::schemas::{AlertSchema, AuditSchema, StatusSchema};
use crate::access::scope::AccessScope;
use crate::answer::input::QueryInput;
use crate::answer::json_body::JsonBody;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

/// Rows of numbers of one answer.
const ROWS_MAX: usize = 50_000;

/// Who asks, and what it may.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// The user's name, or `token NAME`.
    name: String,
    scope: AccessScope,
}

/// Who asks, and what it may
#[utoipa::path(get, path = "/me", responses(
    (status = 200, body = WhoAmI),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn who_am_i(Reader(principal): Reader) -> Json<WhoAmI> {
    Json(WhoAmI {
        name: principal.name,
        scope: principal.scope,
    })
}

/// The present state, as `logferry status --json`
#[utoipa::path(get, path = "/status", responses(
    (status = 200, body = StatusSchema),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn status(State(state): State<AppState>, _: Reader) -> Result<Response, Problem> {
    let report = state.present_status().await?;
    Ok(JsonBody(&*report).into_response())
}

/// What an audit is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditParams {
    /// Only of this source.
    source: String,
    /// `all`: list all batches of the time, not only those that are not delivered.
    batches: String,
}

/// The proof, as `logferry audit --json`
#[utoipa::path(get, path = "/audit", params(TimeRange, AuditParams),
    description = "Of the last 24 hours, unless `since` or `until` say otherwise; `since=all`: of all times. That a file is there is looked \
        at, not its content: `logferry audit` reads each file, and `--verify` also those at the destinations. An answer \
        without `batches=all` is at most half a minute old.",
    responses(
        (status = 200, body = AuditSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn audit(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(times): QueryInput<TimeRange>,
    QueryInput(params): QueryInput<AuditParams>,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let (mut since, until) = times.read(now)?;
    if times == TimeRange::default() {
        since = now.checked_sub(SignedDuration::from_hours(24)).ok();
    }
    let source = match params.source.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| Problem::bad_request("source: this is no source"))?,
        ),
    };
    let filter = BatchFilter { source, since, until };
    let listing = match params.batches.as_str() {
        "" => Listing::Undelivered,
        "all" => Listing::All,
        _ => return Err(Problem::bad_request("batches: write `all`, or leave it out")),
    };
    let question = format!("{times:?} {params:?}");
    let audit = state.audit(&question, filter, listing).await?;
    Ok(JsonBody(&*audit).into_response())
}

/// Since when.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertParams {
    /// Past incidents that ended at this time or later [default: seven days ago].
    since: String,
}

/// Incidents, open and past, as `logferry alerts --json`
#[utoipa::path(get, path = "/alerts", params(AlertParams), responses(
    (status = 200, body = Vec<AlertSchema>),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn alerts(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<AlertParams>,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let range = TimeRange::since(&params.since);
    let since = range.read(now)?.0;
    let week_ago = || now.checked_sub(SignedDuration::from_hours(7 * 24)).ok();
    let since = if range.says_since() { since } else { week_ago() };
    let since = since.unwrap_or(Timestamp::MIN);
    let listed = state
        .host
        .ledger(move |ledger| incidents_since(ledger, since, now))
        .await?;
    Ok(JsonBody(listed.0).into_response())
}

/// Which numbers.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct NumbersParams {
    /// A row for each `minute` or `hour` [default: minute].
    per: String,
    /// And for each `source`, `group`, `log`, `status` or `level`.
    by: String,
    /// Only of this source.
    source: String,
    /// Only of this group.
    group: String,
    /// Only of this log.
    log: String,
}

/// Lines, bytes and counters by minute or hour, as `logferry numbers --json`
#[utoipa::path(get, path = "/numbers", params(TimeRange, NumbersParams),
    description = "Each row has `time`, the value of `by`, `lines`, `bytes`, and the other counters. Of the last hour, or per hour of the \
        last day, unless `since` says otherwise; `since=all`: of all times.",
    responses(
        (status = 200, body = Vec<std::collections::BTreeMap<String, serde_json::Value>>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn numbers(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(times): QueryInput<TimeRange>,
    QueryInput(params): QueryInput<NumbersParams>,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let (since, until) = times.read(now)?;
    let per = match params.per.as_str() {
        "" | "minute" => NumbersSpan::Minute,
        "hour" => NumbersSpan::Hour,
        _ => return Err(Problem::bad_request("per: write minute or hour")),
    };
    let by = match params.by.as_str() {
        "" => None,
        "source" => Some(NumbersDimension::Source),
        "group" => Some(NumbersDimension::Group),
        "log" => Some(NumbersDimension::Log),
        "status" => Some(NumbersDimension::Status),
        "level" => Some(NumbersDimension::Level),
        _ => {
            return Err(Problem::bad_request(
                "by: write source, group, log, status or level",
            ));
        }
    };
    let past = SignedDuration::from_secs(per.seconds() * if per == NumbersSpan::Minute { 60 } else { 24 });
    let before = until.unwrap_or(now).checked_sub(past).ok();
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let query = NumbersQuery {
        since: if times.says_since() { since } else { before }.map(Timestamp::as_second),
        until: until.map(Timestamp::as_second),
        per,
        by,
        source: filled(params.source),
        group: filled(params.group),
        log: filled(params.log),
    };
    let read = state.host.index(move |index| {
        Ok(NumbersAnswer {
            counters: index.counters()?,
            rows: index.first_numbers(&query, ROWS_MAX + 1)?,
            by,
        })
    });
    let answer = read.await?;
    if answer.rows.len() > ROWS_MAX {
        return Err(Problem::bad_request(format!(
            "these are more than {ROWS_MAX} rows; take a shorter time, `per=hour`, or one source"
        )));
    }
    Ok(JsonBody(answer).into_response())
}

/// Rows of numbers. As JSON they take many times the memory, so each is made when it is written.
struct NumbersAnswer {
    rows: Vec<NumbersRow>,
    by: Option<NumbersDimension>,
    counters: Vec<(String, CounterId)>,
}

impl Serialize for NumbersAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.rows.iter();
        serializer.collect_seq(rows.map(|row| row.json(self.by, &self.counters)))
    }
}
