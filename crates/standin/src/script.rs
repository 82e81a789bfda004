//! How the SFTP server misbehaves, for tests: a script says at which requests, and what goes wrong there.
//!
//! Nothing but [`SftpServer::misbehave`](crate::SftpServer::misbehave) gives a server a script; without one it is
//! well-behaved.

use std::sync::{Mutex, MutexGuard, PoisonError};

use russh_sftp::protocol::StatusCode;
use russh_sftp::server::StatusReply;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What a server does otherwise than OpenSSH's.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What it offers beside the protocol's third version.
    pub extensions: Extensions,
    /// A rename replaces what has the new name.
    pub rename_replaces: bool,
    /// What goes wrong. Of several that fit a request, the first happens.
    pub mishaps: Vec<Mishap>,
}

/// Extensions that a server offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extensions {
    /// Those that the demo's server has.
    #[default]
    Usual,
    /// The same, and `hardlink@openssh.com`.
    Links,
    /// None.
    None,
}

/// One thing that goes wrong.
#[derive(Debug, Clone)]
pub struct Mishap {
    /// At this kind of request,
    pub request: Request,
    /// for files (of a rename, the one that gets another name) whose paths end so, a number before the last ending left
    /// aside: `a.log.2.part` ends in `.log.part`,
    pub file: String,
    /// after so many such requests went well,
    pub skip: usize,
    /// so many times,
    pub times: usize,
    /// this happens.
    pub deed: Deed,
}

/// A kind of request, as the server takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Open a file.
    Open,
    /// Write a piece of a file.
    Write,
    /// Read a piece of a file.
    Read,
    /// Sync a file, by extension.
    Sync,
    /// Tell the attributes of an open file.
    Fstat,
    /// Close a file.
    Close,
    /// Tell the attributes of what has a name.
    Stat,
    /// Give a file another name, by a rename, or beside the one it has by a link.
    Rename,
    /// Remove a name.
    Remove,
}

/// What a server does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nothing, and it says so.
    Refuse,
    /// What was asked for, and it says that it did not.
    DoAndDeny,
    /// It closes the connection instead.
    HangUp,
    /// What was asked for, but the connection is closed before the answer.
    DoAndHangUp,
    /// It does not come back to this connection.
    Stall,
    /// What was asked for, but it does not come back to answer.
    DoAndStall,
    /// What was asked for, but only when the connection has gone and another request is carried out [`Self::AfterLate`].
    DoLate,
    /// What was asked for, after one request that was to be done late.
    AfterLate,
    /// Of a write: half of it, and it says that it failed.
    WriteHalf,
    /// Of a write: half of it, and it says that all is well.
    LoseHalf,
    /// Of a write: its first byte becomes another one, and it says that all is well.
    Spoil,
}

/// The script in force, and how far it is.
#[derive(Debug)]
pub(crate) struct Play {
    state: Mutex<State>,
    /// What is done late may be done so many times,
    may_be_late: Semaphore,
    /// and was so many times.
    was_late: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    /// For each mishap: requests that fitted, and how often it happened.
    counts: Vec<(usize, usize)>,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            may_be_late: Semaphore::new(0),
            was_late: Semaphore::new(0),
        }
    }
}

impl Play {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, script: Script) {
        let counts = vec![(0, 0); script.mishaps.len()];
        *self.state() = State { script, counts };
    }

    pub(crate) fn happened(&self, mishap: usize) -> usize {
        self.state().counts.get(mishap).map_or(0, |(_, times)| *times)
    }

    /// Nothing more is done late.
    pub(crate) fn end(&self) {
        self.may_be_late.close();
        self.was_late.close();
    }

    pub(crate) fn extensions(&self) -> Extensions {
        self.state().script.extensions
    }

    pub(crate) fn rename_replaces(&self) -> bool {
        self.state().script.rename_replaces
    }

    /// What goes wrong at this request, if anything does.
    fn next(&self, request: Request, path: &str) -> Option<Deed> {
        let State { script, counts } = &mut *self.state();
        let path = without_number(path);
        for (mishap, (fitted, times)) in script.mishaps.iter().zip(counts) {
            if mishap.request != request || !path.ends_with(&mishap.file) {
                continue;
            }
            *fitted += 1;
            if *fitted > mishap.skip && *times < mishap.times {
                *times += 1;
                return Some(mishap.deed);
            }
        }
        None
    }
}

