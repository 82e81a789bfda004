//! `logferry demo`: runs the whole pipeline on this machine over real sockets and files, and checks the result.
//!
//! It starts an SFTP and a mail server, then the roles, then the writers. After the writers stop it waits for the last
//! deliveries and stops the roles. The audit and an independent count of the delivered lines must both match the lines
//! written. Nothing else depends on this folder.

mod delivered_lines;
mod demo_folder;
mod demo_roles;
mod progress_table;
mod records;
mod writers;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use logferry_embedded_servers::{MailSink, SftpOptions, SftpServer};
use logferry_ledger::{BatchFilter, BatchState, Ledger, LedgerError};
use logferry_protocol::names::SourceId;
use logferry_text::count;
use tokio::runtime::Runtime;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::delivered_lines::DeliveredLines;
use self::demo_folder::{DemoFolder, HOSTS, RECORD_HOST, RecordPorts, SFTP_LOGIN};
use self::demo_roles::DemoRoles;
use self::progress_table::{ProgressTable, SourceRow};
use self::records::RecordWriters;
use self::writers::Writers;
use crate::args::{CliArgs, CliCommand, DemoArgs};
use crate::commands::{audit, search};
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::roles::signals::{SignalRequest, Signals};

/// Time limit, after the writers stop, for the last windows to end, be sealed and be delivered.
const DRAIN_TIME_MAX: Duration = Duration::from_mins(1);

/// Records a second of each program of `--all`.
const RECORD_RATE: NonZeroU32 = NonZeroU32::new(25).expect("not zero");

const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the demo.
pub(crate) fn run(options: &DemoArgs) -> Result {
    let folder = DemoFolder::create(&choose_folder(options.dir.clone())?).map_err(Failure::Configuration)?;
    console::print(&format!("logferry demo in {}\n\n", folder.path().display()))?;
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let (writers, records) = runtime.block_on(run_pipeline(&folder, options))?;
    check_result(&folder, &writers, records.as_ref())
}

/// The folder of the option, or a new temporary one.
fn choose_folder(dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(dir) = dir {
        return Ok(dir);
    }
    let dir = tempfile::Builder::new().prefix("logferry-demo-").tempdir();
    Ok(dir
        .context("cannot create a temporary folder; give one with --dir")?
        .keep())
}

/// Starts everything, ships what the writers write, and stops everything.
async fn run_pipeline(
    folder: &DemoFolder,
    options: &DemoArgs,
) -> anyhow::Result<(Writers, Option<RecordWriters>)> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let sftp = SftpServer::start(SftpOptions {
        root: folder.path().to_owned(),
        user: SFTP_LOGIN.to_owned(),
        password: Some(SFTP_LOGIN.to_owned()),
        authorized_key: None,
    });
    let sftp = sftp.await.context("cannot start the SFTP server")?;
    let mail = MailSink::start().await.context("cannot start the mail server")?;
    let ports = options.all.then(RecordPorts::free).transpose()?;
    let configs = folder.configure(&sftp, &mail, ports)?;
    let mut demo = DemoRun {
        roles: DemoRoles::start(&configs),
        writers: Writers::start(folder, options.rate)?,
        records: ports.map(|ports| RecordWriters::start(ports, RECORD_RATE)),
        table: ProgressTable::new(),
        signals,
        folder,
    };
    demo.write(options.seconds).await?;
    demo.drain().await?;
    demo.roles.stop().await?;
    for (number, message) in (1..).zip(mail.messages()) {
        demo_folder::write_file(&folder.mails().join(format!("{number}.eml")), message.data)?;
    }
    mail.stop().await;
    sftp.stop().await;
    Ok((demo.writers, demo.records))
}

/// The running demo.
struct DemoRun<'a> {
    roles: DemoRoles,
    writers: Writers,
    /// With `--all`.
    records: Option<RecordWriters>,
    table: ProgressTable,
    signals: Signals,
    folder: &'a DemoFolder,
}

