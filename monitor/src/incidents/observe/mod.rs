//! What is wrong by the rules of logferry itself: each file has the rules on one kind of subject. Pure: the status, the
//! certificates and the time are arguments.
//!
//! A rule is added here, with its name in `rules.rs`, its text and its advice; `docs/monitor/alerts.md` describes it.

pub(crate) mod destinations;
pub(crate) mod finding;
mod host;
mod roles;
mod sources;

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::{AlertHold, AlertLimits};
use logferry_ledger::SourceLineTotals;

use self::finding::RuleFinding;
use crate::certificate_expiry::CertificateFact;
use crate::incidents::condition::Unjudged;
use logferry_inspection::status::StatusReport;

/// What the rules decide on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) status: &'a StatusReport,
    pub(crate) certificates: &'a [CertificateFact],
    /// The counts of the sources' lines; `None`: they were not added up at this look.
    pub(crate) line_totals: Option<&'a [SourceLineTotals]>,
    pub(crate) stale_after: Duration,
    /// For how long the monitor has watched. Before `stale_after` it does not know of any source that it is silent: host and
    /// relay may have started just now.
    pub(crate) watched_for: Duration,
    pub(crate) hold: AlertHold,
    pub(crate) limits: AlertLimits,
    /// The reader's zone.
    pub(crate) zone: &'a TimeZone,
    pub(crate) now: Timestamp,
}

/// What the rules have found.
#[derive(Debug, Default)]
pub(crate) struct RuleFindings {
    pub(crate) found: Vec<RuleFinding>,
    pub(crate) unjudged: Vec<Unjudged>,
}

impl RuleFindings {
    /// Adds what others have found.
    pub(crate) fn extend(&mut self, other: Self) {
        self.found.extend(other.found);
        self.unjudged.extend(other.unjudged);
    }
}

/// Applies all rules.
pub(crate) fn observe(facts: &Facts<'_>) -> RuleFindings {
    let mut findings = RuleFindings::default();
    sources::observe(facts, &mut findings);
    destinations::observe(facts, &mut findings);
    roles::observe(facts, &mut findings);
    host::observe(facts, &mut findings);
    findings
}
