//! A command on the server, over a channel of its own beside the SFTP channel, where the user has a remote_command there.

use std::time::Duration;

use russh::{Channel, ChannelMsg, Error, client};
use tokio_util::sync::CancellationToken;

use super::{Connection, DISCONNECT_TIMEOUT};
use crate::error::DeliveryError;

/// How long a command may print nothing: hashing 60 GiB from a slow disk.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// So much of what a command prints is taken, in bytes: more than any command here prints.
const OUTPUT_MAX: usize = 1 << 20;

/// What the next message on either channel was.
enum Next {
    Shell(Option<ChannelMsg>),
    Sftp(Option<ChannelMsg>),
    Silence,
    Stop,
}

impl Connection {
    /// Runs a command without input, and gives what it prints; `None` if the server does not run commands for us.
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
            // What comes over the SFTP channel is taken too: left there, it would keep the session from going on.
            let next = runtime.block_on(async {
                tokio::select! {
                    message = channel.wait() => Next::Shell(message),
                    message = sftp.reader.wait() => Next::Sftp(message),
                    () = tokio::time::sleep(SILENCE_MAX) => Next::Silence,
                    () = stop.cancelled() => Next::Stop,
                }
            });
            match next {
                Next::Shell(Some(ChannelMsg::Data { data })) => printed.extend_from_slice(&data),
                Next::Shell(Some(ChannelMsg::Failure)) => return Ok(None),
                Next::Shell(Some(ChannelMsg::Eof | ChannelMsg::Close) | None) => break,
                Next::Shell(Some(_)) => {}
                Next::Sftp(message) => {
                    sftp.sort(message);
                    if sftp.has_ended {
                        return Err(self.lost());
                    }
                }
                Next::Silence | Next::Stop => return Err(self.silent(stop)),
            }
        }
        // The server closes it too, and nobody waits for that, nor for one that takes nothing any more.
        self.runtime.block_on_for(DISCONNECT_TIMEOUT, channel.close());
        Ok(Some(printed))
    }

    /// It has not answered for so long, or is not to be waited for any longer.
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

/// Has the command started. A server that runs something else instead is not to wait for input.
async fn start(
    handle: &client::Handle<super::PeerState>,
    command: &str,
) -> Result<Channel<client::Msg>, Error> {
    let channel = handle.channel_open_session().await?;
    channel.exec(true, command).await?;
    channel.eof().await?;
    Ok(channel)
}
