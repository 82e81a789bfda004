//! A program that ships a log from one process to another: logferry, or Debian's rsyslog over TCP with `imfile`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use logferry_ledger::{BatchFilter, Ledger};

use crate::measurement::process::Daemon;

const RSYSLOGD: &str = "/usr/sbin/rsyslogd";

/// How long the receiver may take until its port accepts connections.
const START_WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Logferry,
    Rsyslog,
}

/// Sender and receiver of one program.
pub(super) struct Shipper {
    program: Program,
    binary: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    sender: Option<Daemon>,
    receiver: Option<Daemon>,
    ledger: Option<Ledger>,
}

impl Shipper {
    /// Nothing is started yet. `folder` is made.
    pub(super) fn new(program: Program, logferry: &Path, folder: &Path, log: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let binary = match program {
            Program::Logferry => logferry,
            Program::Rsyslog => Path::new(RSYSLOGD),
        };
        ensure!(
            binary.is_file(),
            "{} is not installed: on Debian, `apt install rsyslog`",
            binary.display()
        );
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
        Ok(Self {
            program,
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            log: log.to_owned(),
            address: held.local_addr()?,
            sender: None,
            receiver: None,
            ledger: None,
        })
    }

    /// Starts the receiver, and waits until it accepts connections.
    pub(super) fn start_receiver(&mut self) -> anyhow::Result<()> {
        let (port, folder) = (self.address.port(), self.folder.display());
        let config = match self.program {
            Program::Logferry => format!(
                "relay:\n  data_dir: \"{folder}/relay\"\n  groups:\n    - {{name: peers, listen: \"{}\"}}\n",
                self.address
            ),
            Program::Rsyslog => format!(
                "global(workDirectory=\"{folder}\" maxMessageSize=\"64k\")\n\
                 module(load=\"imtcp\")\n\
                 template(name=\"line\" type=\"string\" string=\"%msg:2:$%\\n\")\n\
                 ruleset(name=\"in\") {{ action(type=\"omfile\" file=\"{folder}/stored.log\" template=\"line\") }}\n\
                 input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\" ruleset=\"in\")\n"
            ),
        };
        let mut receiver = self.start("relay", &config)?;
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            receiver.check()?;
            ensure!(started.elapsed() < START_WAIT_MAX, "the receiver does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        self.receiver = Some(receiver);
        if self.program == Program::Logferry {
            self.ledger = Some(Ledger::open(&self.folder.join("relay"))?);
        }
        Ok(())
    }

    pub(super) fn start_sender(&mut self) -> anyhow::Result<()> {
        let (port, folder, log) = (self.address.port(), self.folder.display(), self.log.display());
        let config = match self.program {
            Program::Logferry => format!(
                "sender:\n  relay: \"http://{}\"\n  state_dir: \"{folder}/state\"\n  chunk: {{max_delay: 20ms}}\n  \
                 logs:\n    - path: \"{log}\"\n",
                self.address
            ),
            Program::Rsyslog => format!(
                "global(workDirectory=\"{folder}\" maxMessageSize=\"64k\")\n\
                 module(load=\"imfile\" mode=\"inotify\")\n\
                 input(type=\"imfile\" file=\"{log}\" tag=\"access\" freshStartTail=\"off\" \
                 persistStateInterval=\"1000\")\n\
                 action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" \
                 action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")\n"
            ),
        };
        self.sender = Some(self.start("sender", &config)?);
        Ok(())
    }

    fn start(&self, role: &'static str, config: &str) -> anyhow::Result<Daemon> {
        if self.program == Program::Logferry {
            return Daemon::start(&self.binary, role, config, &self.folder);
        }
        let path = self.folder.join(format!("{role}.conf"));
        #[expect(
            clippy::disallowed_methods,
            reason = "a configuration for one run need not survive a power loss"
        )]
        fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(&self.binary);
        command.args(["-n", "-i", "NONE", "-f"]).arg(&path);
        Daemon::run(command, role, &self.folder)
    }

    /// With SIGKILL.
    pub(super) fn kill_sender(&mut self) {
        self.sender = None;
    }

    /// With SIGKILL.
    pub(super) fn kill_receiver(&mut self) {
        self.receiver = None;
    }

    /// Bytes that the receiver has: for logferry those that are durable, for rsyslog those that are in its file.
    pub(super) fn stored_bytes(&self) -> anyhow::Result<u64> {
        match &self.ledger {
            Some(ledger) => {
                let batches = ledger.batches(&BatchFilter::default())?;
                Ok(batches.iter().map(|batch| batch.contents.bytes).sum())
            }
            None => Ok(fs::metadata(self.folder.join("stored.log")).map_or(0, |found| found.len())),
        }
    }

    /// The files with the lines, in order.
    pub(super) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let Some(ledger) = &self.ledger else {
            return Ok(vec![self.folder.join("stored.log")]);
        };
        let mut batches = ledger.batches(&BatchFilter::default())?;
        batches.sort_by_key(|batch| (batch.window.start, batch.part));
        let path = |batch: &logferry_ledger::Batch| {
            let folder = self.folder.join("relay").join(batch.state.as_str());
            folder.join(batch.source.as_str()).join(batch.file_name())
        };
        Ok(batches.iter().map(path).collect())
    }

    /// The CPU time of sender and receiver.
    pub(super) fn cpu(&mut self) -> anyhow::Result<[Duration; 2]> {
        let used = |daemon: &mut Option<Daemon>| match daemon {
            Some(daemon) => daemon.usage().map(|usage| usage.cpu),
            None => Ok(Duration::ZERO),
        };
        Ok([used(&mut self.sender)?, used(&mut self.receiver)?])
    }
}