impl DemoRun<'_> {
    /// Shows progress while the writers write, for so many seconds (0: no limit) or until Ctrl-C. Then stops them.
    async fn write(&mut self, seconds: u64) -> anyhow::Result<()> {
        let start = Instant::now();
        let end = (seconds > 0).then(|| Duration::from_secs(seconds));
        let phase = |left: Option<Duration>| match left {
            Some(left) => format!("writing, {} s left", left.as_secs_f64().ceil()),
            None => "writing until Ctrl-C".to_owned(),
        };
        self.show_progress(|_| {
            let left = end.map(|end| end.saturating_sub(start.elapsed()));
            (left != Some(Duration::ZERO)).then(|| phase(left))
        })
        .await?;
        self.records.as_mut().map_or(Ok(()), RecordWriters::stop)?;
        self.writers.stop()
    }

    /// Waits until every line written is delivered, until the time limit, or until Ctrl-C.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        self.show_progress(|progress| {
            let is_over = progress.iter().all(SourceRow::is_done) || start.elapsed() >= DRAIN_TIME_MAX;
            (!is_over).then(|| "written; waiting for the delivery of the last windows".to_owned())
        })
        .await?;
        let progress = self.progress()?;
        let not = if progress.iter().all(SourceRow::is_done) {
            ""
        } else {
            "not "
        };
        Ok(self
            .table
            .draw(&format!("{not}all lines are delivered"), &progress)?)
    }

    /// Shows the phase and the progress until `phase` returns `None`, or until Ctrl-C.
    async fn show_progress(&mut self, phase: impl Fn(&[SourceRow]) -> Option<String>) -> anyhow::Result<()> {
        let mut refresh = interval(REFRESH_INTERVAL);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = refresh.tick() => {
                    let progress = self.progress()?;
                    let Some(phase) = phase(&progress) else { return Ok(()) };
                    self.table.show(&phase, &progress)?;
                }
                error = self.roles.failure() => return Err(error),
                request = self.signals.next() => if request == SignalRequest::Stop {
                    return Ok(());
                },
            }
        }
    }

    fn progress(&self) -> anyhow::Result<Vec<SourceRow>> {
        let ledger = match Ledger::open(&self.folder.data_dir()) {
            Ok(ledger) => Some(ledger),
            // The relay has not created it yet.
            Err(LedgerError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let mut progress = Vec::new();
        for (host, written) in HOSTS.iter().zip(self.writers.written()) {
            let (received, delivered) = match &ledger {
                Some(ledger) => lines(ledger, host.source())?,
                None => (0, 0),
            };
            progress.push(SourceRow {
                source: host.source().to_string(),
                written: written.requests(),
                health_checks: written.health_checks(),
                received,
                delivered,
            });
        }
        if let Some(records) = &self.records {
            let (received, delivered) = match &ledger {
                Some(ledger) => lines(ledger, RECORD_HOST.source())?,
                None => (0, 0),
            };
            progress.push(SourceRow {
                source: RECORD_HOST.source().to_string(),
                written: records.sent().map(|(_, sent)| sent).sum(),
                health_checks: 0,
                received,
                delivered,
            });
        }
        Ok(progress)
    }
}

/// Lines of a source at the relay, and how many of them are delivered.
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

/// Shows one search in the lines of the demo, and its time.
fn search_once(file: &Path) -> Result {
    let line = ["logferry", "search", "--limit", "3", "status:404"];
    console::print(&format!("\none search in these lines, `{}`:\n", line.join(" ")))?;
    match CliArgs::try_parse_from(line)
        .map_err(Failure::configuration)?
        .command
    {
        CliCommand::Search(options) => search::run(file, &options),
        _ => Ok(CommandOutcome::Fine),
    }
}

/// Checks the audit and the independent count of delivered lines.
fn check_result(folder: &DemoFolder, writers: &Writers, records: Option<&RecordWriters>) -> Result {
    let file = folder.relay_config();
    let audit = audit::audit(&file, &configuration::load(&file)?, &BatchFilter::default())?;
    let delivered = DeliveredLines::count(&folder.delivered())?;
    let mut problems = Vec::new();
    let mut lines = 0;
    for (host, written) in HOSTS.iter().zip(writers.written()) {
        lines += written.requests();
        problems.extend(delivered.difference(host.source().as_str(), written.requests()));
    }
    for (way, sent) in records.into_iter().flat_map(RecordWriters::sent) {
        lines += sent;
        problems.extend(delivered.difference(way, sent));
    }
    match delivered.without_id {
        0 => {}
        number => problems.push(format!("{number} delivered lines should have been excluded")),
    }
    let is_exact = problems.is_empty();
    let conclusion = if is_exact {
        format!("every line written was delivered once: {}", count(lines))
    } else {
        problems.join("\n")
    };
    let dir = folder.path().display();
    console::print(&format!(
        "{}\n{conclusion}\nthe files are in {dir}; `logferry -c {} status` shows the state of the relay host\n",
        audit::text(&audit),
        file.display()
    ))?;
    search_once(&file)?;
    Ok(CommandOutcome::fine_if(is_exact && audit.complete))
}
