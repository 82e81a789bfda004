//! One relay and its senders on this machine, in a folder of their own, and the proof that what they did is right.
//!
//! How far the relay is, is read from its ledger: what stands there is durable by definition, and a reader of a WAL
//! database neither blocks the relay nor costs it CPU time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use logferry_ledger::{Batch, BatchFilter, Contents, Ledger};

use crate::process::{Daemon, Usage};

/// How long the relay may take to answer its port.
const START_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long nothing may become durable before the run is given up. Far longer than any disk stalls.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);

/// What was stored is not what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrongResult {
    #[error("nothing became durable for {} s, at {at} of {of} lines", STANDSTILL_MAX.as_secs())]
    Standstill { at: u64, of: u64 },
    #[error("source {source_name}: expected {expected:?}, stored {stored:?}")]
    Contents {
        source_name: String,
        expected: Contents,
        stored: Contents,
    },
    #[error("{found} sources stored something, {expected} sent")]
    Sources { found: usize, expected: usize },
    #[error("no batch was delivered for a long time, at {at} of {of}")]
    Undelivered { at: u64, of: u64 },
    #[error("{found} files were delivered where {expected} were due; wrong, for example: {example}")]
    Delivered {
        found: usize,
        expected: usize,
        example: String,
    },
}

/// A running relay, and senders.
#[derive(Debug)]
pub(crate) struct Site {
    folder: PathBuf,
    binary: PathBuf,
    address: SocketAddrV4,
    ledger: Ledger,
    relay: Daemon,
    senders: Vec<Daemon>,
    /// The most lines seen durable, and when there were last more of them.
    durable_lines: u64,
    moved: Instant,
}

/// What the processes of a site used.
#[derive(Debug, Clone)]
pub(crate) struct SiteUsage {
    pub(crate) relay: Usage,
    pub(crate) senders: Vec<Usage>,
}

impl Site {
    /// Starts a relay in `folder`, which it makes, and waits until it answers.
    pub(crate) fn start(binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (data, address) = (data_dir(folder), free_address()?);
        let config = format!(
            "relay:\n  data_dir: \"{}\"\n  metrics: null\n  groups: [{{name: bench, listen: \"{address}\"}}]\n",
            data.display()
        );
        let mut relay = Daemon::start(binary, "relay", &config, folder)?;
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            relay.check()?;
            ensure!(
                started.elapsed() < START_WAIT_MAX,
                "the relay does not answer on {address}"
            );
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            address,
            ledger: Ledger::open(&data)?,
            relay,
            senders: Vec::new(),
            durable_lines: 0,
            moved: Instant::now(),
        })
    }

    /// Starts a sender of `log` with an address of its own. `max_delay` as in the configuration.
    pub(crate) fn add_sender(&mut self, log: &Path, max_delay: &str) -> anyhow::Result<()> {
        let number = self.senders.len() + 1;
        let folder = self.folder.join(format!("sender-{number}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let config = format!(
            "sender:\n  relay: \"http://{}\"\n  local_address: 127.0.1.{number}\n  state_dir: \"{}\"\n  \
             chunk: {{max_delay: {max_delay}}}\n  logs:\n    - path: \"{}\"\n      \
             exclude: [[\"/health.php\", \"nginx/\", \"health check\"]]\n",
            self.address,
            folder.join("state").display(),
            log.display(),
        );
        let sender = Daemon::start(&self.binary, "sender", &config, &folder)?;
        self.senders.push(sender);
        Ok(())
    }

    /// Lines, of all sources, that are durable or known to be dropped by rule; `of` so many. Fails if a process has
    /// ended, or nothing has moved for a long time.
    pub(crate) fn durable_lines(&mut self, of: u64) -> anyhow::Result<u64> {
        let totals = self.ledger.stream_totals()?;
        let at = totals
            .iter()
            .map(|source| source.lines_sent + source.lines_excluded)
            .sum();
        if at > self.durable_lines {
            (self.durable_lines, self.moved) = (at, Instant::now());
        }
        if self.moved.elapsed() > STANDSTILL_MAX {
            return Err(WrongResult::Standstill { at, of }.into());
        }
        self.relay.check()?;
        self.senders.iter_mut().try_for_each(Daemon::check)?;
        Ok(at)
    }

    /// Waits until so many lines are durable or dropped by rule. `pause`: between two looks.
    pub(crate) fn wait_for_lines(&mut self, lines: u64, pause: Duration) -> anyhow::Result<()> {
        while self.durable_lines(lines)? < lines {
            thread::sleep(pause);
        }
        Ok(())
    }

    /// What each process used so far.
    pub(crate) fn usage(&mut self) -> anyhow::Result<SiteUsage> {
        Ok(SiteUsage {
            relay: self.relay.usage()?,
            senders: self
                .senders
                .iter_mut()
                .map(Daemon::usage)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Stops all processes, and proves that each source's batch files hold `expected`, in order.
    pub(crate) fn finish(self, expected: Contents) -> anyhow::Result<()> {
        let senders = self.senders.len();
        self.senders.into_iter().try_for_each(Daemon::stop)?;
        self.relay.stop()?;
        let mut sources: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for batch in self.ledger.batches(&BatchFilter::default())? {
            sources
                .entry(batch.source.as_str().to_owned())
                .or_default()
                .push(batch);
        }
        if sources.len() != senders {
            let found = sources.len();
            return Err(WrongResult::Sources {
                found,
                expected: senders,
            }
            .into());
        }
        for (source_name, mut batches) in sources {
            batches.sort_by_key(|batch| (batch.window.start, batch.part));
            let stored = stored(&data_dir(&self.folder), &batches)?;
            if stored != expected {
                return Err(WrongResult::Contents {
                    source_name,
                    expected,
                    stored,
                }
                .into());
            }
        }
        Ok(())
    }
}

fn data_dir(folder: &Path) -> PathBuf {
    folder.join("relay")
}

/// An address that nobody listens on just now.
fn free_address() -> anyhow::Result<SocketAddrV4> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .context("cannot find a free port")?
        .port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// What the files of `batches` hold, one after the other. Read from the disk: the ledger is not taken at its word.
fn stored(data: &Path, batches: &[Batch]) -> anyhow::Result<Contents> {
    let mut all = Contents::default();
    for batch in batches {
        let path = data
            .join(batch.state.as_str())
            .join(batch.source.as_str())
            .join(batch.file_name());
        add_file(&path, &mut all).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(all)
}

/// Adds what a file holds to `all`.
pub(crate) fn add_file(path: &Path, all: &mut Contents) -> io::Result<()> {
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
