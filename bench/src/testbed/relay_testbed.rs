//! One relay and its senders on this machine, in a folder of their own, and the check of their result.
//!
//! Progress is read from the relay's ledger: a committed line is durable by definition, and a reader of a WAL database
//! neither blocks the relay nor costs it CPU time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use logferry_ledger::{Batch, BatchContents, BatchFilter, Ledger};
use logferry_protocol::names::GroupName;

use crate::measurement::commit_times::CommitTimes;
use crate::measurement::process::{Daemon, Usage};

/// How long the relay may take until its ports accept connections.
const START_WAIT_MAX: Duration = Duration::from_secs(30);

/// The run fails if nothing is committed for this long. It is far longer than any disk stalls.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);

/// The stored or delivered contents are not the written ones.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrongResult {
    /// A search found other lines than were written.
    #[error("the search for {query} has {hits} hits, {again} when it is repeated")]
    Hits { query: String, hits: u64, again: u64 },
    /// The indexer has not stored each line once.
    #[error("{lines} lines were durable; the indexer has read {read}, and its store has {stored}")]
    Indexed { stored: u64, read: u64, lines: u64 },
    #[error("nothing was committed for {} s, at {at} of {of} lines", STANDSTILL_MAX.as_secs())]
    Standstill { at: u64, of: u64 },
    #[error("source {source_name}: expected {expected:?}, stored {stored:?}")]
    Contents {
        source_name: String,
        expected: BatchContents,
        stored: BatchContents,
    },
    #[error("lines of {found} sources were stored, {expected} senders sent lines")]
    Sources { found: usize, expected: usize },
    #[error("{posted} records were acknowledged, the capture has {lines} lines with {ids} ids")]
    Records { posted: usize, ids: usize, lines: usize },
    #[error("no batch was delivered for several minutes, at {at} of {of}")]
    Undelivered { at: u64, of: u64 },
    #[error("{found} files were delivered, {expected} were due; a wrong file: {example}")]
    Delivered {
        found: usize,
        expected: usize,
        example: String,
    },
}

/// A running relay, and senders.
#[derive(Debug)]
pub(crate) struct RelayTestbed {
    folder: PathBuf,
    binary: PathBuf,
    /// One for each group.
    pub(crate) addresses: Vec<SocketAddr>,
    metrics: SocketAddr,
    ledger: Ledger,
    relay: Daemon,
    senders: Vec<Daemon>,
    /// The highest number of committed lines seen, and the time of its last increase.
    committed_lines: u64,
    last_progress: Instant,
}

/// CPU time and memory of all processes.
#[derive(Debug, Clone)]
pub(crate) struct TestbedUsage {
    pub(crate) relay: Usage,
    pub(crate) senders: Vec<Usage>,
}

