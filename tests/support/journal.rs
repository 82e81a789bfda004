//! A journal in place of systemd's: programs that are started with it log to its socket, as in a unit.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::logferry;

/// The largest event: the rest of a longer one is cut off.
const EVENT_MAX: usize = 64 << 10;

/// Gives a program a `/run` of its own with this journal's socket in it. `$0` is the folder of the socket.
const WITH_JOURNAL: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                            mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";

/// The journal.
pub(crate) struct Journal {
    socket: UnixDatagram,
    folder: PathBuf,
    messages: Vec<String>,
}

impl Journal {
    /// Listens in a new folder.
    pub(crate) fn listen(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let socket = UnixDatagram::bind(folder.join("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            folder: folder.to_owned(),
            messages: Vec::new(),
        }
    }

    /// The program, whose stderr must become `stderr`, with this journal. It needs root or a user namespace.
    pub(crate) fn logferry(&self, stderr: &Path) -> Command {
        let facts = File::create(stderr).unwrap().metadata().unwrap();
        let program = logferry();
        let mut command = Command::new("unshare");
        if !nix::unistd::Uid::effective().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--mount", "sh", "-c", WITH_JOURNAL])
            .arg(&self.folder)
            .arg(program.get_program())
            .env("JOURNAL_STREAM", format!("{}:{}", facts.dev(), facts.ino()))
            .env_remove("LOGFERRY_LOG")
            .env_remove("LOGFERRY_CONFIG");
        command
    }

    /// The texts (`MESSAGE`) that have arrived so far.
    pub(crate) fn messages(&mut self) -> &[String] {
        let mut event = vec![0; EVENT_MAX];
        while let Ok(length) = self.socket.recv(&mut event) {
            self.messages.extend(message(&event[..length]));
        }
        &self.messages
    }
}

/// The text of an event in the journal's native protocol: a field is `NAME=VALUE\n`, or `NAME\n`, the length as eight bytes,
/// the value, `\n`.
fn message(mut event: &[u8]) -> Option<String> {
    while !event.is_empty() {
        let end = event.iter().position(|&byte| byte == b'\n')?;
        let (line, rest) = (&event[..end], &event[end + 1..]);
        if let Some(equals) = line.iter().position(|&byte| byte == b'=') {
            if &line[..equals] == b"MESSAGE" {
                return Some(String::from_utf8_lossy(&line[equals + 1..]).into_owned());
            }
            event = rest;
            continue;
        }
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        if line == b"MESSAGE" {
            return Some(String::from_utf8_lossy(rest.get(..length)?).into_owned());
        }
        event = rest.get(length + 1..)?;
    }
    None
}
