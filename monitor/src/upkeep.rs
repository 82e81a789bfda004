//! What the monitor does to its own tables at each look: the trusted time goes on, and old rows are deleted.

use jiff::{SignedDuration, Timestamp};
use logferry_config::ChannelSettings;
use logferry_durable::BootTime;
use logferry_ledger::{Ledger, LedgerError};
use logferry_text::count_of;

use crate::time::trusted_time::{self, ClockReading};

/// Mails, summaries, closed incidents and closed gaps are kept for this time.
const KEEP: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Closed incidents that are kept at most.
const INCIDENTS_MAX: u64 = 20_000;

/// Rows of one kind that one look deletes: a transaction of milliseconds, so that no commit of the relay waits for it.
const FORGET_MAX: u32 = 200;

/// Reads the clocks of this host.
pub(crate) fn read_clocks(wall: Timestamp) -> ClockReading {
    let BootTime { boot_id, uptime } = BootTime::now();
    ClockReading {
        wall,
        // Without a boot's id, each look is like the first one after a boot.
        boot_id: boot_id.unwrap_or_else(|| wall.to_string()),
        uptime,
    }
}

/// Advances the trusted time, and deletes some of what is older than [`KEEP`] by it. Returns the time by which things are old.
pub(crate) fn look(ledger: &mut Ledger, clocks: &ClockReading) -> Result<Timestamp, LedgerError> {
    let senders = trusted_time::senders_time(&ledger.sources()?);
    let last = ledger.clock()?;
    let advance = trusted_time::advance(last.as_ref(), clocks, senders);
    let (trusted, wall) = (advance.record.trusted, clocks.wall);
    if advance.record.step.is_some() && last.is_none_or(|last| last.step.is_none()) {
        tracing::info!(
            clock = %wall,
            trusted = %trusted,
            "this host's clock says {wall} and is not believed yet: it was set, or the host was off. By the last look it \
             is {trusted}. The hours between get their summary when the senders' clocks \
             agree, or after an hour; check the clock if it is wrong"
        );
    }
    if let Some(unreal_after) = advance.unreal_after {
        tracing::warn!(%unreal_after, "this host's clock was wrong; hours after {unreal_after} that never were get their summary when they pass");
    }
    ledger.note_clock(&advance.record, advance.unreal_after)?;
    // What was written while this host's clock was behind has old times.
    let now = trusted.min(wall);
    forget(ledger, now)?;
    Ok(now)
}

fn forget(ledger: &mut Ledger, now: Timestamp) -> Result<(), LedgerError> {
    let Ok(before) = now.checked_sub(KEEP) else {
        return Ok(());
    };
    let forgotten = ledger.forget_before(before, FORGET_MAX)?;
    if forgotten.unsent_mails > 0 {
        tracing::error!(
            mails = forgotten.unsent_mails,
            "given up, as it could not be sent for 90 days: {}; run logferry test-mail",
            count_of(forgotten.unsent_mails as u64, "mail")
        );
    }
    ledger
        .forget_incidents(before, INCIDENTS_MAX, FORGET_MAX)
        .map(drop)
}

/// Deletes alerts that channels did not take for [`KEEP`], and those for channels that are not configured any more. `now`: as
/// [`look`] returns it, because a clock that was set forward makes nothing old.
pub(crate) fn forget_events(
    ledger: &mut Ledger,
    channels: &[ChannelSettings],
    now: Timestamp,
) -> Result<(), LedgerError> {
    let Ok(before) = now.checked_sub(KEEP) else {
        return Ok(());
    };
    let channels: Vec<_> = channels.iter().map(|channel| channel.name.clone()).collect();
    let unsent = ledger.forget_alert_events(before, &channels, FORGET_MAX)?;
    if unsent > 0 {
        tracing::error!(
            alerts = unsent,
            "given up, as the channel did not take it for 90 days or is no longer in monitor.channels: {}; `logferry alerts` lists \
             alerts",
            count_of(unsent, "alert")
        );
    }
    Ok(())
}
