//! The time that decides which hours are over. Pure.
//!
//! A clock that is set forward by mistake makes hours pass that never were, and their summaries would take the place of the
//! real ones. So this host's clock is believed only as far as something else agrees with it:
//! - the time since the last look, by the kernel's count since the boot, which no setting of the clock changes;
//! - the clocks of the senders, each in its last report.
//!
//! Invariants, while most senders have the right time: no summary is written of an hour that is not over, and every hour
//! that is over gets its summary once the clocks agree, however this host's clock is set meanwhile.
//!
//! Without senders, a clock that was set is believed after [`SETTLED_AFTER`]. Hours that passed only by its word are
//! forgotten if it is set back, and get a summary when they really pass.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{ClockRecord, ClockStep, SourceRecord};

/// Clocks that differ by less agree. Less than an hour's summary waits by default.
const NEAR: SignedDuration = SignedDuration::from_mins(5);

/// A clock that was set is believed after running on for this time, if nothing agrees or disagrees with it.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_hours(1);

/// Summaries are caught up for a day, so no hour before that passed by the word of a clock. A clock that was not set back
/// for another day was right.
const PRESUMED_MAX: Duration = Duration::from_hours(25);

/// Reports that came this long before the newest one say nothing about the present.
const REPORT_AGE_MAX: SignedDuration = SignedDuration::from_mins(2);

/// This host's clocks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClockReading {
    /// The clock that can be set.
    pub(crate) wall: Timestamp,
    /// The boot that `uptime` counts from.
    pub(crate) boot_id: String,
    /// The time since the boot.
    pub(crate) uptime: Duration,
}

/// The trusted time after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClockAdvance {
    pub(crate) record: ClockRecord,
    /// Hours from this time on passed by the word of a clock that was wrong.
    pub(crate) unreal_after: Option<Timestamp>,
}

/// The trusted time now. `senders`: the time by the senders' clocks, from [`senders_time`].
pub(crate) fn advance(
    last: Option<&ClockRecord>,
    now: &ClockReading,
    senders: Option<Timestamp>,
) -> ClockAdvance {
    let wall = now.wall;
    let uptime_ms = millis(now.uptime);
    let is_same_boot = last.is_some_and(|last| last.boot_id == now.boot_id);
    let elapsed_ms = match last {
        Some(last) if is_same_boot => uptime_ms.saturating_sub(last.uptime_ms).max(0),
        _ => 0,
    };
    let run = last.map_or(wall, |last| later(last.trusted, elapsed_ms));
    let presumed_after = last
        .and_then(|last| last.presumed_after)
        .filter(|after| run < later(*after, 2 * millis(PRESUMED_MAX)));
    let mut record = ClockRecord {
        boot_id: now.boot_id.clone(),
        uptime_ms,
        trusted: run,
        presumed_after,
        step: None,
    };
    let agree = |other: Timestamp| senders.is_some_and(|senders| is_near(senders, other));
    if agree(wall) {
        record.trusted = wall;
        record.presumed_after = None;
    } else if agree(run) {
        // This host's clock was set, and the senders' clocks go on as before.
    } else {
        // Reports are old or missing, or their clocks are wrong. They count up to what this host's clock says.
        let known = senders.map_or(run, |senders| senders.min(wall).max(run));
        record.trusted = known;
        if is_near(wall, known) {
            record.trusted = wall;
        } else {
            let step = last.and_then(|last| last.step).filter(|_| is_same_boot);
            settle(&mut record, step, wall);
        }
    }
    let is_set_back = record.trusted < run && !is_near(record.trusted, run);
    let unreal_after = presumed_after.filter(|_| is_set_back);
    if unreal_after.is_some() {
        record.presumed_after = None;
    }
    ClockAdvance { record, unreal_after }
}

/// Believes a clock that was set once it has run on for long enough.
fn settle(record: &mut ClockRecord, step: Option<ClockStep>, wall: Timestamp) {
    let offset_ms = wall
        .as_millisecond()
        .saturating_sub(record.trusted.as_millisecond());
    let is_same = |step: &ClockStep| {
        let moved_ms = step.offset_ms.saturating_sub(offset_ms);
        SignedDuration::from_millis(moved_ms).abs() < NEAR
    };
    let step = step.filter(is_same).unwrap_or(ClockStep {
        since_ms: record.uptime_ms,
        offset_ms,
    });
    if record.uptime_ms.saturating_sub(step.since_ms) < millis(SETTLED_AFTER) {
        record.step = Some(step);
        return;
    }
    if wall > record.trusted {
        let first = record.presumed_after.unwrap_or(record.trusted);
        record.presumed_after = Some(first.max(later(wall, -millis(PRESUMED_MAX))));
    }
    record.trusted = wall;
}

/// The time by the clocks of the senders: the middle one of those that reported last. Senders on this host have its clock.
pub(crate) fn senders_time(sources: &[SourceRecord]) -> Option<Timestamp> {
    let is_elsewhere = |source: &&SourceRecord| {
        let address = source.source.as_str().parse::<std::net::IpAddr>();
        !address.is_ok_and(|address| address.is_loopback())
    };
    let reports = sources.iter().filter(is_elsewhere).filter_map(|source| {
        let at = source.heartbeat.as_ref()?.at?;
        let at = Timestamp::from_millisecond(at.millis()).ok()?;
        Some((source.heartbeat_at?, at))
    });
    let reports: Vec<_> = reports.collect();
    let newest = reports.iter().map(|(came_at, _)| *came_at).max()?;
    let is_present = |came_at: Timestamp| newest.duration_since(came_at) <= REPORT_AGE_MAX;
    let present = reports.iter().filter(|(came_at, _)| is_present(*came_at));
    let mut times: Vec<_> = present.map(|(_, at)| *at).collect();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied()
}

fn is_near(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() < NEAR
}

/// So many milliseconds later; earlier if negative.
fn later(time: Timestamp, millis: i64) -> Timestamp {
    super::later(time, SignedDuration::from_millis(millis))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
