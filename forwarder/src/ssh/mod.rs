//! One SSH connection with one SFTP channel, never blocking for long: libssh2 over a socket that poll(2) watches.
//!
//! Invariants: no credential is sent before the host key was judged; every wait ends when the forwarder is to stop,
//! except for the answer of an SSH agent; dropping a connection closes its socket first, so that libssh2 never waits for
//! a server that has gone silent.

mod host_key;
mod introduction;
mod known_hosts;
mod login;
mod shell;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use logferry_config::Destination;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{BlockDirections, Channel, ErrorCode, ExtendedData, MethodType, Session};
use tokio_util::sync::CancellationToken;

use crate::error::DeliveryError;

pub use host_key::HostKeyError;
use host_key::Trust;
pub use introduction::{Introduction, KeepError, Standing};
pub use login::LoginError;

/// The longest wait for a TCP connection, name look-up included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for any one step of the handshake and the login. Servers may look up names meanwhile.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a wait goes on without a look whether to stop.
pub(crate) const STOP_CHECK: Duration = Duration::from_millis(200);

/// Ciphers, best first. libssh2 calls AES once per block; `ChaCha20` costs it least.
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr,\
                       aes256-gcm@openssh.com,aes128-gcm@openssh.com";

/// `LIBSSH2_ERROR_EAGAIN`: it would have to wait.
const WOULD_BLOCK: ErrorCode = ErrorCode::Session(-37);

/// `LIBSSH2_ERROR_KEX_FAILURE` and `LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE`: no algorithm in common, among others.
const NO_KEY_EXCHANGE: [ErrorCode; 2] = [ErrorCode::Session(-5), ErrorCode::Session(-8)];

/// `LIBSSH2_ERROR_BANNER_RECV`, `_SOCKET_SEND`, `_SOCKET_DISCONNECT` and `_SOCKET_RECV`: the connection is gone.
const CUT: [ErrorCode; 4] = [
    ErrorCode::Session(-2),
    ErrorCode::Session(-7),
    ErrorCode::Session(-13),
    ErrorCode::Session(-43),
];

/// `LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED`.
const NOT_VERIFIED: ErrorCode = ErrorCode::Session(-19);

/// A connected, authenticated session with an SFTP channel.
pub(crate) struct Connection {
    session: Session,
    channel: Channel,
    /// The session's socket once more, to be watched and shut down.
    tcp: TcpStream,
    address: String,
}

