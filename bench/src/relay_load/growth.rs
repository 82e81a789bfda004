//! Cost as work grows: the CPU time of a gigabyte from more senders, and with a larger ledger.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use logferry_ledger::{Ledger, NewBatch, Window};
use logferry_protocol::names::GroupName;

use super::backlog::{ship, total, write_log};
use crate::measurement::figures::{mebibytes, megabytes_per_second, seconds_per_gigabyte};
use crate::testbed::relay_testbed::data_dir;

const SENDERS: [u16; 4] = [1, 12, 100, 300];

/// Batches in the ledger before the relay starts.
const BATCHES: [u32; 2] = [10_000, 2_000_000];

/// Batches in one transaction, while a ledger is filled.
const FILLED_AT_ONCE: u32 = 10_000;

/// Log time of the oldest batch, and of the length of all, in seconds.
const FIRST_WINDOW: i64 = 1_600_000_000;
const WINDOW_SECONDS: u32 = 1200;
const SOURCES: u32 = 300;

/// Ships `size` bytes in all, in each case.
pub(crate) fn growth(binary: &Path, folder: &Path, size: u64) -> anyhow::Result<String> {
    let mut text = format!(
        "the same amount of lines, {} MiB in all; the start of the senders counts\n\n{:28}{:>10}{:>16}{:>16}{:>10}{:>12}\n",
        size >> 20,
        "",
        "MB/s",
        "senders, CPU/GB",
        "relay, CPU/GB",
        "÷ first",
        "relay, MiB"
    );
    let cases = SENDERS.map(|senders| (senders, 0)).into_iter();
    let cases = cases.chain(BATCHES.map(|batches| (1, batches)));
    let mut first = None;
    for (senders, batches) in cases {
        let (path, testbed) = (folder.join("access.log"), folder.join("testbed"));
        let log = write_log(&path, size / u64::from(senders))?;
        fill_ledger(&data_dir(&testbed), batches)?;
        let (wall, usage) = ship(binary, &testbed, &path, senders, log)?;
        fs::remove_file(&path).context("cannot remove the log")?;
        let bytes = log.bytes * u64::from(senders);
        let relay = seconds_per_gigabyte(usage.relay.cpu, bytes);
        let name = match batches {
            0 => format!("{senders} senders"),
            batches => format!("1 sender, {batches} batches"),
        };
        let _ = writeln!(
            text,
            "{name:28}{:>10.0}{:>16.2}{relay:>16.2}{:>10.2}{:>12.0}",
            megabytes_per_second(bytes, wall),
            seconds_per_gigabyte(total(&usage.senders).cpu, bytes),
            relay / *first.get_or_insert(relay),
            mebibytes(usage.relay.peak_bytes),
        );
    }
    Ok(text)
}

/// Makes a ledger with so many sealed batches of other sources.
fn fill_ledger(data: &Path, batches: u32) -> anyhow::Result<()> {
    if batches == 0 {
        return Ok(());
    }
    fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    let mut ledger = Ledger::open_or_create(data)?;
    let group: GroupName = "bench-0".parse()?;
    for from in (0..batches).step_by(usize::try_from(FILLED_AT_ONCE)?) {
        let new = (from..batches.min(from + FILLED_AT_ONCE)).map(|number| {
            let start = FIRST_WINDOW + i64::from(number / SOURCES * WINDOW_SECONDS);
            let source = format!("10.9.{}.{}", number % SOURCES / 250, number % SOURCES % 250);
            anyhow::Ok(NewBatch {
                base_name: format!("filled_{start}_{source}"),
                source: source.parse()?,
                group: group.clone(),
                log: None,
                window: Window {
                    start,
                    seconds: WINDOW_SECONDS,
                    utc_offset: 0,
                },
            })
        });
        let opened = ledger.open_all(&new.collect::<Result<Vec<_>, _>>()?, Timestamp::now())?;
        ledger.seal_batches(opened.iter().map(|batch| batch.id), Timestamp::now())?;
    }
    Ok(())
}
