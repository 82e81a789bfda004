//! `logferry tail`: shows lines as the relay stores them.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;
use std::process;

use logferry_ledger::{Ledger, SourceLogs};
use logferry_protocol::names::SourceId;
use logferry_search::notes_of_logs;
use logferry_spool::follow::{FollowEvent, Follower, LineFilter};
use memchr::memmem::Finder;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::args::TailArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::output::terminal::escape;
use crate::roles::signals::{SignalRequest, Signals};

/// Time between two checks for new lines, in milliseconds.
const INTERVAL_MS: u16 = 200;

/// Shows lines until Ctrl-C, or until the reader of stdout goes away.
pub(crate) fn run(file: &Path, options: &TailArgs) -> Result {
    let config = configuration::load(file)?;
    let filter = LineFilter {
        source: options.source.clone(),
        group: options.group.clone(),
        log: options.log.clone(),
    };
    let data_dir = configuration::data_dir(file, &config)?;
    let ledger = Ledger::open(&data_dir)?;
    configuration::require_source(&config, &ledger, options.source.as_ref())?;
    configuration::require_group(&config, &ledger, options.group.as_ref())?;
    configuration::require_log(&config, &ledger, Vec::new(), options.log.as_ref())?;
    note_unnamed_logs(&ledger, options)?;
    exit_on_signal()?;
    let mut follower = Follower::start(ledger, &data_dir, filter)?;
    let finder = Finder::new(options.pattern.as_deref().unwrap_or_default());
    let is_terminal = io::stdout().is_terminal();
    let mut show = |event: FollowEvent<'_>| match event {
        FollowEvent::Lines { lines, .. } => console::print_while_read(&matching(lines, &finder, is_terminal)),
        FollowEvent::Skipped { batch, bytes } => {
            console::print_error(&format!(
                "{bytes} bytes of {batch} are not shown: the file was compressed or deleted before they were read"
            ));
            Ok(true)
        }
    };
    while follower.poll(&mut show)? && wait_while_read()? {}
    Ok(CommandOutcome::Fine)
}

/// Says which sources have lines of the log that cannot be told from those of their other logs.
fn note_unnamed_logs(ledger: &Ledger, options: &TailArgs) -> Result<()> {
    if options.log.is_none() {
        return Ok(());
    }
    let live = ledger.live_batches(ledger.newest_batch()?)?;
    let is_wanted = |source: &SourceId| options.source.as_ref().is_none_or(|wanted| wanted == source);
    let unnamed = live.into_iter().filter(|batch| batch.log.is_none());
    let sources = unnamed.map(|batch| batch.source).filter(is_wanted).collect();
    for note in notes_of_logs(ledger, &mut SourceLogs::default(), &sources, options.log.as_ref())? {
        console::print_error(&note);
    }
    Ok(())
}

/// Makes Ctrl-C end the process at once, even while stdout blocks.
fn exit_on_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = runtime.block_on(async { Signals::catch() })?;
    std::thread::spawn(move || {
        while runtime.block_on(signals.next()) == SignalRequest::Reload {}
        process::exit(0);
    });
    Ok(())
}

/// The lines that contain the text, escaped for a terminal.
fn matching(lines: &[u8], finder: &Finder<'_>, is_terminal: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        if finder.find(line).is_some() {
            if is_terminal {
                escape(line, &mut text);
            } else {
                text.extend_from_slice(line);
            }
        }
    }
    text
}

/// Waits; false if the reader of stdout went away (poll(2): the pipe then reports `POLLERR`).
fn wait_while_read() -> io::Result<bool> {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    match poll(&mut watched, PollTimeout::from(INTERVAL_MS)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let is_gone = watched[0]
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLERR));
    Ok(!is_gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminal_commands_in_lines_are_changed() {
        let lines = b"\x1b[2J\tone \xc3\xa9\r\ntwo \xff\xc2\x9b\nthree\n";
        let all = Finder::new("");
        assert_eq!(matching(lines, &all, false), lines);
        assert_eq!(
            String::from_utf8(matching(lines, &all, true)).unwrap(),
            "\\u{1b}[2J\tone \u{e9}\\r\ntwo \\xff\\u{9b}\nthree\n"
        );
        assert_eq!(
            matching(lines, &Finder::new("t"), false),
            b"two \xff\xc2\x9b\nthree\n"
        );
        assert_eq!(matching(lines, &Finder::new("four"), true), b"");
    }
}
