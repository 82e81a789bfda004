//! `GET /api/v1/search/export`: all that is found, as a file, written while it is found.
//!
//! Text and CSV have no control character but line ends and tabs: what a terminal or a spreadsheet would obey is escaped.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use logferry_search::HitJson;
use logferry_store::{Hit, SearchProgress};
use logferry_text::size;
use serde::Deserialize;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::IntoParams;

use super::line_query::{LineQuery, TimeRange};
use super::search::{NDJSON, PageParams, line_of, line_search};
use crate::answer::input::QueryInput;
use crate::answer::json_body::to_json;
use crate::answer::piece_writer::PieceWriter;
use crate::answer::problem::Problem;
use crate::answer::stream_body::{self, UNBUFFERED};
use crate::answer::visible_text::visible;
use crate::app::lines::{HitTaker, LineSearch, SearchFacts, SearchTurn};
use crate::app::state::AppState;
use crate::login::principal::Reader;

/// Lines of an export.
const LINES_MAX: u64 = 1_000_000;
/// Most lines of one page of the search. The memory is bounded by the store, which ends a page earlier.
const PAGE_LINES: usize = 100_000;
/// So much of what could not be searched is named.
const MISSING_NAMED: usize = 100;
/// An export may take so long.
const BUDGET: Duration = Duration::from_mins(10);

/// As what.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParams {
    /// `text`, `csv` or `ndjson` [default: text].
    format: String,
    /// At most so many lines: 1 to 1000000 [default: 1000000].
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExportFormat {
    Text,
    Csv,
    Ndjson,
}

