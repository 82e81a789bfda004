//! Syslog by UDP (RFC 5426): a datagram is a message.
//!
//! Nothing of UDP is acknowledged: what comes while the buffers are full is dropped by the kernel, which counts it. While one
//! batch is made durable, the next datagrams are read into memory, up to a bound, so that the kernel's small buffer lasts
//! longer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::kernel_drops::KernelDrops;
use super::record::message_record;
use crate::line_record;
use crate::record::Record;
use crate::source::listener::ListenError;
use crate::source::{SourceContext, SourceError};

/// The largest datagram (RFC 768: a length of 16 bits).
const DATAGRAM_MAX: usize = 1 << 16;
/// Bytes in memory that are not durable yet, with what a record needs beside its text.
const QUEUE_BYTES: usize = 16 << 20;
const RECORD_BYTES: usize = 1 << 10;
/// Records of one append.
const BATCH_MAX: usize = 4 << 10;
/// The kernel's buffer in bytes, as far as `net.core.rmem_max` allows it (socket(7)).
const RECEIVE_BUFFER: usize = 8 << 20;
/// How often the kernel is asked what it has dropped.
const DROPS_INTERVAL: Duration = Duration::from_secs(1);

/// Listens on `address`.
pub(super) async fn listen(address: SocketAddr) -> Result<UdpSocket, ListenError> {
    let socket = UdpSocket::bind(address).await.map_err(|error| ListenError {
        address,
        protocol: "udp",
        error,
    })?;
    // A smaller buffer only drops earlier, and is counted.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}

/// Reads datagrams until the shutdown; those in memory are still made durable.
pub(super) async fn serve(socket: &UdpSocket, context: &SourceContext) -> Result<(), SourceError> {
    let (queue, records) = mpsc::unbounded_channel();
    let queue = RecordQueue {
        queue,
        room: Arc::new(Semaphore::new(QUEUE_BYTES)),
    };
    let reading = async {
        // Whoever waits for room cannot count.
        tokio::select! {
            () = context.shutdown.cancelled() => Ok(()),
            () = count_drops(socket, context) => Ok(()),
            ended = read(socket, context, queue) => ended,
        }
    };
    let (read, ()) = tokio::join!(reading, append(records, context));
    read.map_err(Into::into)
}

/// Records on their way to the capture. The room that each takes is free again when it is durable.
struct RecordQueue {
    queue: mpsc::UnboundedSender<QueuedRecord>,
    room: Arc<Semaphore>,
}

type QueuedRecord = (Record, Option<OwnedSemaphorePermit>);

impl RecordQueue {
    /// Waits for room; whether anybody still takes records.
    async fn add(&self, record: Record, len: usize) -> bool {
        let bytes = u32::try_from(len + RECORD_BYTES).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.room).acquire_many_owned(bytes).await.ok();
        self.queue.send((record, permit)).is_ok()
    }
}

async fn read(socket: &UdpSocket, context: &SourceContext, queue: RecordQueue) -> io::Result<()> {
    let zone = TimeZone::system();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let (len, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // One of the socket's queue, such as an ICMP answer; the next call reads on.
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        let datagram = buffer.get(..len).unwrap_or_default();
        if let Some(record) = of_datagram(datagram, peer.ip(), &zone, context)
            && !queue.add(record, len).await
        {
            // The collector is stopping.
            return Ok(());
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | Interrupted)
}

/// `None` for an empty one.
fn of_datagram(datagram: &[u8], peer: IpAddr, zone: &TimeZone, context: &SourceContext) -> Option<Record> {
    if datagram.trim_ascii_end().is_empty() {
        return None;
    }
    let mut record = message_record(datagram, peer, Timestamp::now(), zone);
    let is_cut = line_record::fit(&mut record, 0, context.max_record);
    context.status.count_cut(u64::from(is_cut));
    Some(record)
}

/// Tells what the kernel drops, for ever.
async fn count_drops(socket: &UdpSocket, context: &SourceContext) {
    let mut drops = KernelDrops::new(socket);
    let mut look = tokio::time::interval(DROPS_INTERVAL);
    loop {
        look.tick().await;
        let new = drops.since_last_look();
        if new > 0 {
            context.status.count_dropped(new);
            context.status.problem(format!(
                "the kernel dropped {new} datagrams, because they came faster than they could be written; use TCP for what \
                 must not be lost, or raise net.core.rmem_max"
            ));
        }
    }
}

async fn append(mut queue: mpsc::UnboundedReceiver<QueuedRecord>, context: &SourceContext) {
    let mut queued = Vec::new();
    while queue.recv_many(&mut queued, BATCH_MAX).await > 0 {
        let (records, room): (Vec<_>, Vec<_>) = queued.drain(..).unzip();
        let append = context.capture.append_waiting(&records, None, &context.shutdown);
        if append.await.is_err() {
            return;
        }
        drop(room);
    }
}
