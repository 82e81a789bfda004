//! The program `journalctl`, run as a child.
//!
//! It is followed with `--follow --merge --no-tail` and with no filter. Facts about systemd 252, tried with journals
//! made for it: `--follow` alone shows the present boot only, so what was written before a restart of the host would be
//! missing; `--merge` shows every boot. It shows the journals of other hosts, too: `_MACHINE_ID` tells them apart.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::cursor::JournalCursor;
use super::export::ExportDecoder;

/// Lines of its messages that are kept for an error.
const MESSAGES_KEPT: usize = 5;
/// How long its last messages may take after its end.
const MESSAGES_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a look at the newest entry, or at the oldest one of a boot, may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// Of such an entry only the cursor counts.
const LOOK_ENTRY_MAX: usize = 4 << 10;
/// Bytes that are read of it at one time.
const LOOK_READ: usize = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub(super) enum JournalctlError {
    #[error("cannot run {}: is systemd installed, and is it in the PATH?", .program.display())]
    Start {
        program: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("cannot read from journalctl")]
    Read(#[source] io::Error),
    #[error("journalctl has ended ({status}): {messages}; it is started again")]
    Ended { status: ExitStatus, messages: String },
}

/// How journalctl is run.
#[derive(Debug, Clone)]
pub(crate) struct Journalctl {
    pub(crate) program: PathBuf,
    /// Arguments before ours: `-D DIR` in tests.
    pub(crate) args: Vec<OsString>,
}

/// The system's own.
impl Default for Journalctl {
    fn default() -> Self {
        Self {
            program: PathBuf::from("journalctl"),
            args: Vec::new(),
        }
    }
}

/// A running journalctl; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Following {
    child: Child,
    stdout: ChildStdout,
    messages: Messages,
    /// Reads the messages, until the child has ended.
    reading: Option<JoinHandle<()>>,
}

impl Journalctl {
    /// Starts it: at the entry of `cursor`, or at the oldest one.
    pub(super) fn follow(&self, cursor: Option<&JournalCursor>) -> Result<Following, JournalctlError> {
        let mut command = self.command();
        command.args(["--follow", "--merge", "--no-tail"]);
        if let Some(cursor) = cursor {
            command.arg(format!("--cursor={}", cursor.as_str()));
        }
        let start_error = |error| JournalctlError::Start {
            program: self.program.clone(),
            error,
        };
        let mut child = command.spawn().map_err(start_error)?;
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| start_error(io::ErrorKind::BrokenPipe.into()))?;
        let messages = Messages::default();
        let reading = child.stderr.take().map(|stderr| {
            let messages = messages.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    messages.add(line);
                }
            })
        });
        Ok(Following {
            child,
            stdout,
            messages,
            reading,
        })
    }

    /// The cursor of the newest entry, if there is one.
    pub(super) async fn newest(&self) -> Result<Option<JournalCursor>, JournalctlError> {
        let mut command = self.command();
        command.args(["--merge", "--quiet", "--lines=1"]);
        let output = tokio::time::timeout(LOOK_TIMEOUT, command.output());
        let output = output
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let output = output.map_err(JournalctlError::Read)?;
        let mut newest = None;
        let mut decoder = ExportDecoder::new(LOOK_ENTRY_MAX);
        let read = decoder.push(&output.stdout, |entry| {
            newest = entry.text("__CURSOR").map(JournalCursor::parse);
        });
        // What cannot be read is shown when it is followed.
        Ok(newest.filter(|_| read.is_ok()))
    }

    /// The cursor of the oldest entry of a boot, if there is one.
    pub(super) async fn oldest_of(&self, boot: &str) -> Result<Option<JournalCursor>, JournalctlError> {
        let mut command = self.command();
        command.args(["--merge", "--quiet", &format!("_BOOT_ID={boot}")]);
        // It is ended when its first entry was read.
        let mut child = command
            .stderr(Stdio::null())
            .spawn()
            .map_err(JournalctlError::Read)?;
        let Some(mut stdout) = child.stdout.take() else {
            return Ok(None);
        };
        let mut oldest = None;
        let read = async {
            let mut decoder = ExportDecoder::new(LOOK_ENTRY_MAX);
            let mut buffer = vec![0; LOOK_READ];
            while oldest.is_none() {
                let len = stdout.read(&mut buffer).await?;
                let read = decoder.push(buffer.get(..len).unwrap_or_default(), |entry| {
                    oldest = oldest
                        .take()
                        .or_else(|| entry.text("__CURSOR").map(JournalCursor::parse));
                });
                if len == 0 || read.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let read = tokio::time::timeout(LOOK_TIMEOUT, read).await;
        read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(JournalctlError::Read)?;
        Ok(oldest)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .args(["--output=export", "--all", "--no-pager"])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Following {
    /// Reads what it has written. Cancel safe.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, JournalctlError> {
        self.stdout.read(buffer).await.map_err(JournalctlError::Read)
    }

    /// What it has told of itself so far, such as that not every journal may be read.
    pub(super) fn messages(&self) -> Option<String> {
        self.messages.text()
    }

    /// Why it has ended, after its output has.
    pub(super) async fn ended(mut self) -> JournalctlError {
        let ended = self.child.wait().await;
        if let Some(reading) = self.reading {
            // A child of the child may hold its messages open.
            let _ = tokio::time::timeout(MESSAGES_TIMEOUT, reading).await;
        }
        match ended {
            Ok(status) => JournalctlError::Ended {
                status,
                messages: self
                    .messages
                    .text()
                    .unwrap_or_else(|| "it said nothing".to_owned()),
            },
            Err(error) => JournalctlError::Read(error),
        }
    }

    /// Ends it. Its output is dropped: what was not made durable is read again.
    pub(super) async fn stop(mut self) {
        // If it is gone already, there is nothing to end.
        let _ = self.child.kill().await;
    }
}

/// The last lines of the child's messages.
#[derive(Debug, Clone, Default)]
struct Messages(Arc<Mutex<VecDeque<String>>>);

impl Messages {
    fn add(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= MESSAGES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words: Vec<&str> = lines
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty())
            .collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}