impl RelayTestbed {
    /// Starts a relay of `groups` groups, at least one, in `folder`, which it creates. Waits until all ports accept
    /// connections.
    pub(crate) fn start(binary: &Path, folder: &Path, groups: u8) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let data = data_dir(folder);
        let mut addresses = free_addresses(groups + 1)?;
        let metrics = addresses.pop().context("there is one address more than groups")?;
        let mut config = format!(
            "relay:\n  data_dir: \"{}\"\n  metrics: \"{metrics}\"\n  groups:\n",
            data.display()
        );
        for (number, address) in addresses.iter().enumerate() {
            let _ = writeln!(config, "    - {{name: bench-{number}, listen: \"{address}\"}}");
        }
        let mut relay = Daemon::start(binary, "relay", &config, folder)?;
        let started = Instant::now();
        for address in &addresses {
            while TcpStream::connect(address).is_err() {
                relay.check()?;
                ensure!(
                    started.elapsed() < START_WAIT_MAX,
                    "the relay does not listen on {address} after {} s",
                    START_WAIT_MAX.as_secs()
                );
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            addresses,
            metrics,
            ledger: Ledger::open(&data)?,
            relay,
            senders: Vec::new(),
            committed_lines: 0,
            last_progress: Instant::now(),
        })
    }

    /// The commit times of one group so far. `group`: its number, from 0.
    pub(crate) fn commit_times(&self, group: usize) -> anyhow::Result<CommitTimes> {
        let name = format!("bench-{group}");
        CommitTimes::read(self.metrics, &name).context("cannot read the relay's metrics")
    }

    /// Starts a sender of `log` with its own address. Senders are spread over the groups in turn. `max_delay` as in
    /// the configuration.
    pub(crate) fn add_sender(&mut self, log: &Path, max_delay: &str) -> anyhow::Result<()> {
        let number = self.senders.len();
        let mut addresses = self.addresses.iter().cycle();
        let address = addresses.nth(number).context("a relay has at least one group")?;
        let folder = self.folder.join(format!("sender-{number}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let config = format!(
            "sender:\n  relay: \"http://{address}\"\n  local_address: {}\n  state_dir: \"{}\"\n  \
             chunk: {{max_delay: {max_delay}}}\n  logs:\n    - path: \"{}\"\n      \
             exclude: [[\"/health.php\", \"nginx/\", \"health check\"]]\n",
            source_name(number),
            folder.join("state").display(),
            log.display(),
        );
        let sender = Daemon::start(&self.binary, "sender", &config, &folder)?;
        self.senders.push(sender);
        Ok(())
    }

    /// Fails if the relay has ended, or if `at`, the lines committed out of `of`, has not grown for a long time.
    pub(crate) fn check_progress(&mut self, at: u64, of: u64) -> anyhow::Result<()> {
        if at > self.committed_lines {
            (self.committed_lines, self.last_progress) = (at, Instant::now());
        }
        if self.last_progress.elapsed() > STANDSTILL_MAX {
            bail!(WrongResult::Standstill { at, of });
        }
        self.relay.check()
    }

    /// The lines of each source that are committed or excluded by rule. Batches are not counted: there may be millions.
    pub(crate) fn committed_by_source(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut committed = BTreeMap::new();
        for number in 0..self.addresses.len() {
            let group: GroupName = format!("bench-{number}").parse()?;
            for stream in self.ledger.live_streams(&group)? {
                let lines = committed.entry(stream.source.as_str().to_owned()).or_default();
                *lines += stream.lines.read();
            }
        }
        Ok(committed)
    }

    /// Waits until this many lines of all sources are committed or excluded. Fails if a process has ended, or after a
    /// standstill. `poll`: the interval of the ledger queries.
    pub(crate) fn wait_for_lines(&mut self, lines: u64, poll: Duration) -> anyhow::Result<()> {
        loop {
            let at = self.committed_by_source()?.values().sum();
            self.check_progress(at, lines)?;
            self.senders.iter_mut().try_for_each(Daemon::check)?;
            if at >= lines {
                return Ok(());
            }
            thread::sleep(poll);
        }
    }

    /// CPU time and memory of each process so far.
    pub(crate) fn usage(&mut self) -> anyhow::Result<TestbedUsage> {
        let senders = self.senders.iter_mut().map(Daemon::usage);
        Ok(TestbedUsage {
            senders: senders.collect::<Result<_, _>>()?,
            relay: self.relay.usage()?,
        })
    }

    /// Stops all processes, and checks that each sender's batch files hold `expected`, in order.
    pub(crate) fn finish(self, expected: BatchContents) -> anyhow::Result<()> {
        let senders: BTreeSet<_> = (0..self.senders.len()).map(source_name).collect();
        self.senders.into_iter().try_for_each(Daemon::stop)?;
        self.relay.stop()?;
        let mut sources: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for batch in self.ledger.batches(&BatchFilter::default())? {
            let source = batch.source.as_str();
            if senders.contains(source) {
                sources.entry(source.to_owned()).or_default().push(batch);
            }
        }
        if sources.len() != senders.len() {
            bail!(WrongResult::Sources {
                found: sources.len(),
                expected: senders.len(),
            });
        }
        for (source_name, mut batches) in sources {
            batches.sort_by_key(|batch| (batch.window.start, batch.part));
            let stored = stored(&data_dir(&self.folder), &batches)?;
            if stored != expected {
                bail!(WrongResult::Contents {
                    source_name,
                    expected,
                    stored,
                });
            }
        }
        Ok(())
    }
}

pub(crate) fn data_dir(folder: &Path) -> PathBuf {
    folder.join("relay")
}

/// The address of the sender with this number, from 0. It is also the name of the source.
pub(crate) fn source_name(number: usize) -> String {
    format!("127.0.{}.{}", 1 + number / 250, 1 + number % 250)
}

/// `count` free addresses.
fn free_addresses(count: u8) -> anyhow::Result<Vec<SocketAddr>> {
    // All are bound at the same time, so that no address comes twice.
    let held = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let held: Result<Vec<_>, _> = held.collect();
    let held = held.context("cannot find a free port")?;
    held.iter().map(|listener| Ok(listener.local_addr()?)).collect()
}

/// The contents of the files of `batches`, in order, read from the disk and not from the ledger.
fn stored(data: &Path, batches: &[Batch]) -> anyhow::Result<BatchContents> {
    let mut all = BatchContents::default();
    for batch in batches {
        let folder = data.join(batch.state.as_str()).join(batch.source.as_str());
        let path = folder.join(batch.file_name());
        add_file(&path, &mut all).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(all)
}

/// Adds the contents of a file to `all`.
pub(crate) fn add_file(path: &Path, all: &mut BatchContents) -> io::Result<()> {
    let mut file = fs::File::open(path)?;
    let mut block = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut block)?;
        let Some(bytes @ [_, ..]) = block.get(..count) else {
            return Ok(());
        };
        all.lines += bytes.iter().map(|&byte| u64::from(byte == b'\n')).sum::<u64>();
        all.bytes += bytes.len() as u64;
        all.crc32c = crc32c::crc32c_append(all.crc32c, bytes);
    }
}
