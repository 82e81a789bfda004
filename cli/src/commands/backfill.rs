//! `logferry backfill`: ships old files to the relay. Each file gets a line on stdout; progress goes to stderr.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use logferry_config::SenderSettings;
use logferry_protocol::chunk::LineCounts;
use logferry_sender::{BackfillEvent, BackfillPlan, FileOutcome, FileReport};
use logferry_text::{count, count_of, error_chain, size};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::args::BackfillArgs;
use crate::configuration;
use crate::output::console::{self, PROGRESS_INTERVAL, ProgressLine, ShowInterval};
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::roles::role::{Role, missing_section};
use crate::roles::signals::{Signals, StopDeadline};

/// How often a line of progress is written where stderr is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Events that wait to be printed. If stdout blocks, so does the work.
const EVENTS_MAX: usize = 64;
/// Characters of the progress bar.
const BAR_WIDTH: usize = 24;

/// Ships the files. A problem if one of them is not completely at the relay.
pub(crate) fn run(file: &Path, options: BackfillArgs) -> Result {
    let config = configuration::load(file)?;
    let sender = config.sender.ok_or_else(|| missing_section(file, Role::Sender))?;
    let BackfillArgs { files, log, dry_run } = options;
    let plan = BackfillPlan::new(&sender, files, log.as_ref()).map_err(Failure::configuration)?;
    ship(sender, plan, dry_run)
}

fn ship(sender: SenderSettings, plan: BackfillPlan, dry_run: bool) -> Result {
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let (stop, (send_event, events)) = (CancellationToken::new(), mpsc::sync_channel(EVENTS_MAX));
    let signals = {
        let _runtime = runtime.enter();
        Signals::catch().context("cannot catch signals")?
    };
    let watch = runtime.spawn(stop_on_signal(signals, stop.clone()));
    // Sending fails only during a stop, when nothing is printed any more.
    let send_event = move |event| drop(send_event.send(event));
    let work = logferry_sender::backfill(sender, plan, dry_run, send_event, stop.clone());
    let work = runtime.spawn(work);

    let mut printer = EventPrinter::new(dry_run);
    // Ends with the work, which then drops the sending end.
    let all_printed = events.into_iter().try_for_each(|event| printer.print(event));
    stop.cancel();
    let ended = runtime.block_on(work).context("the backfill crashed")?;
    watch.abort();
    all_printed?;
    printer.print_totals()?;
    ended?;
    Ok(CommandOutcome::fine_if(printer.totals.refused == 0))
}

/// Every signal stops the work, also SIGHUP from a closed terminal.
async fn stop_on_signal(mut signals: Signals, stop: CancellationToken) -> StopDeadline {
    signals.next().await;
    stop.cancel();
    StopDeadline::start()
}

/// The results of all files.
#[derive(Debug, Default)]
struct BackfillTotals {
    shipped: u64,
    already: u64,
    empty: u64,
    refused: u64,
    lines: LineCounts,
    bytes: u64,
}

/// Prints events.
struct EventPrinter {
    dry_run: bool,
    line: ProgressLine,
    progress: ShowInterval,
    waiting: ShowInterval,
    totals: BackfillTotals,
}

impl EventPrinter {
    fn new(dry_run: bool) -> Self {
        let line = ProgressLine::new();
        let interval = if line.is_terminal {
            PROGRESS_INTERVAL
        } else {
            LINE_INTERVAL
        };
        Self {
            dry_run,
            line,
            // A short run shows no progress.
            progress: ShowInterval::after_one(interval),
            waiting: ShowInterval::new(interval),
            totals: BackfillTotals::default(),
        }
    }

    fn print(&mut self, event: BackfillEvent) -> io::Result<()> {
        match event {
            BackfillEvent::Progress { path, done, size } => {
                if self.progress.is_due() {
                    self.line.show(&progress(&path, done, size));
                }
            }
            BackfillEvent::Waiting(reason) => {
                if self.waiting.is_due() {
                    self.line.show(&format!("waiting for the relay: {reason}"));
                }
            }
            BackfillEvent::Done(report) => {
                self.line.clear();
                self.totals.add(&report);
                console::print(&file_line(&report, self.dry_run))?;
            }
        }
        Ok(())
    }

    fn print_totals(&self) -> io::Result<()> {
        self.line.clear();
        console::print(&self.totals.line(self.dry_run))
    }
}

