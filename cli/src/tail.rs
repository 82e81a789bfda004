//! `logferry tail`: lines as the relay makes them durable.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process;

use logferry_spool::follow::{FollowEvent, Follower, LineFilter};
use memchr::memmem::Finder;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::args::Tail;
use crate::configuration;
use crate::exit::{self, Outcome, Result};
use crate::signals::{Request, Signals};

/// How long it waits between two looks, in milliseconds.
const INTERVAL: u16 = 200;

/// Shows lines until Ctrl-C, or until nobody reads them any more.
pub(crate) fn run(file: &Path, options: &Tail) -> Result {
    let config = configuration::load(file)?;
    let filter = LineFilter {
        source: options.source.clone(),
        group: options.group.clone(),
    };
    end_with_a_signal()?;
    let mut follower = Follower::start(&configuration::data_dir(file, &config)?, filter)?;
    let finder = Finder::new(options.pattern.as_deref().unwrap_or_default());
    let is_terminal = io::stdout().is_terminal();
    let mut show = |event: FollowEvent<'_>| match event {
        FollowEvent::Lines(lines) => print(&chosen(lines, &finder, is_terminal)),
        FollowEvent::Skipped { batch, bytes } => {
            exit::complain(&format!(
                "{bytes} bytes of {batch} are left out: the file was compressed or deleted before they were read"
            ));
            Ok(true)
        }
    };
    while follower.poll(&mut show)? && wait_while_read()? {}
    Ok(Outcome::Fine)
}

/// Ctrl-C ends it at once, also while nobody takes its lines.
fn end_with_a_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = runtime.block_on(async { Signals::catch() })?;
    std::thread::spawn(move || {
        while runtime.block_on(signals.next()) == Request::Reload {}
        process::exit(0);
    });
    Ok(())
}

/// The lines with the text in them, as they are to be printed.
fn chosen(lines: &[u8], finder: &Finder<'_>, is_terminal: bool) -> Vec<u8> {
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

/// Shows what could command a terminal, and what is no text, as `\x1b`. Requests are written by anybody.
fn escape(line: &[u8], text: &mut Vec<u8>) {
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() && !matches!(character, '\n' | '\t') {
                text.extend(character.escape_default().to_string().bytes());
            } else {
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            text.extend(format!("\\x{byte:02x}").bytes());
        }
    }
}

/// False once nobody reads it any more.
fn print(text: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits a moment; false once nobody reads stdout any more (poll(2): a pipe's writer is told by `POLLERR`).
fn wait_while_read() -> io::Result<bool> {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    match poll(&mut watched, PollTimeout::from(INTERVAL)) {
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
    fn lines_are_unchanged_but_for_what_a_terminal_would_obey() {
        let lines = b"\x1b[2J\tone \xc3\xa9\r\ntwo \xff\xc2\x9b\nthree\n";
        let all = Finder::new("");
        assert_eq!(chosen(lines, &all, false), lines);
        assert_eq!(
            String::from_utf8(chosen(lines, &all, true)).unwrap(),
            "\\u{1b}[2J\tone \u{e9}\\r\ntwo \\xff\\u{9b}\nthree\n"
        );
        assert_eq!(
            chosen(lines, &Finder::new("t"), false),
            b"two \xff\xc2\x9b\nthree\n"
        );
        assert_eq!(chosen(lines, &Finder::new("four"), true), b"");
    }
}
