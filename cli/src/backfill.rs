//! `logferry backfill`: old files once to the relay. A line for each file goes to stdout, progress to stderr.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_config::SenderSettings;
use logferry_protocol::chunk::LineCounts;
use logferry_sender::{BackfillEvent, BackfillPlan, FileOutcome, FileReport};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::args::Backfill;
use crate::configuration;
use crate::exit::{self, Failure, Outcome, Result};
use crate::roles::{Role, missing};
use crate::signals::{Signals, StopWatch};
use crate::table;

/// How often a terminal's bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// How often progress is a line of its own, where stderr is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Events that wait to be told. Whoever stops the terminal stops the work.
const NEWS_MAX: usize = 64;
/// Characters of the bar.
const BAR_WIDTH: u64 = 24;
/// Characters of the line with the bar, less than any terminal is wide.
const TERMINAL_WIDTH: usize = 79;

/// Ships the files. Wrong if one of them is not wholly at the relay.
pub(crate) fn run(file: &Path, options: Backfill) -> Result {
    let config = configuration::load(file)?;
    let sender = config.sender.ok_or_else(|| missing(file, Role::Sender))?;
    let Backfill { files, log, dry_run } = options;
    let plan = BackfillPlan::new(&sender, files, log.as_ref()).map_err(Failure::configuration)?;
    ship(sender, plan, dry_run)
}

fn ship(sender: SenderSettings, plan: BackfillPlan, dry_run: bool) -> Result {
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let (stop, (tell, news)) = (CancellationToken::new(), mpsc::sync_channel(NEWS_MAX));
    let signals = {
        let _runtime = runtime.enter();
        Signals::catch().context("cannot catch signals")?
    };
    let watch = runtime.spawn(stop_on_signal(signals, stop.clone()));
    // Nobody listens any more: it is being stopped.
    let tell = move |news| drop(tell.send(news));
    let work = runtime.spawn(logferry_sender::backfill(
        sender,
        plan,
        dry_run,
        tell,
        stop.clone(),
    ));

    let mut console = Console::new(dry_run);
    // Ends when the work does, and drops `tell`.
    let told = news.into_iter().try_for_each(|news| console.tell(news));
    stop.cancel();
    let ended = runtime.block_on(work).context("the work crashed")?;
    watch.abort();
    told?;
    console.end()?;
    ended?;
    Ok(if console.totals.refused == 0 {
        Outcome::Fine
    } else {
        Outcome::Wrong
    })
}

/// Any signal means the end, that of a closed terminal too.
async fn stop_on_signal(mut signals: Signals, stop: CancellationToken) -> StopWatch {
    signals.next().await;
    stop.cancel();
    StopWatch::start()
}

/// What was done, all files together.
#[derive(Debug, Default)]
struct Totals {
    shipped: u64,
    already: u64,
    empty: u64,
    refused: u64,
    lines: LineCounts,
    bytes: u64,
}

/// Says what happens.
struct Console {
    dry_run: bool,
    is_terminal: bool,
    /// When progress was last shown, and when the reason for waiting.
    shown: Option<Instant>,
    waited: Option<Instant>,
    totals: Totals,
}