/// `[######------------------]  25 %  1.0 MiB of 4.0 MiB  /log/access.log.1`
fn progress(path: &Path, done: u64, total: u64) -> String {
    let parts = |of: u64| u128::from(done.min(total)) * u128::from(of) / u128::from(total.max(1));
    let filled = usize::try_from(parts(BAR_WIDTH as u64)).unwrap_or(0);
    let bar = "#".repeat(filled) + &"-".repeat(BAR_WIDTH - filled);
    let (percent, done, total) = (parts(100), size(done), size(total));
    format!("[{bar}] {percent:>3} %  {done} of {total}  {}", path.display())
}

/// The result of one file, and the amount shipped now.
fn file_line(report: &FileReport, dry_run: bool) -> String {
    let mut line = format!("{}: ", report.path.display());
    match &report.result {
        Ok(FileOutcome::Shipped { from }) => {
            line += shipped(dry_run);
            if from.get() > 0 {
                let _ = write!(line, " from byte {} on", count(from.get()));
            }
        }
        Ok(FileOutcome::AlreadyShipped) => line += "already shipped",
        Ok(FileOutcome::Empty) => line += "empty",
        Err(refusal) => {
            let _ = write!(line, "refused: it {}", error_chain(refusal));
        }
    }
    if report.bytes > 0 {
        let _ = write!(line, ": {}", amount(report.lines, report.bytes));
    }
    line + "\n"
}

impl BackfillTotals {
    fn add(&mut self, report: &FileReport) {
        let number = match &report.result {
            Ok(FileOutcome::Shipped { .. }) => &mut self.shipped,
            Ok(FileOutcome::AlreadyShipped) => &mut self.already,
            Ok(FileOutcome::Empty) => &mut self.empty,
            Err(_) => &mut self.refused,
        };
        *number += 1;
        self.lines = self.lines.plus(report.lines);
        self.bytes += report.bytes;
    }

    fn line(&self, dry_run: bool) -> String {
        let (already, empty, refused) = (self.already, self.empty, self.refused);
        let (number, shipped) = (self.shipped, shipped(dry_run));
        let amount = amount(self.lines, self.bytes);
        format!(
            "total: {number} {shipped}, {already} already shipped, {empty} empty, {refused} refused: {amount}\n"
        )
    }
}

fn shipped(dry_run: bool) -> &'static str {
    if dry_run { "would be shipped" } else { "shipped" }
}

fn amount(lines: LineCounts, bytes: u64) -> String {
    let (sent, excluded) = (count_of(lines.sent, "line"), count(lines.excluded));
    format!("{sent}, {excluded} excluded, {}", size(bytes))
}

#[cfg(test)]
mod tests {
    use logferry_protocol::stream::Offset;
    use logferry_sender::FileRefusal;

    use super::*;

    fn report(result: std::result::Result<FileOutcome, FileRefusal>, bytes: u64) -> FileReport {
        let lines = LineCounts {
            sent: bytes / 10,
            excluded: bytes / 100,
        };
        FileReport {
            path: "/log/a.log.1".into(),
            lines,
            bytes,
            result,
        }
    }

    #[test]
    fn each_file_has_a_line() {
        let rest = FileOutcome::Shipped {
            from: Offset::new(5000),
        };
        let lines = [
            report(Ok(rest), 20_000),
            report(Ok(FileOutcome::AlreadyShipped), 0),
            report(Err(FileRefusal::Damaged(io::Error::other("no end"))), 0),
        ]
        .map(|report| file_line(&report, false));
        assert_eq!(
            lines,
            [
                "/log/a.log.1: shipped from byte 5,000 on: 2,000 lines, 200 excluded, 19.5 KiB\n",
                "/log/a.log.1: already shipped\n",
                "/log/a.log.1: refused: it is damaged: no end\n",
            ]
        );
    }

    #[test]
    fn totals_count_the_results_of_the_files() {
        let mut totals = BackfillTotals::default();
        for _ in 0..2 {
            totals.add(&report(Ok(FileOutcome::Shipped { from: Offset::ZERO }), 1000));
        }
        totals.add(&report(Ok(FileOutcome::Empty), 0));
        totals.add(&report(Err(FileRefusal::Incomplete), 0));
        assert_eq!(
            totals.line(true),
            "total: 2 would be shipped, 0 already shipped, 1 empty, 1 refused: 200 lines, 20 excluded, 1.9 KiB\n"
        );
    }

    #[test]
    fn bar_is_filled_in_proportion() {
        let path = Path::new("/log/a.log.1");
        assert_eq!(
            progress(path, 1 << 20, 4 << 20),
            "[######------------------]  25 %  1.0 MiB of 4.0 MiB  /log/a.log.1"
        );
        assert!(progress(path, 0, 0).starts_with("[------------------------]   0 %"));
        assert!(progress(path, u64::MAX, u64::MAX).starts_with("[########################] 100 %"));
    }
}
