//! One client's connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::RecordMaker;
use super::slots::ListenerSlot;
use super::tls::handshake;
use crate::capture::Refused;
use crate::line_record;
use crate::record::Record;
use crate::source::SourceContext;
use crate::source::framing::{Framer, Framing, RawRecord};

/// Bytes of a client's buffer: of a quiet one, and of one that has much to say.
const BUFFER_MIN: usize = 8 << 10;
const BUFFER_MAX: usize = 256 << 10;

/// What is known of a client.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) slot: ListenerSlot,
    pub(super) framing: Framing,
    pub(super) stall_timeout: Duration,
    pub(super) tls: Option<TlsAcceptor>,
}

/// How a connection ended.
#[derive(Debug)]
enum ConnectionEnd {
    /// The client has said all it had.
    Closed,
    /// In the middle of a record there may be no end.
    Broken,
}

/// Reads a client's records until it goes, is closed for another, or the source stops.
pub(super) async fn serve_client(
    stream: TcpStream,
    client: Client,
    context: SourceContext,
    maker: impl RecordMaker,
) {
    let Some(tls) = &client.tls else {
        return read_records(stream, &client, &context, &maker).await;
    };
    let accepted = tokio::select! {
        () = context.shutdown.cancelled() => return,
        () = client.slot.closed() => return,
        accepted = handshake(tls, stream, client.peer, &context) => accepted,
    };
    if let Some(stream) = accepted {
        read_records(stream, &client, &context, &maker).await;
    }
}

async fn read_records(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client: &Client,
    context: &SourceContext,
    maker: &impl RecordMaker,
) {
    let mut framer = Framer::new(client.framing, context.max_record);
    let mut buffer = vec![0; BUFFER_MIN];
    let end = loop {
        let limit = if framer.is_inside() {
            client.stall_timeout
        } else {
            Duration::MAX
        };
        let read = tokio::select! {
            () = context.shutdown.cancelled() => break ConnectionEnd::Broken,
            () = client.slot.closed() => break ConnectionEnd::Broken,
            read = timeout(limit, stream.read(&mut buffer)) => read,
        };
        let len = match read {
            Ok(Ok(0)) => break ConnectionEnd::Closed,
            Ok(Ok(len)) => len,
            Ok(Err(_)) | Err(_) => break ConnectionEnd::Broken,
        };
        client.slot.was_read();
        let memory = &context.memory.streams;
        let mut rest = buffer.get(..len).unwrap_or_default();
        while !rest.is_empty() {
            let part = memory.part_of(rest);
            rest = rest.get(part.len()..).unwrap_or_default();
            // Until the records are durable. What was read is kept at a shutdown, too.
            let _held = tokio::select! {
                () = context.shutdown.cancelled() => None,
                held = memory.hold(part) => Some(held),
            };
            let mut batch = RecordBatch::new(client, context, maker);
            framer.push(part, |raw| batch.add(raw));
            if batch.append().await.is_err() {
                return;
            }
        }
        resize(&mut buffer, len);
    };
    let is_broken = matches!(end, ConnectionEnd::Broken);
    let mut batch = RecordBatch::new(client, context, maker);
    framer.finish(|raw| batch.add_last(raw, is_broken));
    if batch.append().await.is_ok() {
        // The end of the stream tells a client that has closed its side that all it wrote is durable.
        let _ = stream.shutdown().await;
    }
}

/// A client that fills its buffer gets a larger one, a quiet one gives it back.
fn resize(buffer: &mut Vec<u8>, len: usize) {
    if len == buffer.len() && len < BUFFER_MAX {
        buffer.resize(2 * len, 0);
    } else if len < BUFFER_MIN && buffer.len() > BUFFER_MIN {
        *buffer = vec![0; BUFFER_MIN];
    }
}

/// The records of one read.
struct RecordBatch<'a, M> {
    client: &'a Client,
    context: &'a SourceContext,
    maker: &'a M,
    records: Vec<Record>,
    cut: u64,
}

impl<'a, M: RecordMaker> RecordBatch<'a, M> {
    fn new(client: &'a Client, context: &'a SourceContext, maker: &'a M) -> Self {
        Self {
            client,
            context,
            maker,
            records: Vec::new(),
            cut: 0,
        }
    }

    fn add(&mut self, raw: RawRecord<'_>) {
        let mut record = self.maker.record(&raw, self.client.peer.ip());
        self.cut += u64::from(line_record::fit(&mut record, raw.lost, self.context.max_record));
        self.records.push(record);
    }

    /// The record with which the connection ended. If it broke, nobody knows whether the record is whole.
    fn add_last(&mut self, raw: RawRecord<'_>, is_broken: bool) {
        let mut record = self.maker.record(&raw, self.client.peer.ip());
        if is_broken {
            record.fields.push(("unfinished".to_owned(), true.into()));
        }
        let is_cut = line_record::fit(&mut record, raw.lost, self.context.max_record);
        self.cut += u64::from(is_cut || is_broken);
        self.records.push(record);
    }

    /// Returns when the records are durable.
    async fn append(self) -> Result<(), Refused> {
        if self.records.is_empty() {
            return Ok(());
        }
        self.context.status.count_cut(self.cut);
        let capture = &self.context.capture;
        capture
            .append_waiting(&self.records, None, &self.context.shutdown)
            .await
    }
}
