//! One SSH connection with one SFTP channel, driven by whoever uses it: nothing moves while nobody calls.
//!
//! Invariants: no credential is sent before the host key was judged; every wait ends when the forwarder is to stop;
//! dropping a connection never waits long for a server that has gone silent.

mod handshake;
mod host_key;
mod host_key_scan;
mod known_hosts;
mod login;
mod remote_command;
mod runtime;

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

use crate::error::{DeliveryError, HostKeyError};

use handshake::{Handshake, PeerState, has_no_such_key};
use host_key::TrustedKeys;
pub use host_key_scan::{HostKeyScan, HostKeyStatus, StoreHostKeyError};
use runtime::SshRuntime;

/// How long a wait goes on without a look whether to stop.
pub(crate) const STOP_CHECK: Duration = Duration::from_millis(200);

/// How long the server is given to hear that we leave.
const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(100);

/// A connected, authenticated session with an SFTP channel.
pub(crate) struct Connection {
    handle: Handle<PeerState>,
    sftp: SftpChannel,
    peer: PeerState,
    address: String,
    /// The last to be dropped: it carries the others.
    runtime: SshRuntime,
}

impl Connection {
    /// Connects, judges the host key, logs in and starts SFTP.
    pub(crate) fn open(destination: &Destination, stop: &CancellationToken) -> Result<Self, DeliveryError> {
        let trust = TrustedKeys::load(destination)?;
        let mut refused = None;
        for key_types in trust.key_type_offers(destination) {
            let opened = Handshake::start(destination, key_types, stop).and_then(|handshake| {
                trust.check(destination, &handshake.host_key)?;
                handshake.finish(destination)
            });
            match opened {
                // It has no key of these types, but may have another. What it showed first tells more.
                Err(DeliveryError::Handshake { ref source, .. }) if has_no_such_key(source) => {
                    refused = refused.or(opened.err());
                }
                Err(DeliveryError::HostKey(ref why))
                    if matches!(**why, HostKeyError::NotConfigured { .. }) =>
                {
                    refused = refused.or(opened.err());
                }
                decided => return decided,
            }
        }
        Err(refused.expect("something was offered"))
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether the server is OpenSSH, by its identification string (RFC 4253, section 4.2).
    pub(crate) fn is_openssh(&self) -> bool {
        self.peer.identification().starts_with("SSH-2.0-OpenSSH")
    }

    /// Sends some of `bytes` and receives what has come; waits at most `limit` until one of both gets on. Returns how
    /// much was sent; the next call must start with what was not.
    pub(crate) fn transfer(&mut self, bytes: &[u8], limit: Duration) -> Result<usize, DeliveryError> {
        let moved = poll_fn(|cx| self.sftp.poll(cx, bytes));
        match self.runtime.block_on_for(limit, moved) {
            Some(Some(sent)) => Ok(sent),
            Some(None) => Err(self.lost()),
            // Nothing did in that time.
            None => Ok(0),
        }
    }

    /// The next of what was received.
    pub(crate) fn take_received(&mut self) -> Option<Bytes> {
        self.sftp.received.pop_front()
    }

    /// The session is no more.
    fn lost(&self) -> DeliveryError {
        DeliveryError::Lost {
            address: self.address.clone(),
            source: self.peer.disconnect_reason(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Courtesy: the server may be gone, and learns it from the socket in any case.
        let handle = &mut self.handle;
        self.runtime.block_on_for(DISCONNECT_TIMEOUT, async move {
            let reason = Disconnect::ByApplication;
            if handle.disconnect(reason, "done", "").await.is_ok() {
                let _ = handle.await;
            }
        });
    }
}

/// The two ends of a channel, moved together.
struct SftpChannel {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    reader: ChannelReadHalf,
    /// What came over the channel and was not taken yet.
    received: VecDeque<Bytes>,
    /// Whether nothing can come any more.
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

    /// Ready once a byte has moved, with how many of `bytes` went out; or with `None` once none will any more.
    fn poll(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Option<usize>> {
        let had = self.received.len();
        while !self.has_ended {
            let Poll::Ready(message) = pin!(self.reader.wait()).poll(cx) else {
                break;
            };
            self.sort(message);
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

    /// Keeps a message's data, and that the channel has ended with it.
    fn sort(&mut self, message: Option<ChannelMsg>) {
        match message {
            Some(ChannelMsg::Data { data }) => self.received.push_back(data),
            None | Some(ChannelMsg::Eof | ChannelMsg::Close) => self.has_ended = true,
            // Of windows, exit codes, and what a server says on stderr.
            Some(_) => {}
        }
    }
}
