//! A command on the server, over a channel of its own beside the SFTP channel, where the user has a shell there.
//!
//! libssh2 takes no other packet while one is half sent, so no write to the SFTP channel may be unfinished meanwhile.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use ssh2::{Channel, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::{Connection, STOP_CHECK, WOULD_BLOCK, wait_for};
use crate::error::DeliveryError;

/// How long a command may print nothing: hashing 60 GiB from a slow disk.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// So much of what a command prints is taken, in bytes: more than any command here prints.
const OUTPUT_MAX: usize = 1 << 20;

/// `LIBSSH2_ERROR_CHANNEL_FAILURE` and `LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED`: the server has no channel, or no shell.
const REFUSED: [ErrorCode; 2] = [ErrorCode::Session(-21), ErrorCode::Session(-22)];

impl Connection {
    /// Whether the server is OpenSSH, by its identification string (RFC 4253, section 4.2).
    pub(crate) fn is_openssh(&self) -> bool {
        let banner = self.session.banner();
        banner.is_some_and(|banner| banner.starts_with("SSH-2.0-OpenSSH"))
    }

    /// Runs a command without input, and gives what it prints; `None` if the server does not run commands for us.
    pub(crate) fn run(
        &mut self,
        command: &str,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<u8>>, DeliveryError> {
        let Some(mut channel) = self.complete(stop, || self.session.channel_session())? else {
            return Ok(None);
        };
        if self.complete(stop, || channel.exec(command))?.is_none() {
            return Ok(None);
        }
        // A server that runs something else instead is not to wait for input.
        self.complete(stop, || channel.send_eof())?;
        let printed = self.read_all(&mut channel, stop)?;
        self.complete(stop, || channel.close())?;
        self.complete(stop, || channel.wait_close())?;
        Ok(Some(printed))
    }

    fn read_all(&self, channel: &mut Channel, stop: &CancellationToken) -> Result<Vec<u8>, DeliveryError> {
        let mut printed = Vec::new();
        let mut block = [0; 4096];
        loop {
            let read = self.complete(stop, || match channel.read(&mut block) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    Err(ssh2::Error::new(WOULD_BLOCK, "would block"))
                }
                read => Ok(read),
            })?;
            let count = read.transpose().map_err(|error| self.lost(error))?.unwrap_or(0);
            printed.extend_from_slice(&block[..count]);
            if count == 0 || printed.len() > OUTPUT_MAX {
                return Ok(printed);
            }
        }
    }

    /// Repeats a call of libssh2 until it no longer has to wait; `None` if the server refused.
    fn complete<T>(
        &self,
        stop: &CancellationToken,
        mut attempt: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<Option<T>, DeliveryError> {
        let started = Instant::now();
        loop {
            match attempt() {
                Ok(done) => return Ok(Some(done)),
                Err(error) if error.code() == WOULD_BLOCK => {}
                Err(error) if REFUSED.contains(&error.code()) => return Ok(None),
                Err(error) => return Err(self.lost(error.into())),
            }
            if stop.is_cancelled() {
                return Err(DeliveryError::Stopped);
            }
            let silent = started.elapsed();
            if silent > SILENCE_MAX {
                return Err(DeliveryError::Stalled {
                    address: self.address.clone(),
                    silent,
                });
            }
            wait_for(&self.tcp, &self.session, STOP_CHECK).map_err(|error| self.lost(error))?;
        }
    }
}
