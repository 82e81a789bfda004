//! Who may be connected: so many clients at one time. When every slot is taken and a new client comes, the client that has
//! been silent for longest has to go.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A client that wrote something since is not closed for another.
const IDLE_MIN: Duration = Duration::from_mins(1);
/// How often somebody who waits for a slot looks for an idle client.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    clients: BTreeMap<u64, SlottedClient>,
}

#[derive(Debug)]
struct SlottedClient {
    last_read: Instant,
    closed: CancellationToken,
}

/// A client's slot; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct ListenerSlot {
    number: u64,
    slots: Arc<ConnectionSlots>,
    closed: CancellationToken,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionSlots {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            taken: Mutex::default(),
        }
    }

    /// A slot. Cancel safe.
    pub(crate) async fn take(self: &Arc<Self>) -> ListenerSlot {
        let permit = loop {
            let free = Arc::clone(&self.free).acquire_owned();
            match tokio::time::timeout(LOOK_INTERVAL, free).await {
                // The semaphore is never closed.
                Ok(permit) => break permit.ok(),
                Err(_) => self.close_idlest(Instant::now()),
            }
        };
        let closed = CancellationToken::new();
        let mut taken = self.lock();
        let number = taken.next;
        taken.next += 1;
        let client = SlottedClient {
            last_read: Instant::now(),
            closed: closed.clone(),
        };
        taken.clients.insert(number, client);
        drop(taken);
        ListenerSlot {
            number,
            slots: Arc::clone(self),
            closed,
            _permit: permit,
        }
    }

    fn close_idlest(&self, now: Instant) {
        let taken = self.lock();
        let open = taken
            .clients
            .values()
            .filter(|client| !client.closed.is_cancelled());
        let idlest = open.min_by_key(|client| client.last_read);
        if let Some(client) = idlest.filter(|client| now.duration_since(client.last_read) >= IDLE_MIN) {
            client.closed.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ListenerSlot {
    /// The client wrote something.
    pub(crate) fn was_read(&self) {
        if let Some(client) = self.slots.lock().clients.get_mut(&self.number) {
            client.last_read = Instant::now();
        }
    }

    /// Ends when another client needs the slot. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// A stream whose client has a slot: whatever comes, whole or not, is something that it wrote.
#[derive(Debug)]
pub(crate) struct SlottedStream<S> {
    stream: S,
    slot: Arc<ListenerSlot>,
}

impl<S> SlottedStream<S> {
    pub(crate) fn new(stream: S, slot: Arc<ListenerSlot>) -> Self {
        Self { stream, slot }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SlottedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.slot.was_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SlottedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for ListenerSlot {
    fn drop(&mut self) {
        self.slots.lock().clients.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_that_is_silent_for_longest_goes_when_a_seat_is_needed() {
        let slots = Arc::new(ConnectionSlots::new(2));
        let (first, second) = (slots.take().await, slots.take().await);
        tokio::time::advance(Duration::from_secs(30)).await;
        first.was_read();
        tokio::time::advance(IDLE_MIN).await;
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.take().await }
        });
        second.closed().await;
        assert!(!first.closed.is_cancelled());
        drop(second);
        let third = waiting.await.expect("a slot");
        assert_ne!(third.number, first.number);
    }

    #[tokio::test(start_paused = true)]
    async fn client_of_which_bytes_come_keeps_its_seat_though_it_has_not_ended() {
        let slots = Arc::new(ConnectionSlots::new(1));
        let slot = Arc::new(slots.take().await);
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = SlottedStream::new(server, Arc::clone(&slot));
        for _ in 0..5 {
            tokio::time::advance(IDLE_MIN / 2).await;
            client.write_all(b"part").await.expect("open");
            let mut part = [0; 4];
            server.read_exact(&mut part).await.expect("open");
            slots.close_idlest(Instant::now());
            assert!(!slot.closed.is_cancelled());
        }
        tokio::time::advance(IDLE_MIN).await;
        slots.close_idlest(Instant::now());
        assert!(slot.closed.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn busy_clients_keep_their_seats_and_a_new_one_waits() {
        let slots = Arc::new(ConnectionSlots::new(1));
        let first = slots.take().await;
        let waited = tokio::time::timeout(IDLE_MIN / 2, slots.take()).await;
        assert!(waited.is_err());
        assert!(!first.closed.is_cancelled());
        drop(first);
        slots.take().await;
    }
}
