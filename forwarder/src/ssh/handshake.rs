//! A session on its way to being a [`Connection`]: connected, agreed on keys, and then logged in.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logferry_config::Destination;
use russh::client::{self, Config, DisconnectReason, Handle, Msg, Session, connect_stream};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_key::Algorithm;
use russh::{AlgorithmKind, Channel, ChannelMsg, Error, Preferred, cipher, kex, mac};
use tokio::net::{TcpStream, lookup_host};
use tokio_util::sync::CancellationToken;

use super::runtime::SshRuntime;
use super::{Connection, SftpChannel, login};
use crate::error::DeliveryError;

/// The longest wait for a TCP connection, name look-up included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for any one step of the handshake and the login. Servers may look up names meanwhile.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Ciphers, best first. Processors do AES-GCM many times faster than the others; where they do not, all are slow alike.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Key exchanges, best first. The last is for servers of the years before 2014, which have nothing better.
const KEY_EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
    kex::DH_G14_SHA1,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

/// What guards packets of a cipher that does not do so itself, best first. The last is for the same old servers.
const MACS: &[mac::Name] = &[
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
    mac::HMAC_SHA1,
];

/// What the server may send before we have taken it, in bytes: enough for 80 MiB/s over a round trip of 50 ms.
const WINDOW: u32 = 4 << 20;

/// What the server shows of itself. Written by the session, read by whoever uses it.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerState(Arc<Mutex<PeerRecord>>);

#[derive(Debug, Default)]
struct PeerRecord {
    /// In wire form (RFC 4253, section 6.6).
    host_key: Vec<u8>,
    identification: String,
    /// Why the session ended.
    disconnect_reason: Option<SessionEnd>,
}

#[derive(Debug, Clone)]
struct SessionEnd {
    words: String,
    /// Whether it was because the server takes no login that we know.
    no_auth_method: bool,
}

impl PeerState {
    fn lock(&self) -> MutexGuard<'_, PeerRecord> {
        // Each of the fields is whole by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identification(&self) -> String {
        self.lock().identification.clone()
    }

    /// How the session ended, as far as it is known.
    pub(super) fn disconnect_reason(&self) -> io::Error {
        let disconnect_reason = self.lock().disconnect_reason.clone();
        let words = disconnect_reason.map_or_else(
            || "the server closed the session".to_owned(),
            |disconnect_reason| disconnect_reason.words,
        );
        io::Error::new(io::ErrorKind::UnexpectedEof, words)
    }

    /// Whether the session ended, other than for want of a login.
    pub(super) fn is_cut(&self) -> bool {
        let shown = self.lock();
        shown
            .disconnect_reason
            .as_ref()
            .is_some_and(|disconnect_reason| !disconnect_reason.no_auth_method)
    }
}

impl client::Handler for PeerState {
    type Error = Error;

    /// Only keeps the key. It is judged when there is a session, before anything is done with that.
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
        let (words, no_auth_method) = match &reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                (format!("it said: {}", said.message.escape_debug()), false)
            }
            DisconnectReason::Error(error) => (error.to_string(), matches!(error, Error::NoAuthMethod)),
        };
        self.lock().disconnect_reason = Some(SessionEnd {
            words,
            no_auth_method,
        });
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }
}

/// A session whose host key is known and not judged yet.
pub(super) struct Handshake {
    pub(super) session: UnauthenticatedSession,
    /// The key that the server has shown, in wire form. Its signature by it was checked; without one there is no session.
    pub(super) host_key: Vec<u8>,
    runtime: SshRuntime,
}

/// The session of a [`Handshake`].
pub(super) struct UnauthenticatedSession {
    pub(super) handle: Handle<PeerState>,
    pub(super) peer: PeerState,
    pub(super) target: ConnectTarget,
}

/// Where a session goes, and when it is no longer wanted.
#[derive(Clone)]
pub(super) struct ConnectTarget {
    pub(super) address: String,
    stop: CancellationToken,
}

