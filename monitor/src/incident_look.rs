//! One look for what is wrong: reads the ledger, the disk and the certificates, lets `incidents` decide, and records the outcome with
//! its mail in one transaction.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_durable::{DiskSpace, disk_space};
use logferry_ledger::{AlertEventKind, Incident, Ledger, LedgerError, Silence};
use logferry_telemetry::MonitorMetrics;

use crate::incidents::condition::{Observation, Unjudged};
use crate::incidents::machine::{LookOutcome, News, NewsKind, RELAPSE_WINDOW, advance};
use crate::incidents::mail::{OpenNow, mail};
use crate::incidents::observe::{Facts, observe};
use crate::incidents::{causes, rules};
use crate::{certificate_expiry, channels, gauges};
use logferry_inspection::status::{self, StatusScope, WatchedRole};

/// The counts of all lines are added up once in so long: with a million batches it takes a second.
pub(crate) const COUNTS_EVERY: Duration = Duration::from_mins(15);

/// Incidents that were closed longer ago explain nothing any more.
const REMEMBERED: Duration = RELAPSE_WINDOW;

/// What a look depends on beside the ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LookScope<'a> {
    pub(crate) config: &'a MonitorSettings,
    /// The zone of the people who read the mails.
    pub(crate) zone: &'a TimeZone,
    /// For how long the monitor has watched.
    pub(crate) watched_for: Duration,
    /// Whether the counts of all lines are due.
    pub(crate) counts_lines: bool,
    pub(crate) now: Timestamp,
}

/// Looks once, and queues the mail about what has changed, if anything has.
pub(crate) fn look(
    ledger: &mut Ledger,
    scope: LookScope<'_>,
    metrics: &MonitorMetrics,
) -> Result<(), LedgerError> {
    let LookScope {
        config, zone, now, ..
    } = scope;
    let remembered = REMEMBERED.max(config.stale_after);
    let known = ledger.incidents(now.checked_sub(remembered).unwrap_or(Timestamp::MIN))?;
    let silences = ledger.silences(now)?;
    let observation = observation(ledger, scope, &known, metrics)?;
    let outcome = advance(&known, &silences, &observation, config.hold, now);
    let open = open_after(&known, &outcome);
    gauges::set_incidents(metrics, &open);
    if outcome.updates.is_empty() {
        return Ok(());
    }
    let open = open_now(&open, &silences, now);
    let mail = |waiting: &[String]| mail(&outcome.news, waiting, open, zone, now);
    let news = outcome.news.iter();
    let events =
        news.flat_map(|it| channels::events(&it.incident, event_kind(it.kind), &config.channels, now));
    ledger.record_incidents(&outcome.updates, mail, &events.collect::<Vec<_>>(), now)?;
    outcome.news.iter().for_each(|news| log(news, metrics));
    Ok(())
}

/// What is wrong now, without what is only the consequence of something else.
fn observation(
    ledger: &Ledger,
    scope: LookScope<'_>,
    known: &[Incident],
    metrics: &MonitorMetrics,
) -> Result<Observation, LedgerError> {
    let LookScope { config, now, .. } = scope;
    let space = disk_space(&config.data_dir);
    let (disk, is_disk_known) = match &space {
        Ok(space) => (*space, true),
        Err(_) => (
            DiskSpace {
                free_bytes: u64::MAX,
                total_bytes: u64::MAX,
            },
            false,
        ),
    };
    let watched = watched_roles(config);
    let status_scope = StatusScope {
        expected_sources: &config.expected_sources,
        stale_after: config.stale_after,
        groups: &config.host.groups,
        destinations: &config.host.destinations,
        min_free_disk: config.host.min_free_disk,
        roles: &watched,
    };
    let status = status::read(ledger, disk, &status_scope, now)?;
    let totals = scope
        .counts_lines
        .then(|| ledger.source_line_totals())
        .transpose()?;
    let certificates = certificate_expiry::read(&config.host.certificates);
    gauges::set_findings(metrics, &certificates, totals.as_deref());
    let mut findings = observe(&Facts {
        status: &status,
        certificates: &certificates,
        line_totals: totals.as_deref(),
        stale_after: config.stale_after,
        watched_for: scope.watched_for,
        hold: config.hold,
        limits: config.limits,
        zone: scope.zone,
        now,
    });
    if !is_disk_known {
        let unknown = [rules::DISK, rules::DISK_FULL].map(|rule| Unjudged {
            rule: Some(rule.to_owned()),
            subject: None,
        });
        findings.unjudged.extend(unknown);
    }
    findings.extend(crate::rules::observe(ledger, config, known, (scope.zone, now))?);
    let mut observation = causes::fold(findings, known, config.stale_after, now);
    let (backlogs, records) = (ledger.channel_backlogs()?, ledger.channel_records()?);
    let failing = channels::failing(&config.channels, &backlogs, &records, now);
    observation.conditions.extend(failing);
    Ok(observation)
}

const fn event_kind(kind: NewsKind) -> AlertEventKind {
    match kind {
        NewsKind::Opened => AlertEventKind::Began,
        NewsKind::Worse => AlertEventKind::Worse,
        NewsKind::StillOpen => AlertEventKind::Reminder,
        NewsKind::Over => AlertEventKind::Over,
    }
}

/// The roles with a section, and those that have ever run in the data folder.
fn watched_roles(config: &MonitorSettings) -> Vec<WatchedRole<'_>> {
    let configured = config
        .host
        .roles
        .iter()
        .map(|(name, folder)| (*name, folder, true));
    let is_configured = |name: &str| config.host.roles.iter().any(|(it, _)| *it == name);
    let others = ["relay", "forwarder", "housekeeper"].into_iter();
    let others = others.filter(|name| !is_configured(name));
    let others = others.map(|name| (name, &config.data_dir, false));
    configured
        .chain(others)
        .map(|(name, folder, is_configured)| WatchedRole {
            name,
            folder,
            is_configured,
            // Each role tells its own.
            file_problems: Vec::new(),
        })
        .collect()
}

/// The incidents that are open after the look.
fn open_after<'a>(known: &'a [Incident], outcome: &'a LookOutcome) -> Vec<&'a Incident> {
    let is_updated = |it: &Incident| {
        outcome
            .updates
            .iter()
            .any(|update| update.incident.rule == it.rule && update.incident.subject == it.subject)
    };
    let updated = outcome.updates.iter().map(|update| &update.incident);
    let unchanged = known.iter().filter(|it| !is_updated(it));
    updated.chain(unchanged).filter(|it| it.is_open()).collect()
}

/// How many of the open incidents are silenced.
fn open_now(open: &[&Incident], silences: &[Silence], now: Timestamp) -> OpenNow {
    let is_silenced = |it: &&&Incident| silences.iter().any(|silence| silence.holds_for(&it.subject, now));
    OpenNow {
        open: open.len(),
        silenced: open.iter().filter(is_silenced).count(),
    }
}

fn log(news: &News, metrics: &MonitorMetrics) {
    let it = &news.incident;
    let (rule, subject, severity) = (&it.rule, &it.subject, it.severity.as_str());
    let (text, advice) = (&it.text, &it.advice);
    match news.kind {
        NewsKind::Opened | NewsKind::Worse => {
            metrics.alerted();
            tracing::warn!(%rule, %subject, severity, "{severity}: {text}; {advice}; people are told");
        }
        NewsKind::StillOpen => {
            tracing::info!(%rule, %subject, severity, "still open: {text}; people are reminded");
        }
        NewsKind::Over => tracing::info!(%rule, %subject, "over: {text}; people are told"),
    }
}
