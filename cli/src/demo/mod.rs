//! `logferry demo`: the whole pipeline on this machine, through real sockets and real files, with its proof.
//!
//! Order: the servers of the client's end, the roles, the writers; then the writers stop, what is under way is waited
//! for, the roles stop, and both the ledger's audit and an independent count of the delivered lines must agree with what
//! the writers wrote.

mod pipeline;
mod progress;
mod proof;
mod site;
mod writers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use logferry_embedded_servers::{MailSink, SftpOptions, SftpServer};
use logferry_ledger::{BatchFilter, BatchState, Ledger, LedgerError};
use logferry_protocol::names::SourceId;
use tokio::runtime::Runtime;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::args::Demo;
use crate::audit;
use crate::demo::pipeline::Pipeline;
use crate::demo::progress::{Display, SourceProgress};
use crate::demo::proof::Delivered;
use crate::demo::site::{DROP_LOGIN, HOSTS, Site};
use crate::demo::writers::Writers;
use crate::exit::{self, Failure, Outcome, Result};
use crate::signals::{Request, Signals};
use crate::table;

/// After the writers stopped, the last windows have this long to end, be sealed and be delivered.
const DRAIN_TIME_MAX: Duration = Duration::from_mins(1);

const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Runs the demo.
pub(crate) fn run(options: &Demo) -> Result {
    let site = Site::create(&folder(options.dir.clone())?).map_err(Failure::Configuration)?;
    exit::print(&format!("logferry demo in {}\n\n", site.dir().display()))?;
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let writers = runtime.block_on(ship(&site, options))?;
    verdict(&site, &writers)
}

/// The folder asked for, or a new one among the temporary files.
fn folder(dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(dir) = dir {
        return Ok(dir);
    }
    let dir = tempfile::Builder::new().prefix("logferry-demo-").tempdir();
    Ok(dir
        .context("cannot make a temporary folder; give one with --dir")?
        .keep())
}

/// Starts everything, ships what the writers write, and stops everything.
async fn ship(site: &Site, options: &Demo) -> anyhow::Result<Writers> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let sftp = SftpServer::start(SftpOptions {
        root: site.dir().to_owned(),
        user: DROP_LOGIN.to_owned(),
        password: Some(DROP_LOGIN.to_owned()),
        authorized_key: None,
    });
    let sftp = sftp.await.context("cannot start the SFTP server")?;
    let mail = MailSink::start().await.context("cannot start the mail server")?;
    let configs = site.configure(&sftp, &mail)?;
    let mut show = Show {
        pipeline: Pipeline::start(&configs),
        writers: Writers::start(site, options.rate)?,
        display: Display::new(),
        signals,
        site,
    };
    show.write(options.seconds).await?;
    show.drain().await?;
    show.pipeline.stop().await?;
    for (number, message) in (1..).zip(mail.messages()) {
        site::write_file(&site.mails().join(format!("{number}.eml")), message.data)?;
    }
    mail.stop().await;
    sftp.stop().await;
    Ok(show.writers)
}

/// The demo while it runs.
struct Show<'a> {
    pipeline: Pipeline,
    writers: Writers,
    display: Display,
    signals: Signals,
    site: &'a Site,
}

impl Show<'_> {
    /// Lets the writers write for so many seconds (0: for ever), or until Ctrl-C.
    async fn write(&mut self, seconds: u64) -> anyhow::Result<()> {
        let start = Instant::now();
        let end = (seconds > 0).then(|| Duration::from_secs(seconds));
        let phase = |left: Option<Duration>| match left {
            Some(left) => format!("writing, {} s left", left.as_secs_f64().ceil()),
            None => "writing, Ctrl-C ends it".to_owned(),
        };
        self.follow(|_| {
            let left = end.map(|end| end.saturating_sub(start.elapsed()));
            (left != Some(Duration::ZERO)).then(|| phase(left))
        })
        .await?;
        self.writers.stop()
    }

    /// Waits until all that was written is delivered, or until it has taken too long, or until Ctrl-C.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        self.follow(|progress| {
            let is_over = progress.iter().all(SourceProgress::is_done) || start.elapsed() >= DRAIN_TIME_MAX;
            (!is_over).then(|| "written; the last windows end, are sealed and delivered".to_owned())
        })
        .await?;
        let progress = self.progress()?;
        let is_done = progress.iter().all(SourceProgress::is_done);
        let phase = if is_done {
            "all is delivered"
        } else {
            "not all is delivered"
        };
        Ok(self.display.draw(phase, &progress)?)
    }

    /// Shows progress under what `phase` says, until that is nothing any more or until Ctrl-C.
    async fn follow(&mut self, phase: impl Fn(&[SourceProgress]) -> Option<String>) -> anyhow::Result<()> {
        let mut refresh = interval(REFRESH_EVERY);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = refresh.tick() => {
                    let progress = self.progress()?;
                    let Some(phase) = phase(&progress) else { return Ok(()) };
                    self.display.show(&phase, &progress)?;
                }
                error = self.pipeline.breakdown() => return Err(error),
                request = self.signals.next() => if request == Request::Stop {
                    return Ok(());
                },
            }
        }
    }

    fn progress(&self) -> anyhow::Result<Vec<SourceProgress>> {
        let ledger = match Ledger::open(&self.site.data_dir()) {
            Ok(ledger) => Some(ledger),
            // The relay is about to make it.
            Err(LedgerError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let mut progress = Vec::new();
        for (host, written) in HOSTS.iter().zip(self.writers.written()) {
            let (received, delivered) = match &ledger {
                Some(ledger) => lines(ledger, host.source())?,
                None => (0, 0),
            };
            progress.push(SourceProgress {
                source: host.source().to_string(),
                written: written.requests(),
                health_checks: written.health_checks(),
                received,
                delivered,
            });
        }
        Ok(progress)
    }
}

/// Lines of a source that the relay has, and those of them that the client has.
fn lines(ledger: &Ledger, source: SourceId) -> anyhow::Result<(u64, u64)> {
    let filter = BatchFilter {
        source: Some(source),
        ..BatchFilter::default()
    };
    let batches = ledger.batches(&filter)?;
    let received = batches.iter().map(|batch| batch.contents.lines).sum();
    let sent = batches.iter().filter(|batch| batch.state == BatchState::Sent);
    Ok((received, sent.map(|batch| batch.contents.lines).sum()))
}

/// The ledger's proof and our own count, which must both be without fault.
fn verdict(site: &Site, writers: &Writers) -> Result {
    let audit = audit::prove(&site.middle_file(), &BatchFilter::default())?;
    let count = Delivered::count(&site.delivered())?;
    let mut faults: Vec<String> = Vec::new();
    let mut lines = 0;
    for (host, written) in HOSTS.iter().zip(writers.written()) {
        lines += written.requests();
        let difference = count.difference(host.source().as_str(), written.requests());
        faults.extend(difference.map(|difference| difference.to_string()));
    }
    if count.without_id() > 0 {
        faults.push(format!(
            "{} delivered lines should have been excluded",
            count.without_id()
        ));
    }
    let is_exact = faults.is_empty();
    let conclusion = if is_exact {
        format!("every line written was delivered once: {}", table::count(lines))
    } else {
        faults.join("\n")
    };
    let (dir, file) = (site.dir().display(), site.middle_file());
    exit::print(&format!(
        "{}\n{conclusion}\nthe files are in {dir}; `logferry -c {} status` looks at the middle host\n",
        audit::text(&audit),
        file.display()
    ))?;
    Ok(if is_exact && audit.complete {
        Outcome::Fine
    } else {
        Outcome::Wrong
    })
}
