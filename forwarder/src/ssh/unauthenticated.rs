//! A session before its login: what the server has shown of itself, and the waits for its answers.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use logferry_config::Destination;
use russh::Error;
use russh::client::{self, DisconnectReason, Handle, Session};
use russh::keys::PublicKeyOrCertificate;
use tokio_util::sync::CancellationToken;

use crate::error::{DeliveryError, ServerAddress};
use crate::lock;

/// The longest wait for one step of the handshake and the login. Servers may look up names meanwhile.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// What the session learns about the server. Written by the session's tasks, read by its user.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerState(Arc<Mutex<PeerRecord>>);

#[derive(Debug, Default)]
struct PeerRecord {
    /// In wire form (RFC 4253, section 6.6).
    host_key: Vec<u8>,
    identification: String,
    /// Why the session ended.
    end: Option<String>,
    /// Whether the session ended for another reason than the lack of a login method.
    is_cut: bool,
}

impl PeerState {
    fn lock(&self) -> MutexGuard<'_, PeerRecord> {
        lock(&self.0)
    }

    pub(super) fn host_key(&self) -> Vec<u8> {
        self.lock().host_key.clone()
    }

    pub(super) fn identification(&self) -> String {
        self.lock().identification.clone()
    }

    /// How the session ended, as far as known.
    pub(super) fn disconnect_reason(&self) -> io::Error {
        let end = self.lock().end.clone();
        let reason = end.unwrap_or_else(|| "the server closed the session".to_owned());
        io::Error::new(io::ErrorKind::UnexpectedEof, reason)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.lock().is_cut
    }
}

impl client::Handler for PeerState {
    type Error = Error;

    /// Only stores the key. It is checked after the handshake, before the session is used.
    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        self.lock().host_key = key.to_bytes()?;
        Ok(true)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        _: &russh::Names,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.lock().identification = String::from_utf8_lossy(session.remote_sshid()).into_owned();
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Error>) -> Result<(), Error> {
        let (end, is_cut, result) = match reason {
            DisconnectReason::ReceivedDisconnect(said) => (
                format!("the server said: {}", said.message.escape_debug()),
                true,
                Ok(()),
            ),
            DisconnectReason::Error(error) => {
                let is_cut = !matches!(error, Error::NoAuthMethod);
                (error.to_string(), is_cut, Err(error))
            }
        };
        let mut record = self.lock();
        (record.end, record.is_cut) = (Some(end), is_cut);
        result
    }
}

/// A session before its login.
pub(super) struct UnauthenticatedSession {
    pub(super) handle: Handle<PeerState>,
    pub(super) peer: PeerState,
    pub(super) target: ConnectTarget,
}

/// The server of a session, and the signal to stop.
pub(super) struct ConnectTarget {
    pub(super) address: ServerAddress,
    stop: CancellationToken,
}

impl ConnectTarget {
    pub(super) fn new(destination: &Destination, stop: &CancellationToken) -> Self {
        let Destination { host, port, .. } = destination;
        let address = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let stop = stop.clone();
        Self { address, stop }
    }

    /// Waits for a step at most `limit`, and not after the forwarder was told to stop.
    pub(super) async fn run_within<T>(
        &self,
        limit: Duration,
        step: impl Future<Output = T>,
    ) -> Result<T, DeliveryError> {
        tokio::select! {
            done = tokio::time::timeout(limit, step) => done.map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into())),
            () = self.stop.cancelled() => Err(DeliveryError::Stopped),
        }
    }

    /// Waits for a step of the handshake or the login.
    pub(super) async fn run_step<T>(&self, step: impl Future<Output = T>) -> Result<T, DeliveryError> {
        self.run_within(STEP_TIMEOUT, step).await
    }

    pub(super) fn unreachable(&self, source: io::Error) -> DeliveryError {
        DeliveryError::Unreachable(self.address.clone(), source)
    }
}
