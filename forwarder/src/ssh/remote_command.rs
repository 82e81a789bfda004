//! Runs a command on the server over a channel beside the SFTP channel, if the server allows it.

use std::time::Duration;

use russh::{Channel, ChannelMsg, Error, client};
use tokio_util::sync::CancellationToken;

use super::{DISCONNECT_TIMEOUT, SshConnection};
use crate::error::DeliveryError;

/// The longest time without output of a command: enough to hash 60 GiB from a slow disk.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// The most bytes of output that are read: more than any command here prints.
const OUTPUT_MAX: usize = 1 << 20;

/// The next event on either channel.
enum ChannelEvent {
    Command(Option<ChannelMsg>),
    Sftp(Option<ChannelMsg>),
    Silence,
    Stop,
}

impl SshConnection {
    /// Runs a command without input and returns its output; `None` if the server does not run commands.
    pub(crate) fn run(
        &mut self,
        command: &str,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<u8>>, DeliveryError> {
        let opened = self.runtime.block_on(async {
            tokio::select! {
                opened = start(&self.handle, command) => Some(opened),
                () = tokio::time::sleep(SILENCE_MAX) => None,
                () = stop.cancelled() => None,
            }
        });
        match opened {
            Some(Ok(channel)) => self.output(channel, stop),
            Some(Err(Error::ChannelOpenFailure(_))) => Ok(None),
            Some(Err(_)) => Err(self.lost()),
            None => Err(self.silent(stop)),
        }
    }

    fn output(
        &mut self,
        mut channel: Channel<client::Msg>,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<u8>>, DeliveryError> {
        let mut printed = Vec::new();
        while printed.len() <= OUTPUT_MAX {
            let Self { runtime, sftp, .. } = self;
            // The SFTP channel is read too: unread messages on it would block the session.
            let next = runtime.block_on(async {
                tokio::select! {
                    message = channel.wait() => ChannelEvent::Command(message),
                    message = sftp.reader.wait() => ChannelEvent::Sftp(message),
                    () = tokio::time::sleep(SILENCE_MAX) => ChannelEvent::Silence,
                    () = stop.cancelled() => ChannelEvent::Stop,
                }
            });
            match next {
                ChannelEvent::Command(Some(ChannelMsg::Data { data })) => printed.extend_from_slice(&data),
                ChannelEvent::Command(Some(ChannelMsg::Failure)) => return Ok(None),
                ChannelEvent::Command(Some(ChannelMsg::Eof | ChannelMsg::Close) | None) => break,
                ChannelEvent::Command(Some(_)) => {}
                ChannelEvent::Sftp(message) => {
                    sftp.on_message(message);
                    if sftp.has_ended {
                        return Err(self.lost());
                    }
                }
                ChannelEvent::Silence | ChannelEvent::Stop => return Err(self.silent(stop)),
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
        DeliveryError::Stalled {
            address: self.address.clone(),
            silent: SILENCE_MAX,
        }
    }
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
