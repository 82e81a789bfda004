//! A relay's data folder with sealed batches of many sources that nobody has read yet.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use logferry_ledger::{BatchContents, BatchGrowth, BatchState, Commit, Ledger, NewBatch, Window};
use logferry_traffic::{Traffic, TrafficOptions};

use crate::testbed::source_log::count_line;

/// Seconds of a window.
const WINDOW: u32 = 1200;

/// Writes `size` bytes of lines of `sources` sources, a batch each, all of one window of the last hours. What they hold together.
pub(super) fn write(data_dir: &Path, size: u64, sources: u16) -> anyhow::Result<BatchContents> {
    fs::create_dir_all(data_dir).with_context(|| format!("cannot create {}", data_dir.display()))?;
    let mut ledger = Ledger::open_or_create(data_dir)?;
    let now = Timestamp::now();
    let window = Window {
        start: now.as_second() / i64::from(WINDOW) * i64::from(WINDOW) - 6 * i64::from(WINDOW),
        seconds: WINDOW,
        utc_offset: 0,
    };
    let mut all = BatchContents::default();
    for number in 0..sources {
        let [high, low] = number.to_be_bytes();
        let source = Ipv4Addr::new(198, 18, high, low).to_string();
        let mut traffic = Traffic::new(TrafficOptions::default());
        let text = lines(&mut traffic, size / u64::from(sources.max(1)), window.start)?;
        let mut contents = BatchContents::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            count_line(&mut contents, line);
        }
        let new = NewBatch {
            source: source.parse().context("the source's name")?,
            group: "bench".parse().context("the group's name")?,
            log: None,
            window,
            base_name: format!("access_{source}").replace('.', "-"),
        };
        let batch = ledger.open_batch(&new, now)?;
        let batches = vec![BatchGrowth {
            batch: batch.id,
            contents,
        }];
        ledger.commit(&Commit {
            batches,
            ..Commit::default()
        })?;
        ledger.seal(batch.id, now)?;
        let folder = data_dir.join(BatchState::Ready.as_str()).join(&source);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join(batch.file_name());
        #[expect(
            clippy::disallowed_methods,
            reason = "a batch for one run need not survive a power loss"
        )]
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        all.lines += contents.lines;
        all.bytes += contents.bytes;
    }
    nix::unistd::sync();
    Ok(all)
}

/// Lines whose times go once through the window.
fn lines(traffic: &mut Traffic, size: u64, start: i64) -> anyhow::Result<Vec<u8>> {
    let size = usize::try_from(size)?;
    let start = Timestamp::from_second(start)?;
    let mut text = Vec::with_capacity(size + 1024);
    while text.len() < size {
        let share = text.len() as u64 * u64::from(WINDOW) / size as u64;
        traffic.line(start.checked_add(Duration::from_secs(share))?, &mut text);
    }
    Ok(text)
}
