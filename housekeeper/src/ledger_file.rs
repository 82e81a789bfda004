//! The file of a ledger that an earlier version made: it keeps its free pages until it is written anew, once.
//!
//! Without that nothing is wrong: free pages are used again, and the file does not grow. But while a file is written anew nobody can
//! commit, so no line becomes durable. So it is done beside the relay only if it is worth it, takes a moment and has room; else by
//! `logferry housekeeper --shrink-ledger`, while the relay is stopped. The relay's start never waits for it.

use std::path::Path;
use std::time::{Duration, Instant};

use logferry_config::HousekeeperSettings;
use logferry_durable::{Disk, LockError, LockFile, RealDisk};
use logferry_ledger::{FileUse, Ledger};
use logferry_spool::{HOUSEKEEPER_LOCK, RELAY_LOCK};
use logferry_text::size;

use crate::HousekeeperError;

/// The result of [`shrink_ledger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShrunkLedger {
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of the file now.
    pub after: u64,
    /// How long it took.
    pub took: Duration,
}

/// Writes the ledger's file anew. It fails while the relay runs, or without room.
pub fn shrink_ledger(config: &HousekeeperSettings) -> Result<ShrunkLedger, HousekeeperError> {
    let data_dir: &Path = &config.data_dir;
    let mut ledger = Ledger::open(data_dir)?;
    let housekeeper = LockFile::acquire(&data_dir.join(HOUSEKEEPER_LOCK));
    let _housekeeper = housekeeper.map_err(|error| match error {
        held @ LockError::Held { .. } => HousekeeperError::AtWork(held),
        other => other.into(),
    })?;
    let _relay = LockFile::acquire(&data_dir.join(RELAY_LOCK)).map_err(|error| match error {
        held @ LockError::Held { .. } => HousekeeperError::RelayRuns(held),
        other => other.into(),
    })?;
    let (before, free) = (ledger.file_use()?, RealDisk.space(data_dir)?.free_bytes);
    if free < needed(before) {
        return Err(HousekeeperError::NoRoomToShrink {
            data_dir: data_dir.to_owned(),
            free,
            needed: needed(before),
        });
    }
    write_anew(&mut ledger, before)
}

/// Writes the file anew beside a relay, if [`may_shrink_beside_relay`]. An error changes nothing.
pub(crate) fn shrink_beside_relay(ledger: &mut Ledger, free_on_disk: u64) -> Result<(), HousekeeperError> {
    let before = ledger.file_use()?;
    if may_shrink_beside_relay(before, free_on_disk) {
        let ShrunkLedger { before, after, took } = write_anew(ledger, before)?;
        tracing::info!(
            before,
            after,
            "the ledger of an earlier version was written anew in {} ms, from {} to {}; from now on its file gets smaller by itself",
            took.as_millis(),
            size(before),
            size(after)
        );
    }
    Ok(())
}

const fn may_shrink_beside_relay(file: FileUse, free_on_disk: u64) -> bool {
    file.is_worth_writing_anew() && file.is_written_anew_at_once() && free_on_disk >= needed(file)
}

/// The temporary copy and the write-ahead log have all that is left, and other files grow meanwhile.
const fn needed(file: FileUse) -> u64 {
    file.used_bytes().saturating_mul(3)
}

fn write_anew(ledger: &mut Ledger, before: FileUse) -> Result<ShrunkLedger, HousekeeperError> {
    let began = Instant::now();
    ledger.write_anew()?;
    Ok(ShrunkLedger {
        before: before.bytes,
        after: ledger.file_use()?.bytes,
        took: began.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use logferry_ledger::BatchState;

    use super::*;
    use crate::tests::host::Host;

    const MIB: u64 = 1 << 20;

    fn file(used: u64, free: u64) -> FileUse {
        FileUse {
            bytes: used + free,
            free_bytes: free,
            gives_back: false,
        }
    }

    #[test]
    fn relay_is_held_up_only_for_a_moment_and_only_for_half_of_the_file() {
        assert!(may_shrink_beside_relay(file(30 * MIB, 700 * MIB), 90 * MIB));
        assert!(
            !may_shrink_beside_relay(file(33 * MIB, 700 * MIB), 900 * MIB),
            "too long"
        );
        assert!(
            !may_shrink_beside_relay(file(30 * MIB, 20 * MIB), 900 * MIB),
            "not worth it"
        );
        assert!(
            !may_shrink_beside_relay(file(30 * MIB, 700 * MIB), 80 * MIB),
            "no room"
        );
        let new = FileUse {
            gives_back: true,
            ..file(30 * MIB, 700 * MIB)
        };
        assert!(!may_shrink_beside_relay(new, 900 * MIB), "it gives back in steps");
    }

    #[test]
    fn ledger_is_written_anew_only_while_no_relay_runs() -> Result<(), Box<dyn Error>> {
        let host = Host::new(RealDisk);
        host.batch(1, BatchState::Sent);
        let relay = LockFile::acquire(&host.dir.path().join("relay.lock"))?;
        let refused = shrink_ledger(&host.config()).expect_err("the relay runs");
        assert!(refused.to_string().contains("stop it first"), "{refused}");
        drop(relay);
        let shrunk = shrink_ledger(&host.config())?;
        assert!(shrunk.after <= shrunk.before, "{shrunk:?}");
        assert_eq!(host.ledger().integrity()?, Vec::<String>::new());
        Ok(())
    }
}
