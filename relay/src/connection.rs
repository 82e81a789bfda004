//! A client's connection, and how it ends.
//!
//! Where the relay hangs up first, it lets the client finish: it sends its end, and reads until the client's. A socket
//! that is closed with bytes unread is reset, and a reset can overtake the answer (RFC 9112, section 9.6): a client that
//! is still sending a body which is too large would never read why it was refused.
//!
//! How it ends says whether the last answer got through ([`LastAnswer`]): the client closes after reading it. A client
//! that had gone before resets the connection as soon as the answer reaches its host.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::answered::LastAnswer;

/// How long the client's end is waited for.
const LINGER: Duration = Duration::from_secs(2);

/// How long after the client's end a reset can come: the way to its host and back.
const SETTLE: Duration = Duration::from_millis(200);

/// A connection that closes so that its last answer can be read.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    last_answer: Arc<LastAnswer>,
    closing: Closing,
}

/// How far it is closed.
#[derive(Debug)]
enum Closing {
    /// Not at all.
    Open,
    /// Our end is sent; the client's is waited for until then.
    Lingering(Pin<Box<Sleep>>),
    /// Both ends are sent; a reset can still come until then.
    Settling(Pin<Box<Sleep>>),
    /// Done.
    Closed,
}

impl Connection {
    /// Wraps a connection; `last_answer` hears whether the client got its answer.
    pub(crate) fn new(stream: TcpStream, last_answer: Arc<LastAnswer>) -> Self {
        Self {
            stream,
            last_answer,
            closing: Closing::Open,
        }
    }

    /// Reads what the client still sends, to its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 << 10];
        loop {
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let next = match &mut self.closing {
                Closing::Open => {
                    ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                    Closing::Lingering(Box::pin(sleep(LINGER)))
                }
                Closing::Lingering(until) => {
                    let is_late = until.as_mut().poll(cx).is_ready();
                    match self.poll_end(cx)? {
                        Poll::Ready(()) if self.last_answer.is_pending() => {
                            Closing::Settling(Box::pin(sleep(SETTLE)))
                        }
                        Poll::Pending if !is_late => return Poll::Pending,
                        Poll::Ready(()) | Poll::Pending => Closing::Closed,
                    }
                }
                Closing::Settling(until) => {
                    ready!(until.as_mut().poll(cx));
                    if self.stream.take_error()?.is_none() {
                        self.last_answer.got_through();
                    }
                    Closing::Closed
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            };
            self.closing = next;
        }
    }
}
