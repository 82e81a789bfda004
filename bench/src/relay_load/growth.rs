//! Cost as work grows: the CPU time of a gigabyte from more senders, of more windows, and with a larger ledger.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use logferry_ledger::{Ledger, NewBatch, Window};
use logferry_protocol::names::GroupName;

use super::backlog::{ship, total, write_log_of};
use crate::measurement::figures::{mebibytes, megabytes_per_second, seconds_per_gigabyte};
use crate::testbed::relay_testbed::data_dir;
use crate::testbed::source_log::BUSY_LINES_PER_SECOND;

const SENDERS: [u16; 4] = [1, 12, 100, 300];

/// Windows of a backlog of one sender: all begin at once, as after an outage.
const WINDOWS: [u32; 3] = [1, 10, 100];

/// Bytes of a line, about.
const LINE_BYTES: u64 = 200;

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
    let of_windows = |windows: u32| {
        let seconds = u64::from(windows * WINDOW_SECONDS);
        (size / LINE_BYTES / seconds).max(1)
    };
    let cases = SENDERS.map(|senders| (format!("{senders} senders"), senders, BUSY_LINES_PER_SECOND, 0));
    let windows = WINDOWS.map(|windows| {
        let name = format!("1 sender, {windows} windows");
        (name, 1, of_windows(windows), 0)
    });
    let batches = BATCHES.map(|batches| {
        let name = format!("1 sender, {batches} batches");
        (name, 1, BUSY_LINES_PER_SECOND, batches)
    });
    let mut first = None;
    for (name, senders, lines_per_second, batches) in cases.into_iter().chain(windows).chain(batches) {
        let (path, testbed) = (folder.join("access.log"), folder.join("testbed"));
        let log = write_log_of(&path, size / u64::from(senders), lines_per_second)?;
        fill_ledger(&data_dir(&testbed), batches)?;
        let (wall, usage) = ship(binary, &testbed, &path, senders, log)?;
        fs::remove_file(&path).context("cannot remove the log")?;
        let bytes = log.bytes * u64::from(senders);
        let relay = seconds_per_gigabyte(usage.relay.cpu, bytes);
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
