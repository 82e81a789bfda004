//! Which lines are meant: the same words for search, export and live.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_search::LineSelection;
use logferry_store::{Query, QueryError};
use logferry_time_windows::moment;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::answer::problem::Problem;

/// Characters of a query.
const QUERY_MAX: usize = 4096;

/// Conditions of lines, which are all to be true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LineQuery {
    /// Words and `field:value`, as `logferry search` takes them.
    q: String,
    /// Only of this source; `*` stands for any text.
    source: String,
    /// Only of this group.
    group: String,
    /// Only of this log.
    log: String,
    /// Only of this level: error, warn, info or debug.
    level: String,
    /// Only with this status, such as 404, or class, such as 5xx.
    status: String,
    /// A regular expression that the line has.
    regex: String,
}

/// A time: RFC 3339, or as people type it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimeRange {
    /// From this time on: RFC 3339, or `2h` (ago), `08:00`, `2026-11-21`, `all`.
    since: String,
    /// Before this time.
    until: String,
}

impl TimeRange {
    /// Only with a beginning.
    pub(super) fn since(text: &str) -> Self {
        Self {
            since: text.to_owned(),
            until: String::new(),
        }
    }

    /// Whether it says since when; `all` says so too.
    pub(super) fn says_since(&self) -> bool {
        !self.since.is_empty()
    }

    /// The times; `None` where nothing is given, or `all`.
    pub(crate) fn read(&self, now: Timestamp) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
        let time = |name: &str, text: &str| match text {
            "" | "all" => Ok(None),
            text => moment(text, now, &TimeZone::system())
                .map(Some)
                .map_err(|error| Problem::bad_request(format!("{name}: {error}"))),
        };
        let (since, until) = (time("since", &self.since)?, time("until", &self.until)?);
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(Problem::bad_request(
                "`since` is not before `until`, so no line can be between them; exchange the two",
            ));
        }
        Ok((since, until))
    }
}

impl LineQuery {
    /// The query.
    pub(crate) fn query(&self) -> Result<Query, QueryError> {
        let mut query = Query::parse(&self.q)?;
        for (name, value) in self.fields() {
            query.add_field(name, value)?;
        }
        if !self.regex.is_empty() {
            query.add_pattern(&self.regex)?;
        }
        Ok(query)
    }

    /// A text that only the same conditions have.
    pub(crate) fn name(&self) -> String {
        format!("{self:?}")
    }

    /// Refuses what is too long to be tried on each line.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let texts = [
            &self.q,
            &self.source,
            &self.group,
            &self.log,
            &self.level,
            &self.status,
            &self.regex,
        ];
        if texts.iter().map(|text| text.len()).sum::<usize>() > QUERY_MAX {
            return Err(Problem::bad_request(format!(
                "a query has at most {QUERY_MAX} bytes"
            )));
        }
        self.query()
            .map(drop)
            .map_err(|error| Problem::bad_request(error.to_string()))
    }

    /// The batches that can have such lines. A source with a `*` is none by its name.
    pub(crate) fn selection(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> LineSelection {
        LineSelection {
            source: self.source.parse().ok().filter(|_| !self.source.contains('*')),
            group: self.group.parse().ok().filter(|_| !self.group.contains('*')),
            log: self.log.parse().ok().filter(|_| !self.log.contains('*')),
            since,
            until,
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("source", self.source.as_str()),
            ("group", &self.group),
            ("log", &self.log),
            ("level", &self.level),
            ("status", &self.status),
        ];
        fields.into_iter().filter(|(_, value)| !value.is_empty())
    }
}