fn without_number(path: &str) -> String {
    let numbered = path.rsplit_once('.').and_then(|(stem, ending)| {
        let (stem, number) = stem.rsplit_once('.')?;
        number.parse::<u8>().ok()?;
        Some(format!("{stem}.{ending}"))
    });
    numbered.unwrap_or_else(|| path.to_owned())
}

/// One connection, as its end concerns the requests on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    /// It is to be closed.
    pub(crate) cut: CancellationToken,
    /// It is closed: nothing that is answered now reaches the client.
    pub(crate) gone: CancellationToken,
}

/// One request being carried out.
#[derive(Debug)]
#[must_use = "what it is to be answered depends on it"]
pub(crate) struct Turn<'a> {
    deed: Option<Deed>,
    line: &'a Line,
    /// When it was carried out, so was what was to be done late.
    _late: Option<Late<'a>>,
}

#[derive(Debug)]
struct Late<'a>(&'a Semaphore);

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// Waits for a permit; it is closed when the server stops.
async fn take(permits: &Semaphore) -> Result<(), StatusReply> {
    permits.acquire().await.map_err(|_| failure())?.forget();
    Ok(())
}

impl<'a> Turn<'a> {
    /// Before the request is carried out. An error: it is not to be.
    pub(crate) async fn begin(
        play: &'a Play,
        line: &'a Line,
        request: Request,
        path: &str,
    ) -> Result<Self, StatusReply> {
        let deed = play.next(request, path);
        match deed {
            Some(Deed::Refuse) => return Err(failure()),
            Some(Deed::HangUp) => line.cut.cancel(),
            _ => {}
        }
        match deed {
            Some(Deed::HangUp | Deed::Stall) => {
                line.gone.cancelled().await;
            }
            Some(Deed::DoLate) => {
                line.gone.cancelled().await;
                take(&play.may_be_late).await?;
                let late = Some(Late(&play.was_late));
                return Ok(Self {
                    deed,
                    line,
                    _late: late,
                });
            }
            Some(Deed::AfterLate) => {
                play.may_be_late.add_permits(1);
                take(&play.was_late).await?;
            }
            _ => {}
        }
        // Of a connection that has gone, nothing more is done, so that tests know what was.
        if line.gone.is_cancelled() {
            return Err(failure());
        }
        Ok(Self {
            deed,
            line,
            _late: None,
        })
    }

    /// What is written of `data`.
    pub(crate) fn altered(&self, mut data: Vec<u8>) -> Vec<u8> {
        match self.deed {
            Some(Deed::WriteHalf | Deed::LoseHalf) => data.truncate(data.len() / 2),
            Some(Deed::Spoil) => {
                if let Some(first) = data.first_mut() {
                    *first ^= 1;
                }
            }
            _ => {}
        }
        data
    }

    /// After it was carried out: gives the answer, or another one, or none that gets through.
    pub(crate) async fn end<T>(self, answer: T) -> Result<T, StatusReply> {
        match self.deed {
            Some(Deed::DoAndDeny | Deed::WriteHalf) => return Err(failure()),
            Some(Deed::DoAndHangUp) => self.line.cut.cancel(),
            _ => {}
        }
        if let Some(Deed::DoAndHangUp | Deed::DoAndStall) = self.deed {
            self.line.gone.cancelled().await;
        }
        Ok(answer)
    }
}

fn failure() -> StatusReply {
    StatusCode::Failure.with_message("as the script says")
}
