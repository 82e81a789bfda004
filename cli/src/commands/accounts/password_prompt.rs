//! Asks for a password at the terminal, twice and unseen; without a terminal it is the first line of stdin.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use anyhow::{Context, anyhow};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::output::exit::{Failure, Result};

/// Bytes of a line that are read.
const LINE_MAX: u64 = 4096;

/// The password for a user.
pub(super) fn ask(user: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        return Ok(line()?);
    }
    let first = unseen(&format!("password for {user}: "))?;
    let second = unseen("the same once more: ")?;
    if first == second {
        return Ok(first);
    }
    Err(Failure::Configuration(anyhow!(
        "the two passwords differ; nothing was changed"
    )))
}

fn line() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = io::stdin().lock().take(LINE_MAX).read_line(&mut text);
    read.context("cannot read the password from stdin")?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn unseen(question: &str) -> anyhow::Result<String> {
    let _hidden = HiddenInput::start()?;
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let text = line();
    let _ = writeln!(stderr);
    text
}

/// While it lives, the terminal does not show what is typed (termios(3), `ECHO`).
struct HiddenInput(Termios);

impl HiddenInput {
    fn start() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(io::stdin()).context("cannot ask at this terminal")?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)
            .context("cannot ask at this terminal")?;
        Ok(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
