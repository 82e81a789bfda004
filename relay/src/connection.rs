//! A client's connection, and how it ends.
//!
//! Where the relay hangs up first, it lets the client finish: it sends its end, and reads until the client's. A socket
//! that is closed with bytes unread is reset, and a reset can overtake the answer (RFC 9112, section 9.6): a client that
//! is still sending a body which is too large would never read why it was refused.
//!
//! A client that does not read what it is sent is cut off: its connection would be held for ever.
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
use tokio_rustls::server::TlsStream;

use crate::answered::LastAnswer;

/// How long a client may leave an answer unread, without taking a byte.
const UNREAD: Duration = Duration::from_secs(30);

/// How long the client's end is waited for.
const LINGER: Duration = Duration::from_secs(2);

/// How long after the client's end a reset can come: the way to its host and back.
const SETTLE: Duration = Duration::from_millis(200);

/// What a connection goes over.
#[derive(Debug)]
pub(crate) enum Transport {
    /// In the clear.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the same with the stream of either transport.
macro_rules! either {
    ($transport:expr, $stream:ident => $what:expr) => {
        match $transport {
            Transport::Plain($stream) => $what,
            Transport::Tls($stream) => $what,
        }
    };
}

impl Transport {
    /// The socket below. What is read from it goes past TLS, which serves where its contents do not count.
    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

/// A connection that closes so that its last answer can be read.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    last_answer: Arc<LastAnswer>,
    closing: Closing,
    /// How long a client may take nothing.
    patience: Duration,
    /// Until then, while it takes nothing.
    unread: Option<Pin<Box<Sleep>>>,
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
    pub(crate) fn new(transport: Transport, last_answer: Arc<LastAnswer>) -> Self {
        Self {
            transport,
            last_answer,
            closing: Closing::Open,
            patience: UNREAD,
            unread: None,
        }
    }

    /// Gives up on a client that takes nothing for too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let patience = self.patience;
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(unread.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads what the client still sends, to its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 << 10];
        loop {
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(self.transport.socket()).poll_read(cx, &mut read))?;
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
        either!(&mut self.transport, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = either!(&mut self.transport, stream => Pin::new(stream).poll_write(cx, bytes));
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written =
            either!(&mut self.transport, stream => Pin::new(stream).poll_write_vectored(cx, pieces));
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.transport, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = either!(&mut self.transport, stream => Pin::new(stream).poll_flush(cx));
        self.watched(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let next = match &mut self.closing {
                Closing::Open => {
                    let ended = either!(&mut self.transport, stream => Pin::new(stream).poll_shutdown(cx));
                    ready!(self.watched(cx, ended))?;
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
                    if self.transport.socket().take_error()?.is_none() {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A connection, and its client.
    async fn pair(patience: Duration) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let client = TcpStream::connect(address).await.expect("a listener");
        let (stream, _) = listener.accept().await.expect("a client");
        let mut connection = Connection::new(Transport::Plain(stream), Arc::new(LastAnswer::default()));
        connection.patience = patience;
        (connection, client)
    }

    /// More than the kernel holds for a client.
    const ANSWER: &[u8] = &[b'x'; 64 << 20];

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_off() {
        let (mut connection, client) = pair(Duration::from_millis(100)).await;
        let written = connection.write_all(ANSWER).await;
        assert_eq!(written.expect_err("cut off").kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_gets_all_of_it() {
        let (mut connection, mut client) = pair(UNREAD).await;
        let writer = tokio::spawn(async move {
            connection.write_all(ANSWER).await.expect("a client");
            connection.shutdown().await.expect("a client");
        });
        let mut read = vec![0; ANSWER.len()];
        client.read_exact(&mut read).await.expect("all of it");
        drop(client);
        writer.await.expect("no panic");
    }
}
