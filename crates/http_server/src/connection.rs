//! A client's connection, and how it is closed.
//!
//! If the server closes first, it sends its end of the stream and reads until the client's end. A socket that is closed
//! with unread bytes is reset, and the reset can overtake the response (RFC 9112, section 9.6): a client that is still
//! sending a body that is too large would never read why it was refused.
//!
//! A client that does not read its response is disconnected, so that it cannot hold a connection forever.
//!
//! The end of a connection shows whether the last response was received ([`LastResponse`]): the client closes
//! after reading it. A client that disconnected before resets the connection when the response reaches its host.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// How long a client may leave a response unread, without reading a byte.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the server waits for the client's end of the stream.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long after the client's end a reset can arrive: a round trip to its host.
const RESET_TIMEOUT: Duration = Duration::from_millis(200);

/// The last response of a connection.
pub trait LastResponse: Send + Sync + 'static {
    /// Whether it matters that the client receives it, and it is not known yet.
    fn is_pending(&self) -> bool;

    /// The client has received it.
    fn confirm(&self);

    /// Bytes of it were given to the kernel. One that was never written cannot arrive: hyper drops it if the client has gone.
    fn written(&self) {}

    /// The server closes the connection, which is still open on the client's side. Without an error it may be asked now whether
    /// the client's host has the response; afterwards nobody can know.
    fn closing(&self) {}
}

/// The stream below a connection: plain TCP, or TLS.
pub type ClientTransport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection that closes so that its last response can be read.
#[derive(Debug)]
pub struct ClientConnection<L: LastResponse> {
    transport: ClientTransport,
    last: Arc<L>,
    state: CloseState,
    /// How long a client may read nothing.
    write_timeout: Duration,
    /// Set while the client reads nothing.
    write_deadline: Option<Pin<Box<Sleep>>>,
}

/// How far a connection is closed.
#[derive(Debug)]
enum CloseState {
    Open,
    /// The server's end is sent. It waits so long for the client's.
    WaitingForEnd(Pin<Box<Sleep>>),
    /// Both ends are sent. A reset can still arrive for so long.
    WaitingForReset(Pin<Box<Sleep>>),
    /// Closed, or broken by an error.
    Closed,
}

impl<L: LastResponse> ClientConnection<L> {
    /// Wraps a connection. `last` learns whether the client received its last response.
    pub fn new(transport: ClientTransport, last: Arc<L>) -> Self {
        Self {
            transport,
            last,
            state: CloseState::Open,
            write_timeout: WRITE_TIMEOUT,
            write_deadline: None,
        }
    }

    /// The TCP socket. Reading from it bypasses TLS, so only bytes that are thrown away may be read from it.
    fn socket(&mut self) -> &mut TcpStream {
        match &mut self.transport {
            Either::Left(plain) => plain,
            Either::Right(tls) => tls.get_mut().0,
        }
    }

    /// After an error nothing that follows shows that the response was received: the kernel reports a reset once (socket(7),
    /// `SO_ERROR`), to a read for the next request too, and then an orderly end.
    fn note_error<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = done {
            self.state = CloseState::Closed;
        }
        done
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(1..)) = written {
            self.last.written();
        }
    }

    /// Fails if the client has read nothing for too long.
    fn check_write_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_deadline = None;
            return self.note_error(written);
        }
        let timeout = self.write_timeout;
        let deadline = self
            .write_deadline
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn note_closing(&self) {
        if self.last.is_pending() {
            self.last.closing();
        }
    }

    /// Reads and discards until the client's end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 << 10];
        loop {
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(self.socket()).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<L: LastResponse> Drop for ClientConnection<L> {
    /// An idle connection is dropped without an orderly end, as when its client sends no other request for long.
    fn drop(&mut self) {
        if matches!(self.state, CloseState::Open) {
            self.note_closing();
        }
    }
}

impl<L: LastResponse> AsyncRead for ClientConnection<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.transport).poll_read(cx, buffer);
        self.note_error(read)
    }
}

