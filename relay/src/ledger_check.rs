//! The check of a large ledger's file for damage, beside the relay's work.
//!
//! It reads the whole file, which takes a processor for seconds. After an outage of the relay the processors are needed for the
//! backlog. So the check begins when the relay is at ease, at the latest after ten minutes, and with a low priority.
//!
//! As long as the check reads a table, the write-ahead log grows with each commit. So it reads one table after the other, and
//! rests in between. It ends with the relay that began it: after a reload there is a new one.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use logferry_ledger::{Ledger, LedgerError};
use logferry_text::size;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::sync::oneshot;

/// How often the thread looks whether the relay is at ease.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// A relay that uses less than this part of a processor is at ease.
const EASE: u32 = 4;

/// So long the check waits at most. It must not wait for ever: damage that nobody notices grows.
const WAIT_MAX: Duration = Duration::from_mins(10);

/// A low priority. Not the lowest: beside a backlog that would make the read of a large table last for minutes.
const NICENESS: i32 = 5;

/// Checks the ledger's file if the start has checked only a part of it. The receiver gets an error if there is damage, and is
/// closed if there is none. The thread is not waited for: it only reads.
pub(crate) fn check_ledger(data_dir: &Path) -> Result<oneshot::Receiver<LedgerError>, LedgerError> {
    let ledger = Ledger::open(data_dir)?;
    let file = ledger.file_use()?;
    if file.is_worth_writing_anew() && !file.is_written_anew_at_once() {
        tracing::info!(
            "the ledger is of an earlier version: {} of its {} are free and will be used again, but not given back to the disk. To give \
             them back, stop the relay at a time of your choice and run `logferry housekeeper --shrink-ledger` (docs/run/upgrade.md)",
            size(file.free_bytes),
            size(file.bytes)
        );
    }
    let (damage, found) = oneshot::channel();
    if !ledger.is_partly_checked()? {
        return Ok(found);
    }
    tracing::info!(
        "the ledger is large: the relay serves, and the rest of its file is checked for damage when no backlog comes in"
    );
    let check = move || {
        // Of this thread only (nice(2), "C library/kernel differences"). At ease it takes no longer with a low priority.
        let _ = rustix::process::nice(NICENESS);
        let began = Instant::now();
        let is_needed = || !damage.is_closed();
        match ledger.check_file(|| wait_for_ease(began, is_needed)) {
            Ok(()) if is_needed() => tracing::info!("the ledger's file is checked: no damage"),
            Ok(()) => {}
            Err(error) => drop(damage.send(error)),
        }
    };
    let thread = std::thread::Builder::new().name("ledger-check".to_owned());
    if let Err(error) = thread.spawn(check) {
        tracing::warn!(
            error = &error as &dyn Error,
            "the ledger's file is not checked for damage, as no thread can be started"
        );
    }
    Ok(found)
}

/// Waits until the relay is at ease, or the check has waited for too long since it `began`. Returns whether it is still needed.
fn wait_for_ease(began: Instant, is_needed: impl Fn() -> bool) -> bool {
    let (mut looked, mut before) = (Instant::now(), processor_time());
    while is_needed() {
        std::thread::sleep(LOOK_INTERVAL);
        let (now, after) = (Instant::now(), processor_time());
        let used = match (&before, &after) {
            (Ok(before), Ok(after)) => after.saturating_sub(*before),
            // It cannot be known.
            _ => Duration::ZERO,
        };
        if may_begin(used, now - looked, now - began) {
            break;
        }
        (looked, before) = (now, after);
    }
    is_needed()
}

/// Whether the check may begin, or go on: the process used so much of a processor in the time since it was looked at last, and the check
/// has waited for so long.
fn may_begin(used: Duration, since: Duration, waited: Duration) -> bool {
    used.saturating_mul(EASE) < since || waited >= WAIT_MAX
}

/// What all threads of this process have used.
fn processor_time() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_waits_for_the_end_of_a_backlog_and_not_for_ever() {
        let (look, long) = (LOOK_INTERVAL, Duration::from_mins(2));
        assert!(may_begin(look / 8, look, look));
        assert!(!may_begin(look, look, look), "a backlog");
        assert!(!may_begin(look, look, long), "a long one");
        assert!(may_begin(look, look, WAIT_MAX));
    }

    #[test]
    fn a_check_whose_relay_has_ended_ends() {
        let (damage, found) = oneshot::channel::<LedgerError>();
        drop(found);
        assert!(!wait_for_ease(Instant::now(), || !damage.is_closed()));
    }

    #[test]
    fn work_shows_in_the_processor_time() -> io::Result<()> {
        let before = processor_time()?;
        let mut sum = 0_u64;
        while processor_time()? == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(processor_time()? > before, "{sum}");
        Ok(())
    }
}
