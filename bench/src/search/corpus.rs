//! Generated lines, in a store and in `.gz` files.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use logferry_durable::RealDisk;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_store::{LineOrigin, LineRecord, StorePosition, StoreWriter};
use logferry_traffic::{Traffic, TrafficOptions};

use super::NEEDLE;
use crate::measurement::figures::{float, mebibytes};
use crate::measurement::process::own_usage;

/// Lines of a second, of all sources.
pub(super) const RATE: u64 = 20_000;

/// Bytes of lines in one file; a window's batch of one source.
const FILE_BYTES: usize = 64 << 20;

const SOURCES: u64 = 20;

/// 21 November 2026, 00:00 UTC.
const START_MS: i64 = 1_795_219_200_000;

/// The lines, as a store and as files.
#[derive(Debug)]
pub(super) struct Corpus {
    pub(super) store_dir: PathBuf,
    pub(super) position: StorePosition,
    pub(super) gz_files: Vec<PathBuf>,
    /// The address of the client in the middle.
    pub(super) client: String,
    pub(super) bytes: u64,
    lines: u64,
    /// Bytes of each source, whose lines are one batch here.
    source_bytes: Vec<u64>,
    stored: u64,
    /// CPU time of the store alone.
    store_cpu: Duration,
    peak: u64,
}

impl Corpus {
    /// Writes about `size` bytes of lines. Every 20,000 lines the store is synced, as once a second.
    pub(super) fn write(dir: &Path, size: u64, with_ids: bool) -> anyhow::Result<Self> {
        let store_dir = dir.join("index");
        let mut writer = StoreWriter::open(RealDisk, &store_dir, None, START_MS)?.writer;
        let sources: Vec<SourceId> = (0..SOURCES)
            .map(|number| format!("198.51.100.{number}").parse())
            .collect::<Result<_, _>>()?;
        let mut traffic = Traffic::new(TrafficOptions {
            ids: with_ids.then(|| "bench".to_owned()),
            ..TrafficOptions::default()
        });
        let mut corpus = Self {
            store_dir,
            position: StorePosition::default(),
            gz_files: Vec::new(),
            client: String::new(),
            bytes: 0,
            lines: 0,
            source_bytes: vec![0; sources.len()],
            stored: 0,
            store_cpu: Duration::ZERO,
            peak: 0,
        };
        let mut file = Vec::with_capacity(FILE_BYTES + 4096);
        let mut second = Vec::new();
        let mut needles = 0;
        while corpus.bytes < size {
            let time_ms = START_MS + i64::try_from(corpus.lines / RATE)? * 1000;
            let at = Timestamp::from_millisecond(time_ms)?;
            second.clear();
            for number in corpus.lines..corpus.lines + RATE {
                let start = second.len();
                traffic.line(at, &mut second);
                if number == corpus.lines && needles < 3 && corpus.bytes >= size / 4 * (needles + 1) {
                    second.truncate(second.len() - 1);
                    second.extend(format!(" {NEEDLE}\n").bytes());
                    needles += 1;
                }
                if corpus.client.is_empty() && corpus.bytes > size / 2 {
                    let line = String::from_utf8_lossy(second.get(start..).unwrap_or_default());
                    line.split(' ')
                        .next()
                        .unwrap_or_default()
                        .clone_into(&mut corpus.client);
                }
            }
            corpus.store(&mut writer, &sources, &second, time_ms)?;
            corpus.lines += RATE;
            file.extend_from_slice(&second);
            if file.len() >= FILE_BYTES || corpus.bytes >= size {
                corpus.add_gz(dir, &file)?;
                file.clear();
            }
        }
        corpus.stored = writer.bytes();
        corpus.peak = own_usage()?.peak_bytes;
        Ok(corpus)
    }

    /// Puts the lines of a second into the store.
    fn store(
        &mut self,
        writer: &mut StoreWriter<RealDisk>,
        sources: &[SourceId],
        lines: &[u8],
        time_ms: i64,
    ) -> anyhow::Result<()> {
        let group: GroupName = "web-1".parse()?;
        let before = own_usage()?.cpu;
        for (number, line) in (0_usize..).zip(lines.split_inclusive(|byte| *byte == b'\n')) {
            let number = number % sources.len();
            let source = sources.get(number).context("no source")?;
            let offset = self.source_bytes.get_mut(number).context("no source")?;
            let status = line.rsplit(|byte| *byte == b'"').nth(4).and_then(status_of);
            writer.append(&LineRecord {
                origin: LineOrigin {
                    source,
                    group: &group,
                    log: None,
                    batch: source.as_str(),
                    format: "combined",
                },
                offset: *offset,
                time_ms,
                level: None,
                status,
                line,
            })?;
            *offset += u64::try_from(line.len())?;
            self.bytes += u64::try_from(line.len())?;
        }
        self.position = writer.sync(time_ms)?;
        writer.recorded()?;
        self.store_cpu += own_usage()?.cpu.saturating_sub(before);
        Ok(())
    }

    fn add_gz(&mut self, dir: &Path, lines: &[u8]) -> anyhow::Result<()> {
        let path = dir.join(format!("lines-{:04}.log", self.gz_files.len()));
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        file.write_all(lines)?;
        let status = Command::new("gzip").arg("-6").arg(&path).status();
        anyhow::ensure!(status.context("cannot run gzip")?.success(), "gzip failed");
        self.gz_files.push(path.with_extension("log.gz"));
        Ok(())
    }

    /// The cost of the store.
    pub(super) fn report(&self) -> String {
        let cores = self.store_cpu.as_secs_f64() / (float(self.lines) / float(RATE));
        format!(
            "{:.0} MiB in {} lines, {:.0} B each\nstore: {:.3} of raw, {cores:.3} core at {RATE} lines/s \
             (frames and filters, with syncs), peak memory with the generator {:.0} MiB\n",
            mebibytes(self.bytes),
            self.lines,
            float(self.bytes) / float(self.lines),
            float(self.stored) / float(self.bytes),
            mebibytes(self.peak)
        )
    }
}

fn status_of(after_request: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(after_request).ok()?;
    text.split(' ')
        .find_map(|word| word.parse().ok().filter(|status| (100..600).contains(status)))
}
