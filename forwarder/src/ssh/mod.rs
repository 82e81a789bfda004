//! One SSH connection with one SFTP channel. Its caller drives it: no byte moves outside a call.
//! Algorithms, logins, timeouts and the form of `known_hosts` may be changed here without looking elsewhere.
//!
//! Invariants: no credential is sent before the host key was checked; every wait ends when the forwarder is told to stop;
//! dropping a connection never waits long for a silent server.

mod handshake;
mod host_key;
mod host_key_scan;
mod key_cipher;
mod known_hosts;
mod login;
mod remote_command;
mod runtime;
mod unauthenticated;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use logferry_config::Destination;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, Disconnect};
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

use crate::error::{DeliveryError, ServerAddress};

use handshake::{Handshake, has_no_such_key};
use host_key::TrustedKeys;
pub use host_key_scan::{HostKeyScan, StoreHostKeyError};
use runtime::SshRuntime;
use unauthenticated::PeerState;

pub(crate) use host_key::known_hosts_finding;
pub(crate) use login::{credential_files, key_finding};

/// How often a wait checks whether to stop.
pub(crate) const STOP_CHECK: Duration = Duration::from_millis(200);

/// How long to wait until the server has received our disconnect message.
const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(100);

/// A connected, authenticated session with an SFTP channel.
pub(crate) struct SshConnection {
    handle: Handle<PeerState>,
    sftp: SftpChannel,
    peer: PeerState,
    pub(crate) address: ServerAddress,
    /// Dropped last: the other fields run on it.
    runtime: SshRuntime,
}

impl SshConnection {
    /// Connects, checks the host key, logs in and starts SFTP.
    pub(crate) fn open(destination: &Destination, stop: &CancellationToken) -> Result<Self, DeliveryError> {
        let trusted = TrustedKeys::load(destination)?;
        let knows_key_type = trusted.knows_key_type();
        let mut refused = None;
        for key_types in trusted.key_type_offers(destination) {
            let opened = Handshake::start(destination, key_types, stop).and_then(|handshake| {
                trusted.check(destination, &handshake.host_key)?;
                handshake.finish(destination)
            });
            match opened {
                // The server may have another key, of these or other types. The first key that it showed says most.
                Err(DeliveryError::Handshake(_, ref source)) if has_no_such_key(source) => {
                    refused = refused.or(opened.err());
                }
                Err(DeliveryError::HostKey(_)) if !knows_key_type => {
                    refused = refused
                        .filter(|before| matches!(before, DeliveryError::HostKey(_)))
                        .or(opened.err());
                }
                decided => return decided,
            }
        }
        Err(refused.expect("there is at least one offer"))
    }

    /// Whether the server is OpenSSH, by its identification string (RFC 4253, section 4.2).
    pub(crate) fn is_openssh(&self) -> bool {
        self.peer.identification().starts_with("SSH-2.0-OpenSSH")
    }

    /// Sends some of `bytes` and receives; waits at most `limit` until either is possible. Returns how many bytes were sent;
    /// the next call must start with the others.
    pub(crate) fn transfer(&mut self, bytes: &[u8], limit: Duration) -> Result<usize, DeliveryError> {
        let moved = poll_fn(|cx| self.sftp.poll(cx, bytes));
        match self.runtime.block_on_for(limit, moved) {
            Some(Some(sent)) => Ok(sent),
            Some(None) => Err(self.lost()),
            // Neither was possible in that time.
            None => Ok(0),
        }
    }

    /// The next received bytes.
    pub(crate) fn take_received(&mut self) -> Option<Bytes> {
        self.sftp.received.pop_front()
    }

    /// The error for a closed session.
    fn lost(&self) -> DeliveryError {
        DeliveryError::Lost(self.address.clone(), self.peer.disconnect_reason())
    }
}

impl Drop for SshConnection {
    fn drop(&mut self) {
        // Optional: a server that does not get the message detects the closed socket.
        let handle = &mut self.handle;
        self.runtime.block_on_for(DISCONNECT_TIMEOUT, async move {
            let reason = Disconnect::ByApplication;
            if handle.disconnect(reason, "done", "").await.is_ok() {
                let _ = handle.await;
            }
        });
    }
}

/// Both directions of the SFTP channel.
struct SftpChannel {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    reader: ChannelReadHalf,
    /// Received and not taken yet.
    received: VecDeque<Bytes>,
    /// Whether the channel is closed.
    has_ended: bool,
}

impl SftpChannel {
    fn new(channel: Channel<Msg>) -> Self {
        let (reader, writer) = channel.split();
        Self {
            writer: Box::pin(writer.make_writer()),
            reader,
            received: VecDeque::new(),
            has_ended: false,
        }
    }

    /// Ready once a byte has moved, with the number of `bytes` that were sent; `None` once the channel is closed.
    fn poll(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Option<usize>> {
        let had = self.received.len();
        while !self.has_ended {
            let Poll::Ready(message) = pin!(self.reader.wait()).poll(cx) else {
                break;
            };
            self.on_message(message);
        }
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty())
            && let Poll::Ready(written) = self.writer.as_mut().poll_write(cx, rest)
        {
            let Ok(count) = written else {
                self.has_ended = true;
                break;
            };
            sent += count;
        }
        if sent > 0 || self.received.len() > had {
            Poll::Ready(Some(sent))
        } else if self.has_ended {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Keeps the data of a message, or notes that the channel is closed.
    fn on_message(&mut self, message: Option<ChannelMsg>) {
        match message {
            Some(ChannelMsg::Data { data }) => self.received.push_back(data),
            None | Some(ChannelMsg::Eof | ChannelMsg::Close) => self.has_ended = true,
            // Window sizes, exit codes and stderr.
            Some(_) => {}
        }
    }
}
