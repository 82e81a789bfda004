//! What the machine allows a program that makes each line durable: it appends to two files in turn and syncs each, as a
//! commit does with a batch file and the ledger, and does nothing else.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Bytes that a commit of one line appends: the line, and the pages of the ledger's write-ahead log.
const APPENDED: [(&str, usize); 2] = [("lines", 200), ("record", 12 << 10)];

/// The sorted times of `rate` commits a second, for `seconds`, in files in `folder`.
pub(crate) fn line_syncs(folder: &Path, rate: u32, seconds: u32) -> anyhow::Result<Vec<Duration>> {
    let mut files = Vec::new();
    for (name, bytes) in APPENDED {
        let path = folder.join(name);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        files.push((file, vec![b'x'; bytes]));
    }
    let (start, interval) = (Instant::now(), Duration::from_secs(1) / rate);
    let mut times = Vec::new();
    for number in 0..rate * seconds {
        thread::sleep((start + interval * number).saturating_duration_since(Instant::now()));
        let began = Instant::now();
        for (file, bytes) in &mut files {
            file.write_all(bytes).context("cannot append")?;
            file.sync_data().context("cannot sync")?;
        }
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times)
}
