//! The SFTP server. This file: SSH, login, and faults that tests order. `session` carries out one client's requests,
//! `remote_path` keeps paths inside the served folder, `fault_script` decides on scripted faults. Changes here concern
//! the demo and tests only.

pub(crate) mod fault_script;
mod remote_path;
mod session;

use std::io;
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tracing::debug;

use crate::acceptor::Acceptor;
use fault_script::{ConnectionTokens, FaultInjector, FaultScript};
use session::SftpSession;

/// The served folder and the login.
#[derive(Debug, Clone)]
pub struct SftpOptions {
    /// The folder served as `/`; it must exist.
    pub root: PathBuf,
    /// The only user.
    pub user: String,
    /// The user's password; none: no login by password.
    pub password: Option<String>,
    /// The user's public key, as a line of `authorized_keys` without options; none: no login by key.
    pub authorized_key: Option<String>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum SftpStartError {
    /// The user's public key cannot be read.
    #[error("the authorized key is not a public key in OpenSSH's format")]
    AuthorizedKey(#[source] russh::keys::ssh_key::Error),
    /// The new host key could not be written as text.
    #[error("cannot write the host key as text")]
    HostKey(#[source] russh::keys::ssh_key::Error),
    /// No port of 127.0.0.1 could be opened.
    #[error("cannot listen on 127.0.0.1")]
    Listen(#[source] io::Error),
}

/// An SFTP server on a free port of 127.0.0.1, with a host key of its own.
#[derive(Debug)]
pub struct SftpServer {
    acceptor: Acceptor,
    host_key: String,
    faults: Arc<OrderedSftpFaults>,
    /// Closed when the last task of the last connection has ended.
    all_ended: mpsc::Receiver<()>,
}

#[derive(Debug, Default)]
struct OrderedSftpFaults {
    refuse_logins: AtomicBool,
    refuse_writes: AtomicBool,
    cut_connections: Notify,
    injector: FaultInjector,
}

impl SftpServer {
    /// Starts a server.
    pub async fn start(options: SftpOptions) -> Result<Self, SftpStartError> {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()));
        let host_key = key.public_key().to_openssh().map_err(SftpStartError::HostKey)?;
        let key_line = options.authorized_key.as_deref();
        let authorized_key = key_line.map(PublicKey::from_openssh).transpose();
        let authorized_key = authorized_key.map_err(SftpStartError::AuthorizedKey)?;
        let config = Arc::new(Config {
            keys: vec![key],
            auth_rejection_time: Duration::ZERO,
            inactivity_timeout: None,
            ..Config::default()
        });
        let faults = Arc::new(OrderedSftpFaults::default());
        let (alive, all_ended) = mpsc::channel(1);
        let shared = Arc::new(ServedFolder {
            options,
            authorized_key,
            faults: Arc::clone(&faults),
            _alive: alive,
        });
        let acceptor = Acceptor::start(move |socket| serve(Arc::clone(&config), socket, Arc::clone(&shared)))
            .await
            .map_err(SftpStartError::Listen)?;
        Ok(Self {
            acceptor,
            host_key,
            faults,
            all_ended,
        })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.acceptor.port()
    }

    /// The public host key: type and base64, as in a `.pub` file.
    pub fn host_key_openssh(&self) -> &str {
        &self.host_key
    }

    /// The server's line for a client's `known_hosts` file.
    pub fn known_hosts_line(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port(), self.host_key)
    }

    /// Whether every login is refused from now on.
    pub fn refuse_logins(&self, refuse: bool) {
        self.faults.refuse_logins.store(refuse, Ordering::Relaxed);
    }

    /// Whether every write is refused from now on, as on a full disk.
    pub fn refuse_writes(&self, refuse: bool) {
        self.faults.refuse_writes.store(refuse, Ordering::Relaxed);
    }

    /// Cuts all present connections. The server accepts new ones.
    pub fn cut_connections(&self) {
        self.faults.cut_connections.notify_waiters();
    }

    /// Applies a fault script from now on, with all counts at zero.
    pub fn set_fault_script(&self, script: FaultScript) {
        self.faults.injector.set_script(script);
    }

    /// How often a fault of the script has happened. `fault`: its index in the script.
    pub fn fault_count(&self, fault: usize) -> usize {
        self.faults.injector.fault_count(fault)
    }

    /// Closes the port, cuts the connections and waits until no task of the server uses the folder.
    pub async fn stop(mut self) {
        self.acceptor.stop().await;
        self.faults.injector.close();
        while self.all_ended.recv().await.is_some() {}
    }
}

/// Cuts a connection when dropped: russh's tasks see the end of the stream and finish.
struct CutOnDrop(std::net::TcpStream);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        // It fails only if the client has closed the connection already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

struct ServedFolder {
    options: SftpOptions,
    authorized_key: Option<PublicKey>,
    faults: Arc<OrderedSftpFaults>,
    /// Dropped with the last task that may use the folder. [`SftpServer::stop`] waits for that.
    _alive: mpsc::Sender<()>,
}

impl ServedFolder {
    fn login_result(&self, user: &str, is_proven: bool) -> Auth {
        let is_refused = self.faults.refuse_logins.load(Ordering::Relaxed);
        if is_proven && user == self.options.user && !is_refused {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }
}

async fn serve(config: Arc<Config>, socket: TcpStream, shared: Arc<ServedFolder>) {
    let faults = Arc::clone(&shared.faults);
    let tokens = ConnectionTokens::default();
    // Dropped last, after the socket is closed.
    let _closed = tokens.closed.clone().drop_guard();
    let close = tokens.close.clone();
    let session = async {
        let socket = socket.into_std()?;
        let _cut = CutOnDrop(socket.try_clone()?);
        let socket = TcpStream::from_std(socket)?;
        socket.set_nodelay(true)?;
        let connection = ServerConnection {
            shared,
            tokens,
            channel: None,
        };
        run_stream(config, socket, connection).await?.await
    };
    let ended: Result<(), russh::Error> = tokio::select! {
        ended = session => ended,
        () = faults.cut_connections.notified() => return,
        () = close.cancelled() => return,
    };
    if let Err(error) = ended {
        debug!(%error, "an SSH connection ended with an error");
    }
}

struct ServerConnection {
    shared: Arc<ServedFolder>,
    tokens: ConnectionTokens,
    /// An open channel that does not run SFTP yet.
    channel: Option<Channel<Msg>>,
}

impl Handler for ServerConnection {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let is_proven = self.shared.options.password.as_deref() == Some(password);
        Ok(self.shared.login_result(user, is_proven))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let known = self.shared.authorized_key.as_ref().map(PublicKey::key_data);
        let is_proven = known == Some(key.public_key.key_data());
        Ok(self.shared.login_result(user, is_proven))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let is_wanted = |channel: &mut Channel<Msg>| name == "sftp" && channel.id() == id;
        match self.channel.take_if(is_wanted) {
            Some(channel) => {
                session.channel_success(id)?;
                let sftp = SftpSession::new(Arc::clone(&self.shared), self.tokens.clone());
                russh_sftp::server::run(channel.into_stream(), sftp).await;
            }
            None => session.channel_failure(id)?,
        }
        Ok(())
    }
}
