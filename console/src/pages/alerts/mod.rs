//! `/alerts`: what is wrong, what was, and what is silenced.
//!
//! `rule_facts` reads the numbers of configured rules and keeps them; `rule_chart` and `notice` are pure.

mod notice;
mod rule_chart;
mod rule_facts;

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use logferry_inspection::status::{IncidentState, ListedIncident, incidents_since};
use logferry_inspection::time::age;
use logferry_ledger::{Severity, Silence};
use logferry_text::duration;
use serde::Deserialize;

use self::notice::{AlertsNotice, Watching};
use self::rule_chart::RuleHour;
pub(crate) use self::rule_facts::KeptCharts;
use self::rule_facts::{RuleCharts, rule_charts};
use super::overview::charts::{ChartView, source_chart};
use super::parts::frame::{Frame, Tab};
use super::parts::links::query_text;
use super::parts::{prose, times};
use super::{PagesState, html};
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

const REFRESH_SECONDS: u32 = 15;

/// Closed incidents that are shown at most.
const CLOSED_MAX: usize = 300;

/// Open incidents with a chart.
const CHARTS_MAX: usize = 20;

/// What the address chooses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AlertChoice {
    /// Closed incidents of so many days.
    days: Option<u16>,
    /// Only subjects and rules with this text.
    find: String,
}

/// A moment of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IncidentMoment {
    at: String,
    /// As markup.
    text: String,
}

/// An incident.
#[derive(Debug, Clone, PartialEq)]
struct IncidentView {
    /// Its name among all of the page.
    key: String,
    rule: String,
    subject: String,
    class: &'static str,
    severity: &'static str,
    state: &'static str,
    /// What is wrong, and what to do, as markup.
    text: String,
    advice: String,
    since: String,
    until: String,
    lasted: String,
    silenced: String,
    timeline: Vec<IncidentMoment>,
    is_open: bool,
    /// Lines around its beginning.
    search: String,
    /// What its rule measured; of a rule of logferry's own, the lines of its source.
    chart: Option<ChartView>,
    /// The chart as a table.
    hours: Vec<RuleHour>,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SilenceView {
    subject: String,
    until: String,
    why: String,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    /// What stands above the list.
    notice: Option<AlertsNotice>,
    open: Vec<IncidentView>,
    closed: Vec<IncidentView>,
    silences: Vec<SilenceView>,
    days: u16,
    find: String,
    may_act: bool,
    /// Whether this host has a monitor, so that somebody looks.
    has_monitor: bool,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Extension(pages): Extension<Arc<PagesState>>,
    Reader(principal): Reader,
    Query(choice): Query<AlertChoice>,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let days = choice.days.unwrap_or(7).clamp(1, 400);
    let since = now
        .checked_sub(SignedDuration::from_hours(24 * i64::from(days)))
        .unwrap_or(now);
    let read = state
        .host
        .ledger(move |ledger| incidents_since(ledger, since, now))
        .await;
    let (incidents, silences) = read?;
    let find = choice.find.trim().to_lowercase();
    let open_in_all = incidents.iter().filter(|it| it.state != IncidentState::Closed);
    let open_in_all = open_in_all.count();
    let views = incidents
        .iter()
        .filter(|it| {
            [&it.incident.rule, &it.incident.subject, &it.incident.text]
                .iter()
                .any(|text| text.to_lowercase().contains(&find))
        })
        .map(|incident| IncidentView::new(incident, now));
    let (mut open, mut closed): (Vec<_>, Vec<_>) = views.partition(|view| view.is_open);
    closed.truncate(CLOSED_MAX);
    // All that are open, whatever the page is asked for: so one reading fits every page.
    let keys = incidents.iter().filter(|it| it.state != IncidentState::Closed);
    let keys = keys.map(|it| (it.incident.rule.clone(), it.incident.subject.clone()));
    let of_rules = rule_charts(&state, &pages.rule_charts, keys.collect()).await;
    add_charts(&state, &pages, &of_rules.unwrap_or_default(), &mut open).await;
    let has_monitor = state.settings.shared.host.has_monitor;
    let status = state.present_status().await?;
    let watching = Watching::new(has_monitor, &status.roles);
    html(&AlertsPage {
        frame: Frame::of(&state, &principal, Tab::Alerts)
            .await
            .refreshed_every(REFRESH_SECONDS),
        notice: AlertsNotice::new(watching, (open_in_all, open.len())),
        open,
        closed,
        silences: silences.iter().map(SilenceView::new).collect(),
        days,
        find: choice.find,
        may_act: principal.may_act(),
        has_monitor,
    })
}

/// Adds the charts of open incidents. They are an addition: without them the page is whole.
async fn add_charts(state: &AppState, pages: &PagesState, of_rules: &RuleCharts, open: &mut [IncidentView]) {
    let facts = pages.overview.read(state).await.ok();
    let counts = facts
        .as_ref()
        .and_then(|facts| Some((facts.counts.as_ref().ok()?, facts.read_at)));
    for incident in open.iter_mut().take(CHARTS_MAX) {
        let key = (incident.rule.clone(), incident.subject.clone());
        if let Some(Some(chart)) = of_rules.get(&key) {
            incident.chart = Some(chart.view.clone());
            incident.hours.clone_from(&chart.hours);
        } else if let Some((counts, read_at)) = counts {
            let source = incident.subject.split(':').next().unwrap_or_default();
            incident.chart = source_chart(counts, source, read_at);
        }
    }
}

impl IncidentView {
    fn new(listed: &ListedIncident, now: Timestamp) -> Self {
        let incident = &listed.incident;
        let (class, state) = match (listed.state, incident.severity) {
            (IncidentState::Closed, _) => ("well", "over"),
            (IncidentState::Silenced, _) => ("calm", "silenced"),
            (IncidentState::Open, Severity::Critical) => ("bad", "open"),
            (IncidentState::Open, Severity::Warning) => ("warn", "open"),
        };
        let end = listed.until.unwrap_or(now);
        let source = incident.subject.split(':').next().unwrap_or_default();
        let [from, until] = [-300, 300].map(|seconds| {
            let shifted = incident.since.checked_add(SignedDuration::from_secs(seconds));
            shifted.unwrap_or(incident.since)
        });
        let silenced = incident.silenced_until.map(|until| {
            let why = incident.silenced_why.as_deref().unwrap_or("no reason given");
            format!("silenced until {until:.0}: {why}")
        });
        Self {
            key: format!("{} {} {}", incident.rule, incident.subject, incident.since),
            rule: incident.rule.clone(),
            subject: incident.subject.clone(),
            class,
            severity: incident.severity.as_str(),
            state,
            text: prose::html(&incident.text),
            advice: prose::html(&incident.advice),
            since: times::full(incident.since),
            until: listed.until.map(times::full).unwrap_or_default(),
            lasted: duration(age(incident.since, end)),
            silenced: silenced.unwrap_or_default(),
            timeline: listed
                .timeline
                .iter()
                .map(|entry| IncidentMoment {
                    at: times::full(entry.at),
                    text: prose::html(&entry.text),
                })
                .collect(),
            is_open: listed.state != IncidentState::Closed,
            chart: None,
            hours: Vec::new(),
            search: format!(
                "/search?q=source%3A{}&since={from:.0}&until={until:.0}",
                query_text(source)
            ),
        }
    }
}

impl SilenceView {
    fn new(silence: &Silence) -> Self {
        Self {
            subject: silence.subject.clone(),
            until: times::full(silence.until),
            why: silence.why.clone(),
        }
    }
}