impl<L: LastResponse> AsyncWrite for ClientConnection<L> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.note_written(&written);
        self.check_write_timeout(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, pieces);
        self.note_written(&written);
        self.check_write_timeout(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(cx);
        self.check_write_timeout(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let next = match &mut self.state {
                CloseState::Open => {
                    let ended = Pin::new(&mut self.transport).poll_shutdown(cx);
                    ready!(self.check_write_timeout(cx, ended))?;
                    CloseState::WaitingForEnd(Box::pin(sleep(LINGER_TIMEOUT)))
                }
                CloseState::WaitingForEnd(until) => {
                    let is_late = until.as_mut().poll(cx).is_ready();
                    match self.poll_end(cx)? {
                        Poll::Ready(()) if self.last.is_pending() => {
                            CloseState::WaitingForReset(Box::pin(sleep(RESET_TIMEOUT)))
                        }
                        Poll::Pending if !is_late => return Poll::Pending,
                        Poll::Ready(()) => CloseState::Closed,
                        Poll::Pending => {
                            self.note_closing();
                            CloseState::Closed
                        }
                    }
                }
                CloseState::WaitingForReset(until) => {
                    ready!(until.as_mut().poll(cx));
                    if self.socket().take_error()?.is_none() {
                        self.last.confirm();
                    }
                    CloseState::Closed
                }
                CloseState::Closed => return Poll::Ready(Ok(())),
            };
            self.state = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A response that went out, and whether it was confirmed.
    #[derive(Default)]
    struct SentResponse {
        is_confirmed: AtomicBool,
    }

    impl LastResponse for SentResponse {
        fn is_pending(&self) -> bool {
            true
        }

        fn confirm(&self) {
            self.is_confirmed.store(true, Ordering::Relaxed);
        }
    }

    async fn pair(timeout: Duration) -> (ClientConnection<SentResponse>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let client = TcpStream::connect(address).await.expect("a listener");
        let (stream, _) = listener.accept().await.expect("a client");
        let mut connection = ClientConnection::new(Either::Left(stream), Arc::default());
        connection.write_timeout = timeout;
        (connection, client)
    }

    /// More than the kernel holds for a client.
    const RESPONSE: &[u8] = &[b'x'; 64 << 20];

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_off() {
        let (mut connection, client) = pair(Duration::from_millis(100)).await;
        let written = connection.write_all(RESPONSE).await;
        assert_eq!(written.expect_err("cut off").kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_gets_all_of_it() {
        let (mut connection, mut client) = pair(WRITE_TIMEOUT).await;
        let writer = tokio::spawn(async move {
            connection.write_all(RESPONSE).await.expect("a client");
            connection.shutdown().await.expect("a client");
        });
        let mut read = vec![0; RESPONSE.len()];
        client.read_exact(&mut read).await.expect("all of it");
        drop(client);
        writer.await.expect("no panic");
    }

    /// What is known of a response after the client has closed. `reads_it`: it has read the response before. The server reads the
    /// next request first, as between two requests of a connection.
    async fn is_confirmed(reads_it: bool) -> bool {
        let (mut connection, mut client) = pair(WRITE_TIMEOUT).await;
        connection.write_all(b"response").await.expect("a client");
        connection.flush().await.expect("a client");
        client.readable().await.expect("it arrives");
        if reads_it {
            client.read_exact(&mut [0; 8]).await.expect("all of it");
        }
        drop(client);
        assert_eq!(connection.read(&mut [0; 8]).await.is_ok(), reads_it);
        // A server closes after an error too.
        let _ = connection.shutdown().await;
        connection.last.is_confirmed.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn response_that_lay_unread_is_not_confirmed_although_the_reset_was_read_before() {
        assert!(is_confirmed(true).await);
        assert!(!is_confirmed(false).await);
    }
}
