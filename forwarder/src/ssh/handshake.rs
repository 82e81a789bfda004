//! Connects, agrees on keys, logs in and starts SFTP.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use logferry_config::Destination;
use russh::client::{Config, GexParams, Handle, Msg, connect_stream};
use russh::keys::ssh_key::Algorithm;
use russh::{AlgorithmKind, Channel, ChannelMsg, Error, Preferred, cipher, kex, mac};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::runtime::SshRuntime;
use super::unauthenticated::{ConnectTarget, PeerState, UnauthenticatedSession};
use super::{SftpChannel, SshConnection, login};
use crate::error::DeliveryError;

/// The longest wait for the name look-up, and for a TCP connection to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Ciphers, best first. Processors with AES instructions are many times faster with AES-GCM; without, all are slow.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Key exchanges, best first. The last one is for servers from before 2014.
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

/// Bits of the group that the server chooses in a group exchange (RFC 4419). The least is that of group 14 (RFC 8270): some
/// servers have no larger ones.
const GROUP_MIN: usize = 2048;
const GROUP_PREFERRED: usize = 4096;
const GROUP_MAX: usize = 8192;

/// Message authentication for ciphers without their own, best first. The last one is for servers from before 2014.
const MACS: &[mac::Name] = &[
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
    mac::HMAC_SHA1,
];

/// Bytes that the server may send before we have read them: enough for 80 MiB/s over a round trip of 50 ms.
const WINDOW: u32 = 4 << 20;

/// A session whose host key is not checked yet.
pub(super) struct Handshake {
    pub(super) session: UnauthenticatedSession,
    /// The server's key, in wire form. The server has proved that it holds the private key.
    pub(super) host_key: Vec<u8>,
    runtime: SshRuntime,
}

impl Handshake {
    /// Connects and agrees on keys. `key_types`: the types of host keys to request, best first.
    pub(super) fn start(
        destination: &Destination,
        key_types: Vec<Algorithm>,
        stop: &CancellationToken,
    ) -> Result<Self, DeliveryError> {
        let target = ConnectTarget::new(destination, stop);
        let runtime = SshRuntime::new().map_err(|source| target.unreachable(source))?;
        let peer = PeerState::default();
        let handle = runtime.block_on(async {
            let tcp = target.run_step(connect(destination)).await?;
            let tcp = tcp.map_err(|source| target.unreachable(source))?;
            let session = connect_stream(Arc::new(config(key_types)), tcp, peer.clone());
            let agreed = target.run_step(session).await?;
            agreed.map_err(|source| DeliveryError::Handshake(target.address.clone(), source))
        })?;
        let host_key = peer.host_key();
        Ok(Self {
            session: UnauthenticatedSession { handle, peer, target },
            host_key,
            runtime,
        })
    }

    /// Logs in and starts SFTP. To be called only after the host key was checked.
    pub(super) fn finish(self, destination: &Destination) -> Result<SshConnection, DeliveryError> {
        let Self {
            mut session, runtime, ..
        } = self;
        let channel = runtime.block_on(async {
            login::log_in(&mut session, destination).await?;
            let started = session.target.run_step(start_sftp(&session.handle)).await?;
            started.map_err(|error| not_started(&session, error))
        })?;
        let UnauthenticatedSession { handle, peer, target } = session;
        Ok(SshConnection {
            handle,
            sftp: SftpChannel::new(channel),
            peer,
            address: target.address,
            runtime,
        })
    }
}

/// Only an answer of the server says that it offers no SFTP. After any other error the connection is gone.
fn not_started(session: &UnauthenticatedSession, error: Error) -> DeliveryError {
    let address = session.target.address.clone();
    match error {
        Error::RequestDenied | Error::ChannelOpenFailure(_) => DeliveryError::NoSftp(address, error),
        _ => DeliveryError::Lost(address, session.peer.disconnect_reason()),
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
            // Window sizes, and the output of a login script on stderr.
            Some(_) => {}
        }
    }
}

/// Whether the server has no host key of the requested types.
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
        gex: GexParams::new(GROUP_MIN, GROUP_PREFERRED, GROUP_MAX).expect("ascending, from 2048 on"),
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

/// Connects to the first of the host's addresses that answers.
async fn connect(destination: &Destination) -> io::Result<TcpStream> {
    let Destination { host, port, .. } = destination;
    let addresses = logferry_connect::look_up(host, *port, CONNECT_TIMEOUT).await?;
    logferry_connect::connect(&addresses, CONNECT_TIMEOUT).await
}