impl ConnectTarget {
    /// Waits for a step on it, at most `limit`, and no longer than until the forwarder is to stop.
    async fn step_within<T>(
        &self,
        limit: Duration,
        step: impl Future<Output = T>,
    ) -> Result<T, DeliveryError> {
        tokio::select! {
            done = tokio::time::timeout(limit, step) => done.map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into())),
            () = self.stop.cancelled() => Err(DeliveryError::Stopped),
        }
    }

    /// Waits for a step as long as a server may take for one.
    pub(super) async fn step<T>(&self, step: impl Future<Output = T>) -> Result<T, DeliveryError> {
        self.step_within(STEP_TIMEOUT, step).await
    }

    fn unreachable(&self, source: io::Error) -> DeliveryError {
        DeliveryError::Unreachable {
            address: self.address.clone(),
            source,
        }
    }
}

impl Handshake {
    /// Connects and agrees on keys. `key_types`: the types of host keys to ask for, best first.
    pub(super) fn start(
        destination: &Destination,
        key_types: Vec<Algorithm>,
        stop: &CancellationToken,
    ) -> Result<Self, DeliveryError> {
        let target = ConnectTarget {
            address: address_of(destination),
            stop: stop.clone(),
        };
        let runtime = SshRuntime::new().map_err(|source| target.unreachable(source))?;
        let peer = PeerState::default();
        let handle = runtime.block_on(async {
            let tcp = target.step_within(CONNECT_TIMEOUT, connect(destination)).await?;
            let tcp = tcp.map_err(|source| target.unreachable(source))?;
            let session = connect_stream(Arc::new(config(key_types)), tcp, peer.clone());
            target
                .step(session)
                .await?
                .map_err(|source| DeliveryError::Handshake {
                    address: target.address.clone(),
                    source,
                })
        })?;
        let host_key = peer.lock().host_key.clone();
        Ok(Self {
            session: UnauthenticatedSession { handle, peer, target },
            host_key,
            runtime,
        })
    }

    /// Logs in and starts SFTP. Only for a session whose host key was judged.
    pub(super) fn finish(self, destination: &Destination) -> Result<Connection, DeliveryError> {
        let Self {
            mut session, runtime, ..
        } = self;
        let channel = runtime.block_on(async {
            login::log_in(&mut session, destination).await?;
            let started = session.target.step(start_sftp(&session.handle)).await?;
            started.map_err(|source| DeliveryError::NoSftp {
                address: session.target.address.clone(),
                source,
            })
        })?;
        let UnauthenticatedSession { handle, peer, target } = session;
        Ok(Connection {
            handle,
            sftp: SftpChannel::new(channel),
            peer,
            address: target.address,
            runtime,
        })
    }
}

async fn start_sftp(handle: &Handle<PeerState>) -> Result<Channel<Msg>, Error> {
    let mut channel = handle.channel_open_session().await?;
    channel.request_subsystem(true, "sftp").await?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(channel),
            Some(ChannelMsg::Failure) => return Err(Error::RequestDenied),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return Err(Error::Disconnect),
            // Of windows, and what a login script says on stderr.
            Some(_) => {}
        }
    }
}

/// Whether the server has no host key of the types asked for.
pub(super) fn has_no_such_key(error: &Error) -> bool {
    matches!(
        error,
        Error::NoCommonAlgo {
            kind: AlgorithmKind::Key,
            ..
        }
    )
}

fn config(key_types: Vec<Algorithm>) -> Config {
    Config {
        window_size: WINDOW,
        preferred: Preferred {
            kex: Cow::Borrowed(KEY_EXCHANGES),
            key: Cow::Owned(key_types),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    }
}

fn address_of(destination: &Destination) -> String {
    let Destination { host, port, .. } = destination;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Tries a host's addresses one after the other.
async fn connect(destination: &Destination) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in lookup_host((destination.host.as_str(), destination.port)).await? {
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