impl Console {
    fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            is_terminal: io::stderr().is_terminal(),
            // What is quickly done needs no line about its progress.
            shown: Some(Instant::now()),
            waited: None,
            totals: Totals::default(),
        }
    }

    fn tell(&mut self, news: BackfillEvent) -> io::Result<()> {
        let interval = if self.is_terminal {
            BAR_INTERVAL
        } else {
            LINE_INTERVAL
        };
        match news {
            BackfillEvent::Progress { path, done, size } if is_due(&mut self.shown, interval) => {
                self.show(&progress(&path, done, size));
            }
            BackfillEvent::Waiting(reason) if is_due(&mut self.waited, interval) => {
                self.show(&format!("waiting for the relay: {reason}"));
            }
            BackfillEvent::Progress { .. } | BackfillEvent::Waiting(_) => {}
            BackfillEvent::Done(report) => {
                self.clear();
                self.totals.add(&report);
                exit::print(&line(&report, self.dry_run))?;
            }
        }
        Ok(())
    }

    /// The sums, after the last file.
    fn end(&self) -> io::Result<()> {
        self.clear();
        exit::print(&self.totals.line(self.dry_run))
    }

    /// Shows progress: in place on a terminal, as a line elsewhere.
    fn show(&self, text: &str) {
        // Nobody is left to be told that stderr is closed.
        let _ = if self.is_terminal {
            // What wraps could not be overwritten.
            let text: String = text.chars().take(TERMINAL_WIDTH).collect();
            write!(io::stderr(), "\r{text}\x1b[K")
        } else {
            writeln!(io::stderr(), "{text}")
        };
    }

    fn clear(&self) {
        if self.is_terminal {
            self.show("");
        }
    }
}

/// Whether it is so long since `last`, which is then set anew.
fn is_due(last: &mut Option<Instant>, interval: Duration) -> bool {
    let now = Instant::now();
    let is_due = last.is_none_or(|last| now >= last + interval);
    if is_due {
        *last = Some(now);
    }
    is_due
}

/// `[######------------------]  25 %  1.0 MiB of 4.0 MiB  /log/access.log.1`
fn progress(path: &Path, done: u64, size: u64) -> String {
    let parts = |of: u64| u128::from(done.min(size)) * u128::from(of) / u128::from(size.max(1));
    let filled = parts(BAR_WIDTH);
    let bar: String = (0..BAR_WIDTH)
        .map(|at| if u128::from(at) < filled { '#' } else { '-' })
        .collect();
    format!(
        "[{bar}] {:>3} %  {} of {}  {}",
        parts(100),
        table::size(done),
        table::size(size),
        path.display()
    )
}

/// What became of one file, and what of it went to the relay now.
fn line(report: &FileReport, dry_run: bool) -> String {
    let mut line = format!("{}: ", report.path.display());
    match &report.result {
        Ok(FileOutcome::Shipped { from }) => {
            line += verb(dry_run);
            if from.get() > 0 {
                let _ = write!(line, " from byte {} on", table::count(from.get()));
            }
        }
        Ok(FileOutcome::AlreadyShipped) => line += "already shipped",
        Ok(FileOutcome::Empty) => line += "empty",
        Err(refusal) => {
            let _ = write!(line, "refused: it {}", causes(refusal));
        }
    }
    if report.bytes > 0 {
        let _ = write!(line, ": {}", amount(report.lines, report.bytes));
    }
    line + "\n"
}

impl Totals {
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
        format!(
            "total: {} {}, {} already shipped, {} empty, {} refused: {}\n",
            self.shipped,
            verb(dry_run),
            self.already,
            self.empty,
            self.refused,
            amount(self.lines, self.bytes)
        )
    }
}

fn verb(dry_run: bool) -> &'static str {
    if dry_run { "would be shipped" } else { "shipped" }
}

fn amount(lines: LineCounts, bytes: u64) -> String {
    let (sent, excluded) = (table::count(lines.sent), table::count(lines.excluded));
    format!("{sent} lines, {excluded} excluded, {}", table::size(bytes))
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
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
        let path = "/log/a.log.1".into();
        FileReport {
            path,
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
        .map(|report| line(&report, false));
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
    fn the_sums_tell_how_the_files_ended() {
        let mut totals = Totals::default();
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
    fn the_bar_is_as_long_as_what_is_done() {
        let path = Path::new("/log/a.log.1");
        assert_eq!(
            progress(path, 1 << 20, 4 << 20),
            "[######------------------]  25 %  1.0 MiB of 4.0 MiB  /log/a.log.1"
        );
        assert!(progress(path, 0, 0).starts_with("[------------------------]   0 %"));
        assert!(progress(path, u64::MAX, u64::MAX).starts_with("[########################] 100 %"));
    }
}
