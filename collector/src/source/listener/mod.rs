//! Clients that write records over TCP, with or without TLS: many connections, each read on only when what came of it is on
//! stable storage.
//!
//! How records are told apart is decided in `framing`, what a record says by the caller.
//!
//! Invariants:
//! - A connection is not read on before its records are durable.
//! - A connection that stalls costs the others nothing: it has a slot, a small buffer, and at most one begun record.
//! - What the records of all connections take in memory has a bound, for all sources together.

mod connection;
mod slots;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use logferry_config::ServerTls;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) use self::slots::{ConnectionSlots, ListenerSlot, SlottedStream};
pub(crate) use self::tls::{ServerCertificates, handshake, wrong_certificate};

use self::connection::{Client, serve_client};
use crate::record::Record;
use crate::source::framing::{Framing, RawRecord};
use crate::source::read_problem::ReadProblem;
use crate::source::{SourceContext, SourceError};

/// How long running appends may take when the source stops.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the certificate's files are looked at.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(30);
/// After so much time without a byte the kernel asks whether the client is still there (tcp(7)).
const KEEPALIVE: Duration = Duration::from_mins(1);

/// How clients are served.
#[derive(Debug, Clone)]
pub(crate) struct ClientSettings {
    pub(crate) framing: Framing,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) max_connections: usize,
    /// How long a client may stop in the middle of a record.
    pub(crate) stall_timeout: Duration,
}

/// Makes the record of what a client wrote.
pub(crate) trait RecordMaker: Clone + Send + Sync + 'static {
    fn record(&self, raw: &RawRecord<'_>, peer: IpAddr) -> Record;
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({protocol}); free the port, or change `listen` of the source")]
pub(crate) struct ListenError {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: &'static str,
    #[source]
    pub(crate) error: io::Error,
}

/// Listens on `address`.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| ListenError {
        address,
        protocol: "tcp",
        error,
    })
}

/// Serves clients until the shutdown, then lets running appends finish.
pub(crate) async fn serve_clients(
    listener: TcpListener,
    settings: &ClientSettings,
    context: &SourceContext,
    maker: impl RecordMaker,
) -> Result<(), SourceError> {
    let tls = settings
        .tls
        .as_ref()
        .map(|tls| ServerCertificates::load(tls, &[]));
    let tls = tls.transpose()?;
    let mut problem = ReadProblem::default();
    let renew_files = || renew(tls.as_ref(), context, &mut problem);
    let serve = |stream, peer, slot| {
        let client = Client {
            peer,
            slot,
            framing: settings.framing,
            stall_timeout: settings.stall_timeout,
            tls: tls.as_ref().map(ServerCertificates::acceptor),
        };
        serve_client(stream, client, context.clone(), maker.clone())
    };
    let slots = ConnectionSlots::new(settings.max_connections);
    let renewal = (RENEWAL_INTERVAL, renew_files);
    let mut connections = accept_until_shutdown(listener, slots, context, renewal, serve).await;
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // What does not end in time is dropped: its records may be kept or not, and nobody was told that they are.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, all_ended).await;
    Ok(())
}

/// Serves each connection by a task of its own until the shutdown, and then listens no more. Returns the connections that are left.
/// `renewal`: what is to be done how often meanwhile.
pub(crate) async fn accept_until_shutdown<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    slots: ConnectionSlots,
    context: &SourceContext,
    (renewal_interval, mut renew): (Duration, impl FnMut()),
    mut serve: impl FnMut(TcpStream, SocketAddr, ListenerSlot) -> F,
) -> JoinSet<()> {
    let slots = Arc::new(slots);
    let mut connections = JoinSet::new();
    let mut renewal = tokio::time::interval(renewal_interval);
    context.status.running();
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return connections,
            Some(_) = connections.join_next() => {}
            _ = renewal.tick() => renew(),
            accepted = accept(&listener, &slots) => match accepted {
                Ok((stream, peer, slot)) => drop(connections.spawn(serve(stream, peer, slot))),
                Err(error) => {
                    // No file descriptors left, or the client has gone. The pause prevents a busy loop.
                    context.status.problem(format!("cannot accept a connection: {error}; trying again"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// Cancel safe: a dropped wait has taken neither a slot nor a connection.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<ConnectionSlots>,
) -> io::Result<(TcpStream, SocketAddr, ListenerSlot)> {
    // The slot first: further connections wait in the kernel's backlog.
    let slot = slots.take().await;
    let (stream, peer) = listener.accept().await?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    // Without it a client whose host has vanished keeps its slot until another one needs it.
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    Ok((stream, peer, slot))
}

/// Reads the certificate again. Its last problem is in `problem`.
pub(crate) fn renew(tls: Option<&ServerCertificates>, context: &SourceContext, problem: &mut ReadProblem) {
    let renewed = tls.map_or(Ok(false), ServerCertificates::renew);
    if matches!(renewed, Ok(true)) {
        tracing::info!(source = %context.name, "the renewed certificate is in use");
    }
    let error = renewed.err();
    let text = error.map(|error| format!("{error}; the certificate that was loaded before stays in use"));
    problem.note(text, context);
}

#[cfg(test)]
mod tests;
