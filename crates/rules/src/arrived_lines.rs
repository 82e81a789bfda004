//! Up to which time the lines of each source have arrived, by the last reports of the senders. Pure.
//!
//! A sender that is not heard of, since it, the network or the relay is down, and one that is behind, has lines of minutes that the
//! indexer has finished: what was counted of them is too little.

use std::collections::{BTreeMap, BTreeSet};

use logferry_ledger::SourceRecord;

/// A sender reports every 10 s, and its lines are a moment on their way.
const REPORT_SECONDS: i64 = 20;

/// A source that makes contact so long after its last report has no sender any more: its lines come by `/upload`.
const REPORTS_ENDED_SECONDS: i64 = 5 * 60;

/// One of several sources is waited for so long: a host that was taken away must not keep a rule from firing.
const WAITED_SECONDS: i64 = 6 * 3600;

/// Of each source that reports, the time before which its lines have arrived, in seconds since 1970.
#[derive(Debug, Clone, Default)]
pub(crate) struct ArrivedLines(BTreeMap<String, i64>);

impl ArrivedLines {
    /// By what the ledger knows. A client that never reports, or does not report any more, is not waited for: nobody knows whether it
    /// has lines.
    pub(crate) fn of(records: &[SourceRecord]) -> Self {
        let arrived = records.iter().filter_map(|record| {
            let reported = record.heartbeat_at?;
            let is_over = record.last_contact.as_second() - reported.as_second() > REPORTS_ENDED_SECONDS;
            if is_over {
                return None;
            }
            let lagging = record.streams.iter().filter(|stream| stream.lag_bytes() > 0);
            let waits = lagging
                .map(|stream| stream.progress.oldest_unread_ms / 1000)
                .max();
            let waits = i64::try_from(waits.unwrap_or(0)).unwrap_or(i64::MAX);
            let arrived = reported.as_second().saturating_sub(waits);
            Some((record.source.to_string(), arrived))
        });
        Self(arrived.collect())
    }

    /// Whether lines of these sources that belong before `until` may still come.
    pub(crate) fn may_come(&self, sources: &BTreeSet<String>, until: i64) -> bool {
        let missing = |source: &String| {
            let arrived = self.0.get(source)?.saturating_add(REPORT_SECONDS);
            Some(until.saturating_sub(arrived)).filter(|missing| *missing > 0)
        };
        let missing: Vec<i64> = sources.iter().filter_map(missing).collect();
        let are_all = !missing.is_empty() && missing.len() == sources.len();
        are_all || missing.iter().any(|missing| *missing < WAITED_SECONDS)
    }
}

#[cfg(test)]
impl ArrivedLines {
    pub(crate) fn at(times: &[(&str, i64)]) -> Self {
        let times = times.iter().map(|(source, time)| ((*source).to_owned(), *time));
        Self(times.collect())
    }
}