impl Connection {
    /// Connects, judges the host key, logs in and starts SFTP.
    pub(crate) fn open(destination: &Destination, stop: &CancellationToken) -> Result<Self, DeliveryError> {
        let trust = Trust::load(destination)?;
        let offers = trust.offers(destination);
        let mut refused = None;
        for key_types in offers {
            let opened = Handshake::start(destination, &key_types, stop).and_then(|handshake| {
                trust.judge(destination, &handshake.session)?;
                handshake.finish(destination)
            });
            match opened {
                // It has no key of these types, but may have another. What it showed first tells more.
                Err(DeliveryError::Handshake { ref source, .. })
                    if NO_KEY_EXCHANGE.contains(&source.code()) =>
                {
                    refused = refused.or(opened.err());
                }
                Err(DeliveryError::HostKey(HostKeyError::NotConfigured { .. })) => {
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

    /// Sends some of `bytes`; `None` when it would have to wait. The next call must start with what was not sent.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, DeliveryError> {
        match self.channel.write(bytes) {
            // A window that is full and was not said to be.
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Receives some bytes; `None` when it would have to wait.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, DeliveryError> {
        match self.channel.read(buffer) {
            Ok(0) => Err(self.lost(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the session",
            ))),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Waits until reading or writing may get on, at most `limit`. Both must have been tried before.
    pub(crate) fn wait(&self, limit: Duration) -> Result<(), DeliveryError> {
        wait_for(&self.tcp, &self.session, limit).map_err(|error| self.lost(error))
    }

    fn lost(&self, source: io::Error) -> DeliveryError {
        DeliveryError::Lost {
            address: self.address.clone(),
            source,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Both are courtesy: the server may be gone, and learns it from the socket in any case.
        let _ = self.session.disconnect(None, "done", None);
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}

/// A session on its way to being a [`Connection`].
struct Handshake {
    session: Session,
    tcp: TcpStream,
    address: String,
    stop: CancellationToken,
}

impl Handshake {
    /// Connects and agrees on keys; the host key is known afterwards, and not judged. `key_types`: the types of
    /// host keys to ask for, best first.
    fn start(
        destination: &Destination,
        key_types: &str,
        stop: &CancellationToken,
    ) -> Result<Self, DeliveryError> {
        let address = address_of(destination);
        let tcp = connect(destination, &address, stop)?;
        let refused = |source| DeliveryError::Handshake {
            address: address.clone(),
            source,
        };
        let watched = tcp.try_clone().map_err(|source| DeliveryError::Unreachable {
            address: address.clone(),
            source,
        })?;
        let mut session = Session::new().map_err(refused)?;
        for (method, wanted) in [
            (MethodType::HostKey, key_types),
            (MethodType::CryptCs, CIPHERS),
            (MethodType::CryptSc, CIPHERS),
        ] {
            session.method_pref(method, wanted).map_err(refused)?;
        }
        session.set_tcp_stream(tcp);
        session.set_blocking(false);
        let handshake = Self {
            session: session.clone(),
            tcp: watched,
            address: address.clone(),
            stop: stop.clone(),
        };
        handshake.complete(|| session.handshake())?.map_err(refused)?;
        Ok(handshake)
    }

    /// Logs in and starts SFTP. Only for a session whose host key was judged.
    fn finish(self, destination: &Destination) -> Result<Connection, DeliveryError> {
        login::log_in(&self, destination)?;
        let no_sftp = |source| DeliveryError::NoSftp {
            address: self.address.clone(),
            source,
        };
        let mut channel = self
            .complete(|| self.session.channel_session())?
            .map_err(no_sftp)?;
        self.complete(|| channel.handle_extended_data(ExtendedData::Ignore))?
            .map_err(no_sftp)?;
        self.complete(|| channel.subsystem("sftp"))?.map_err(no_sftp)?;
        Ok(Connection {
            session: self.session,
            channel,
            tcp: self.tcp,
            address: self.address,
        })
    }

    /// Repeats a step of libssh2 until it no longer has to wait.
    fn complete<T>(
        &self,
        mut step: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<Result<T, ssh2::Error>, DeliveryError> {
        let started = Instant::now();
        loop {
            match step() {
                Err(error) if error.code() == WOULD_BLOCK => {}
                done => return Ok(done),
            }
            if self.stop.is_cancelled() {
                return Err(DeliveryError::Stopped);
            }
            if started.elapsed() > STEP_TIMEOUT {
                return Err(self.unreachable(io::ErrorKind::TimedOut.into()));
            }
            wait_for(&self.tcp, &self.session, STOP_CHECK).map_err(|source| self.unreachable(source))?;
        }
    }

    fn cut_in_login(&self, source: ssh2::Error) -> DeliveryError {
        DeliveryError::CutInLogin {
            address: self.address.clone(),
            source,
        }
    }

    fn unreachable(&self, source: io::Error) -> DeliveryError {
        DeliveryError::Unreachable {
            address: self.address.clone(),
            source,
        }
    }
}

/// Whether libssh2 says that there is no connection any more.
pub(crate) fn is_cut(error: &ssh2::Error) -> bool {
    // Of a connection that ends during a login by key, it tells in words only: the code is that of a refusal.
    let waited = error.code() == NOT_VERIFIED && error.message().starts_with("Waiting for");
    waited || CUT.contains(&error.code())
}

fn address_of(destination: &Destination) -> String {
    let Destination { host, port, .. } = destination;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Connects, on a thread of its own: a name look-up cannot be broken off, and must not delay a stop.
fn connect(
    destination: &Destination,
    address: &str,
    stop: &CancellationToken,
) -> Result<TcpStream, DeliveryError> {
    let (done, outcome) = sync_channel(1);
    let (host, port) = (destination.host.clone(), destination.port);
    // When nobody waits for it any more, the connection is dropped with the channel.
    std::thread::spawn(move || done.send(connect_any(&host, port)));
    let started = Instant::now();
    let connected = loop {
        match outcome.recv_timeout(STOP_CHECK) {
            Ok(connected) => break connected,
            Err(RecvTimeoutError::Timeout) if stop.is_cancelled() => return Err(DeliveryError::Stopped),
            Err(RecvTimeoutError::Timeout) if started.elapsed() < CONNECT_TIMEOUT => {}
            Err(_) => break Err(io::ErrorKind::TimedOut.into()),
        }
    };
    let prepared = connected.and_then(|tcp| {
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        Ok(tcp)
    });
    prepared.map_err(|source| DeliveryError::Unreachable {
        address: address.to_owned(),
        source,
    })
}

/// Tries a host's addresses one after the other.
fn connect_any(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Waits until the socket is as libssh2 needs it, or so long.
fn wait_for(tcp: &TcpStream, session: &Session, limit: Duration) -> io::Result<()> {
    let mut wanted = PollFlags::POLLIN;
    if matches!(
        session.block_directions(),
        BlockDirections::Outbound | BlockDirections::Both
    ) {
        wanted |= PollFlags::POLLOUT;
    }
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(tcp.as_fd(), wanted)], limit) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