/// All lines that are found, newest first, as a file
#[utoipa::path(get, path = "/search/export", params(LineQuery, TimeRange, ExportParams),
    description = "Hidden lines are left out. If something could not be searched, or there are more lines than the limit, the last lines \
        say so.",
    responses(
        (status = 200, content(
            (String = "text/plain; charset=utf-8"),
            (String = "text/csv; charset=utf-8; header=present"),
            (String = "application/x-ndjson"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn export(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(words): QueryInput<LineQuery>,
    QueryInput(times): QueryInput<TimeRange>,
    QueryInput(params): QueryInput<ExportParams>,
) -> Result<Response, Problem> {
    let format = match params.format.as_str() {
        "" | "text" => ExportFormat::Text,
        "csv" => ExportFormat::Csv,
        "ndjson" => ExportFormat::Ndjson,
        _ => return Err(Problem::bad_request("format: write text, csv or ndjson")),
    };
    let limit = params.limit.unwrap_or(LINES_MAX);
    if !(1..=LINES_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit: write 1 to {LINES_MAX}")));
    }
    let mut search = line_search(&words, &times, &PageParams::default())?;
    search.page.with_fields = format == ExportFormat::Ndjson;
    let turn = state.export_turn().await?;
    let (writer, ending, body) = stream_body::body_with_ending();
    let until = Instant::now() + BUDGET;
    let export = LineExport {
        state: state.clone(),
        turn,
        format,
        limit,
        until,
    };
    let lines = PieceWriter::new(writer.clone(), until);
    tokio::spawn(async move {
        let written = tokio::select! {
            written = export.write_all(search, lines) => written,
            () = writer.closed() => return,
            () = state.stop.cancelled() => Err(Problem::unavailable("the console stopped")),
        };
        let line = |problem: Problem| line_of(last_line(format, &problem.detail));
        let _ = ending.set(written.map_or_else(line, Bytes::from));
    });
    let (media, end) = match format {
        ExportFormat::Text => ("text/plain; charset=utf-8", "txt"),
        ExportFormat::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        ExportFormat::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let name = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let name = format!("attachment; filename=\"logferry-{name}.{end}\"");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media)),
        (UNBUFFERED, HeaderValue::from_static("no")),
        (
            CONTENT_DISPOSITION,
            HeaderValue::from_str(&name).unwrap_or(NDJSON),
        ),
    ];
    Ok((headers, body).into_response())
}

/// An export that runs.
struct LineExport {
    state: AppState,
    turn: SearchTurn,
    format: ExportFormat,
    limit: u64,
    until: Instant,
}

impl LineExport {
    /// Writes page after page; returns what is not sent at the end.
    async fn write_all(&self, mut search: LineSearch, mut lines: PieceWriter) -> Result<Vec<u8>, Problem> {
        if self.format == ExportFormat::Csv {
            lines.push(b"id,time,source,group,log,level,status,line\r");
        }
        let marks = self.state.database.run(|db| db.all_marks()).await?;
        let hidden = marks.into_iter().filter(|(_, marks)| marks.is_hidden);
        let mut taker = ExportTaker {
            hidden: hidden.map(|(line, _)| line).collect(),
            lines,
            format: self.format,
        };
        let mut left = self.limit;
        let mut missing = MissingLines::default();
        loop {
            search.page.limit = usize::try_from(left).unwrap_or(PAGE_LINES).min(PAGE_LINES);
            search.budget = self.until.saturating_duration_since(Instant::now());
            let turn = Arc::clone(&self.turn);
            let (took, facts) = self.state.search_page(turn, search.clone(), taker).await?;
            taker = took;
            left = left.saturating_sub(facts.end.progress.hits);
            missing.add(&facts);
            let next = facts.end.next;
            let stuck = taker.lines.is_stuck();
            let why = next.as_ref().and_then(|_| self.ends_early(left, stuck));
            if next.is_some() && why.is_none() {
                search.page.after = next;
                continue;
            }
            for text in missing.into_texts().into_iter().chain(why) {
                taker.lines.push(&last_line(self.format, &text));
            }
            return Ok(taker.lines.rest());
        }
    }

    /// Why no page follows, although there may be more.
    fn ends_early(&self, left: u64, is_stuck: bool) -> Option<String> {
        if self.until <= Instant::now() {
            Some("the time for this export is over; export a shorter time".to_owned())
        } else if is_stuck {
            Some("nobody took lines for half a minute, so the rest is not here; export again".to_owned())
        } else {
            let limit = self.limit;
            (left == 0).then(|| format!("there may be more: the limit of {limit} lines is reached"))
        }
    }
}

/// What the pages of an export could not search.
#[derive(Default)]
struct MissingLines {
    texts: BTreeSet<String>,
    /// Whether there is more that is not named.
    has_more: bool,
}

impl MissingLines {
    fn add(&mut self, facts: &SearchFacts) {
        let gaps = facts.gaps.iter().map(|gap| {
            format!(
                "{} of {} were never indexed, so lines of it may be missing here: {}",
                size(gap.bytes),
                gap.batch,
                gap.reason
            )
        });
        let texts = facts.notes.iter().chain(&facts.end.damage).cloned();
        for text in texts.chain(gaps) {
            // Each page tells the same gaps.
            if self.texts.len() < MISSING_NAMED || self.texts.contains(&text) {
                self.texts.insert(text);
            } else {
                self.has_more = true;
            }
        }
    }

    fn into_texts(self) -> Vec<String> {
        let mut texts: Vec<_> = self.texts.into_iter().collect();
        if self.has_more {
            texts
                .push("more could not be searched; search a shorter time, and all of it is named".to_owned());
        }
        texts
    }
}

/// What people and programs should know of an export that is not whole.
fn last_line(format: ExportFormat, text: &str) -> Vec<u8> {
    match format {
        ExportFormat::Text => format!("# logferry: {text}").into_bytes(),
        ExportFormat::Csv => format!("{}\r", csv_field(&format!("# logferry: {text}"))).into_bytes(),
        ExportFormat::Ndjson => to_json(&serde_json::json!({ "logferry": text })).unwrap_or_default(),
    }
}

struct ExportTaker {
    hidden: HashSet<String>,
    lines: PieceWriter,
    format: ExportFormat,
}

impl HitTaker for ExportTaker {
    fn hit(&mut self, hit: &Hit) -> bool {
        if !self.hidden.is_empty() && self.hidden.contains(&hit.id()) {
            return true;
        }
        let line = match self.format {
            ExportFormat::Text => visible(&hit.line).into_bytes(),
            ExportFormat::Csv => csv_row(hit).into_bytes(),
            ExportFormat::Ndjson => to_json(&HitJson::of(hit)).unwrap_or_default(),
        };
        self.lines.add(&line)
    }

    fn progress(&mut self, _: &SearchProgress) -> bool {
        self.lines.flush()
    }
}

fn csv_row(hit: &Hit) -> String {
    let time =
        Timestamp::from_millisecond(hit.time_ms).map_or_else(|_| String::new(), |time| time.to_string());
    let status = hit.status.map_or_else(String::new, |status| status.to_string());
    let fields = [
        hit.id(),
        time,
        hit.source.clone(),
        hit.group.clone(),
        hit.log.clone(),
        hit.level.clone().unwrap_or_default(),
        status,
        visible(&hit.line),
    ];
    fields.map(|field| csv_field(&field)).join(",") + "\r"
}

/// RFC 4180. A text that a spreadsheet would take for a formula gets a `'` before it
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn csv_field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) || is_formula {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_line_is_obeyed() {
        assert_eq!(
            visible(b"\x1b[2J\ta\xc2\x9b\xe2\x80\xae\xff\r<b>"),
            "\\u{1b}[2J\ta\\u{9b}\\u{202e}\\xff\\u{d}<b>"
        );
    }

    #[test]
    fn spreadsheets_get_no_formula() {
        for (text, field) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-", "\"'-\""),
        ] {
            assert_eq!(csv_field(text), field);
        }
    }
}
