//! Runs a command on the server over a channel beside the SFTP channel, if the server allows it.

use std::time::Duration;

use russh::{Channel, ChannelMsg, Error, client};
use tokio::time::timeout;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::{DISCONNECT_TIMEOUT, SshConnection};
use crate::error::DeliveryError;

/// The longest time without output of a command: enough to hash 60 GiB from a slow disk.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// The most bytes of output that are read: more than any command here prints.
const OUTPUT_MAX: usize = 1 << 20;

impl SshConnection {
    /// Runs a command without input and returns its output; `None` if the server does not run commands.
    pub(crate) fn run(
        &mut self,
        command: &str,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<u8>>, DeliveryError> {
        let started = unless_silent(stop, start(&self.handle, command));
        let mut channel = match self.runtime.block_on(started) {
            Some(Ok(channel)) => channel,
            Some(Err(Error::ChannelOpenFailure(_))) => return Ok(None),
            Some(Err(_)) => return Err(self.lost()),
            None => return Err(self.silent(stop)),
        };
        let mut printed = Vec::new();
        while printed.len() <= OUTPUT_MAX {
            let sftp = &mut self.sftp;
            let message = async {
                // The SFTP channel is read too: unread messages on it would block the session.
                tokio::select! {
                    message = channel.wait() => Either::Left(message),
                    message = sftp.reader.wait() => Either::Right(message),
                }
            };
            match self.runtime.block_on(unless_silent(stop, message)) {
                Some(Either::Left(Some(ChannelMsg::Data { data }))) => printed.extend_from_slice(&data),
                Some(Either::Left(Some(ChannelMsg::Failure))) => return Ok(None),
                Some(Either::Left(Some(ChannelMsg::Eof | ChannelMsg::Close) | None)) => break,
                Some(Either::Left(Some(_))) => {}
                Some(Either::Right(message)) => {
                    sftp.on_message(message);
                    if sftp.has_ended {
                        return Err(self.lost());
                    }
                }
                None => return Err(self.silent(stop)),
            }
        }
        // No answer to the close is awaited, because the server may have stopped reading.
        self.runtime.block_on_for(DISCONNECT_TIMEOUT, channel.close());
        Ok(Some(printed))
    }

    /// The error when the server was silent too long, or the forwarder was told to stop.
    fn silent(&self, stop: &CancellationToken) -> DeliveryError {
        if stop.is_cancelled() {
            return DeliveryError::Stopped;
        }
        DeliveryError::Stalled(self.address.clone(), SILENCE_MAX)
    }
}

/// Waits for an event; `None` if the server was silent too long, or the forwarder was told to stop.
async fn unless_silent<T>(stop: &CancellationToken, event: impl Future<Output = T>) -> Option<T> {
    let in_time = stop.run_until_cancelled(timeout(SILENCE_MAX, event)).await;
    in_time?.ok()
}

/// Starts the command. The end of input is sent in case the server runs a different command that reads it.
async fn start(
    handle: &client::Handle<super::PeerState>,
    command: &str,
) -> Result<Channel<client::Msg>, Error> {
    let channel = handle.channel_open_session().await?;
    channel.exec(true, command).await?;
    channel.eof().await?;
    Ok(channel)
}
